//! Running one attempt, whatever its handler is.
//!
//! [`run`] settles the time limit and the deadline, then hands over to the command or the
//! function. Both are [`Attempt`]s under the same `supervise`: orders from outside and time
//! limits become acts upon the attempt.
//!
//! ```text
//!   AttemptControl ──wish──► ┌────────┐ ──act──► Attempt (process group, or tokio task)
//!            clock ─timeout─►│ Course │             │
//!                            └────────┘           ended
//! ```

pub(crate) mod control;
mod course;
pub(crate) mod stopwatch;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::command::processes::Processes;
use crate::ended::{Ended, Verdict};
use crate::handler::function::run_function;
use crate::handler::registry::{Entry, HandlerKind, Limits};
use crate::handler::task::Task;
use control::AttemptControl;
use course::{Act, Course};
pub(crate) use course::{Cause, KILLED_WAIT_MAX};

/// Something that runs and can be acted upon: a process group or a tokio task.
pub(crate) trait Attempt {
    type End: Send;

    /// Makes it stand still. It must not end by itself until it is resumed.
    fn suspend(&mut self);
    fn resume(&mut self);
    /// Asks it to end soon; also wakes it, should it be suspended.
    fn ask_to_end(&mut self);
    /// Ends it by force.
    fn kill(&mut self);
    /// Waits for its end. Must be safe to drop and call again.
    fn ended(&mut self) -> impl Future<Output = Self::End> + Send;
}

/// What came out of watching over an attempt.
pub(crate) struct Supervised<E> {
    /// `None`: it did not even end after it had been killed, and was given up.
    pub(crate) end: Option<E>,
    /// Why it was made to end; `None` when it ended by itself.
    pub(crate) cause: Option<Cause>,
    pub(crate) ran: Duration,
}

/// Runs one attempt to its end.
///
/// The attempt may run for the shorter of the handler's timeout and the task's own time limit;
/// time in suspension does not count. Dropping the future kills the attempt at once: the whole
/// process group of a command, or the tokio task of a function at its next await.
pub async fn run(entry: &Entry, task: Task, control: &AttemptControl) -> Ended {
    run_among(entry, task, control, &Processes::default()).await
}

/// The same, with the processes of commands in the books of a worker.
pub(crate) async fn run_among(
    entry: &Entry,
    task: Task,
    control: &AttemptControl,
    processes: &Processes,
) -> Ended {
    if control.is_stopped() {
        return Ended::unstarted(Verdict::Stopped);
    }
    let timeout = [entry.limits.timeout, task.time_limit()]
        .into_iter()
        .flatten()
        .min();
    let limits = Limits {
        timeout,
        ..entry.limits
    };
    let task = task.started(timeout);
    match &entry.handler {
        // Boxed: it is large, and would make each attempt of a function so.
        HandlerKind::Command(command) => {
            Box::pin(command.run(&task, &limits, control, processes)).await
        }
        HandlerKind::Function(handler) => run_function(handler, task, &limits, control).await,
    }
}

/// Watches over an attempt until it has ended or was given up.
pub(crate) async fn supervise<A: Attempt>(
    attempt: &mut A,
    limits: &Limits,
    control: &AttemptControl,
) -> Supervised<A::End> {
    let mut orders = control.orders();
    let mut course = Course::new(Instant::now(), limits.timeout, limits.grace);
    loop {
        let act = tokio::select! {
            biased;
            wish = orders.next() => course.handle_wish(Instant::now(), wish),
            () = wait_until(course.next_deadline()) => course.handle_timeout(Instant::now()),
            end = attempt.ended() => return supervised(Some(end), &course),
        };
        match act {
            None => {}
            Some(Act::Suspend) => attempt.suspend(),
            Some(Act::Resume) => attempt.resume(),
            Some(Act::AskToEnd) => attempt.ask_to_end(),
            Some(Act::Kill) => attempt.kill(),
            Some(Act::GiveUp) => {
                warn!("attempt did not end after it was killed");
                return supervised(None, &course);
            }
        }
    }
}

fn supervised<E>(end: Option<E>, course: &Course) -> Supervised<E> {
    Supervised {
        end,
        cause: course.cause(),
        ran: course.ran(Instant::now()),
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
