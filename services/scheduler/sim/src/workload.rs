//! What arrives: how long tasks take, or a trace of what has arrived once.
//!
//! Every distribution is scaled to mean 1. Its shape is what matters: with the load it decides how long
//! tasks wait, and which strategy serves them best.

mod demands;
mod sampler;
mod trace;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rota_wire::Priority;

pub use demands::{Demands, InvalidDemands};
pub(crate) use sampler::{Sampler, exponential, standard_normal};
pub use trace::{Trace, TraceError, TraceTask};

use crate::quantity::number;

/// How long tasks take.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// Exponential: no memory, the case of most formulas.
    Exponential,
    /// Two exponentials with balanced means: mostly short, now and then long.
    Hyperexponential {
        /// Variance over the square of the mean, 1 or more.
        cv2: f64,
    },
    /// Bounded Pareto: a heavy tail that is cut off.
    BoundedPareto {
        /// The tail's exponent, more than 0.
        alpha: f64,
        /// Longest over shortest, more than 1.
        ratio: f64,
    },
    /// The logarithm is normal. `mu` only scales it, and so has no effect.
    Lognormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm, 0 or more.
        sigma: f64,
    },
    /// All alike.
    Deterministic,
    /// What has arrived once, with its own arrivals and durations in seconds.
    Trace(Arc<Trace>),
}

/// Why a workload was refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// Its name is none of those known.
    #[error(
        "workload `{0}` is not known: must be exp, h2:<cv2>, pareto:<alpha>,<max/min>, \
         lognormal:<mu>,<sigma>, deterministic or trace:<file.csv>"
    )]
    Unknown(String),
    /// It was given too many or too few numbers, or such that break its rule.
    #[error("workload `{given}`: must be {rule}")]
    Parameters {
        /// What was given.
        given: String,
        /// What would have been right.
        rule: &'static str,
    },
    /// The trace cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl Workload {
    /// Parses what a person writes, and reads the trace if it names one.
    ///
    /// # Errors
    /// [`WorkloadError`] with the rule that the text breaks, or the line of the trace.
    pub fn parse(text: &str) -> Result<Self, WorkloadError> {
        let (name, rest) = text
            .split_once(':')
            .map_or((text, None), |(n, r)| (n, Some(r)));
        let refused = |rule| WorkloadError::Parameters {
            given: text.to_owned(),
            rule,
        };
        let numbers: Vec<f64> = rest.map_or_else(Vec::new, |r| r.split(',').map(number).collect());
        match (name, rest) {
            ("trace", Some(path)) if !path.is_empty() => {
                Ok(Self::Trace(Arc::new(Trace::read(Path::new(path))?)))
            }
            ("trace", _) => Err(refused("trace:<file.csv>")),
            ("exp", None) => Ok(Self::Exponential),
            ("exp", Some(_)) => Err(refused("exp, without numbers")),
            ("deterministic", None) => Ok(Self::Deterministic),
            ("deterministic", Some(_)) => Err(refused("deterministic, without numbers")),
            ("h2", _) => match *numbers {
                [cv2] if (1.0..=1e6).contains(&cv2) => Ok(Self::Hyperexponential { cv2 }),
                _ => Err(refused("h2:<cv2> with 1 to 1000000")),
            },
            ("pareto", _) => match *numbers {
                [alpha, ratio] if (0.05..=20.0).contains(&alpha) && ratio > 1.0 && ratio <= 1e9 => {
                    Ok(Self::BoundedPareto { alpha, ratio })
                }
                _ => Err(refused(
                    "pareto:<alpha>,<max/min> with alpha 0.05 to 20 and a ratio of more than 1 and \
                     at most 1e9",
                )),
            },
            ("lognormal", _) => match *numbers {
                [mu, sigma] if mu.is_finite() && (0.0..=5.0).contains(&sigma) => {
                    Ok(Self::Lognormal { mu, sigma })
                }
                _ => Err(refused("lognormal:<mu>,<sigma> with sigma 0 to 5")),
            },
            _ => Err(WorkloadError::Unknown(text.to_owned())),
        }
    }
}

/// How many tasks have which priority: shares that add up to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Priorities {
    shares: Vec<(Priority, f64)>,
}

/// Why a mix of priorities was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be <priority>:<share>,… with priorities 0 to 9, each once, and shares that add up to 1"
)]
pub struct InvalidPriorities;

impl Default for Priorities {
    fn default() -> Self {
        Self {
            shares: vec![(Priority::default(), 1.0)],
        }
    }
}

impl std::str::FromStr for Priorities {
    type Err = InvalidPriorities;

    /// Parses `9:0.2,5:0.8`.
    fn from_str(text: &str) -> Result<Self, InvalidPriorities> {
        let mut shares: Vec<(Priority, f64)> = Vec::new();
        for part in text.split(',') {
            let (level, share) = part.split_once(':').ok_or(InvalidPriorities)?;
            let level: u8 = level.trim().parse().map_err(|_| InvalidPriorities)?;
            let priority = Priority::new(level).ok_or(InvalidPriorities)?;
            let share = number(share);
            let again = shares.iter().any(|(known, _)| *known == priority);
            if again || !(share > 0.0 && share <= 1.0) {
                return Err(InvalidPriorities);
            }
            shares.push((priority, share));
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        if (sum - 1.0).abs() > 1e-6 {
            Err(InvalidPriorities)
        } else {
            Ok(Self { shares })
        }
    }
}

impl Priorities {
    /// The priorities that occur.
    pub(crate) fn levels(&self) -> impl Iterator<Item = Priority> {
        self.shares.iter().map(|(priority, _)| *priority)
    }

    /// The priority at a point of the line from 0 to 1 on which the shares lie side by side.
    pub(crate) fn at(&self, point: f64) -> Priority {
        let mut reached = 0.0;
        let found = self.shares.iter().find(|(_, share)| {
            reached += share;
            point < reached
        });
        found
            .or(self.shares.last())
            .map_or_else(Priority::default, |(priority, _)| *priority)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exponential => f.write_str("exp"),
            Self::Hyperexponential { cv2 } => write!(f, "h2:{cv2}"),
            Self::BoundedPareto { alpha, ratio } => write!(f, "pareto:{alpha},{ratio}"),
            Self::Lognormal { mu, sigma } => write!(f, "lognormal:{mu},{sigma}"),
            Self::Deterministic => f.write_str("deterministic"),
            Self::Trace(trace) => write!(f, "trace of {} tasks", trace.tasks().len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_read_as_they_are_printed() {
        for text in [
            "exp",
            "h2:10",
            "pareto:1.5,10000",
            "lognormal:0,2.36",
            "deterministic",
        ] {
            assert_eq!(Workload::parse(text).expect("good").to_string(), text);
        }
    }

    #[test]
    fn a_workload_that_makes_no_sense_is_refused_with_its_rule() {
        for (bad, word) in [
            ("expo", "not known"),
            ("exp:1", "without numbers"),
            ("h2", "h2:<cv2>"),
            ("h2:0.5", "1 to 1000000"),
            ("pareto:1.5", "pareto:<alpha>,<max/min>"),
            ("pareto:0,100", "alpha 0.05"),
            ("pareto:1.5,1", "ratio"),
            ("lognormal:0,-1", "sigma"),
            ("lognormal:0", "lognormal:<mu>,<sigma>"),
            ("trace:", "trace:<file.csv>"),
        ] {
            let error = Workload::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn priorities_are_drawn_by_their_shares_and_refused_unless_they_add_up() {
        let mix: Priorities = "9:0.25,1:0.75".parse().expect("good");
        assert_eq!(mix.at(0.2).level(), 9);
        assert_eq!(mix.at(0.3).level(), 1);
        assert_eq!(mix.at(1.0).level(), 1);
        for bad in ["", "9", "9:0.5", "10:1", "9:0.5,9:0.5", "9:2,1:-1"] {
            assert!(bad.parse::<Priorities>().is_err(), "{bad}");
        }
    }
}
