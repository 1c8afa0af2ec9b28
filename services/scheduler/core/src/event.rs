//! What the world tells the core.

use rota_wire::dispatch::Outcome;
use rota_wire::fleet::Heartbeat;
use rota_wire::{Delivery, Lane, TaskSpec, WorkerId};

/// Something that happened. An event that makes no sense changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A lane can be pulled. What earlier terms left un-acked comes again, first of all.
    LaneOpened {
        /// Which.
        lane: Lane,
        /// How many deliveries come again, at most.
        unacked: u32,
        /// The last sequence that earlier terms were given.
        delivered_to: u64,
    },
    /// A lane's consumer is gone; the lane is to be opened again.
    LaneGone {
        /// Which.
        lane: Lane,
    },
    /// All lanes that have messages have been opened.
    LanesListed,
    /// A message of a lane.
    Delivered {
        /// Which lane.
        lane: Lane,
        /// Its sequence and count.
        delivery: Delivery,
        /// Messages of the lane that were still to come when it was sent.
        pending: u64,
        /// The task.
        task: TaskSpec,
        /// The size of its input.
        input_bytes: u64,
    },
    /// Part of a pull that is not coming.
    PullEnded {
        /// Which lane.
        lane: Lane,
        /// How many messages.
        unused: u32,
    },
    /// A worker speaks of itself.
    Heartbeat(Box<Heartbeat>),
    /// A worker tells what became of an attempt.
    Reported {
        /// Who.
        worker: WorkerId,
        /// What.
        outcome: Box<Outcome>,
    },
    /// The answer to [`LookUp`](crate::Action::LookUp).
    Looked {
        /// The task's message.
        seq: u64,
        /// What was found.
        found: Looked,
    },
    /// A retry or a dead letter with its result is stored.
    Stored {
        /// The task's message.
        seq: u64,
    },
    /// It could not be stored.
    StoreFailed {
        /// The task's message.
        seq: u64,
    },
}

/// What a look-up of a result found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// The task has its result.
    Result,
    /// It has none.
    Nothing,
    /// The server did not answer.
    Unanswered,
}
