//! Workers that handle the same kinds, those with a free slot in order of load.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::Kind;
use rota_wire::fleet::KindCapacity;

use super::{Worker, WorkerKey};

/// A worker's place among those with a free slot: the smallest is given the next task. Equal loads take
/// turns, the one that was given a task longest ago first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FleetPlace {
    load: u64,
    turn: u64,
    pub(crate) worker: WorkerKey,
}

#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) kinds: Vec<KindCapacity>,
    /// Slots that are free on workers that take tasks.
    pub(crate) free_slots: u32,
    /// Workers that take tasks.
    pub(crate) takers: u32,
    open: BTreeSet<FleetPlace>,
    /// The same for each kind with a limit of its own: those that have room for it.
    limited: BTreeMap<Kind, BTreeSet<FleetPlace>>,
}

impl Class {
    pub(crate) fn new(kinds: Vec<KindCapacity>) -> Self {
        let limited = kinds
            .iter()
            .filter(|capacity| capacity.concurrency.is_some());
        let limited = limited
            .map(|capacity| (capacity.kind.clone(), BTreeSet::new()))
            .collect();
        Self {
            kinds,
            free_slots: 0,
            takers: 0,
            open: BTreeSet::new(),
            limited,
        }
    }

    /// The least loaded worker with room for a kind.
    pub(crate) fn first(&self, kind: &Kind) -> Option<FleetPlace> {
        self.limited
            .get(kind)
            .unwrap_or(&self.open)
            .first()
            .copied()
    }

    /// All workers with room for a kind.
    pub(crate) fn places(&self, kind: &Kind) -> impl Iterator<Item = FleetPlace> {
        self.limited.get(kind).unwrap_or(&self.open).iter().copied()
    }

    /// Takes a worker out before it changes.
    pub(crate) fn take_out(&mut self, worker: &Worker) {
        if !worker.takes_tasks() {
            return;
        }
        self.takers = self.takers.saturating_sub(1);
        self.free_slots = self.free_slots.saturating_sub(worker.free_slots());
        let place = place_of(worker);
        self.open.remove(&place);
        for places in self.limited.values_mut() {
            places.remove(&place);
        }
    }

    /// Puts a worker in after it has changed.
    pub(crate) fn put_in(&mut self, worker: &Worker) {
        if !worker.takes_tasks() {
            return;
        }
        self.takers += 1;
        self.free_slots = self.free_slots.saturating_add(worker.free_slots());
        if worker.free_slots() == 0 {
            return;
        }
        let place = place_of(worker);
        self.open.insert(place);
        for (kind, places) in &mut self.limited {
            let limit = self.kinds.iter().find(|capacity| capacity.kind == *kind);
            let limit = limit
                .and_then(|capacity| capacity.concurrency)
                .unwrap_or(u32::MAX);
            if worker.used(kind) < limit {
                places.insert(place);
            }
        }
    }
}

fn place_of(worker: &Worker) -> FleetPlace {
    FleetPlace {
        load: worker.load(),
        turn: worker.turn,
        worker: worker.key,
    }
}
