//! Each execution of an attempt, as the handlers note it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It runs.
    Running,
    /// It came to its end and succeeded.
    Done,
    /// It came to its end and failed, as was planned.
    Failed,
    /// It was stopped on its way.
    Stopped,
}

/// An execution.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    pub(crate) task: String,
    pub(crate) attempt: u32,
    pub(crate) worker: Arc<str>,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) outcome: Outcome,
}

/// All of them. Clones share one.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    start: Instant,
    executions: Arc<Mutex<Vec<Execution>>>,
}

/// An execution that goes on. Dropped without an end it was stopped.
pub(crate) struct Running {
    ledger: Ledger,
    index: usize,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            executions: Arc::default(),
        }
    }

    pub(crate) fn begin(&self, worker: Arc<str>, task: &str, attempt: u32) -> Running {
        let now = self.start.elapsed();
        let mut executions = self.lock();
        executions.push(Execution {
            task: task.to_owned(),
            attempt,
            worker,
            began: now,
            ended: now,
            outcome: Outcome::Running,
        });
        Running {
            ledger: self.clone(),
            index: executions.len() - 1,
        }
    }

    pub(crate) fn executions(&self) -> Vec<Execution> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Execution>> {
        self.executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    pub(crate) fn end(self, outcome: Outcome) {
        self.note(outcome);
    }

    fn note(&self, outcome: Outcome) {
        let now = self.ledger.start.elapsed();
        let execution = &mut self.ledger.lock()[self.index];
        if execution.outcome == Outcome::Running {
            execution.outcome = outcome;
            execution.ended = now;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.note(Outcome::Stopped);
    }
}
