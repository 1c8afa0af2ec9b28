//! The tasks in memory: everything delivered and not acked yet.
//!
//! Bounded by what was pulled. A task is found by its message's sequence, and by its id so that a
//! second message of the same task is noticed.

use std::sync::Arc;

use rota_wire::dispatch::Failure;
use rota_wire::{Delivery, Holding, Lane, Micros, Recheck, Span, TaskId, TaskSpec, WorkerId};

use crate::explain::Note;
use crate::fleet::WorkerKey;
use crate::lanes::Past;
use crate::maps::{NumberMap, TextMap};
use crate::order::Turn;
use crate::queue::{Line, Place};

/// A task between its delivery and its ack.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) lane: Lane,
    pub(crate) delivery: Delivery,
    pub(crate) input_bytes: u64,
    /// Whether somebody may have run this message.
    pub(crate) past: Past,
    /// When its message last came.
    pub(crate) came_at: Micros,
    /// Who held it last.
    pub(crate) last_worker: Option<WorkerId>,
    /// How long it is expected to run in all, in microseconds, if anything is known.
    pub(crate) expected: Option<u64>,
    /// How long the attempt has run, in microseconds, but for what it runs now.
    pub(crate) ran: u64,
    /// Counts the tasks that came to wait.
    pub(crate) came: u64,
    /// Its message had come before, and was not in memory any more: it may be acked already.
    pub(crate) again: bool,
    /// A copy of it was acked since it was last looked up.
    pub(crate) copied: bool,
    /// A worker was kept for it: it is not suspended again.
    pub(crate) undisturbed: bool,
    /// Where it waits.
    pub(crate) place: Option<(Line, Place)>,
    /// What led to its placement.
    pub(crate) note: Option<Note>,
    /// The one worker that it waits for.
    pub(crate) bound: Option<WorkerKey>,
    pub(crate) state: TaskState,
}

impl Task {
    /// Whether its result may be there already.
    pub(crate) fn may_have_run(&self) -> bool {
        let spec = &self.spec;
        spec.recheck != Recheck::Fresh || spec.attempt > 1 || self.past != Past::None
    }

    /// How long it has waited in all, if it does not run now.
    pub(crate) fn waited(&self, now: Micros) -> Span {
        let waited = now.0.saturating_sub(self.came_at.0);
        Span::from_ms(waited.saturating_sub(self.ran) / 1_000)
    }

    pub(crate) const fn is_suspended(&self) -> bool {
        matches!(
            self.state,
            TaskState::Held(Hold {
                course: Course::Suspended,
                ..
            })
        )
    }
}

/// Where a task is.
#[derive(Debug)]
pub(crate) enum TaskState {
    /// It may have run before: its result is being looked for.
    LookingUp,
    /// It waits for a worker.
    Ready,
    /// A worker has it.
    Held(Hold),
    /// Its retry or dead letter is being stored.
    Settling(Settling),
    /// It was given back and comes again.
    Returning,
}

/// Who holds a task, and since which frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) worker: WorkerKey,
    pub(crate) holding: Holding,
    /// The frame that assigned it; 0 for a hold of an earlier term, which every worker has seen.
    pub(crate) frame: u64,
    /// The frame that last told its worker whether it is to run. A worker may have missed the one and seen
    /// the other, so each shows something else.
    pub(crate) ordered: u64,
    pub(crate) course: Course,
}

/// Whether an attempt runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    Running {
        /// Since when without a break.
        since: Micros,
        /// When it makes room, where any do.
        turn: Option<Turn>,
    },
    Suspended,
}

/// What is being stored, kept so that it can be tried again.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) step: SettlingStep,
    /// The report that is settled by it.
    pub(crate) report: Option<(WorkerId, u64)>,
}

#[derive(Debug, Clone)]
pub(crate) enum SettlingStep {
    Retry {
        spec: Arc<TaskSpec>,
        wait: Span,
    },
    Bury {
        reason: String,
        failure: Option<Box<Failure>>,
    },
}

/// All tasks in memory.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    by_seq: NumberMap<u64, Task>,
    by_id: TextMap<TaskId, u64>,
}

impl Tasks {
    pub(crate) fn len(&self) -> usize {
        self.by_seq.len()
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Task> {
        self.by_seq.get(&seq)
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Task> {
        self.by_seq.get_mut(&seq)
    }

    /// The message that stands for a task already, if any.
    pub(crate) fn message_of(&self, id: &TaskId) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn insert(&mut self, task: Task) {
        let seq = task.delivery.seq;
        let known = self.by_id.insert(task.spec.id.clone(), seq);
        debug_assert!(
            known.is_none_or(|other| other == seq),
            "one message for each task"
        );
        self.by_seq.insert(seq, task);
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Task> {
        let task = self.by_seq.remove(&seq)?;
        self.by_id.remove(&task.spec.id);
        Some(task)
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Task)> {
        self.by_seq.iter().map(|(seq, task)| (*seq, task))
    }
}
