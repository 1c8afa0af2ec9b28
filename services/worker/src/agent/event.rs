//! What the [`Agent`](super::Agent) is told.

use std::time::Duration;

use rota_wire::dispatch::{Assign, Ending};
use rota_wire::fleet::RollCall;
use rota_wire::{Dialect, Kind, Span, Term};

/// Names a message of ROTA_READY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReadySeq(pub(crate) u64);

/// Names an attempt within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttemptNumber(pub(super) u64);

/// The scheduler that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) term: Term,
    /// What it reads and writes.
    pub(crate) dialect: Dialect,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame of the scheduler came.
    Assigned(Assign),
    /// A leader calls the roll.
    RollCalled(RollCall),
    /// The lease of the schedulers was read, as [`Action::AskLeader`](super::Action::AskLeader) wants.
    LeaderRead(Option<Leader>),
    /// The connection is up again, or has lost messages: what was sent may not have arrived.
    LinkRestored,
    /// An attempt that was started is over.
    AttemptEnded {
        /// Which.
        attempt: AttemptNumber,
        /// How long it ran, suspensions left out.
        ran: Span,
        /// How.
        end: AttemptEnd,
    },
    /// A kind was looked at, as [`Action::Look`](super::Action::Look) wants.
    Looked {
        /// Which.
        kind: Kind,
        /// Why it cannot be started; nothing if it seems that it can.
        unfit: Option<String>,
    },
    /// The worker is to stop; what runs may take so long to end by itself.
    DrainBegun {
        /// How long.
        grace: Duration,
    },
}

/// How an attempt ended, its result already stored if it has one.
#[derive(Debug)]
pub(crate) enum AttemptEnd {
    /// By itself.
    Ended(Ending),
    /// Because it was stopped.
    Stopped,
    /// It never began, for a reason that says nothing of its kind.
    Returned {
        /// Why.
        reason: String,
    },
    /// It never began, and no attempt of its kind would here.
    Unfit {
        /// Why.
        reason: String,
    },
}
