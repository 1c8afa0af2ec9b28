//! The words of the flags that the scheduler itself does not know.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::quantity::number;
use crate::setup::Estimates;

/// How the figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One line for each run
    Table,
    /// An array with an object for each run
    Json,
}

/// What counts as a worker's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoadSeen {
    /// All that the scheduler knows
    Counted,
    /// What the last heartbeat said
    Heartbeat,
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
