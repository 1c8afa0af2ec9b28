//! What the world tells the core.

use rota_wire::dispatch::Outcome;
use rota_wire::fleet::Heartbeat;
use rota_wire::{Delivery, Lane, Span, TaskSpec, WorkerId};

/// Something that happened. An event that makes no sense changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A lane has messages.
    LaneFound {
        /// Which.
        lane: Lane,
    },
    /// The lanes that have a consumer, so that earlier terms may have left something in them. May be told
    /// again; nothing is recovered for good before it was told once.
    LanesListed {
        /// All of them.
        lanes: Vec<Lane>,
    },
    /// A lane can be pulled. What earlier terms left un-acked comes again, first of all.
    LaneOpened {
        /// Which.
        lane: Lane,
        /// How many deliveries come again, at most.
        unacked: u32,
        /// The last sequence that earlier terms were given.
        delivered_to: u64,
    },
    /// It could not be opened.
    LaneNotOpened {
        /// Which.
        lane: Lane,
    },
    /// A lane's consumer is gone; the lane is to be opened again.
    LaneGone {
        /// Which.
        lane: Lane,
    },
    /// A lane's consumer is deleted, as was wanted.
    LaneClosed {
        /// Which.
        lane: Lane,
    },
    /// It was not deleted: something of it is un-acked, or the server did not answer. It can be pulled as
    /// before.
    LaneKept {
        /// Which.
        lane: Lane,
    },
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
    /// A message of a lane that is no task for us: it has come, and that is all.
    Unreadable {
        /// Which lane.
        lane: Lane,
        /// Its sequence and count.
        delivery: Delivery,
        /// Messages of the lane that were still to come when it was sent.
        pending: u64,
    },
    /// Part of a pull that is not coming.
    PullEnded {
        /// Which lane.
        lane: Lane,
        /// How many messages.
        unused: u32,
        /// Why.
        end: PullEnd,
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
    /// It could not be stored, as far as is known.
    StoreFailed {
        /// The task's message.
        seq: u64,
    },
    /// A message is not in its stream any more: there is nothing left to settle.
    Gone {
        /// Which message.
        seq: u64,
    },
    /// Nothing was heard for so long, whoever spoke: silence is measured without it.
    Deaf {
        /// How long.
        span: Span,
    },
    /// Nobody listened when a frame was sent to a worker. It may only be cut off.
    Unreachable {
        /// Who.
        worker: WorkerId,
        /// The frame's number.
        frame: u64,
    },
    /// A worker's process has ended: that is certain.
    Died {
        /// Who.
        worker: WorkerId,
    },
    /// The answer to [`Probe`](crate::Action::Probe).
    Probed {
        /// Who.
        worker: WorkerId,
        /// Whether anybody listens on its subjects; nobody does once its connection has ended.
        there: bool,
    },
}

/// Why part of a pull is not coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEnd {
    /// The server had nothing to give.
    Nothing,
    /// It was cut short: by its size, by time, by the server or the connection. There may be more.
    Cut,
}

/// What a look-up of a task found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// The task has its result.
    Result,
    /// It has none, and an attempt of it lies in the schedule.
    Scheduled {
        /// Which attempt.
        attempt: u32,
    },
    /// Neither.
    Nothing,
    /// The server did not answer.
    Unanswered,
}
