//! Workers that handle the same kinds and carry the same labels: one is as good as another but for its load.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::fleet::Heartbeat;
use rota_wire::{Cpu, Kind, Label, Memory, Resources};

use super::pool::{FleetPlace, Pool};
use super::rooms::{Room, Rooms, Strain};
use super::{Indexes, Worker};

/// What makes a class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Profile {
    /// Sorted by kind, each once.
    pub(crate) kinds: Vec<(Kind, Option<u32>)>,
    pub(crate) labels: BTreeSet<Label>,
}

impl Profile {
    /// What a worker says of itself, but for labels that nobody requires.
    pub(crate) fn new(heartbeat: &Heartbeat, required: &BTreeSet<Label>) -> Self {
        let kinds: BTreeMap<_, _> = heartbeat
            .kinds
            .iter()
            .rev()
            .map(|capacity| (capacity.kind.clone(), capacity.concurrency))
            .collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        Self::of(&kinds, &heartbeat.labels, required)
    }

    pub(crate) fn of<'l>(
        kinds: &[(Kind, Option<u32>)],
        labels: impl IntoIterator<Item = &'l Label>,
        required: &BTreeSet<Label>,
    ) -> Self {
        let labels = labels.into_iter().filter(|label| required.contains(*label));
        Self {
            kinds: kinds.to_vec(),
            labels: labels.cloned().collect(),
        }
    }

    pub(crate) fn limit(&self, kind: &Kind) -> u32 {
        let at = self.kinds.binary_search_by(|(known, _)| known.cmp(kind));
        at.map_or(0, |at| self.kinds[at].1.unwrap_or(u32::MAX))
    }
}

/// Which workers may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seats {
    /// Those with a free slot, and with room for the kind.
    Free,
    /// All that take tasks.
    Any,
    /// Those with a free slot that run nothing under suspicion.
    Clear,
}

#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) profile: Profile,
    /// Workers of it, whether they take tasks or not.
    pub(super) members: u32,
    /// Slots that are free on workers that take tasks.
    pub(crate) free_slots: u32,
    taking: u32,
    /// Workers that take tasks, while kinds are bound early.
    takers: Pool,
    /// Those of them that have a free slot.
    open: Pool,
    /// Those of them that run nothing under suspicion, once there is such a task.
    clear: Pool,
    /// Those with a free slot, for each kind with a limit of its own: those that have room for it.
    limited: BTreeMap<Kind, Pool>,
    /// What those with a free slot have free, once somebody asks.
    rooms: Rooms,
    /// What all workers that take tasks have.
    pub(crate) capacity: Resources,
    /// What single ones have, and how many there are of each size.
    sizes: BTreeMap<(Cpu, Memory), u32>,
}

/// What a class keeps of a worker.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    takes: bool,
    free_slots: u32,
    capacity: Resources,
}

impl Class {
    pub(super) fn new(profile: Profile) -> Self {
        let limited = profile.kinds.iter().filter(|(_, limit)| limit.is_some());
        let limited = limited.map(|(kind, _)| (kind.clone(), Pool::default()));
        Self {
            limited: limited.collect(),
            profile,
            members: 0,
            taking: 0,
            free_slots: 0,
            takers: Pool::default(),
            open: Pool::default(),
            clear: Pool::default(),
            rooms: Rooms::default(),
            capacity: Resources::NONE,
            sizes: BTreeMap::new(),
        }
    }

    /// Whether any worker that takes tasks has ever room for a demand.
    pub(crate) fn could_take(&self, demand: Resources) -> bool {
        let mut sizes = self.sizes.keys();
        sizes.any(|(cpu, memory)| demand.cpu <= *cpu && demand.memory <= *memory)
    }

    /// Workers that take tasks.
    pub(crate) const fn takers(&self) -> u32 {
        self.taking
    }

    /// Those that may be chosen for a kind.
    pub(crate) fn pool(&self, kind: &Kind, seats: Seats) -> &Pool {
        match seats {
            Seats::Any => &self.takers,
            Seats::Clear => &self.clear,
            Seats::Free => self.limited.get(kind).unwrap_or(&self.open),
        }
    }

    pub(crate) const fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Puts a worker in its places after it has joined or changed.
    pub(super) fn put(&mut self, worker: &mut Worker, indexes: Indexes) {
        let takes = worker.takes_tasks();
        let place = takes.then(|| place_of(worker));
        // One that is kept for a task is nobody's choice.
        let place = place.filter(|_| worker.kept_for.is_none());
        let open = place.filter(|_| worker.free_slots() > 0);
        if indexes.takers {
            self.takers.set(worker.key, place, indexes.turns);
        }
        self.open.set(worker.key, open, indexes.turns);
        if indexes.clear {
            let clear = open.filter(|_| !worker.has_suspect());
            self.clear.set(worker.key, clear, false);
        }
        for (kind, pool) in &mut self.limited {
            let room = worker.used(kind) < self.profile.limit(kind);
            pool.set(worker.key, open.filter(|_| room), indexes.turns);
        }
        if indexes.rooms {
            let room = open.map(|_| room_of(worker));
            self.rooms.set(worker.key, room);
        }
        let kept = Kept {
            takes,
            free_slots: place.map_or(0, |_| worker.free_slots()),
            capacity: if takes {
                worker.resources
            } else {
                Resources::NONE
            },
        };
        self.count(worker.kept, kept);
        worker.kept = kept;
    }

    /// Takes a worker out that leaves.
    pub(super) fn take_out(&mut self, worker: &mut Worker) {
        let pools = self.limited.values_mut();
        for pool in pools.chain([&mut self.takers, &mut self.open, &mut self.clear]) {
            pool.set(worker.key, None, true);
        }
        self.rooms.set(worker.key, None);
        self.count(worker.kept, Kept::default());
        worker.kept = Kept::default();
    }

    fn count(&mut self, before: Kept, now: Kept) {
        self.taking = self.taking + u32::from(now.takes) - u32::from(before.takes);
        self.free_slots = self.free_slots.saturating_sub(before.free_slots);
        self.free_slots = self.free_slots.saturating_add(now.free_slots);
        if (before.takes, before.capacity) == (now.takes, now.capacity) {
            return;
        }
        self.capacity = self.capacity.minus(before.capacity).plus(now.capacity);
        let size = |kept: Kept| (kept.capacity.cpu, kept.capacity.memory);
        if now.takes {
            *self.sizes.entry(size(now)).or_default() += 1;
        }
        if before.takes
            && let Some(count) = self.sizes.get_mut(&size(before))
        {
            *count -= 1;
            if *count == 0 {
                self.sizes.remove(&size(before));
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

fn room_of(worker: &Worker) -> Room {
    Room {
        free: worker.room(),
        strain: if worker.pressed {
            Strain::Pressed
        } else {
            Strain::Calm
        },
    }
}
