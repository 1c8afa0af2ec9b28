//! The `rota-worker` binary: flags and exit codes around [`rota_worker::run`].

use std::process::ExitCode;

use mimalloc::MiMalloc;
use rota_service::{Failure, Shutdown, main_with};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs tasks: commands that a file declares, or the built-in kinds
#[derive(Debug, clap::Parser)]
#[command(name = "rota-worker", version)]
struct Cli {
    #[command(flatten)]
    args: rota_worker::Args,
}

fn main() -> ExitCode {
    rota_worker::guardian_entry();
    main_with("worker", |cli: &Cli| &cli.args.log, run)
}

async fn run(cli: Cli, shutdown: Shutdown) -> Result<(), Failure> {
    rota_worker::run(cli.args, shutdown).await
}
