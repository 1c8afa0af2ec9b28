//! What a leader has learned and its successor would otherwise learn anew: how long kinds run, and which tasks
//! have taken workers down. Losing it costs quality, never a task.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::frame::Frame;
use crate::ids::{Kind, TaskId, WorkerId};

/// The most kinds that are remembered.
pub const KINDS_MAX: usize = 1_000;
/// The most buckets of one kind.
pub const BUCKETS_MAX: usize = 512;
/// The most tasks whose losses are remembered.
pub const TASKS_MAX: usize = 1_000;
/// The most losses of one task.
pub const LOSSES_MAX: usize = 64;

/// The memory of a leader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// How long kinds run; at most [`KINDS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, KINDS_MAX>")]
    pub durations: Vec<KindDurations>,
    /// Tasks that lost workers; at most [`TASKS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, TASKS_MAX>")]
    pub losses: Vec<TaskLosses>,
}

/// How long the runs of a kind took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindDurations {
    /// Which.
    pub kind: Kind,
    /// Runs that it was learned from.
    pub runs: u64,
    /// Their mean, the newest weighing most, in microseconds.
    pub mean_us: u64,
    /// Runs by bucket of their length: the bucket's number, and how many; at most [`BUCKETS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, BUCKETS_MAX>")]
    pub buckets: Vec<(u16, u16)>,
}

/// The workers that were lost while they held a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLosses {
    /// Which task.
    pub task: TaskId,
    /// Who; at most [`LOSSES_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, LOSSES_MAX>")]
    pub workers: Vec<LostWorker>,
}

/// A worker that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWorker {
    /// Who.
    pub worker: WorkerId,
    /// Whether it is certain that it has ended. One that is not may yet come back.
    pub ended: bool,
}

impl Frame for Memory {
    const VERSION: u8 = 1;
    const NAME: &'static str = "memory";
}
