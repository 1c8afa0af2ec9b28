//! Who makes room: running attempts that are suspended for a task that comes before them.
//!
//! ```text
//! a head that may go anywhere ──► the first to make room of all workers that could run it
//! a head at one worker        ──► the first to make room there
//! ```
//!
//! An attempt that is suspended waits in the line of its worker, since its memory is there. When a slot of that
//! worker is free it is resumed like any head ([`crate::dispatch`]); while none is, workers rotate: what waits
//! there may take the slot of what runs there.
//!
//! What must hold: a worker has no more suspended attempts than it may; and whoever is suspended stays with its
//! worker until it is resumed, is over, or the worker is lost.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::{Kind, Micros};

use crate::action::Action;
use crate::explain::By;
use crate::fleet::{ClassKey, Seats, Told, Worker, WorkerKey, cpu_of};
use crate::order::{Turn, makes_room};
use crate::queue::{Line, Place, Row};
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, Task, TaskState};
use crate::waiting::Group;

/// How many running attempts are looked at for one that waits.
const TRIES: usize = 16;

/// One that runs: the smallest is the first to make room.
type Runner = (Turn, WorkerKey, u64);

/// Who runs, in the order in which they make room; and when to look again.
#[derive(Debug, Default)]
pub(crate) struct Runners {
    by_class: BTreeMap<(ClassKey, Group), BTreeSet<Runner>>,
    by_worker: BTreeMap<WorkerKey, OnWorker>,
    /// Workers at which something has changed since they were looked at.
    touched: BTreeSet<WorkerKey>,
    /// When a worker is to be looked at again.
    due: BTreeSet<(Micros, WorkerKey)>,
    due_of: BTreeMap<WorkerKey, Micros>,
    /// When a head that may go anywhere may find room.
    due_anywhere: Option<Micros>,
}

#[derive(Debug, Default)]
struct OnWorker {
    class: ClassKey,
    groups: BTreeMap<Group, BTreeSet<(Turn, u64)>>,
}

/// One that would make room, for whom, and from when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Swap {
    at: Micros,
    worker: WorkerKey,
    victim: u64,
    next: u64,
}

impl Runners {
    pub(crate) fn insert(
        &mut self,
        worker: WorkerKey,
        class: ClassKey,
        group: Group,
        turn: Turn,
        seq: u64,
    ) {
        let of_class = self.by_class.entry((class, group.clone())).or_default();
        of_class.insert((turn, worker, seq));
        let on_worker = self.by_worker.entry(worker).or_default();
        on_worker.class = class;
        on_worker
            .groups
            .entry(group)
            .or_default()
            .insert((turn, seq));
        self.touched.insert(worker);
    }

    pub(crate) fn remove(&mut self, worker: WorkerKey, group: &Group, turn: Turn, seq: u64) {
        let Some(on_worker) = self.by_worker.get_mut(&worker) else {
            return;
        };
        let key = (on_worker.class, group.clone());
        if let Some(of_class) = self.by_class.get_mut(&key) {
            of_class.remove(&(turn, worker, seq));
            if of_class.is_empty() {
                self.by_class.remove(&key);
            }
        }
        if let Some(turns) = on_worker.groups.get_mut(group) {
            turns.remove(&(turn, seq));
            if turns.is_empty() {
                on_worker.groups.remove(group);
            }
        }
        if on_worker.groups.is_empty() {
            self.by_worker.remove(&worker);
        }
        self.touched.insert(worker);
    }

    /// A worker is of another class now.
    pub(crate) fn reclass(&mut self, worker: WorkerKey, class: ClassKey) {
        let Some(on_worker) = self.by_worker.get(&worker) else {
            return;
        };
        if on_worker.class == class {
            return;
        }
        let mut moved = Vec::new();
        for (group, turns) in &on_worker.groups {
            moved.extend(turns.iter().map(|(turn, seq)| (group.clone(), *turn, *seq)));
        }
        for (group, turn, seq) in &moved {
            self.remove(worker, group, *turn, *seq);
        }
        for (group, turn, seq) in moved {
            self.insert(worker, class, group, turn, seq);
        }
    }

    /// Something has changed at a worker.
    pub(crate) fn touch(&mut self, worker: WorkerKey) {
        self.touched.insert(worker);
    }

    /// A worker is gone.
    pub(crate) fn forget(&mut self, worker: WorkerKey) {
        self.touched.remove(&worker);
        self.set_due(worker, None);
    }

    /// How many attempts may make room.
    pub(crate) fn len(&self) -> usize {
        self.by_class.values().map(BTreeSet::len).sum()
    }

    /// When somebody may make room next.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        let at_workers = self.due.first().map(|(at, _)| *at);
        at_workers.into_iter().chain(self.due_anywhere).min()
    }

    fn set_due(&mut self, worker: WorkerKey, due: Option<Micros>) {
        let before = match due {
            Some(at) => self.due_of.insert(worker, at),
            None => self.due_of.remove(&worker),
        };
        if let Some(before) = before {
            self.due.remove(&(before, worker));
        }
        if let Some(at) = due {
            self.due.insert((at, worker));
        }
    }

    /// Workers to be looked at now.
    fn take_due(&mut self, now: Micros) -> BTreeSet<WorkerKey> {
        let mut workers = std::mem::take(&mut self.touched);
        while let Some((at, worker)) = self.due.first().copied() {
            if at > now {
                break;
            }
            self.set_due(worker, None);
            workers.insert(worker);
        }
        workers
    }

    /// The first to make room in a class.
    fn first_of_class(&self, class: ClassKey, group: &Group) -> impl Iterator<Item = Runner> {
        let runners = self.by_class.get(&(class, group.clone()));
        runners.into_iter().flatten().copied().take(TRIES)
    }

    /// The first to make room on a worker.
    fn first_on(&self, worker: WorkerKey, group: &Group) -> Option<u64> {
        let turns = self.by_worker.get(&worker)?.groups.get(group)?;
        turns.first().map(|(_, seq)| *seq)
    }
}

impl Scheduler {
    /// Suspends whoever makes room for what waits, once all free slots are taken.
    pub(crate) fn preempt(&mut self, actions: &mut Vec<Action>) {
        if !self.preemptive {
            return;
        }
        self.runners.due_anywhere = None;
        self.make_room_anywhere(actions);
        for worker in self.runners.take_due(self.now) {
            self.rotate(worker, actions);
        }
    }

    fn make_room_anywhere(&mut self, actions: &mut Vec<Action>) {
        let mut heads: BTreeSet<(Place, Row)> = BTreeSet::new();
        for (place, row) in self.queue.heads_anywhere() {
            if self.policy(&row.kind).order.is_preemptive() {
                heads.insert((place, row.clone()));
            }
        }
        while let Some((place, row)) = heads.pop_first() {
            let Some(swap) = self.find_room(place, &row.kind) else {
                continue;
            };
            if swap.at > self.now {
                let due = &mut self.runners.due_anywhere;
                *due = Some(due.map_or(swap.at, |due| due.min(swap.at)));
                continue;
            }
            self.swap(swap, actions);
            let line = Line { at: None, row };
            if let Some(place) = self.queue.head(&line) {
                heads.insert((place, line.row));
            }
        }
    }

    /// Who of all would make room for a head that may go anywhere, first.
    fn find_room(&self, place: Place, kind: &Kind) -> Option<Swap> {
        let (rank, seq) = place;
        let task = self.tasks.get(seq)?;
        let group = self.group(kind);
        let mut candidates: Vec<_> = self
            .fleet
            .class_keys(kind, &task.spec.options.requires)
            .flat_map(|class| self.runners.first_of_class(class, &group))
            .collect();
        candidates.sort_unstable();
        let mut swaps = candidates.into_iter().take(TRIES).filter_map(|found| {
            let (_, worker, victim) = found;
            // One that waits there may come before.
            let waiting = self.waiting_at(worker, &group);
            let before = waiting.first().is_none_or(|(first, _)| rank < *first);
            before
                .then(|| self.swap_for(worker, victim, task))
                .flatten()
        });
        let first = swaps.next()?;
        if first.at <= self.now {
            return Some(first);
        }
        swaps.chain([first]).min()
    }

    /// What waits at a worker may take the slot of what runs there.
    fn rotate(&mut self, worker: WorkerKey, actions: &mut Vec<Action>) {
        loop {
            let swap = self.next_swap_at(worker);
            match swap {
                Some(swap) if swap.at <= self.now => self.swap(swap, actions),
                other => return self.runners.set_due(worker, other.map(|swap| swap.at)),
            }
        }
    }

    fn next_swap_at(&self, worker: WorkerKey) -> Option<Swap> {
        let groups: BTreeSet<Group> = self
            .queue
            .heads_at(worker)
            .map(|(_, row)| self.group(&row.kind))
            .collect();
        let swaps = groups.iter().filter_map(|group| {
            let victim = self.runners.first_on(worker, group)?;
            // The first for which there will be room.
            let mut waiting = self.waiting_at(worker, group).into_iter();
            waiting.find_map(|(_, next)| self.swap_for(worker, victim, self.tasks.get(next)?))
        });
        swaps.min()
    }

    /// The heads of a group's lines at a worker, the next first.
    fn waiting_at(&self, worker: WorkerKey, group: &Group) -> BTreeSet<Place> {
        let heads = self.queue.heads_at(worker);
        let of_group = heads.filter(|(_, row)| self.group(&row.kind) == *group);
        of_group.map(|(place, _)| place).collect()
    }

    /// The swap of a running attempt for a task that waits, if there will be room.
    fn swap_for(&self, worker: WorkerKey, victim: u64, next: &Task) -> Option<Swap> {
        let running = self.tasks.get(victim)?;
        let policy = self.policy(&next.spec.kind);
        let at = makes_room(&policy, &running.running()?, &next.waiting(), self.now)?;
        let found = self.fleet.get(worker)?;
        let requires = &next.spec.options.requires;
        if !next.is_suspended() && self.fleet.lacks(found, requires).is_some() {
            return None;
        }
        let fits = self.may_swap_in(found, next) && self.fits_after(found, running, next);
        fits.then_some(Swap {
            at,
            worker,
            victim,
            next: next.delivery.seq,
        })
    }

    /// Whether a task fits on a worker once another is suspended there.
    fn fits_after(&self, worker: &Worker, victim: &Task, next: &Task) -> bool {
        let kind = &next.spec.kind;
        let more = u32::from(!next.is_suspended());
        let freed = cpu_of(victim.spec.options.demand);
        let used = worker
            .used(kind)
            .saturating_sub(u32::from(victim.spec.kind == *kind));
        worker.takes_tasks()
            && worker.suspended() + more <= self.options.suspended_max
            && used < self.fleet.limit(worker, kind)
            && next.needed().fits(worker.room_without(freed))
            // One that came with more attempts than slots must lose some first.
            && worker.occupied() <= worker.slots()
    }

    fn swap(&mut self, swap: Swap, actions: &mut Vec<Action>) {
        let next = self.tasks.get(swap.next);
        if let Some(task) = next.filter(|task| !task.is_suspended()) {
            let by = By::Order(self.policy(&task.spec.kind).order);
            self.note(swap.next, by, swap.worker, Seats::Free);
        }
        self.suspend(swap.victim);
        self.begin(swap.next, swap.worker, actions);
    }

    fn suspend(&mut self, seq: u64) {
        self.end_run(seq);
        let Some(TaskState::Held(hold)) = self.tasks.get(seq).map(|task| &task.state) else {
            return;
        };
        let hold = *hold;
        let ordered = self.fleet.outbox(hold.worker).map_or(0, |outbox| {
            outbox.suspend(hold.holding);
            outbox.frame
        });
        if let Some(task) = self.tasks.get_mut(seq) {
            self.fleet.suspend(hold.worker, task.part());
            let course = Course::Suspended;
            task.state = TaskState::Held(Hold {
                ordered,
                course,
                ..hold
            });
        }
        self.counts.preempted += 1;
        self.enqueue(seq);
    }

    /// Lets a suspended attempt go on. When all slices end at once, the first of those that are suspended are
    /// the next to go on: those stay as they are and begin a new slice.
    pub(crate) fn resume(&mut self, seq: u64) {
        self.dequeue(seq);
        let Some(TaskState::Held(hold)) = self.tasks.get(seq).map(|task| &task.state) else {
            return;
        };
        let hold = *hold;
        let Some(outbox) = self.fleet.outbox(hold.worker) else {
            return;
        };
        let ordered = outbox.frame;
        if outbox.resume(hold.holding) == Told::TakenBack {
            self.counts.preempted = self.counts.preempted.saturating_sub(1);
        }
        if let Some(task) = self.tasks.get_mut(seq) {
            self.fleet.resume(hold.worker, task.part());
            task.state = TaskState::Held(Hold { ordered, ..hold });
        }
        self.begin_run(seq);
    }
}

#[cfg(test)]
mod tests;
