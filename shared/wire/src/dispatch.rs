//! Frames of dispatch: what the scheduler assigns to a worker, and what the worker reports.
//!
//! ```text
//! scheduler ── Assign { tasks, suspended, resumed, revoked, settled } ──► worker
//! scheduler ◄── Report { outcomes } ─────────────── worker   repeated until settled
//! ```

mod v1;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::fleet::FrameMark;
use crate::frame::{Frame, FrameError};
use crate::ids::{Holding, Kind, Priority, TaskId, WorkerId};
use crate::span::{Micros, Span};

/// The most entries of each list of these frames: far more than anybody writes, who closes frames by their bytes.
pub const ENTRIES_MAX: usize = 262_144;
/// The most attempts that one frame assigns.
pub const ASSIGNMENTS_MAX: usize = 65_536;

/// Many decisions for one worker in one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// Names the frame; the worker's heartbeats repeat the newest.
    pub mark: FrameMark,
    /// Outcomes that need not be reported again, by their numbers.
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    pub settled: Vec<u64>,
    /// Deliveries that now belong to others: stop them and say nothing of them.
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    pub revoked: Vec<Holding>,
    /// Attempts that are to stand still and give their slot away.
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    pub suspended: Vec<Holding>,
    /// Attempts that are to go on; a slot was kept for each.
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    pub resumed: Vec<Holding>,
    /// Attempts to run; at most [`ASSIGNMENTS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ASSIGNMENTS_MAX>")]
    pub tasks: Vec<Assignment>,
}

/// One attempt to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Names it between worker and scheduler.
    pub holding: Holding,
    /// The task.
    pub id: TaskId,
    /// Its kind.
    pub kind: Kind,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The longest that it may run.
    pub timeout: Span,
    /// How long it is expected to run, if anything is known; the result tells how far that was off.
    pub estimate: Option<Span>,
    /// When the task reached ROTA_INTAKE.
    pub submitted: Micros,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The priority of its lane; not told by leaders of the first dialect.
    pub priority: Option<Priority>,
    /// The task's input.
    pub input: Input,
}

/// Where a task's input is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Here, untouched.
    Inline(Bytes),
    /// In the message of ROTA_READY that the delivery names: whoever runs the task reads it there.
    InStream {
        /// Its size.
        bytes: u64,
    },
}

impl Input {
    /// The size of the input.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::InStream { bytes } => *bytes,
        }
    }
}

impl Frame for Assign {
    const VERSION: u8 = 2;
    const NAME: &'static str = "assign";

    fn decode_older(version: u8, body: &[u8]) -> Option<Result<Self, FrameError>> {
        v1::decode(version, body)
    }
}

impl Assign {
    /// As a frame for workers of the first dialect, which read inputs only inline. Assignments whose input
    /// is not are left out; the worker's next heartbeat shows that they are missing.
    #[must_use]
    pub fn encode_v1(&self) -> Bytes {
        v1::encode(self)
    }
}

/// What became of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who ran them.
    pub worker: WorkerId,
    /// One entry for each; numbers do not repeat within a worker's life.
    #[serde(deserialize_with = "bounded::list::<_, _, ASSIGNMENTS_MAX>")]
    pub outcomes: Vec<Outcome>,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Names the outcome until it is settled.
    pub number: u64,
    /// Which delivery.
    pub holding: Holding,
    /// How long it ran, suspensions left out.
    pub ran: Span,
    /// How it ended.
    pub ending: Ending,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The task has its result in ROTA_RESULTS, this attempt's or, when another was first, that one's.
    Stored,
    /// It failed.
    Failed(Failure),
    /// Handed back unfinished by a worker that stops, or never begun: no attempt is used up.
    Returned {
        /// Why, in one sentence.
        reason: String,
    },
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whether another attempt makes sense.
    pub retry: Retry,
    /// Why it failed, in one sentence.
    pub reason: String,
    /// A command's exit code or the signal that ended it.
    pub exit: Option<String>,
    /// The end of what it wrote to stderr.
    pub stderr_tail: String,
    /// When it began.
    pub started: Micros,
    /// When it failed.
    pub finished: Micros,
}

/// Whether a failed attempt may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// Yes, while attempts are left.
    Later,
    /// No: the handler says that it can never succeed.
    Never,
}

impl Frame for Report {
    const VERSION: u8 = 1;
    const NAME: &'static str = "report";
}
