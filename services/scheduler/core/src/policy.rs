//! What an operator chooses: which worker a task goes to, when it is bound to it, and which task is next.
//!
//! One choice for the installation, another for a kind where that is wanted. What each strategy gives and
//! when it fails stands in docs/scheduling.md, with the simulation that shows it.

use std::fmt;
use std::str::FromStr;

use rota_wire::Span;

/// How tasks of a kind are scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which worker a task goes to.
    pub allocation: Allocation,
    /// When it is bound to that worker.
    pub binding: Binding,
    /// Which task is next.
    pub order: Order,
    /// How long a task waits to gain one level of priority; nothing means that it gains none.
    pub ageing: Option<Span>,
    /// The slice of `time-slice`, and how far `las` lets one task run ahead of another.
    pub quantum: Span,
    /// How long an attempt runs at least before it may be suspended.
    pub min_run: Span,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allocation: Allocation::LeastLoaded,
            binding: Binding::Late,
            order: Order::Priority,
            ageing: Some(Span::from_secs(300)),
            quantum: Span::from_secs(1),
            min_run: Span::from_ms(100),
        }
    }
}

/// Which worker a task goes to, of those that handle its kind, carry what it requires and have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allocation {
    /// Any of them, drawn.
    Random,
    /// Each in turn.
    RoundRobin,
    /// The one with the smallest share of its slots occupied.
    LeastLoaded,
    /// Of two that are drawn the less loaded.
    PowerOfTwo,
    /// The one that has least left of what the task mostly needs; machines under pressure last.
    Resource,
}

/// When a task is bound to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    /// When a worker can start it.
    Late,
    /// On arrival, to the queue of a worker.
    Early,
}

/// Which task is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// The one that was submitted first.
    Fifo,
    /// The one with the highest priority, which grows while it waits.
    Priority,
    /// The one that is expected to run shortest.
    Sjf,
    /// The one that is expected to have least left; it takes the slot of one that has more.
    Srtf,
    /// Each for a quantum in turn.
    TimeSlice,
    /// The one that has run least; it takes the slot of one that has run a quantum more.
    Las,
}

impl Order {
    /// Whether it suspends running attempts.
    #[must_use]
    pub const fn is_preemptive(self) -> bool {
        match self {
            Self::Fifo | Self::Priority | Self::Sjf => false,
            Self::Srtf | Self::TimeSlice | Self::Las => true,
        }
    }
}

/// Why a text names no strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of: {0}")]
pub struct UnknownStrategy(String);

macro_rules! words {
    ($strategy:ident: $($variant:ident = $word:literal),+) => {
        impl $strategy {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word by which configuration knows it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $strategy {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $strategy {
            type Err = UnknownStrategy;

            fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
                let found = Self::ALL.iter().copied().find(|one| one.as_str() == text);
                found.ok_or_else(|| UnknownStrategy([$($word),+].join(", ")))
            }
        }
    };
}

words!(Allocation:
    Random = "random",
    RoundRobin = "round-robin",
    LeastLoaded = "least-loaded",
    PowerOfTwo = "power-of-two",
    Resource = "resource"
);
words!(Binding: Late = "late", Early = "early");
words!(Order:
    Fifo = "fifo",
    Priority = "priority",
    Sjf = "sjf",
    Srtf = "srtf",
    TimeSlice = "time-slice",
    Las = "las"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_reads_back_from_its_word() {
        for order in Order::ALL {
            assert_eq!(order.as_str().parse(), Ok(*order));
        }
        for allocation in Allocation::ALL {
            assert_eq!(allocation.as_str().parse(), Ok(*allocation));
        }
        let error = "lifo".parse::<Order>().expect_err("there is none");
        assert!(error.to_string().contains("time-slice, las"), "{error}");
    }
}
