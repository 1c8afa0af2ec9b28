//! The scheduler's binary: flags, and the service itself from the library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use rota_service::{LogOptions, main_with};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Decides where each task runs, and sees it to its end
#[derive(Debug, Parser)]
#[command(name = "rota-scheduler", version)]
struct Flags {
    #[command(flatten)]
    scheduler: rota_scheduler::Args,
    #[command(flatten)]
    log: LogOptions,
}

fn main() -> ExitCode {
    main_with(
        "scheduler",
        |flags: &Flags| &flags.log,
        |flags, shutdown| rota_scheduler::run(flags.scheduler, shutdown),
    )
}
