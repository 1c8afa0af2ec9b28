//! What the core wants done. The service does the actions of one turn in their order.

use std::sync::Arc;

use rota_wire::dispatch::Failure;
use rota_wire::event::Event as Told;
use rota_wire::{Dialect, Holding, Kind, Lane, Span, TaskSpec, WorkerId};

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask all workers for a heartbeat, and for what they have not settled.
    CallRoll,
    /// Make or reset a lane's consumer, and answer with `LaneOpened` or `LaneNotOpened`.
    OpenLane {
        /// Which.
        lane: Lane,
    },
    /// Delete a lane's consumer unless something of it is un-acked, and answer with `LaneClosed` or
    /// `LaneKept`.
    CloseLane {
        /// Which.
        lane: Lane,
    },
    /// Look which lanes of a kind have messages, and tell of each with `LaneFound`.
    FindLanes {
        /// Which kind.
        kind: Kind,
    },
    /// Ask a lane for more messages.
    Pull {
        /// Which.
        lane: Lane,
        /// How many.
        count: u32,
    },
    /// Send a frame to a worker.
    Assign(AssignFrame),
    /// Answer the message for good: its task is settled.
    Ack {
        /// Which message.
        seq: u64,
    },
    /// Have the message delivered again at once.
    Nak {
        /// Which message.
        seq: u64,
    },
    /// Look whether the task has a result, or an attempt in the schedule, and answer with `Looked`.
    LookUp {
        /// Its message.
        seq: u64,
        /// The task.
        task: Arc<TaskSpec>,
        /// Which copy of the streams may answer.
        freshness: Freshness,
    },
    /// Store the message in the schedule as the next attempt, and answer with `Stored`.
    StoreRetry {
        /// Its message.
        seq: u64,
        /// The task, its attempt already raised.
        task: Arc<TaskSpec>,
        /// How long it waits.
        wait: Span,
    },
    /// Store the message as a dead letter, then the task's result as failed, and answer with `Stored`.
    Bury {
        /// Its message.
        seq: u64,
        /// The task.
        task: Arc<TaskSpec>,
        /// Why, in one sentence.
        reason: String,
        /// Who had it last.
        worker: Option<WorkerId>,
        /// Its last attempt's failure; nothing when it took its workers down.
        failure: Option<Box<Failure>>,
    },
    /// Find out whether anybody listens on a worker's subjects, and answer with `Probed`.
    Probe {
        /// Who.
        worker: WorkerId,
    },
    /// Say that a worker is not heard, and why. Said once of each.
    Refuse {
        /// Who.
        worker: WorkerId,
        /// Why, in one sentence.
        reason: String,
    },
    /// Tell whoever watches.
    Tell(Told),
    /// Write down a task that has completed.
    Record {
        /// The task.
        task: Arc<TaskSpec>,
        /// How long it ran.
        ran: Span,
    },
}

/// How much a look-up must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// All that was stored until now: only the stream's leader knows.
    Latest,
    /// What was stored some seconds ago: any copy of the stream will do.
    AnyCopy,
}

/// Decisions for one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignFrame {
    /// Who.
    pub worker: WorkerId,
    /// What it reads.
    pub dialect: Dialect,
    /// The frame's number for this worker in this term, from 1.
    pub number: u64,
    /// Outcomes that are settled.
    pub settled: Vec<u64>,
    /// Deliveries that belong to others now.
    pub revoked: Vec<Holding>,
    /// Attempts to suspend; they come before all that is to run.
    pub suspended: Vec<Holding>,
    /// Attempts to resume.
    pub resumed: Vec<Holding>,
    /// Attempts to run.
    pub tasks: Vec<Placed>,
}

/// An attempt and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Names it between worker and scheduler.
    pub holding: Holding,
    /// The task.
    pub task: Arc<TaskSpec>,
    /// How long it is expected to run, if anything is known.
    pub estimate: Option<Span>,
}
