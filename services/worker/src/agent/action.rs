//! What the [`Agent`](super::Agent) wants done, and why it decided what is odd.

use rota_wire::dispatch::{Assignment, Report};
use rota_wire::fleet::Heartbeat;
use rota_wire::{Kind, TaskId, Term};

use super::AttemptNumber;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run this.
    Start {
        /// What it is called from now on.
        attempt: AttemptNumber,
        /// What to run.
        assignment: Assignment,
    },
    /// End this attempt; its end is still awaited.
    Stop(AttemptNumber),
    /// Make this attempt stand still.
    Suspend(AttemptNumber),
    /// Let this attempt go on.
    Resume(AttemptNumber),
    /// Read in the lease who leads, and tell it.
    AskLeader,
    /// Look whether attempts of this kind can be started, and tell it.
    Look(Kind),
    /// Send a heartbeat, the load of the machine filled in.
    Beat(Heartbeat),
    /// Send a report.
    Report(Report),
    /// Log why something was decided.
    Note(Note),
    /// All is said: flush and leave.
    Leave,
}

/// Why something odd was decided.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A frame of a term that does not lead was refused.
    NotLeading {
        /// The frame's term.
        found: Term,
        /// The term that leads; nothing when that could not be read.
        leads: Option<Term>,
    },
    /// The worker follows another leader from now on.
    Follows(Term),
    /// Frames did not arrive.
    FramesMissed {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A delivery came that is held already; what runs is kept.
    AlreadyHeld(TaskId),
    /// A delivery was handed back without being begun.
    HandedBack {
        /// Which task.
        task: TaskId,
        /// Why.
        reason: &'static str,
    },
    /// A kind cannot be started, and is not offered any more.
    Withdrawn {
        /// Which.
        kind: Kind,
        /// Why.
        reason: String,
    },
    /// A kind that was withdrawn is offered again.
    Offered(Kind),
    /// A delivery was not taken because too many outcomes are not settled.
    Shed(TaskId),
    /// A delivery gives its slot away for a while.
    Suspended(TaskId),
    /// A delivery has a slot again.
    Resumed(TaskId),
    /// A delivery belongs to another worker now.
    Revoked(TaskId),
    /// An attempt did not end although it was killed; its delivery was handed back.
    GivenUp(TaskId),
}
