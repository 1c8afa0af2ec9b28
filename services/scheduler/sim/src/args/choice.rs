//! The words of the flags.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::quantity::number;
use crate::setup::Estimates;

/// Which worker a task goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Allocation {
    /// Any
    Random,
    /// Each in turn
    RoundRobin,
    /// The least loaded
    LeastLoaded,
    /// The less loaded of two that are drawn
    PowerOfTwo,
    /// The one whose free resources the task fits best
    Resource,
}

/// When a task is bound to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Binding {
    /// When a worker can start it
    Late,
    /// On arrival, to a worker's queue
    Early,
}

/// Which task is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// The first that came
    Fifo,
    /// The most urgent
    Priority,
    /// The shortest
    Sjf,
    /// The one with the least left, preemptive
    Srtf,
    /// Each for a quantum in turn, preemptive
    TimeSlice,
    /// The one that has run least, preemptive
    Las,
}

/// How the figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One line for each run
    Table,
    /// An array with an object for each run
    Json,
}

/// Why a text names no estimates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be exact, learned or noisy:<sigma> with sigma 0 to 5")]
pub struct InvalidEstimates;

impl FromStr for Estimates {
    type Err = InvalidEstimates;

    fn from_str(text: &str) -> Result<Self, InvalidEstimates> {
        match text.split_once(':') {
            None if text == "exact" => Ok(Self::Exact),
            None if text == "learned" => Ok(Self::Learned),
            Some(("noisy", sigma)) if (0.0..=5.0).contains(&number(sigma)) => {
                Ok(Self::Noisy(number(sigma)))
            }
            _ => Err(InvalidEstimates),
        }
    }
}

impl fmt::Display for Estimates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Learned => f.write_str("learned"),
            Self::Noisy(sigma) => write!(f, "noisy:{sigma}"),
        }
    }
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(*self, f)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(*self, f)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(*self, f)
    }
}

/// The word by which the flag knows it.
fn write_word(word: impl ValueEnum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    word.to_possible_value()
        .map_or(Ok(()), |value| f.write_str(value.get_name()))
}
