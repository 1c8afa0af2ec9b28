//! A worker of the storm: Rust handlers that do what their input tells and write it into the ledger,
//! beside the commands of its handlers file.

use std::process::ExitCode;
use std::sync::Arc;

use rota_chaos::job::{Ending, Job};
use rota_chaos::kinds;
use rota_chaos::ledger::{Ledger, Outcome};
use rota_worker::{Failure, Task, Worker};

fn main() -> ExitCode {
    let mut worker = Worker::from_args();
    let ledger = match Ledger::from_env() {
        Ok(ledger) => Arc::new(ledger),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for kind in kinds::functions() {
        let ledger = ledger.clone();
        worker = worker.handler(kind, move |task: Task| {
            let ledger = ledger.clone();
            async move { run(&ledger, &task).await }
        });
    }
    worker.main()
}

async fn run(ledger: &Ledger, task: &Task) -> Result<String, Failure> {
    let unwritten = |error: std::io::Error| Failure::retry(format!("the ledger: {error}"));
    let begun = ledger.begin(task.id(), task.attempt()).map_err(unwritten)?;
    let Some(job) = Job::parse(task.input()) else {
        begun.end(Outcome::Damaged).map_err(unwritten)?;
        return Err(Failure::fatal("the input was damaged"));
    };
    tokio::select! {
        biased;
        () = task.cancelled() => {
            begun.end(Outcome::Stopped).map_err(unwritten)?;
            return Err(Failure::retry("stopped"));
        }
        () = tokio::time::sleep(job.run) => {}
    }
    let ending = job.ending(task.attempt());
    begun.end(Outcome::Ended(ending)).map_err(unwritten)?;
    match ending {
        Ending::Done => Ok(job.output()),
        Ending::Failed => Err(Failure::retry("told to fail")),
        Ending::Died => Err(Failure::fatal("told to die")),
    }
}
