//! Who is blamed for lost workers, as it looks from outside.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::{TaskId, WorkerId};

/// The workers that each task has lost, and those that have ended.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    lost: BTreeMap<TaskId, BTreeSet<WorkerId>>,
    ended: BTreeSet<WorkerId>,
}

impl Blame {
    pub(crate) fn lost(&mut self, task: &TaskId, worker: &WorkerId) {
        self.lost
            .entry(task.clone())
            .or_default()
            .insert(worker.clone());
    }

    /// It is not there any more, as was told.
    pub(crate) fn ended(&mut self, worker: &WorkerId) {
        self.ended.insert(worker.clone());
    }

    /// It is heard: whatever was lost with it was not.
    pub(crate) fn heard(&mut self, worker: &WorkerId) {
        self.ended.remove(worker);
        for workers in self.lost.values_mut() {
            workers.remove(worker);
        }
    }

    /// Whether any task has lost it.
    pub(crate) fn is_blamed(&self, worker: &WorkerId) -> bool {
        self.lost.values().any(|workers| workers.contains(worker))
    }

    pub(crate) fn forget(&mut self, task: &TaskId) {
        self.lost.remove(task);
    }

    /// How many workers a task has lost.
    pub(crate) fn losses(&self, task: &TaskId) -> usize {
        self.lost.get(task).map_or(0, BTreeSet::len)
    }

    /// How many of them have ended.
    pub(crate) fn certain(&self, task: &TaskId) -> usize {
        let lost = self.lost.get(task).into_iter().flatten();
        lost.filter(|worker| self.ended.contains(worker)).count()
    }
}
