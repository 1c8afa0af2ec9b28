//! The monitor's binary: flags, and the service itself from the library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use rota_service::{Failure, LogOptions, Shutdown, main_with};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Watches an installation of Rota and tells what happens
#[derive(Debug, Parser)]
#[command(name = "rota-monitor", version)]
struct Flags {
    #[command(flatten)]
    monitor: rota_monitor::Args,
    #[command(flatten)]
    log: LogOptions,
}

fn main() -> ExitCode {
    main_with("monitor", |flags: &Flags| &flags.log, run)
}

async fn run(flags: Flags, shutdown: Shutdown) -> Result<(), Failure> {
    rota_monitor::run(flags.monitor, flags.log.log_format, shutdown).await
}
