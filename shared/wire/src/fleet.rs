//! Frames about the fleet: a worker's heartbeat, its obituary, and the roll call of a new leader.

mod v1;

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::dialect::Dialect;
use crate::frame::{Frame, FrameError};
use crate::ids::{Holding, Kind, Lane, TaskId, Term, WorkerId};
use crate::resources::{Label, Resources};
use crate::span::{Micros, Span};

/// The most kinds that one worker handles.
pub const KINDS_MAX: usize = 1_024;
/// The most labels of one worker.
pub const LABELS_MAX: usize = 64;
/// The most deliveries that one worker holds, ended ones included.
pub const HELD_MAX: usize = 65_536;

/// What a worker says of itself, at each interval and at once when asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who says it.
    pub worker: WorkerId,
    /// Counts up from 1; a lower one than the last is late and says nothing new.
    pub number: u64,
    /// When the process started.
    pub started: Micros,
    /// How often it says it.
    pub interval: Span,
    /// Whether it takes tasks.
    pub state: WorkerState,
    /// How many attempts it can run at once.
    pub slots: u32,
    /// What it may give to attempts that ask for cores or memory; zero means nothing of that.
    pub resources: Resources,
    /// What it can run; at most [`KINDS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, KINDS_MAX>")]
    pub kinds: Vec<KindCapacity>,
    /// What it carries: `gpu`, `zone=eu`; at most [`LABELS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, LABELS_MAX>")]
    pub labels: Vec<Label>,
    /// The last assign frame that it has seen; nothing before the first.
    pub seen: Option<FrameMark>,
    /// Every delivery that it was assigned and that is not settled yet; at most [`HELD_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, HELD_MAX>")]
    pub held: Vec<Held>,
    /// The load of its machine.
    pub machine: MachineLoad,
    /// Kinds that it was started with and does not offer now; at most [`KINDS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, KINDS_MAX>")]
    pub withdrawn: Vec<Withdrawn>,
    /// What its sender reads and writes, told by the version of the frame.
    #[serde(skip)]
    pub dialect: Dialect,
}

/// A kind that a worker cannot run although it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// Which.
    pub kind: Kind,
    /// Why, in one sentence.
    pub reason: String,
}

/// Whether a worker takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerState {
    /// It takes tasks.
    Up,
    /// It finishes what it has and takes no more.
    Draining,
    /// Its last word: it holds nothing any more.
    Gone,
}

/// A kind that a worker handles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCapacity {
    /// Which.
    pub kind: Kind,
    /// How many of it may run at once there; nothing means as many as there are slots.
    pub concurrency: Option<u32>,
}

/// Names one assign frame: the term of its sender and its number within that term and worker, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrameMark {
    /// The sender's term.
    pub term: Term,
    /// Counts up by one for each worker, from wherever its first of the term began.
    pub number: u64,
}

/// One delivery that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub holding: Holding,
    /// How far it is.
    pub stage: Stage,
    /// How long the attempt has run so far, suspensions left out.
    pub ran: Span,
    /// What it is; not told by workers, or about assignments, of the first dialect.
    pub task: Option<HeldTask>,
}

/// Names the task of a delivery that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTask {
    /// Its id.
    pub id: TaskId,
    /// The lane from which it came.
    pub lane: Lane,
    /// Which attempt runs, from 1.
    pub attempt: u32,
}

/// How far a held delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It occupies a slot.
    Running,
    /// It stands still: it occupies no slot, but memory.
    Suspended,
    /// Its outcome is known and reported until it is settled; it occupies no slot.
    Ended,
}

/// The load of a machine. What the system does not tell is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLoad {
    /// Cores, in thousandths.
    pub cpu_milli: u32,
    /// Share of the cores' time that was busy since the last heartbeat, in thousandths.
    pub cpu_busy_permille: Option<u16>,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Memory that can still be had, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// Share of time in which some task waited for a CPU, over 10 s, in thousandths (Linux PSI).
    pub pressure_cpu_permille: Option<u16>,
    /// The same for memory.
    pub pressure_memory_permille: Option<u16>,
    /// The same for storage.
    pub pressure_io_permille: Option<u16>,
}

impl Frame for Heartbeat {
    const VERSION: u8 = 2;
    const NAME: &'static str = "heartbeat";

    fn decode_older(version: u8, body: &[u8]) -> Option<Result<Self, FrameError>> {
        v1::decode(version, body)
    }
}

impl Heartbeat {
    /// As a frame for leaders that read this dialect. Those of the first are not told what is held by
    /// name, nor what was withdrawn.
    #[must_use]
    pub fn encode_in(&self, dialect: Dialect) -> bytes::Bytes {
        match dialect {
            Dialect::V1 => v1::encode(self),
            Dialect::V2 => crate::frame::encode(self),
        }
    }
}

/// The word of a worker's guardian that the worker's process has ended without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obituary {
    /// Who has died.
    pub worker: WorkerId,
}

impl Frame for Obituary {
    const VERSION: u8 = 1;
    const NAME: &'static str = "obituary";
}

/// A new leader asks every worker for a heartbeat at once, and to report again what is not settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollCall {
    /// The leader's term; frames of older terms are refused from now on.
    pub term: Term,
}

impl Frame for RollCall {
    const VERSION: u8 = 1;
    const NAME: &'static str = "roll call";
}
