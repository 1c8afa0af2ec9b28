//! Tasks that ask for much: lesser ones must not pass them for ever.
//!
//! A task whose cores and memory no worker has free may be passed by all that ask for less, for ever if there are
//! enough of them. So after a while a worker is kept for it: the one that can take it soonest, by the estimates of
//! what runs there. From then on that worker takes only the task itself, and what does not put it off (backfill,
//! as EASY in batch systems has it):
//!
//! ```text
//! cores │ A A A A A A ┆ X X X X X X X      X is reserved: it begins when A and B have ended
//!       │ B B B B     ┆ X X X X X X X
//!       │ B B B B c c ┆ X X X X X X X      c ends before: it may use the gap
//!       │ d d d d d d ┆ d d d d            d leaves enough beside X: it may run on
//!       └─────────────┴─────────────► time
//! ```
//!
//! An attempt that is suspended on the worker may always go on: it holds memory that X may need. What is not known
//! to end in time runs only where it fits beside. Where the order suspends attempts, X may be one that is suspended
//! and does not get its cores back; and once a worker was kept for a task, that is not suspended again.
//!
//! What must hold: a worker is kept for one task at most and a task has one worker at most; and at most
//! [`RESERVATIONS_MAX`] workers are, and no more than half of all but one. No more is reserved while more than one
//! part in [`IDLE_SHARE`] of all workers' time has stood idle for it.

mod gap;

use std::collections::BTreeMap;

use rota_wire::event::Event as Told;
use rota_wire::{Micros, Span, WorkerId};

use crate::action::Action;
use crate::explain::By;
use crate::fleet::{LOAD_SCALE, Seats, Worker, WorkerKey};
use crate::order;
use crate::queue::Place;
use crate::scheduler::Scheduler;
use crate::tasks::{Task, TaskState};
use gap::Gap;

/// Workers that are kept for a task, at most.
const RESERVATIONS_MAX: usize = 64;
/// Those that are newly kept at a time.
const NEW_MAX: usize = 8;
/// Workers that are looked at for one task.
const LOOKS_MAX: usize = 2_000;
/// How often tasks are looked for that have waited too long, at most and at least.
const LOOK_EVERY: Span = Span::from_secs(10);
const LOOK_OFTEN: Span = Span::from_ms(50);
/// One part in so many of all workers' time may stand idle for reservations, in the long run. Where durations are
/// known gaps are filled and little does; where they are not, more would cost all others more than it is worth.
const IDLE_SHARE: u64 = 16;
/// Tasks that are tried for gaps in a turn: of each line, and in all.
const BACKFILL_EACH: usize = 16;
const BACKFILL_MAX: usize = 512;

/// Who is kept for whom.
#[derive(Debug)]
pub(crate) struct Reservations {
    by_task: BTreeMap<u64, WorkerKey>,
    next_look: Micros,
    last_look: Micros,
    /// Time of whole workers that may stand idle for it, in microseconds; less than nothing when too many did.
    credit: i64,
}

impl Reservations {
    pub(crate) const fn new(now: Micros) -> Self {
        Self {
            by_task: BTreeMap::new(),
            next_look: now,
            last_look: now,
            credit: i64::MAX,
        }
    }

    /// Adds what has been earned since the last look, and takes off what stood idle.
    fn reckon(&mut self, now: Micros, workers: usize, idle: u64, after: Span) {
        let passed = now.0.saturating_sub(self.last_look.0);
        self.last_look = now;
        let earned = passed.saturating_mul(workers as u64) / IDLE_SHARE;
        let spent = passed.saturating_mul(idle) / LOAD_SCALE;
        let most = order::micros(after).saturating_mul((workers as u64 / IDLE_SHARE).max(1));
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let credit = self.credit.saturating_add(signed(earned));
        self.credit = credit.min(signed(most)).saturating_sub(signed(spent));
    }

    /// The worker that is kept for a task.
    pub(crate) fn of(&self, seq: u64) -> Option<WorkerKey> {
        self.by_task.get(&seq).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, WorkerKey)> {
        self.by_task.iter().map(|(seq, worker)| (*seq, *worker))
    }
}

impl Scheduler {
    /// When tasks are to be looked for that have waited too long.
    pub(crate) fn next_reservation(&self) -> Option<Micros> {
        let wanted = self.queue.needy_len() > 0 || !self.reservations.by_task.is_empty();
        wanted.then_some(self.reservations.next_look)
    }

    /// Keeps workers for tasks that have waited too long.
    pub(crate) fn reserve(&mut self, now: Micros, actions: &mut Vec<Action>) {
        if self.next_reservation().is_none_or(|at| at > now) {
            return;
        }
        let pause = Span::from_ms(self.options.reserve_after.ms() / 16);
        let pause = pause.clamp(LOOK_OFTEN, LOOK_EVERY);
        self.reservations.next_look = now.plus(pause);
        self.drop_idle_reservations();
        let (workers, idle) = (self.fleet.len(), self.kept_idle());
        let after = self.options.reserve_after;
        self.reservations.reckon(now, workers, idle, after);
        if self.reservations.credit <= 0 {
            return;
        }
        let most = (self.fleet.len() / 2).clamp(1, RESERVATIONS_MAX);
        let room = most.saturating_sub(self.reservations.by_task.len());
        for seq in self.overdue(now).into_iter().take(room.min(NEW_MAX)) {
            self.reserve_for(seq, actions);
        }
    }

    /// How much stands idle of the workers that are kept, in parts of [`LOAD_SCALE`] of a worker.
    fn kept_idle(&self) -> u64 {
        let kept = self.reservations.by_task.values();
        let workers = kept.filter_map(|key| self.fleet.get(*key));
        workers.map(Worker::idle).sum()
    }

    /// Heads that ask for cores or memory and have waited too long, longest first.
    fn overdue(&self, now: Micros) -> Vec<u64> {
        let after = self.options.reserve_after;
        let anywhere = self.queue.needy_places();
        let mut overdue = Vec::new();
        for places in anywhere.chain(self.queue.needy_places_at()) {
            let next = places.iter().find(|(_, seq)| !self.has_reservation(*seq));
            let task = next.and_then(|(_, seq)| self.tasks.get(*seq));
            if let Some(task) = task
                && task.waited(now) >= after
            {
                overdue.push((std::cmp::Reverse(task.waited(now)), task.delivery.seq));
            }
        }
        overdue.sort_unstable();
        overdue.into_iter().map(|(_, seq)| seq).collect()
    }

    fn has_reservation(&self, seq: u64) -> bool {
        self.reservations.by_task.contains_key(&seq)
    }

    fn reserve_for(&mut self, seq: u64, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let its_own = match task.state {
            TaskState::Held(hold) => Some(hold.worker),
            _ => task.bound,
        };
        let found = match its_own {
            Some(worker) => self.may_be_kept(worker, task).then_some(worker),
            None => self.soonest(task),
        };
        let Some((key, worker)) = found.and_then(|key| Some((key, self.fleet.get(key)?))) else {
            return;
        };
        actions.push(Action::Tell(Told::Reserved {
            task: task.spec.id.clone(),
            kind: task.spec.kind.clone(),
            worker: worker.id.clone(),
        }));
        self.reservations.by_task.insert(seq, key);
        self.fleet.keep_for(key, Some(seq));
    }

    /// The worker that can take a task soonest. Of very many some are looked at, others each time.
    fn soonest(&self, task: &Task) -> Option<WorkerKey> {
        let options = &task.spec.options;
        let classes = self.fleet.class_keys(&task.spec.kind, &options.requires);
        let classes: std::collections::BTreeSet<_> = classes.collect();
        let workers = self.fleet.iter_from(task.delivery.seq);
        let suited = workers.filter(|(_, worker)| classes.contains(&worker.class));
        let suited = suited.take(LOOKS_MAX);
        let kept = suited.filter(|(key, _)| self.may_be_kept(*key, task));
        let starts = kept.map(|(key, worker)| {
            let gap = self.gap(worker, task);
            (gap.start.unwrap_or(Micros(u64::MAX)), worker.load(), key)
        });
        starts.min().map(|(_, _, key)| key)
    }

    /// Whether a worker could ever take a task, and is not kept for another.
    fn may_be_kept(&self, key: WorkerKey, task: &Task) -> bool {
        self.fleet
            .get(key)
            .is_some_and(|worker| worker.kept_for.is_none() && self.could_take(worker, task))
    }

    fn could_take(&self, worker: &Worker, task: &Task) -> bool {
        let options = &task.spec.options;
        worker.takes_tasks()
            && worker.slots() > 0
            && options.demand.fits(worker.resources)
            && self.fleet.limit(worker, &task.spec.kind) > 0
            && self.fleet.lacks(worker, &options.requires).is_none()
    }

    /// Those whose worker cannot take them any more begin anew.
    fn drop_idle_reservations(&mut self) {
        let idle: Vec<u64> = self
            .reservations
            .iter()
            .filter(|(seq, key)| {
                let pair = self.tasks.get(*seq).zip(self.fleet.get(*key));
                pair.is_none_or(|(task, worker)| !self.could_take(worker, task))
            })
            .map(|(seq, _)| seq)
            .collect();
        for seq in idle {
            self.unreserve(seq);
        }
    }

    /// A task does not wait any more, or not for its worker.
    pub(crate) fn unreserve(&mut self, seq: u64) {
        if self.reservations.by_task.is_empty() {
            return;
        }
        if let Some(key) = self.reservations.by_task.remove(&seq) {
            self.fleet.keep_for(key, None);
        }
    }

    /// A worker is gone: who waited for it waits for another.
    pub(crate) fn unreserve_worker(&mut self, key: WorkerKey) {
        let kept_for = self.fleet.get(key).and_then(|worker| worker.kept_for);
        if let Some(seq) = kept_for {
            self.unreserve(seq);
        }
    }

    /// Starts the tasks whose workers have got room for them.
    pub(crate) fn place_reserved(&mut self, actions: &mut Vec<Action>) {
        if self.reservations.by_task.is_empty() {
            return;
        }
        let all: Vec<(u64, WorkerKey)> = self.reservations.iter().collect();
        for (seq, key) in all {
            let pair = self.tasks.get(seq).zip(self.fleet.get(key));
            if pair.is_some_and(|(task, worker)| self.has_room(worker, task)) {
                self.begin_reserved(seq, key, actions);
            }
        }
    }

    fn begin_reserved(&mut self, seq: u64, key: WorkerKey, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        task.undisturbed = true;
        if !task.is_suspended() {
            self.note(seq, By::Reservation, key, Seats::Any);
        }
        self.begin(seq, key, actions);
    }

    /// Starts what does not put off those for whom workers are kept.
    pub(crate) fn backfill(&mut self, actions: &mut Vec<Action>) {
        let workers: Vec<(u64, WorkerKey)> = self
            .reservations
            .iter()
            .filter(|(_, key)| {
                let worker = self.fleet.get(*key);
                worker.is_some_and(|worker| worker.takes_tasks() && worker.free_slots() > 0)
            })
            .collect();
        if workers.is_empty() {
            return;
        }
        let waiting = self.next_waiting();
        for (reserved, key) in workers {
            self.backfill_one(reserved, key, &waiting, actions);
        }
    }

    fn backfill_one(
        &mut self,
        reserved: u64,
        key: WorkerKey,
        waiting: &[u64],
        actions: &mut Vec<Action>,
    ) {
        let mut gap = self.gap_before(reserved, key);
        for seq in waiting.iter().copied() {
            let (Some(task), Some(worker)) = (self.tasks.get(seq), self.fleet.get(key)) else {
                continue;
            };
            // Another worker may have taken it in this turn.
            let waits = task.place.is_some() && !self.has_reservation(seq);
            let fits = waits && self.could_take(worker, task) && self.has_room(worker, task);
            if fits && gap.is_some_and(|gap| gap.takes(task, self.now)) {
                self.note(seq, By::Reservation, key, Seats::Any);
                self.place(seq, key, actions);
                gap = self.gap_before(reserved, key);
            }
        }
    }

    fn gap_before(&self, reserved: u64, key: WorkerKey) -> Option<Gap> {
        let (task, worker) = self.tasks.get(reserved).zip(self.fleet.get(key))?;
        Some(self.gap(worker, task))
    }

    /// Some of those that may go anywhere, the next first.
    fn next_waiting(&self) -> Vec<u64> {
        let first = self.queue.first_anywhere(BACKFILL_EACH);
        let mut waiting: Vec<(order::Rank, Place)> = first
            .take(BACKFILL_MAX)
            .filter_map(|place| Some((self.turn_of(self.tasks.get(place.1)?), place)))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, (_, seq))| seq).collect()
    }

    /// What decides between heads of any two orders.
    fn turn_of(&self, task: &Task) -> order::Rank {
        order::urgency(self.options.policy.ageing, &task.waiting())
    }

    /// Whether a task may run on a worker without putting off the one for which that is kept.
    pub(crate) fn may_fill(&self, worker: &Worker, task: &Task) -> bool {
        let Some(reserved) = worker.kept_for.and_then(|seq| self.tasks.get(seq)) else {
            return true;
        };
        let its_own = reserved.delivery.seq == task.delivery.seq;
        its_own
            || goes_on_before(task, reserved)
            || self.gap(worker, reserved).takes(task, self.now)
    }

    /// Whether a task may take the slot of another on a worker that may be kept for one.
    pub(crate) fn may_swap_in(&self, worker: &Worker, task: &Task) -> bool {
        let reserved = worker.kept_for.and_then(|seq| self.tasks.get(seq));
        reserved.is_none_or(|reserved| {
            reserved.delivery.seq == task.delivery.seq || goes_on_before(task, reserved)
        })
    }

    /// The worker that is kept for a task, by name, and when it is expected to have room.
    pub(crate) fn reservation_of(&self, task: &Task) -> Option<(WorkerId, Option<Micros>)> {
        let worker = self.fleet.get(self.reservations.of(task.delivery.seq)?)?;
        Some((worker.id.clone(), self.gap(worker, task).start))
    }

    /// The books agree.
    pub(crate) fn check_reservations(&self) -> Result<(), String> {
        for (seq, key) in self.reservations.iter() {
            let kept_for = self.fleet.get(key).and_then(|worker| worker.kept_for);
            let task = self.tasks.get(seq).map(|task| &task.state);
            let suspended = self.tasks.get(seq).is_some_and(Task::is_suspended);
            let waits = suspended || matches!(task, Some(TaskState::Ready));
            if kept_for != Some(seq) || !waits {
                return Err(format!(
                    "a worker is kept for {seq}, which waits: {waits}; kept for {kept_for:?}"
                ));
            }
        }
        let kept = self
            .fleet
            .iter()
            .filter(|(_, worker)| worker.kept_for.is_some());
        let (kept, reserved) = (kept.count(), self.reservations.by_task.len());
        if kept == reserved && reserved <= RESERVATIONS_MAX {
            Ok(())
        } else {
            Err(format!("{kept} workers are kept for {reserved} tasks"))
        }
    }
}

/// Whether an attempt that is suspended may go on before another begins for which its worker is kept: it has
/// memory which the other may need. One that is suspended itself needs none.
const fn goes_on_before(task: &Task, reserved: &Task) -> bool {
    task.is_suspended() && !reserved.is_suspended()
}

#[cfg(test)]
mod tests;
