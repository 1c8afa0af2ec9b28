//! How one attempt ended: the only thing that an attempt gives back.
//!
//! A command and a Rust function end in the same type, so whoever keeps the slots treats them
//! alike. An attempt always ends in exactly one [`Verdict`]; there is no error beside it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
pub use rota_wire::dispatch::Retry;

/// The longest reason in bytes; a longer one is cut. It travels in a header of the result.
const REASON_BYTES_MAX: usize = 1024;

/// The end of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What follows from it.
    pub verdict: Verdict,
    /// How the command's process ended. `None` for functions, and for commands that never started.
    pub exit: Option<Exit>,
    /// The last 4 KiB that a command wrote to stderr, bytes that are not UTF-8 replaced.
    pub stderr_tail: String,
    /// How long the attempt ran, time in suspension left out.
    pub ran: Duration,
}

/// What follows from the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, with this output.
    Completed(Bytes),
    /// Not done, for a reason that a person can read.
    Failed {
        /// Whether another attempt makes sense.
        retry: Retry,
        /// Why, at most 1 KiB.
        reason: String,
    },
    /// No process could be started for it, so nothing has run and no attempt is used up.
    NotStarted {
        /// What is short or wrong.
        blame: Blame,
        /// Why, at most 1 KiB.
        reason: String,
    },
    /// Ended because [`stop`](crate::AttemptControl::stop) was called. Whatever the handler still
    /// produced is dropped: it may be half of something.
    Stopped,
}

/// What kept a command from being started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The handler: its program or its working_dir is not there or not fit.
    Handler,
    /// The machine, which has no process, memory or file descriptor to spare.
    Machine,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The code that it exited with.
    Code(i32),
    /// The signal that ended it.
    Signal(i32),
}

impl Ended {
    /// The end of an attempt that ran nothing.
    pub(crate) fn unstarted(verdict: Verdict) -> Self {
        Self {
            verdict,
            exit: None,
            stderr_tail: String::new(),
            ran: Duration::ZERO,
        }
    }
}

impl Verdict {
    pub(crate) fn retry(reason: impl Into<String>) -> Self {
        Self::Failed {
            retry: Retry::Later,
            reason: cut_reason(reason.into()),
        }
    }

    pub(crate) fn not_started(blame: Blame, reason: impl Into<String>) -> Self {
        Self::NotStarted {
            blame,
            reason: cut_reason(reason.into()),
        }
    }

    pub(crate) fn fatal(reason: impl Into<String>) -> Self {
        Self::Failed {
            retry: Retry::Never,
            reason: cut_reason(reason.into()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

fn cut_reason(mut reason: String) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let Verdict::Failed { reason, .. } = Verdict::retry("é".repeat(1000) + "x") else {
            unreachable!("retry makes a failure");
        };
        assert_eq!(reason, "é".repeat(512));
    }

    #[test]
    fn an_odd_cut_falls_back_to_the_character_before() {
        let Verdict::Failed { reason, .. } = Verdict::fatal("x".to_owned() + &"é".repeat(1000))
        else {
            unreachable!("fatal makes a failure");
        };
        assert_eq!(reason.len(), 1023);
    }
}
