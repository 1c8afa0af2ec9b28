//! `rota simulate`: what the scheduler's strategies give, on a virtual clock.
//!
//! It needs no installation and no server, so it runs without logs, runtime or signal handlers: Ctrl-C just
//! ends it. The figures go to the standard output, what was wrong with the flags to the standard error.

use std::io::{self, Write as _};
use std::process::ExitCode;

use rota_scheduler_sim::SimulateError;
use rota_service::{Exit, chain};

pub(crate) use rota_scheduler_sim::Args;

/// Runs the simulation and prints its figures.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut out = io::stdout().lock();
    let result = rota_scheduler_sim::args::run(args, &mut out);
    match result.and_then(|()| out.flush().map_err(SimulateError::Print)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(SimulateError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            // Whoever read has read enough: `rota simulate … | head`.
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            exit(&error).into()
        }
    }
}

/// What a person gave is at fault but for what happens once the figures are there.
const fn exit(error: &SimulateError) -> Exit {
    match error {
        SimulateError::Workload(_) | SimulateError::TooSmall { .. } => Exit::Usage,
        SimulateError::Plot { .. } | SimulateError::Print(_) => Exit::Failure,
    }
}
