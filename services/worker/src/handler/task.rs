//! A task as its handler sees it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::stopwatch::RunClock;

/// What makes a [`Task`]. Also for the tests of a handler.
#[derive(Clone, Default)]
pub struct TaskParts {
    /// The task's id, the same for all its attempts.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// What was submitted.
    pub input: Bytes,
    /// The longest that this attempt may run, as the task asks for it. The handler's own timeout
    /// holds besides.
    pub time_limit: Option<Duration>,
    /// The W3C trace context that the task was submitted with.
    pub traceparent: Option<String>,
}

/// One attempt at a task. Cheap to clone but for its three short texts: the input is shared.
#[derive(Clone)]
pub struct Task {
    parts: TaskParts,
    deadline: Option<Timestamp>,
    cancelled: CancellationToken,
    clock: RunClock,
}

impl Task {
    /// A task as a worker would hand it to its handler.
    pub fn new(parts: TaskParts) -> Self {
        Self {
            parts,
            deadline: None,
            cancelled: CancellationToken::new(),
            clock: RunClock::started(Instant::now()),
        }
    }

    /// The task's id, the same for all its attempts.
    pub fn id(&self) -> &str {
        &self.parts.id
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.parts.kind
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.parts.attempt
    }

    /// The submitted bytes, untouched.
    pub fn input(&self) -> &Bytes {
        &self.parts.input
    }

    /// When the time limit of this attempt is reached if it is never suspended. `None`: no limit,
    /// or not started yet.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The W3C trace context that the task was submitted with.
    pub fn traceparent(&self) -> Option<&str> {
        self.parts.traceparent.as_deref()
    }

    /// Resolves when the attempt is to end: it was stopped, or has reached its time limit. A grace
    /// period follows, then the handler's future is dropped. What it returns meanwhile is
    /// discarded, so this is for tidying up.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether [`cancelled`](Self::cancelled) has resolved.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// How long this attempt has run, the time in which it was suspended left out. A timer of the
    /// handler's own runs on meanwhile: who waits for a span looks here whether it is over.
    pub fn ran(&self) -> Duration {
        self.clock.elapsed(Instant::now())
    }

    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.parts.time_limit
    }

    /// The same task at the moment of its start, when the deadline is known.
    pub(crate) fn started(mut self, timeout: Option<Duration>) -> Self {
        self.clock = RunClock::started(Instant::now());
        self.deadline = timeout.and_then(|timeout| Timestamp::now().checked_add(timeout).ok());
        self
    }

    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.cancelled
    }

    pub(crate) fn clock(&self) -> &RunClock {
        &self.clock
    }
}

/// Shows the size of the input, never the input: payloads do not belong into logs.
impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.parts.id)
            .field("kind", &self.parts.kind)
            .field("attempt", &self.parts.attempt)
            .field("input_bytes", &self.parts.input.len())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_of_a_task_does_not_show_its_input() {
        let input = Bytes::from_static(b"secret");
        let shown = format!(
            "{:?}",
            Task::new(TaskParts {
                input,
                ..TaskParts::default()
            })
        );
        assert!(shown.contains("input_bytes: 6"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
