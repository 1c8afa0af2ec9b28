//! The worker as a service: what the `rota-worker` binary runs.

use rota_service::{Failure, Shutdown};

use crate::args::Args;
use crate::worker::{RunError, WorkerBuilder};

/// Runs a worker as its flags say, until `shutdown` drains or ends it.
///
/// # Errors
/// [`Failure`] with the exit code: 64 for flags, a handlers file or streams that are wrong, 69 when
/// there is no server, 1 for anything else.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    run_built(WorkerBuilder::from_args(args), shutdown).await
}

/// Runs the worker that a builder describes.
pub(crate) async fn run_built(builder: WorkerBuilder, shutdown: Shutdown) -> Result<(), Failure> {
    let worker = builder.build().map_err(Failure::usage)?;
    worker.run_until(shutdown).await.map_err(failure)
}

/// Tells a supervisor whether a restart can help.
fn failure(error: RunError) -> Failure {
    match error {
        RunError::Installation(error) => Failure::from(error),
        RunError::Payload { .. } => Failure::usage(error),
        RunError::Subscribe(_) => Failure::unavailable(error),
        RunError::Signals(_)
        | RunError::Closed
        | RunError::AttemptLost(_)
        | RunError::EndedAtOnce => Failure::internal(error),
    }
}
