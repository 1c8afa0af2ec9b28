//! Why a task is where it is: the scheduler's answer to a request on `rota.explain.<id>`, as JSON.

use serde::{Deserialize, Serialize};

use crate::ids::{Kind, TaskId, WorkerId};
use crate::span::{Micros, Span};

/// Workers that an explanation lists one by one, at most.
pub const CANDIDATES_MAX: usize = 32;

/// Why a task waits, or why it went where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which task.
    pub task: TaskId,
    /// How far it is: `waiting`, `checking`, `running`, `suspended`, `settling`, `returning`, or `unknown`
    /// when the scheduler has not got it in memory.
    pub state: String,
    /// The reason, in one or two sentences.
    pub why: String,
    /// What the scheduler knows of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// The decision that sent it to its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The workers as they are now, those first that come into question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Workers that are not listed.
    #[serde(default)]
    pub others: u64,
}

/// What the scheduler knows of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its kind.
    pub kind: Kind,
    /// 0 to 9.
    pub priority: u8,
    /// Which attempt this is.
    pub attempt: u32,
    /// Which task is next among its like.
    pub order: String,
    /// Which worker a task of its kind goes to.
    pub allocation: String,
    /// When a task of its kind is bound to a worker.
    pub binding: String,
    /// Tasks that stand before it in its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// How long it is expected to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// How long it has run, in milliseconds.
    #[serde(rename = "ran_ms")]
    pub ran: Span,
    /// Who has it, or for whom it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Workers that were lost while they held it.
    pub losses: u32,
}

/// How long a task is expected to run, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// How long, in milliseconds.
    #[serde(rename = "ms")]
    pub span: Span,
    /// `submitter`, or `learned`.
    pub source: String,
    /// Runs of its kind that were learned from.
    pub runs: u64,
    /// Half of them took at most this.
    #[serde(rename = "p50_ms", skip_serializing_if = "Option::is_none")]
    pub p50: Option<Span>,
    /// 95 of 100 of them took at most this.
    #[serde(rename = "p95_ms", skip_serializing_if = "Option::is_none")]
    pub p95: Option<Span>,
}

/// How a task came to its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Micros,
    /// By which strategy; when it took the slot of another, by which order.
    pub by: String,
    /// The worker chosen.
    pub worker: WorkerId,
    /// Workers that took tasks of its kind then.
    pub workers: u64,
    /// Those of them that lacked a label that it requires.
    pub without_labels: u64,
    /// Those of them that had no free slot.
    pub full: u64,
    /// The least loaded of the others, with their loads: the chosen one among them or not.
    pub considered: Vec<Candidate>,
}

/// A worker in the light of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who; nothing when it is gone.
    pub worker: Option<WorkerId>,
    /// The share of its slots that is taken or spoken for, in thousandths: the score of `least-loaded` and
    /// `power-of-two`.
    pub load_permille: u64,
    /// Why it does not come into question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ruled_out: Option<String>,
}
