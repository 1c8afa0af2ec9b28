//! `rota demo`: what Rota does, shown in a quarter of a minute on a machine with nothing installed.
//!
//! A temporary nats-server, all services, three workers of unlike size. Tasks come at a steady pace: real
//! files are hashed and counted by commands and by Rust functions, between them sleeps of uneven length.
//! Half-way the busiest worker is killed. In the end each stored result is compared with the right
//! answer.
//!
//! What must hold: it fails (exit 1) when a task is lost or an answer wrong; and nothing is left behind,
//! no process and no file, however it ends.

mod course;
mod fleet;
mod scene;
mod verdict;
mod work;

use std::collections::VecDeque;
use std::process::ExitCode;

use anyhow::anyhow;
use rota_local::LogLine;
use rota_service::{Failure, Shutdown, run_main};
use rota_worker::{Task, WorkerBuilder};

use self::course::{Course, Ears};
use self::fleet::{Fleet, WORKERS};
use self::verdict::Verdict;
use self::work::{KINDS, Work};
use crate::say::{note, say};
use crate::services;

/// See it work: real tasks on a temporary installation, and a worker killed half-way
///
/// Takes about 15 s and leaves nothing behind. Fails if a task is lost or an answer is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many tasks
    #[arg(long, value_name = "COUNT", default_value_t = 400,
        value_parser = clap::value_parser!(u16).range(50..=5_000))]
    tasks: u16,

    /// Show the log lines of all services too
    #[arg(long)]
    logs: bool,
}

/// Whether the log lines of the services are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logs {
    Shown,
    Kept,
}

impl Args {
    fn logs(&self) -> Logs {
        if self.logs { Logs::Shown } else { Logs::Kept }
    }
}

pub(crate) async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    let work = Work::new(args.tasks.into());
    introduce(&work);
    let stop = shutdown.draining();
    let mut fleet = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(interrupted()),
        fleet = Fleet::start(&args) => fleet?,
    };
    let verdict = tokio::select! {
        biased;
        () = stop.cancelled() => {
            fleet.end().await;
            return Err(interrupted());
        }
        verdict = play(&mut fleet, &work) => verdict,
    };
    if let Ok(verdict) = &verdict {
        say(format_args!("\n{verdict}"));
    }
    let last_lines = fleet.end().await;
    let is_good = verdict.as_ref().is_ok_and(Verdict::is_good);
    if !is_good {
        show_last(&last_lines);
    }
    if verdict?.is_good() {
        say("Nothing was lost. Now run it yourself: rota up --builtin");
        Ok(())
    } else {
        Err(Failure::internal(anyhow!(
            "the demo went wrong, see the table"
        )))
    }
}

/// The worker of the demo: with functions in Rust beside what its flags name.
pub(crate) fn worker(flags: services::Worker) -> ExitCode {
    let log = flags.worker.log.clone();
    run_main("worker", &log, |shutdown| async move {
        let worker = WorkerBuilder::from_args(flags.worker)
            .handler("hash-rust", async |task: Task| Ok(work::hash(task.input())))
            .handler("words-rust", async |task: Task| {
                Ok(work::count_words(task.input()).to_string())
            })
            .build()
            .map_err(Failure::usage)?;
        Ok(worker.run_until(shutdown).await?)
    })
}

async fn play(fleet: &mut Fleet, work: &Work) -> Result<Verdict, Failure> {
    let ears = Ears::open(fleet.bus()).await?;
    fleet.start_services()?;
    let bus = fleet.bus().clone();
    let mut course = Course::new(fleet, work, ears);
    course.until_ready().await?;
    say(format_args!(
        "{}; submitter, scheduler, monitor and 3 workers are up\n",
        bus.server()
    ));
    let story = course.run().await?;
    Verdict::reach(&bus, work, story).await
}

fn introduce(work: &Work) {
    let workers = WORKERS.map(|(name, slots)| format!("{name} with {slots} slots"));
    say(format_args!(
        "Rota demo: {} tasks, workers {}",
        work.tasks.len(),
        workers.join(", ")
    ));
    for (kind, by) in KINDS {
        let count = work.tasks.iter().filter(|task| task.kind == kind).count();
        let about = if kind == "sleep" {
            ""
        } else {
            work.source.as_str()
        };
        say(format_args!("  {count:>4} {kind:<11}{by:<24}{about}"));
    }
    say("Half-way the busiest worker is killed.\n");
}

fn show_last(lines: &VecDeque<LogLine>) {
    note("\nthe last lines of the services:");
    for LogLine { process, line } in lines {
        note(format_args!("[{process}] {line}"));
    }
}

fn interrupted() -> Failure {
    Failure::internal(anyhow!("interrupted; everything was ended and removed"))
}
