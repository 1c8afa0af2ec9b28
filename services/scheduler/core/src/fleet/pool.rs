//! Workers of which any may be chosen, found in every way in which they are chosen: by load, in turn, drawn.

use std::collections::BTreeSet;

use super::WorkerKey;
use crate::maps::NumberMap;

/// A worker's place by load: the smallest is the least loaded. Equal loads take turns, the one that was given
/// a task longest ago first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FleetPlace {
    /// In parts of [`super::worker::LOAD_SCALE`].
    pub(crate) load: u64,
    pub(crate) turn: u64,
    pub(crate) worker: WorkerKey,
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    members: NumberMap<WorkerKey, Member>,
    by_load: BTreeSet<FleetPlace>,
    drawn: Vec<FleetPlace>,
    in_turn: BTreeSet<WorkerKey>,
}

#[derive(Debug)]
struct Member {
    /// Where it stands among those that are drawn from.
    at: usize,
}

impl Pool {
    pub(crate) const fn len(&self) -> usize {
        self.drawn.len()
    }

    /// Puts a worker in, moves it to another place, or takes it out.
    pub(super) fn set(&mut self, worker: WorkerKey, place: Option<FleetPlace>, turns: bool) {
        match (self.members.get(&worker), place) {
            (None, None) => {}
            (Some(member), Some(place)) => {
                let known = &mut self.drawn[member.at];
                if *known != place {
                    self.by_load.remove(known);
                    self.by_load.insert(place);
                    *known = place;
                }
            }
            (None, Some(place)) => {
                let at = self.drawn.len();
                self.drawn.push(place);
                self.by_load.insert(place);
                self.members.insert(worker, Member { at });
                if turns {
                    self.in_turn.insert(worker);
                }
            }
            (Some(_), None) => self.remove(worker),
        }
    }

    fn remove(&mut self, worker: WorkerKey) {
        let Some(member) = self.members.remove(&worker) else {
            return;
        };
        self.in_turn.remove(&worker);
        self.by_load.remove(&self.drawn.swap_remove(member.at));
        if let Some(moved) = self.drawn.get(member.at)
            && let Some(other) = self.members.get_mut(&moved.worker)
        {
            other.at = member.at;
        }
    }

    /// The least loaded first.
    pub(crate) fn by_load(&self) -> impl Iterator<Item = FleetPlace> {
        self.by_load.iter().copied()
    }

    /// Each in turn, from the one after this.
    pub(crate) fn after(&self, worker: WorkerKey) -> impl Iterator<Item = WorkerKey> {
        let later = (
            std::ops::Bound::Excluded(worker),
            std::ops::Bound::Unbounded,
        );
        let rest = self.in_turn.range(..=worker);
        self.in_turn.range(later).chain(rest).copied()
    }

    /// The one with this number, less than [`Pool::len`].
    pub(crate) fn drawn(&self, number: usize) -> Option<FleetPlace> {
        self.drawn.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(load: u64, worker: u32) -> FleetPlace {
        FleetPlace {
            load,
            turn: 0,
            worker: WorkerKey(worker),
        }
    }

    fn pool(loads: &[(u64, u32)]) -> Pool {
        let mut pool = Pool::default();
        for (load, worker) in loads {
            pool.set(WorkerKey(*worker), Some(place(*load, *worker)), true);
        }
        pool
    }

    #[test]
    fn workers_are_found_by_load_in_turn_and_by_number() {
        let mut pool = pool(&[(5, 1), (3, 2), (9, 3)]);
        pool.set(WorkerKey(3), Some(place(1, 3)), true);
        let by_load: Vec<u32> = pool.by_load().map(|place| place.worker.0).collect();
        assert_eq!(by_load, [3, 2, 1]);
        let in_turn: Vec<u32> = pool.after(WorkerKey(2)).map(|worker| worker.0).collect();
        assert_eq!(in_turn, [3, 1, 2]);
        let drawn: BTreeSet<_> = (0..pool.len()).filter_map(|n| pool.drawn(n)).collect();
        assert_eq!(drawn.len(), 3);
        assert_eq!(pool.drawn(3), None);
    }

    #[test]
    fn one_that_is_taken_out_is_found_in_no_way() {
        let mut pool = pool(&[(5, 1), (3, 2), (9, 3), (7, 4)]);
        pool.set(WorkerKey(2), None, true);
        pool.set(WorkerKey(2), None, true);
        pool.set(WorkerKey(4), None, true);
        assert_eq!(pool.len(), 2);
        let left = [WorkerKey(1), WorkerKey(3)];
        let in_turn: Vec<_> = pool.after(WorkerKey(9)).collect();
        assert_eq!(in_turn, left);
        let drawn: BTreeSet<_> = (0..2)
            .filter_map(|n| pool.drawn(n))
            .map(|p| p.worker)
            .collect();
        assert_eq!(drawn, left.into_iter().collect());
    }
}
