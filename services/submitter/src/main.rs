//! The submitter's binary: flags, and the service itself from the library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use rota_service::{LogOptions, main_with};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The front door of Rota: checks submissions and puts each into its lane
#[derive(Debug, Parser)]
#[command(name = "rota-submitter", version)]
struct Flags {
    #[command(flatten)]
    submitter: rota_submitter::Args,
    #[command(flatten)]
    log: LogOptions,
}

fn main() -> ExitCode {
    main_with(
        "submitter",
        |flags: &Flags| &flags.log,
        |flags, shutdown| rota_submitter::run(flags.submitter, shutdown),
    )
}
