//! The fleet: the workers, what each holds, and who is the least loaded.
//!
//! A worker's load is what the scheduler knows it to hold, which is what its heartbeat says plus what was
//! assigned since, and what it runs that is not in our books. Load on heartbeats alone herds: each
//! worker would look idle until its next word.
//!
//! Workers that handle the same kinds form a class; a class keeps its workers with a free slot in order of
//! load, so placing costs O(log n).

mod class;
mod departed;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::fleet::{Heartbeat, WorkerState};
use rota_wire::{Kind, Micros, WorkerId};

use class::Class;
use departed::Departed;
pub(crate) use worker::{Outbox, Worker};

/// Names a worker while it is in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkerKey(u32);

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerKey, Worker>,
    by_id: BTreeMap<WorkerId, WorkerKey>,
    classes: Vec<Class>,
    by_kind: BTreeMap<Kind, Vec<usize>>,
    deadlines: BTreeSet<(Micros, WorkerKey)>,
    /// Workers with something to be sent.
    outgoing: BTreeSet<WorkerKey>,
    next_key: u32,
    assigned: u64,
    departed: Departed,
}

impl Fleet {
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(crate) fn key(&self, id: &WorkerId) -> Option<WorkerKey> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn get(&self, key: WorkerKey) -> Option<&Worker> {
        self.workers.get(&key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        self.workers.iter().map(|(key, worker)| (*key, worker))
    }

    /// Adds a worker at its first heartbeat.
    pub(crate) fn join(&mut self, heartbeat: &Heartbeat) -> WorkerKey {
        self.next_key += 1;
        let key = WorkerKey(self.next_key);
        let mut worker = Worker::new(heartbeat, key);
        worker.frames = self.departed.frames_of(&heartbeat.worker);
        worker.class = self.class_of(heartbeat);
        self.classes[worker.class].put_in(&worker);
        self.by_id.insert(heartbeat.worker.clone(), key);
        self.workers.insert(key, worker);
        key
    }

    /// Takes a worker out, with all that it holds.
    pub(crate) fn leave(&mut self, key: WorkerKey) -> Option<Worker> {
        let worker = self.workers.remove(&key)?;
        self.classes[worker.class].take_out(&worker);
        self.deadlines.remove(&(worker.deadline, key));
        self.outgoing.remove(&key);
        self.by_id.remove(&worker.id);
        self.departed
            .remember(&worker.id, worker.heartbeat, worker.frames);
        Some(worker)
    }

    /// Remembers the last word of one who is not in the fleet.
    pub(crate) fn say_goodbye(&mut self, heartbeat: &Heartbeat) {
        let frames = self.departed.frames_of(&heartbeat.worker);
        self.departed
            .remember(&heartbeat.worker, heartbeat.number, frames);
    }

    /// The last heartbeat heard of a worker, also of one who has left; 0 if it was never heard.
    pub(crate) fn last_heard(&self, id: &WorkerId) -> u64 {
        let present = self.key(id).and_then(|key| self.get(key));
        present.map_or_else(|| self.departed.heartbeat_of(id), |worker| worker.heartbeat)
    }

    /// Takes in what a heartbeat says of capacity and state.
    pub(crate) fn heard(&mut self, key: WorkerKey, heartbeat: &Heartbeat, deadline: Micros) {
        let class = self.class_of(heartbeat);
        let Some(worker) = self.workers.get(&key) else {
            return;
        };
        self.deadlines.remove(&(worker.deadline, key));
        self.deadlines.insert((deadline, key));
        self.change(key, |worker| {
            worker.hear(heartbeat);
            worker.deadline = deadline;
            worker.class = class;
        });
    }

    /// The first worker to be missed, and when.
    pub(crate) fn next_deadline(&self) -> Option<(Micros, WorkerKey)> {
        self.deadlines.first().copied()
    }

    /// The worker that a task of a kind goes to: the least loaded of those with a free slot.
    pub(crate) fn least_loaded(&self, kind: &Kind) -> Option<WorkerKey> {
        let classes = self.by_kind.get(kind)?.iter();
        classes
            .filter_map(|class| self.classes[*class].first(kind))
            .min()
            .map(|place| place.worker)
    }

    /// The same among workers that `suit`. Costs O(n): for the rare task that is particular.
    pub(crate) fn least_loaded_where(
        &self,
        kind: &Kind,
        suit: impl Fn(&Worker) -> bool,
    ) -> Option<WorkerKey> {
        let classes = self.by_kind.get(kind)?.iter();
        let places = classes.flat_map(|class| self.classes[*class].places(kind));
        places
            .filter(|place| suit(&self.workers[&place.worker]))
            .min()
            .map(|place| place.worker)
    }

    /// Free slots of all that handle a kind; nothing when nobody does.
    pub(crate) fn free_slots(&self, kind: &Kind) -> Option<u32> {
        let classes = self
            .by_kind
            .get(kind)?
            .iter()
            .map(|class| &self.classes[*class]);
        let mut live = classes.filter(|class| class.takers > 0).peekable();
        live.peek()?;
        Some(
            live.map(|class| class.free_slots)
                .fold(0, u32::saturating_add),
        )
    }

    /// A worker is given a task.
    pub(crate) fn hold(&mut self, key: WorkerKey, seq: u64, kind: &Kind, suspect: bool) {
        self.assigned += 1;
        let turn = self.assigned;
        self.change(key, |worker| worker.hold(seq, kind, turn, suspect));
    }

    /// A worker does not hold a task any more.
    pub(crate) fn release(&mut self, key: WorkerKey, seq: u64, kind: &Kind) {
        self.change(key, |worker| worker.release(seq, kind));
    }

    /// What a worker runs that is not in our books.
    pub(crate) fn set_foreign(&mut self, key: WorkerKey, foreign: u32) {
        if self
            .workers
            .get(&key)
            .is_some_and(|worker| worker.foreign != foreign)
        {
            self.change(key, |worker| worker.foreign = foreign);
        }
    }

    /// What is to be sent to a worker next. A worker's frames are numbered without gaps, since it takes a
    /// gap for a lost frame; one who leaves and comes back is never sent a number twice.
    pub(crate) fn outbox(&mut self, key: WorkerKey) -> Option<&mut Outbox> {
        let worker = self.workers.get_mut(&key)?;
        if self.outgoing.insert(key) {
            worker.frames += 1;
            worker.outbox.frame = worker.frames;
        }
        Some(&mut worker.outbox)
    }

    /// How many frames a worker had been sent at its last heartbeat but this one.
    pub(crate) fn frames_before(&mut self, key: WorkerKey) -> u64 {
        let worker = self.workers.get_mut(&key);
        worker.map_or(0, |worker| {
            std::mem::replace(&mut worker.frames_at_heartbeat, worker.frames)
        })
    }

    /// Takes what is to be sent to each worker.
    pub(crate) fn take_outgoing(&mut self) -> Vec<(WorkerId, Outbox)> {
        let keys = std::mem::take(&mut self.outgoing);
        keys.into_iter()
            .filter_map(|key| self.take_outbox(key))
            .collect()
    }

    /// Takes what is to be sent to one worker.
    pub(crate) fn take_outbox(&mut self, key: WorkerKey) -> Option<(WorkerId, Outbox)> {
        self.outgoing.remove(&key);
        let worker = self.workers.get_mut(&key)?;
        Some((worker.id.clone(), std::mem::take(&mut worker.outbox)))
    }

    /// Changes a worker and keeps its class in order.
    fn change(&mut self, key: WorkerKey, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&key) else {
            return;
        };
        self.classes[worker.class].take_out(worker);
        change(worker);
        self.classes[worker.class].put_in(worker);
    }

    fn class_of(&mut self, heartbeat: &Heartbeat) -> usize {
        let mut kinds = heartbeat.kinds.clone();
        kinds.sort_by(|a, b| a.kind.cmp(&b.kind));
        kinds.dedup_by(|a, b| a.kind == b.kind);
        if let Some(found) = self.classes.iter().position(|class| class.kinds == kinds) {
            return found;
        }
        let index = self.classes.len();
        for capacity in &kinds {
            self.by_kind
                .entry(capacity.kind.clone())
                .or_default()
                .push(index);
        }
        self.classes.push(Class::new(kinds));
        index
    }
}

impl Worker {
    /// Whether it may be given tasks.
    pub(crate) fn takes_tasks(&self) -> bool {
        self.state == WorkerState::Up
    }
}
