//! The command that the storm's workers run: does what its input tells, and writes it into the ledger.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::thread::sleep;

use anyhow::Context;
use rota_chaos::job::{Ending, Job};
use rota_chaos::ledger::{Ledger, Outcome};

/// What a command says that can never succeed.
const FATAL: u8 = 65;

fn main() -> anyhow::Result<ExitCode> {
    let ledger = Ledger::from_env()?;
    let task = std::env::var("ROTA_TASK_ID").context("no task")?;
    let attempt = std::env::var("ROTA_ATTEMPT")?.parse()?;
    let begun = ledger.begin(&task, attempt)?;
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let Some(job) = Job::parse(&input) else {
        begun.end(Outcome::Damaged)?;
        return Ok(ExitCode::from(FATAL));
    };
    sleep(job.run);
    let ending = job.ending(attempt);
    begun.end(Outcome::Ended(ending))?;
    Ok(match ending {
        Ending::Done => {
            std::io::stdout().write_all(job.output().as_bytes())?;
            ExitCode::SUCCESS
        }
        Ending::Failed => ExitCode::FAILURE,
        Ending::Died => ExitCode::from(FATAL),
    })
}
