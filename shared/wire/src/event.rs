//! What happened, told by the services to whoever watches: batched frames in ROTA_EVENTS.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::fleet::KINDS_MAX;
use crate::frame::Frame;
use crate::ids::{Kind, TaskId, Term, WorkerId};
use crate::resources::Resources;
use crate::span::{Micros, Span};

/// The most events in one frame.
pub const EVENTS_MAX: usize = 1_024;

/// Events of one service, in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBatch {
    /// What happened; at most [`EVENTS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, EVENTS_MAX>")]
    pub events: Vec<TimedEvent>,
    /// Events that found no room in the sender's buffer since the last frame.
    pub dropped: u64,
}

/// An event and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// When.
    pub at: Micros,
    /// What.
    pub event: Event,
}

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A scheduler became the leader.
    Leading {
        /// Its term.
        term: Term,
    },
    /// A leader has heard all workers and taken over what they hold.
    Recovered {
        /// Its term.
        term: Term,
        /// Running deliveries that stay where they are.
        adopted: u32,
    },
    /// A worker is there.
    WorkerJoined {
        /// Who.
        worker: WorkerId,
        /// How many attempts it can run at once.
        slots: u32,
        /// What it can run; at most [`KINDS_MAX`].
        #[serde(deserialize_with = "bounded::list::<_, _, KINDS_MAX>")]
        kinds: Vec<Kind>,
    },
    /// A worker takes no more tasks.
    WorkerDraining {
        /// Who.
        worker: WorkerId,
        /// How many deliveries it still holds.
        holding: u32,
    },
    /// A worker said goodbye.
    WorkerLeft {
        /// Who.
        worker: WorkerId,
    },
    /// A worker fell silent.
    WorkerLost {
        /// Who.
        worker: WorkerId,
        /// For how long.
        silent: Span,
        /// How many deliveries it held.
        holding: u32,
    },
    /// A delivery goes to another worker.
    Redelivered {
        /// Which task.
        task: TaskId,
        /// Its kind.
        kind: Kind,
        /// Who had it.
        worker: WorkerId,
        /// Why it goes elsewhere.
        cause: RedeliveryCause,
    },
    /// An attempt failed and another will follow.
    Retrying {
        /// Which task.
        task: TaskId,
        /// Its kind.
        kind: Kind,
        /// The attempt that failed.
        attempt: u32,
        /// How long until the next.
        wait: Span,
        /// Why it failed.
        reason: String,
    },
    /// A task ended as failed and lies in ROTA_DEAD.
    DeadLettered {
        /// Which task.
        task: TaskId,
        /// Its kind.
        kind: Kind,
        /// Attempts begun.
        attempts: u32,
        /// Why.
        reason: String,
    },
    /// A submission was refused.
    Rejected {
        /// The id of its result.
        task: TaskId,
        /// What was wrong with it.
        reason: String,
    },
    /// A task that had a result, or was already there, was not run again.
    Duplicate {
        /// Which task.
        task: TaskId,
    },
    /// What a leader has counted since its term began.
    Counted(Counts),
    /// A worker's process ended without a goodbye.
    WorkerDied {
        /// Who.
        worker: WorkerId,
        /// How many deliveries it held.
        holding: u32,
    },
    /// A worker that was taken for lost is there again.
    WorkerReturned {
        /// Who.
        worker: WorkerId,
    },
    /// A worker does not offer a kind any more that it was started with.
    KindWithdrawn {
        /// Who.
        worker: WorkerId,
        /// Which.
        kind: Kind,
        /// Why, in one sentence.
        reason: String,
    },
    /// A task that asks for much has waited long: a worker is kept for it.
    Reserved {
        /// Which task.
        task: TaskId,
        /// Its kind.
        kind: Kind,
        /// Who.
        worker: WorkerId,
    },
}

/// Why a delivery goes to another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedeliveryCause {
    /// Its worker fell silent.
    Lost,
    /// Its worker is stopping and handed it back.
    Returned,
    /// Its worker never received it, or has forgotten it.
    Missing,
}

impl RedeliveryCause {
    /// As a phrase for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "worker lost",
            Self::Returned => "handed back by a stopping worker",
            Self::Missing => "never reached its worker",
        }
    }
}

/// Totals of one term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The term.
    pub term: Term,
    /// Attempts assigned.
    pub assigned: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Tasks that ended as failed.
    pub dead: u64,
    /// Deliveries that went to another worker.
    pub redelivered: u64,
    /// Running attempts that were suspended.
    pub preempted: u64,
    /// Tasks held in the scheduler's memory at this moment.
    pub in_memory: u64,
    /// What all workers may give to attempts that ask for cores or memory.
    pub resources: Resources,
    /// What of it is promised to attempts at this moment.
    pub demand: Resources,
}

impl Frame for EventBatch {
    const VERSION: u8 = 1;
    const NAME: &'static str = "event batch";
}
