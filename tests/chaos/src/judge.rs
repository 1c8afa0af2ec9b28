//! The judge: from what was seen of a storm to what must not have happened. Pure.
//!
//! # What must hold
//!
//! 1. **Each confirmed submission has exactly one genuine result.** Genuine: `Rota-Id` is the id in the
//!    subject, and there is a `Rota-State`. A second one that took the place of the first is a violation,
//!    also where only the gap in the sequences tells of it.
//! 2. **No result without a submission**, and the trace context of a result is that of the submission with its
//!    id. A submission that was not confirmed may have come to a result, or not.
//! 3. **The outcome is the one that the job was told**, after as many attempts as that takes, and it ran. The
//!    one other way to end is poison: `failed`, with a reason that says so, where at least three workers were
//!    really killed between submission and result, and at least two of them while they ran this task.
//! 4. **Attempts count failures.** Attempt n+1 begins only after an execution of attempt n has ended as a
//!    failure; none is above what is allowed; none begins more than a second after the result was stored, unless
//!    its own worker was silent in between.
//! 5. **Every second execution of the same attempt is explained**, see [`explain`].
//! 6. **ROTA_INTAKE, ROTA_READY and ROTA_SCHEDULE are empty**, nothing is un-acked, and ROTA_DEAD has exactly
//!    the tasks that failed for good.
//! 7. **Nothing is left behind**: no process of a worker that is gone; no memory above its bound; no panic; no
//!    process that ended by itself with a code of its own fault; no line of a log faster than once in ten seconds.

pub mod explain;
mod outcomes;
mod remains;
mod reruns;
mod timing;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::facts::History;
pub use timing::{Timings, Wait};

/// How strict to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The most memory of a scheduler.
    pub scheduler_bytes_max: u64,
    /// The most memory of any other service.
    pub service_bytes_max: u64,
    /// Whether a running attempt of a worker that was heard all the time may be run again because of a
    /// fault of a server or scheduler.
    pub disturbed: Severity,
    /// What a line that is repeated too soon is, of any service but the monitor.
    pub repeats: Severity,
    /// The same of the monitor, which says what it is told and repeats `worker joined` with each new leader.
    pub monitor_repeats: Severity,
}

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It is a violation.
    Violation,
    /// It is only told.
    Warning,
}

/// What sort of violation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A confirmed submission without a genuine result.
    Lost,
    /// A result that Rota had stored and somebody else has written over. On one account the server lets
    /// whoever may submit do that, so it is told and is no violation.
    Overwritten,
    /// A confirmed submission without a result that still lies in a stream.
    Unfinished,
    /// More than one result for an id.
    TwoResults,
    /// A result or an execution that nobody submitted.
    Unsubmitted,
    /// Another state, number of attempts or output than the job was told.
    WrongOutcome,
    /// Failed as poison without the workers that it takes.
    FalsePoison,
    /// A result without any execution.
    NeverRan,
    /// An attempt beyond what is allowed, or without a failure before it.
    Attempts,
    /// An attempt that ran again without any fault near it.
    Unexplained,
    /// An attempt that ran on a healthy worker and was run again elsewhere.
    Disturbed,
    /// An execution that began after the result was there.
    AfterResult,
    /// An input that was not what was submitted.
    Damaged,
    /// Something in a stream that should be empty.
    Left,
    /// A dead letter too many or too few.
    DeadLetters,
    /// A process of a worker that is gone.
    LeftBehind,
    /// Too much memory.
    Memory,
    /// A panic in a log.
    Panic,
    /// A process that ended by itself.
    Crashed,
    /// A line that was repeated too soon.
    Repeated,
}

/// Something that must not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What sort.
    pub class: Class,
    /// Which task, if it is about one.
    pub task: Option<String>,
    /// What was seen.
    pub what: String,
}

/// What the judge says.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// What is only told.
    pub warnings: Vec<Violation>,
    /// Second executions, by what explains them.
    pub reruns: BTreeMap<&'static str, usize>,
    /// How long it took to go on after a death.
    pub timings: Timings,
}

/// Judges a storm.
#[must_use]
pub fn judge(history: &History, rules: &Rules) -> Verdict {
    let mut verdict = Verdict::default();
    outcomes::judge(history, &mut verdict);
    reruns::judge(history, rules, &mut verdict);
    remains::judge(history, rules, &mut verdict);
    verdict.timings = timing::measure(history);
    verdict
}

impl Verdict {
    fn find(&mut self, class: Class, task: Option<&str>, what: impl Into<String>) {
        self.note(Severity::Violation, class, task, what);
    }

    fn note(
        &mut self,
        severity: Severity,
        class: Class,
        task: Option<&str>,
        what: impl Into<String>,
    ) {
        let found = Violation {
            class,
            task: task.map(str::to_owned),
            what: what.into(),
        };
        match severity {
            Severity::Violation => self.violations.push(found),
            Severity::Warning => self.warnings.push(found),
        }
    }

    /// How many violations of each sort there are.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<Class, usize> {
        let mut classes = BTreeMap::new();
        for violation in &self.violations {
            *classes.entry(violation.class).or_default() += 1;
        }
        classes
    }
}

impl Default for Rules {
    /// The bounds of a debug build.
    fn default() -> Self {
        Self {
            scheduler_bytes_max: 300 << 20,
            service_bytes_max: 300 << 20,
            disturbed: Severity::Warning,
            repeats: Severity::Violation,
            monitor_repeats: Severity::Warning,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => write!(f, "{:?}: task {task}: {}", self.class, self.what),
            None => write!(f, "{:?}: {}", self.class, self.what),
        }
    }
}

/// In milliseconds, for sentences.
fn ms(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

#[cfg(test)]
mod tests;
