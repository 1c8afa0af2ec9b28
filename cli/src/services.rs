//! The four services as subcommands, with the flags of their own binaries.
//!
//! It exists so that `rota up` needs one executable, and an image or a package can hold one file.

use std::process::ExitCode;

use rota_service::{LogOptions, run_main};

/// The front door: checks submissions and puts each into its lane
#[derive(Debug, clap::Args)]
pub(crate) struct Submitter {
    #[command(flatten)]
    submitter: rota_submitter::Args,
    #[command(flatten)]
    log: LogOptions,
}

/// Decides where each task runs, and sees it to its end
#[derive(Debug, clap::Args)]
pub(crate) struct Scheduler {
    #[command(flatten)]
    scheduler: rota_scheduler::Args,
    #[command(flatten)]
    log: LogOptions,
}

/// Runs tasks: commands that a file declares, or the built-in kinds
#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    pub(crate) worker: rota_worker::Args,
}

/// Watches an installation and tells what happens
#[derive(Debug, clap::Args)]
pub(crate) struct Monitor {
    #[command(flatten)]
    monitor: rota_monitor::Args,
    #[command(flatten)]
    log: LogOptions,
}

impl Submitter {
    pub(crate) fn run(self) -> ExitCode {
        run_main("submitter", &self.log, |shutdown| {
            rota_submitter::run(self.submitter, shutdown)
        })
    }
}

impl Scheduler {
    pub(crate) fn run(self) -> ExitCode {
        run_main("scheduler", &self.log, |shutdown| {
            rota_scheduler::run(self.scheduler, shutdown)
        })
    }
}

impl Worker {
    pub(crate) fn run(self) -> ExitCode {
        let log = self.worker.log.clone();
        run_main("worker", &log, |shutdown| {
            rota_worker::run(self.worker, shutdown)
        })
    }
}

impl Monitor {
    pub(crate) fn run(self) -> ExitCode {
        let format = self.log.log_format;
        run_main("monitor", &self.log, |shutdown| {
            rota_monitor::run(self.monitor, format, shutdown)
        })
    }
}
