//! Tasks that take their workers down: what is known of each loss, and when a task is poison.
//!
//! A worker that falls silent may only be cut off, or stopped for a while, so a loss is a suspicion. It is
//! forgiven when that worker is heard again, for its process has lived on. It counts for good when the worker
//! has died for certain, or when nobody listens on its subjects any more.
//!
//! ```text
//! lost ──► suspected ──died, or nobody there──► certain ──┐
//!             │  ▲                                │       ├─ so many certain: poison
//!             └──┴──────── heard again ───────────┘       ┘
//! ```
//!
//! A task that may be poison is never buried before its losses were looked into, and runs alone among its like.
//! Bounded: of more tasks than [`TASKS_MAX`] those that lost a worker longest ago are forgotten.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::memory::{self, LostWorker, TaskLosses};
use rota_wire::{Micros, Span, TaskId, WorkerId};

use crate::action::Action;
use crate::scheduler::Scheduler;
use crate::tasks::{Hold, SettlingStep, TaskState};

/// Tasks whose losses are known, at most.
const TASKS_MAX: usize = 100_000;
/// A worker that was looked for is not looked for again so soon.
const ASK_AGAIN_AFTER: Span = Span::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Losses {
    by_task: BTreeMap<TaskId, Lost>,
    by_worker: BTreeMap<WorkerId, Missing>,
    /// Tasks in the order in which they last lost a worker.
    order: BTreeSet<(u64, TaskId)>,
    next: u64,
    version: u64,
}

/// The workers that a task has lost.
#[derive(Debug, Default)]
struct Lost {
    workers: Vec<WorkerId>,
    at: u64,
}

/// A worker that was lost while it held tasks.
#[derive(Debug, Default)]
struct Missing {
    tasks: BTreeSet<TaskId>,
    ended: bool,
    asked: Option<Micros>,
}

/// How many workers a task has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Toll {
    pub(crate) all: u32,
    pub(crate) certain: u32,
}

impl Losses {
    pub(crate) fn of(&self, task: &TaskId) -> Toll {
        let Some(lost) = self.by_task.get(task) else {
            return Toll::default();
        };
        let certain = lost.workers.iter().filter(|worker| self.ended(worker));
        Toll {
            all: u32::try_from(lost.workers.len()).unwrap_or(u32::MAX),
            certain: u32::try_from(certain.count()).unwrap_or(u32::MAX),
        }
    }

    fn ended(&self, worker: &WorkerId) -> bool {
        let missing = self.by_worker.get(worker);
        missing.is_some_and(|missing| missing.ended)
    }

    /// A task was lost with its worker.
    pub(crate) fn add(&mut self, task: &TaskId, worker: &WorkerId) {
        let (next, lost) = (self.next, self.by_task.entry(task.clone()).or_default());
        if lost.workers.contains(worker) || lost.workers.len() >= memory::LOSSES_MAX {
            return;
        }
        lost.workers.push(worker.clone());
        self.order.remove(&(lost.at, task.clone()));
        lost.at = next;
        self.order.insert((next, task.clone()));
        self.next += 1;
        let missing = self.by_worker.entry(worker.clone()).or_default();
        missing.tasks.insert(task.clone());
        self.version += 1;
        while self.order.len() > TASKS_MAX
            && let Some((_, oldest)) = self.order.first().cloned()
        {
            self.forget(&oldest);
        }
    }

    /// A worker that is in the books has ended.
    pub(crate) fn end(&mut self, worker: &WorkerId) {
        if let Some(missing) = self.by_worker.get_mut(worker)
            && !std::mem::replace(&mut missing.ended, true)
        {
            self.version += 1;
        }
    }

    /// A worker lives: what was laid to its loss is taken back. Returns the tasks concerned.
    fn forgive(&mut self, worker: &WorkerId) -> BTreeSet<TaskId> {
        let Some(missing) = self.by_worker.remove(worker) else {
            return BTreeSet::new();
        };
        self.version += 1;
        for task in &missing.tasks {
            let Some(lost) = self.by_task.get_mut(task) else {
                continue;
            };
            lost.workers.retain(|other| other != worker);
            if lost.workers.is_empty() {
                self.order.remove(&(lost.at, task.clone()));
                self.by_task.remove(task);
            }
        }
        missing.tasks
    }

    /// A task is over.
    pub(crate) fn forget(&mut self, task: &TaskId) {
        let Some(lost) = self.by_task.remove(task) else {
            return;
        };
        self.order.remove(&(lost.at, task.clone()));
        self.version += 1;
        for worker in lost.workers {
            if let Some(missing) = self.by_worker.get_mut(&worker) {
                missing.tasks.remove(task);
                if missing.tasks.is_empty() {
                    self.by_worker.remove(&worker);
                }
            }
        }
    }

    /// The workers of a task of which it is not known whether they have ended, and who are to be looked for.
    fn take_to_ask(&mut self, task: &TaskId, now: Micros) -> Vec<WorkerId> {
        let Some(lost) = self.by_task.get(task) else {
            return Vec::new();
        };
        let mut workers = Vec::new();
        for worker in &lost.workers {
            let Some(missing) = self.by_worker.get_mut(worker) else {
                continue;
            };
            let lately = |at: Micros| now < at.plus(ASK_AGAIN_AFTER);
            if !missing.ended && !missing.asked.is_some_and(lately) {
                missing.asked = Some(now);
                workers.push(worker.clone());
            }
        }
        workers
    }

    /// Changes whenever a loss is counted, confirmed or taken back.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// For the next leader: those that lost most, as many as it may be told.
    pub(crate) fn remember(&self) -> Vec<TaskLosses> {
        let mut tasks: Vec<(&TaskId, &Lost)> = self.by_task.iter().collect();
        tasks.sort_by_key(|(task, lost)| (std::cmp::Reverse((lost.workers.len(), lost.at)), *task));
        tasks.truncate(memory::TASKS_MAX);
        let losses = tasks.into_iter().map(|(task, lost)| {
            let workers = lost.workers.iter().map(|worker| LostWorker {
                worker: worker.clone(),
                ended: self.ended(worker),
            });
            TaskLosses {
                task: task.clone(),
                workers: workers.collect(),
            }
        });
        losses.collect()
    }

    /// Takes in what the leader before has told.
    pub(crate) fn recall(&mut self, losses: Vec<TaskLosses>) {
        // The first lost most: it is to be forgotten last.
        for TaskLosses { task, workers } in losses.into_iter().rev() {
            for LostWorker { worker, ended } in workers {
                self.add(&task, &worker);
                if ended {
                    self.end(&worker);
                }
            }
        }
    }

    /// The books agree.
    pub(crate) fn check(&self) -> Result<(), String> {
        let pairs: usize = self.by_task.values().map(|lost| lost.workers.len()).sum();
        let tasks: usize = self
            .by_worker
            .values()
            .map(|missing| missing.tasks.len())
            .sum();
        let mutual = self.by_task.iter().all(|(task, lost)| {
            let known = |worker| {
                let missing = self.by_worker.get(worker);
                missing.is_some_and(|missing| missing.tasks.contains(task))
            };
            !lost.workers.is_empty()
                && lost.workers.iter().all(known)
                && self.order.contains(&(lost.at, task.clone()))
        });
        if mutual && pairs == tasks && self.order.len() == self.by_task.len() {
            Ok(())
        } else {
            Err(format!(
                "{pairs} losses by task, {tasks} by worker, or they differ"
            ))
        }
    }
}

impl Scheduler {
    /// With so many losses a task is under suspicion.
    fn suspect_from(&self) -> u32 {
        self.options.losses_max.saturating_sub(1).max(1)
    }

    pub(crate) fn is_suspect(&self, task: &TaskId) -> bool {
        self.losses.of(task).all >= self.suspect_from()
    }

    /// What becomes of a task that was looked up and is not over.
    pub(crate) fn weigh(&mut self, seq: u64, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let id = task.spec.id.clone();
        let (toll, most) = (self.losses.of(&id), self.options.losses_max);
        if toll.certain >= most {
            return self.condemn(seq, toll.certain, actions);
        }
        if toll.all >= most {
            let workers = self.losses.take_to_ask(&id, self.now);
            if !workers.is_empty() {
                let probes = workers.into_iter().map(|worker| Action::Probe { worker });
                actions.extend(probes);
                // It is looked up and weighed once more when they have been looked for.
                return self.try_again_later(self.now, seq);
            }
        }
        self.make_ready(seq);
        self.await_worker(seq);
    }

    fn condemn(&mut self, seq: u64, losses: u32, actions: &mut Vec<Action>) {
        let reason = format!("poison: {losses} workers were lost while they held it");
        self.leave_waiting(seq);
        let step = SettlingStep::Bury {
            reason,
            failure: None,
        };
        self.begin_settling(seq, step, None, actions);
    }

    /// A worker is heard again that had been lost.
    pub(crate) fn forgive(&mut self, worker: &WorkerId) {
        for id in self.losses.forgive(worker) {
            if self.is_suspect(&id) {
                continue;
            }
            let Some(seq) = self.tasks.message_of(&id) else {
                continue;
            };
            if self.suspects.remove(&seq) {
                self.enqueue(seq);
            }
            let state = self.tasks.get(seq).map(|task| &task.state);
            if let Some(TaskState::Held(Hold { worker, .. })) = state {
                self.fleet.clear(*worker, seq);
            }
        }
    }

    pub(crate) fn probed(&mut self, worker: &WorkerId, there: bool) {
        if !there && self.fleet.key(worker).is_none() {
            self.losses.end(worker);
        }
    }
}

#[cfg(test)]
mod tests;
