//! Which worker a task goes to, of those that handle its kind, carry what it requires and have room.
//!
//! Every strategy leaves out whoever lacks a kind, a label, a slot or declared resources, so none overdraws.
//! A task that asks for cores or memory is particular: a strategy tries a few of its own choice, and when none
//! of them has room the best fit is taken, which is found if there is any.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_pcg::Pcg64;
use rota_wire::{Kind, Label, Resources};

use crate::fleet::{Dominant, Fleet, FleetPlace, Pool, Seats, Strain, Worker, WorkerKey};
use crate::policy::Allocation;

/// How many workers of its own choice a strategy tries for a task that is particular.
const TRIES: usize = 16;

/// The same for a task under suspicion.
const TRIES_CLEAR: usize = 64;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) requires: &'a [Label],
    pub(crate) demand: Resources,
    pub(crate) seats: Seats,
}

/// What the strategies keep between two choices.
#[derive(Debug)]
pub(crate) struct Allocator {
    pub(crate) rng: Pcg64,
    /// Whose turn was last, for each kind.
    last: BTreeMap<Kind, WorkerKey>,
}

impl Allocator {
    pub(crate) const fn new(rng: Pcg64) -> Self {
        Self {
            rng,
            last: BTreeMap::new(),
        }
    }

    /// A worker for a task, if any has room.
    pub(crate) fn choose(
        &mut self,
        fleet: &Fleet,
        allocation: Allocation,
        wish: Wish<'_>,
    ) -> Option<WorkerKey> {
        let chosen = match allocation {
            Allocation::LeastLoaded => wish.least_loaded(fleet),
            Allocation::Random => self.random(fleet, wish),
            Allocation::RoundRobin => self.in_turn(fleet, wish),
            Allocation::PowerOfTwo => self.less_loaded_of_two(fleet, wish),
            Allocation::Resource if wish.demand.is_none() => wish.least_loaded(fleet),
            Allocation::Resource => None,
        };
        chosen.or_else(|| wish.best_fit(fleet))
    }

    fn random(&mut self, fleet: &Fleet, wish: Wish<'_>) -> Option<WorkerKey> {
        let tries = if wish.is_plain(fleet) { 1 } else { TRIES };
        (0..tries)
            .filter_map(|_| self.draw(fleet, wish))
            .map(|place| place.worker)
            .find(|worker| wish.fits(fleet, *worker))
    }

    fn less_loaded_of_two(&mut self, fleet: &Fleet, wish: Wish<'_>) -> Option<WorkerKey> {
        let tries = if wish.is_plain(fleet) { 1 } else { TRIES / 2 };
        for _ in 0..tries {
            let two = self.draw_two(fleet, wish).into_iter().flatten();
            let fitting = two.filter(|place| wish.fits(fleet, place.worker));
            if let Some(place) = fitting.min() {
                return Some(place.worker);
            }
        }
        None
    }

    fn in_turn(&mut self, fleet: &Fleet, wish: Wish<'_>) -> Option<WorkerKey> {
        let last = self.last.get(wish.kind).copied().unwrap_or_default();
        let mut candidates: Vec<WorkerKey> = wish
            .pools(fleet)
            .flat_map(|pool| {
                pool.after(last)
                    .take(if wish.is_plain(fleet) { 1 } else { TRIES })
            })
            .filter(|worker| wish.fits(fleet, *worker))
            .collect();
        candidates.sort_unstable_by_key(|worker| (*worker <= last, *worker));
        let next = *candidates.first()?;
        match self.last.get_mut(wish.kind) {
            Some(last) => *last = next,
            None => drop(self.last.insert(wish.kind.clone(), next)),
        }
        Some(next)
    }

    fn draw(&mut self, fleet: &Fleet, wish: Wish<'_>) -> Option<FleetPlace> {
        let all = wish.count(fleet);
        (all > 0).then(|| wish.drawn(fleet, self.rng.random_range(0..all)))?
    }

    /// Two that are not the same, if there are two.
    fn draw_two(&mut self, fleet: &Fleet, wish: Wish<'_>) -> [Option<FleetPlace>; 2] {
        let all = wish.count(fleet);
        match all {
            0 => [None, None],
            1 => [wish.drawn(fleet, 0), None],
            _ => {
                let first = self.rng.random_range(0..all);
                let other = self.rng.random_range(0..all - 1);
                let other = other + usize::from(other >= first);
                [wish.drawn(fleet, first), wish.drawn(fleet, other)]
            }
        }
    }
}

impl Wish<'_> {
    fn pools<'f>(&self, fleet: &'f Fleet) -> impl Iterator<Item = &'f Pool> {
        let (kind, seats) = (self.kind, self.seats);
        fleet
            .classes_for(kind, self.requires)
            .map(move |class| class.pool(kind, seats))
    }

    pub(crate) fn count(&self, fleet: &Fleet) -> usize {
        self.pools(fleet).map(Pool::len).sum()
    }

    fn drawn(&self, fleet: &Fleet, mut number: usize) -> Option<FleetPlace> {
        for pool in self.pools(fleet) {
            if number < pool.len() {
                return pool.drawn(number);
            }
            number -= pool.len();
        }
        None
    }

    /// Whether any worker of the classes that suit will do.
    fn is_plain(&self, fleet: &Fleet) -> bool {
        self.demand.is_none() && (self.requires.is_empty() || fleet.tells_apart(self.requires))
    }

    /// Those with room, the least loaded of each class first. At most so many of each class are looked at.
    fn least_loaded(&self, fleet: &Fleet) -> Option<WorkerKey> {
        let tries = if self.is_plain(fleet) { 1 } else { TRIES };
        let first = self.pools(fleet).filter_map(|pool| {
            pool.by_load()
                .take(tries)
                .find(|place| self.fits(fleet, place.worker))
        });
        first.min().map(|place| place.worker)
    }

    /// The least loaded of each class, with their loads.
    pub(crate) fn by_load(
        &self,
        fleet: &Fleet,
        each: usize,
    ) -> impl Iterator<Item = (WorkerKey, u64)> {
        let places = self
            .pools(fleet)
            .flat_map(move |pool| pool.by_load().take(each));
        places.map(|place| (place.worker, place.load))
    }

    /// The least loaded of those that suit. Costs O(n): for the rare task that is very particular.
    pub(crate) fn least_loaded_where(
        &self,
        fleet: &Fleet,
        suits: impl Fn(&Worker) -> bool,
    ) -> Option<WorkerKey> {
        let places = self.pools(fleet).flat_map(Pool::by_load);
        let suiting = places.filter(|place| {
            let worker = fleet.get(place.worker);
            worker.is_some_and(&suits) && self.fits(fleet, place.worker)
        });
        suiting.min().map(|place| place.worker)
    }

    /// The least loaded of those that run nothing under suspicion. So many of each class are looked at.
    pub(crate) fn first_clear(&self, fleet: &Fleet) -> Option<WorkerKey> {
        let wish = Self {
            seats: Seats::Clear,
            ..*self
        };
        let first = wish.pools(fleet).filter_map(|pool| {
            pool.by_load().take(TRIES_CLEAR).find(|place| {
                let worker = fleet.get(place.worker);
                let below =
                    |worker: &Worker| worker.used(self.kind) < fleet.limit(worker, self.kind);
                worker.is_some_and(below) && wish.fits(fleet, place.worker)
            })
        });
        first.min().map(|place| place.worker)
    }

    /// Whether a worker has the cores and the memory: free ones, or ever, for a task that can wait there.
    fn fits(&self, fleet: &Fleet, worker: WorkerKey) -> bool {
        if self.is_plain(fleet) {
            return true;
        }
        let worker = fleet.get(worker);
        let worker = worker.filter(|worker| fleet.lacks(worker, self.requires).is_none());
        worker.is_some_and(|worker| match self.seats {
            Seats::Free | Seats::Clear => self.demand.fits(worker.room()),
            Seats::Any => self.demand.fits(worker.resources),
        })
    }

    fn best_fit(&self, fleet: &Fleet) -> Option<WorkerKey> {
        if self.is_plain(fleet) {
            return None;
        }
        if self.demand.is_none() {
            return self.least_loaded_where(fleet, |_| true);
        }
        match self.seats {
            Seats::Free | Seats::Clear => self.least_to_spare(fleet),
            Seats::Any => self.least_loaded_where(fleet, |_| true),
        }
    }

    /// Of all classes the one with least left of what the task mostly needs, calm machines before others.
    fn least_to_spare(&self, fleet: &Fleet) -> Option<WorkerKey> {
        let mut best: Option<(Strain, u64, WorkerKey)> = None;
        for class in fleet.classes_for(self.kind, self.requires) {
            let dominant = Dominant::of(self.demand, class.capacity);
            let limit = class.profile.limit(self.kind);
            let fitting = class.rooms().fitting(self.demand, dominant);
            let fitting = fitting.filter_map(|(strain, key)| {
                let worker = fleet.get(key)?;
                if fleet.lacks(worker, self.requires).is_some() {
                    return None;
                }
                let left = worker.room().minus(self.demand);
                let share = share_left(left, worker.resources, dominant);
                (worker.used(self.kind) < limit).then_some((strain, share, key))
            });
            // They come nearly in order: a bucket is an eighth of a doubling wide.
            best = best.into_iter().chain(fitting.take(TRIES)).min();
        }
        best.map(|(_, _, worker)| worker)
    }
}

/// What is left of a resource, in parts of a million of what there is.
fn share_left(left: Resources, capacity: Resources, dominant: Dominant) -> u64 {
    let (left, capacity) = match dominant {
        Dominant::Cpu => (u64::from(left.cpu.0), u64::from(capacity.cpu.0)),
        Dominant::Memory => (left.memory.0, capacity.memory.0),
    };
    let share = u128::from(left) * 1_000_000 / u128::from(capacity.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
