//! The fleet: the workers, what each holds, and where there is room.
//!
//! A worker's load is what the scheduler knows it to hold, which is what its heartbeat says plus what was
//! assigned since, and what it runs that is not in our books. Load on heartbeats alone herds: each
//! worker would look idle until its next word.
//!
//! Workers that handle the same kinds and carry the same labels form a class; a class keeps its workers in the
//! orders in which they are chosen, so placing costs O(log n) in workers, and O(n) in classes. Only labels count
//! that some task has required, and so many of them: a label of each worker's own makes no class of its own. Of
//! labels beyond the bound each worker is asked.

mod class;
mod classes;
mod departed;
mod pool;
mod rooms;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rota_wire::fleet::Heartbeat;
use rota_wire::{Dialect, Kind, Label, Micros, Resources, Span, WorkerId};

use crate::maps::{NumberMap, TextMap};
use crate::options::LoadView;
use class::Profile;
pub(crate) use class::{Class, Seats};
use departed::Departed;
pub(crate) use pool::{FleetPlace, Pool};
pub(crate) use rooms::{Dominant, Strain};
pub(crate) use worker::{LOAD_SCALE, Outbox, Part, Told, Worker, cpu_of};

/// Labels by which workers are told apart, at most.
const REQUIRED_MAX: usize = 64;

/// Names a worker while it is in the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerKey(u32);

/// To whom a frame goes.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) worker: WorkerId,
    pub(crate) dialect: Dialect,
}

/// What is kept in order, since somebody asks for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Indexes {
    /// All that take tasks, for kinds that are bound early.
    pub(crate) takers: bool,
    /// Whose turn it is.
    pub(crate) turns: bool,
    /// What is free of cores and memory: not before a task asks for some.
    pub(crate) rooms: bool,
    /// Who runs nothing that is under suspicion: not before there is such a task.
    pub(crate) clear: bool,
}

/// Names a class while it has members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassKey(u32);

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    view: LoadView,
    workers: NumberMap<WorkerKey, Worker>,
    by_id: TextMap<WorkerId, WorkerKey>,
    /// Those that are there, in the order in which they came.
    present: BTreeSet<WorkerKey>,
    classes: BTreeMap<ClassKey, Class>,
    by_profile: BTreeMap<Profile, ClassKey>,
    by_kind: BTreeMap<Kind, BTreeSet<ClassKey>>,
    deadlines: BTreeSet<(Micros, WorkerKey)>,
    /// Workers with something to be sent.
    outgoing: BTreeSet<WorkerKey>,
    /// Workers that have got a free slot, or that take tasks again.
    freed: BTreeSet<WorkerKey>,
    next_key: u32,
    next_class: u32,
    assigned: u64,
    departed: Departed,
    indexes: Indexes,
    /// Labels that some task has required.
    required: BTreeSet<Label>,
    /// Kinds that some worker takes.
    served: BTreeSet<Kind>,
    service_changes: BTreeSet<Kind>,
    resources: Resources,
    demand: Resources,
}

impl Fleet {
    pub(crate) fn new(view: LoadView, indexes: Indexes) -> Self {
        Self {
            view,
            indexes,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(crate) fn key(&self, id: &WorkerId) -> Option<WorkerKey> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn get(&self, key: WorkerKey) -> Option<&Worker> {
        self.workers.get(&key)
    }

    /// All of them, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        let present = self.present.iter();
        present.filter_map(|key| Some((*key, self.workers.get(key)?)))
    }

    /// What all workers may give, and what of it is promised.
    pub(crate) const fn resources(&self) -> (Resources, Resources) {
        (self.resources, self.demand)
    }

    /// Adds a worker at its first heartbeat.
    pub(crate) fn join(&mut self, heartbeat: &Heartbeat) -> WorkerKey {
        self.next_key += 1;
        let key = WorkerKey(self.next_key);
        let mut worker = Worker::new(heartbeat, key, self.view);
        worker.frames = self.departed.frames_of(&heartbeat.worker);
        self.departed.set_lost(&heartbeat.worker, false);
        let profile = Profile::new(heartbeat, &self.required);
        worker.class = self.enter_class(profile);
        self.resources = self.resources.plus(worker.resources);
        self.by_id.insert(heartbeat.worker.clone(), key);
        self.workers.insert(key, worker);
        self.present.insert(key);
        self.change(key, |_| {});
        key
    }

    /// Takes a worker out, with all that it holds.
    pub(crate) fn leave(&mut self, key: WorkerKey) -> Option<Worker> {
        let mut worker = self.workers.remove(&key)?;
        self.present.remove(&key);
        if let Some(class) = self.classes.get_mut(&worker.class) {
            class.take_out(&mut worker);
        }
        self.reckon_service(worker.class);
        self.leave_class(worker.class);
        self.resources = self.resources.minus(worker.resources);
        self.demand = self.demand.minus(worker.demand());
        self.deadlines.remove(&(worker.deadline, key));
        self.outgoing.remove(&key);
        self.freed.remove(&key);
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

    /// Whether a heartbeat says nothing new: it was under way for long, or its worker has died meanwhile.
    pub(crate) fn is_late(&self, heartbeat: &Heartbeat, now: Micros) -> bool {
        let id = &heartbeat.worker;
        heartbeat.number <= self.last_heard(id) || self.departed.is_dead(id, now)
    }

    /// A worker fell silent.
    pub(crate) fn say_lost(&mut self, id: &WorkerId) {
        self.remember(id);
        self.departed.set_lost(id, true);
    }

    /// Whether a worker fell silent and was not heard since.
    pub(crate) fn was_lost(&self, id: &WorkerId) -> bool {
        self.departed.was_lost(id)
    }

    /// A worker has died: what it seems to say until then is late.
    pub(crate) fn say_dead(&mut self, id: &WorkerId, until: Micros) {
        self.remember(id);
        self.departed.set_dead(id, until);
    }

    fn remember(&mut self, id: &WorkerId) {
        let present = self.key(id).and_then(|key| self.get(key));
        let frames = present.map_or_else(|| self.departed.frames_of(id), |worker| worker.frames);
        self.departed.remember(id, self.last_heard(id), frames);
    }

    /// The last heartbeat heard of a worker, also of one who has left; 0 if it was never heard.
    fn last_heard(&self, id: &WorkerId) -> u64 {
        let present = self.key(id).and_then(|key| self.get(key));
        present.map_or_else(|| self.departed.heartbeat_of(id), |worker| worker.heartbeat)
    }

    /// Takes in what a heartbeat says of capacity and state.
    pub(crate) fn heard(&mut self, key: WorkerKey, heartbeat: &Heartbeat, deadline: Micros) {
        let Some(worker) = self.workers.get(&key) else {
            return;
        };
        self.deadlines.remove(&(worker.deadline, key));
        self.deadlines.insert((deadline, key));
        self.resources = self.resources.minus(worker.resources);
        self.resources = self.resources.plus(heartbeat.resources);
        let class = self.enter_class(Profile::new(heartbeat, &self.required));
        self.move_class(key, class);
        self.change(key, |worker| {
            worker.hear(heartbeat);
            worker.deadline = deadline;
        });
    }

    /// The first worker to be missed, and when.
    pub(crate) fn next_deadline(&self) -> Option<(Micros, WorkerKey)> {
        self.deadlines.first().copied()
    }

    /// The first of the labels that a worker does not carry.
    pub(crate) fn lacks<'l>(&self, worker: &Worker, labels: &'l [Label]) -> Option<&'l Label> {
        labels.iter().find(|label| !worker.labels.contains(*label))
    }

    /// How many of a kind may run on a worker at once.
    pub(crate) fn limit(&self, worker: &Worker, kind: &Kind) -> u32 {
        let class = self.classes.get(&worker.class);
        class.map_or(0, |class| class.profile.limit(kind))
    }

    /// Free slots of all that handle a kind; nothing when nobody does.
    pub(crate) fn free_slots(&self, kind: &Kind) -> Option<u32> {
        let mut live = self
            .classes_for(kind, &[])
            .filter(|class| class.takers() > 0)
            .peekable();
        live.peek()?;
        Some(
            live.map(|class| class.free_slots)
                .fold(0, u32::saturating_add),
        )
    }

    /// From now on it is known who has room for what.
    pub(crate) fn want_rooms(&mut self) {
        if std::mem::replace(&mut self.indexes.rooms, true) {
            return;
        }
        for key in self.present.clone() {
            self.change(key, |_| {});
        }
    }

    /// A worker is given a task, or has it already.
    pub(crate) fn hold(&mut self, key: WorkerKey, part: Part<'_>, suspect: bool) {
        self.assigned += 1;
        let turn = self.assigned;
        self.change(key, |worker| {
            worker.turn = turn;
            worker.hold(part, suspect);
        });
    }

    /// A worker does not hold a task any more.
    pub(crate) fn release(&mut self, key: WorkerKey, part: Part<'_>) {
        self.change(key, |worker| worker.release(part));
    }

    /// An attempt stands still from now on.
    pub(crate) fn suspend(&mut self, key: WorkerKey, part: Part<'_>) {
        self.change(key, |worker| worker.suspend(part));
    }

    /// An attempt goes on.
    pub(crate) fn resume(&mut self, key: WorkerKey, part: Part<'_>) {
        self.change(key, |worker| worker.resume(part));
    }

    /// A task that waits is to go to this worker. That counts as load; as its turn too, when several come
    /// at once.
    pub(crate) fn bind(&mut self, key: WorkerKey) {
        self.assigned += 1;
        let turn = self.assigned;
        self.change(key, |worker| {
            worker.turn = turn;
            worker.bind();
        });
    }

    /// It does not any more, or has begun.
    pub(crate) fn unbind(&mut self, key: WorkerKey) {
        self.change(key, Worker::unbind);
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

    /// Workers that have got a free slot since this was last asked.
    pub(crate) fn take_freed(&mut self) -> BTreeSet<WorkerKey> {
        std::mem::take(&mut self.freed)
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

    /// The workers to whom something is to be sent.
    pub(crate) fn take_outgoing(&mut self) -> BTreeSet<WorkerKey> {
        std::mem::take(&mut self.outgoing)
    }

    /// Takes what is to be sent to one worker; of very many orders the rest is left for another frame.
    pub(crate) fn take_outbox(&mut self, key: WorkerKey) -> Option<(Reader, Outbox)> {
        self.outgoing.remove(&key);
        let worker = self.workers.get_mut(&key)?;
        let mut outbox = std::mem::take(&mut worker.outbox);
        let reader = Reader {
            worker: worker.id.clone(),
            dialect: worker.dialect,
        };
        if let Some((settled, revoked)) = outbox.take_excess()
            && let Some(next) = self.outbox(key)
        {
            (next.settled, next.revoked) = (settled, revoked);
        }
        Some((reader, outbox))
    }

    /// Changes a worker and keeps its class in order.
    fn change(&mut self, key: WorkerKey, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&key) else {
            return;
        };
        let (demand, free) = (worker.demand(), worker.free_slots());
        change(worker);
        self.demand = self.demand.minus(demand).plus(worker.demand());
        let more_room = worker.free_slots() > free || !demand.fits(worker.demand());
        if more_room && worker.free_slots() > 0 && worker.is_waited_for() {
            self.freed.insert(key);
        }
        let class_key = worker.class;
        if let Some(class) = self.classes.get_mut(&class_key) {
            let takers = class.takers();
            class.put(worker, self.indexes);
            if (takers == 0) != (class.takers() == 0) {
                self.reckon_service(class_key);
            }
        }
    }

    /// Whether any worker takes tasks of a kind.
    pub(crate) fn is_served(&self, kind: &Kind) -> bool {
        self.served.contains(kind)
    }

    /// Kinds that any worker takes, from the one after this.
    pub(crate) fn served_after(&self, kind: Option<&Kind>) -> impl Iterator<Item = &Kind> {
        let after = kind.map_or(Bound::Unbounded, Bound::Excluded);
        self.served.range((after, Bound::Unbounded))
    }

    /// Kinds that got their first worker or lost their last since this was last asked.
    pub(crate) fn take_service_changes(&mut self) -> BTreeSet<Kind> {
        std::mem::take(&mut self.service_changes)
    }

    /// Looks anew who takes the kinds of a class.
    fn reckon_service(&mut self, class: ClassKey) {
        let Some(class) = self.classes.get(&class) else {
            return;
        };
        for (kind, _) in &class.profile.kinds {
            let classes = self.by_kind.get(kind).into_iter().flatten();
            let mut classes = classes.filter_map(|key| self.classes.get(key));
            let served = classes.any(|class| class.takers() > 0);
            let changed = if served {
                self.served.insert(kind.clone())
            } else {
                self.served.remove(kind)
            };
            if changed {
                self.service_changes.insert(kind.clone());
            }
        }
    }

    /// All of them, from some one that a number names.
    pub(crate) fn iter_from(&self, number: u64) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        let count = u64::from(self.next_key).max(1);
        let first = WorkerKey(u32::try_from(number % count).unwrap_or(0));
        let keys = self
            .present
            .range(first..)
            .chain(self.present.range(..first));
        keys.filter_map(|key| Some((*key, self.workers.get(key)?)))
    }

    /// A worker is kept for a task, or for none any more.
    pub(crate) fn keep_for(&mut self, key: WorkerKey, task: Option<u64>) {
        self.change(key, |worker| worker.kept_for = task);
        if task.is_none() && self.get(key).is_some_and(Worker::is_waited_for) {
            self.freed.insert(key);
        }
    }

    /// A worker is given nothing until it is heard again.
    pub(crate) fn mute(&mut self, key: WorkerKey) {
        self.change(key, |worker| worker.muted = true);
    }

    /// A task on a worker is not under suspicion any more.
    pub(crate) fn clear(&mut self, key: WorkerKey, seq: u64) {
        self.change(key, |worker| worker.clear(seq));
    }

    /// Nothing was heard for so long: no worker is missed for that.
    pub(crate) fn extend_deadlines(&mut self, span: Span) {
        let deadlines = std::mem::take(&mut self.deadlines);
        for (deadline, key) in deadlines {
            if let Some(worker) = self.workers.get_mut(&key) {
                worker.deadline = deadline.plus(span);
                self.deadlines.insert((worker.deadline, key));
            }
        }
    }

    /// From now on it is known who runs nothing that is under suspicion.
    pub(crate) fn want_clear(&mut self) {
        if std::mem::replace(&mut self.indexes.clear, true) {
            return;
        }
        for key in self.present.clone() {
            self.change(key, |_| {});
        }
    }
}
