//! Running one attempt of a Rust handler.
//!
//! The handler runs on a tokio task of its own: its panic is a failed attempt, and a handler that
//! computes for long does not hold up the one that watches its time limit. To end it, it is told
//! through `Task::cancelled`, and after the grace period its future is dropped.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::Handler;
use super::failure::Failure;
use super::pausable::{Gate, Pausable};
use super::registry::Limits;
use super::task::Task;
use crate::attempt::control::AttemptControl;
use crate::attempt::stopwatch::RunClock;
use crate::attempt::{Attempt, Cause, Supervised, supervise};
use crate::ended::{Ended, Verdict};

type Returned = Result<Result<Bytes, Failure>, JoinError>;

/// The attempt as a tokio task. Dropping it aborts the task.
struct FunctionAttempt {
    running: AbortOnDropHandle<Result<Bytes, Failure>>,
    gate: Gate,
    clock: RunClock,
    cancelled: CancellationToken,
    /// Also who spawned something with a clone of the task hears that the attempt is over.
    _cancel_on_drop: DropGuard,
}

pub(crate) async fn run_function(
    handler: &Arc<dyn Handler>,
    task: Task,
    limits: &Limits,
    control: &AttemptControl,
) -> Ended {
    let mut attempt = FunctionAttempt::start(Arc::clone(handler), task);
    let supervised = supervise(&mut attempt, limits, control).await;
    let ran = supervised.ran;
    Ended {
        ran,
        ..Ended::unstarted(verdict(supervised, limits))
    }
}

impl FunctionAttempt {
    fn start(handler: Arc<dyn Handler>, task: Task) -> Self {
        let gate = Gate::default();
        let (cancelled, clock) = (task.cancellation().clone(), task.clock().clone());
        // The call itself is inside too, for it may panic before there is a future.
        let running = Pausable::new(async move { handler.handle(task).await }, gate.clone());
        Self {
            running: AbortOnDropHandle::new(tokio::spawn(running)),
            gate,
            clock,
            _cancel_on_drop: cancelled.clone().drop_guard(),
            cancelled,
        }
    }
}

impl Attempt for FunctionAttempt {
    type End = Returned;

    fn suspend(&mut self) {
        self.gate.shut();
        self.clock.pause(Instant::now());
    }

    fn resume(&mut self) {
        self.clock.resume(Instant::now());
        self.gate.open();
    }

    fn ask_to_end(&mut self) {
        self.cancelled.cancel();
        self.resume();
    }

    fn kill(&mut self) {
        self.running.abort();
    }

    async fn ended(&mut self) -> Returned {
        (&mut self.running).await
    }
}

fn verdict(supervised: Supervised<Returned>, limits: &Limits) -> Verdict {
    match supervised.cause {
        Some(Cause::Stop) => return Verdict::Stopped,
        Some(Cause::TimeLimit) => return limits.over_time(),
        None => {}
    }
    match supervised
        .end
        .expect("only an attempt that was made to end is given up")
    {
        Ok(Ok(output)) if output.len() > limits.output_bytes_max => limits.over_output(),
        Ok(Ok(output)) => Verdict::Completed(output),
        Ok(Err(failure)) => failure.into(),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Verdict::retry(format!("handler panicked: {}", panic_text(&*panic))),
            // Only a runtime that shuts down aborts the task without being asked to.
            Err(_) => Verdict::Stopped,
        },
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests;
