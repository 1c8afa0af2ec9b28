//! Who has room for a demand, the one with least to spare first: best fit in two dimensions.
//!
//! Workers stand in buckets by what they have free of one resource, an eighth of a doubling wide, and within
//! a bucket in order of the other. All of the buckets above the demand's own fit in the first resource, so the
//! first that fits in the other is found by search: a look costs O(log n) for each bucket that is not empty, of
//! which there are a few hundred at most. Workers whose machines are under pressure come after all others.
//!
//! What must hold: when one fits, one is found; and what is found fits.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::Resources;

use super::WorkerKey;

/// Whether a machine has its tasks wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strain {
    Calm,
    Pressed,
}

/// What a worker has free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) free: Resources,
    pub(crate) strain: Strain,
}

#[derive(Debug, Default)]
pub(crate) struct Rooms {
    rooms: BTreeMap<WorkerKey, Room>,
    by_cpu: Shelves,
    by_memory: Shelves,
}

/// Workers by one resource, then by the other.
#[derive(Debug, Default)]
struct Shelves(BTreeMap<(Strain, u16), BTreeSet<Shelved>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shelved {
    other: u64,
    main: u64,
    worker: WorkerKey,
}

/// Which of its parts a demand mostly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dominant {
    Cpu,
    Memory,
}

impl Dominant {
    /// The part that is the larger share of what there is.
    pub(crate) fn of(demand: Resources, capacity: Resources) -> Self {
        let cpu = u128::from(demand.cpu.0) * u128::from(capacity.memory.0.max(1));
        let memory = u128::from(demand.memory.0) * u128::from(capacity.cpu.0.max(1));
        if cpu >= memory {
            Self::Cpu
        } else {
            Self::Memory
        }
    }
}

impl Rooms {
    pub(super) fn set(&mut self, worker: WorkerKey, room: Option<Room>) {
        let before = match room {
            Some(room) => self.rooms.insert(worker, room),
            None => self.rooms.remove(&worker),
        };
        if before == room {
            return;
        }
        let amounts = |room: Room| (u64::from(room.free.cpu.0), room.free.memory.0);
        if let Some(before) = before {
            let (cpu, memory) = amounts(before);
            self.by_cpu.remove(before.strain, cpu, memory, worker);
            self.by_memory.remove(before.strain, memory, cpu, worker);
        }
        if let Some(now) = room {
            let (cpu, memory) = amounts(now);
            self.by_cpu.insert(now.strain, cpu, memory, worker);
            self.by_memory.insert(now.strain, memory, cpu, worker);
        }
    }

    /// Those that have room for a demand, calm machines first, and the one with least left of the dominant
    /// resource first of all.
    pub(crate) fn fitting(
        &self,
        demand: Resources,
        dominant: Dominant,
    ) -> impl Iterator<Item = (Strain, WorkerKey)> {
        let (cpu, memory) = (u64::from(demand.cpu.0), demand.memory.0);
        let (shelves, main, other) = match dominant {
            Dominant::Cpu => (&self.by_cpu, cpu, memory),
            Dominant::Memory => (&self.by_memory, memory, cpu),
        };
        [Strain::Calm, Strain::Pressed]
            .into_iter()
            .flat_map(move |strain| shelves.fitting(strain, main, other))
    }
}

impl Shelves {
    fn insert(&mut self, strain: Strain, main: u64, other: u64, worker: WorkerKey) {
        let shelved = Shelved {
            other,
            main,
            worker,
        };
        self.0
            .entry((strain, bucket(main)))
            .or_default()
            .insert(shelved);
    }

    fn remove(&mut self, strain: Strain, main: u64, other: u64, worker: WorkerKey) {
        let key = (strain, bucket(main));
        let Some(shelf) = self.0.get_mut(&key) else {
            return;
        };
        shelf.remove(&Shelved {
            other,
            main,
            worker,
        });
        if shelf.is_empty() {
            self.0.remove(&key);
        }
    }

    fn fitting(
        &self,
        strain: Strain,
        main: u64,
        other: u64,
    ) -> impl Iterator<Item = (Strain, WorkerKey)> {
        let least = Shelved {
            other,
            main: 0,
            worker: WorkerKey(0),
        };
        let shelves = self.0.range((strain, bucket(main))..=(strain, u16::MAX));
        shelves
            .flat_map(move |(_, shelf)| shelf.range(least..))
            .filter(move |shelved| shelved.main >= main)
            .map(move |shelved| (strain, shelved.worker))
    }
}

/// Eight for each doubling.
fn bucket(amount: u64) -> u16 {
    match amount.checked_ilog2() {
        None => 0,
        Some(log) => {
            let eighth = if log >= 3 {
                (amount >> (log - 3)) & 7
            } else {
                (amount << (3 - log)) & 7
            };
            1 + (log as u16) * 8 + eighth as u16
        }
    }
}

/// An amount of each, for tests.
#[cfg(test)]
pub(crate) fn amount(cpu: u32, memory: u64) -> Resources {
    use rota_wire::{Cpu, Memory};

    Resources {
        cpu: Cpu(cpu),
        memory: Memory(memory),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_larger_amount_is_never_in_a_lower_bucket() {
        let mut last = 0;
        for amount in (0..5_000).chain((0..60).map(|shift| 5_000 << (shift / 2))) {
            assert!(bucket(amount) >= last, "{amount}");
            last = bucket(amount);
        }
    }

    #[test]
    fn the_one_with_least_to_spare_of_the_dominant_resource_comes_first() {
        let mut rooms = Rooms::default();
        for (worker, cpu, memory) in [(1, 8_000, 8), (2, 2_000, 80), (3, 4_000, 4)] {
            let free = amount(cpu, memory);
            let strain = Strain::Calm;
            rooms.set(WorkerKey(worker), Some(Room { free, strain }));
        }
        let first = |demand, dominant| rooms.fitting(demand, dominant).next().map(|(_, w)| w.0);
        assert_eq!(first(amount(1_000, 2), Dominant::Cpu), Some(2));
        assert_eq!(first(amount(1_000, 2), Dominant::Memory), Some(3));
        assert_eq!(first(amount(3_000, 5), Dominant::Cpu), Some(1));
        assert_eq!(first(amount(9_000, 1), Dominant::Cpu), None);
    }

    #[test]
    fn a_machine_under_pressure_comes_last() {
        let mut rooms = Rooms::default();
        for (worker, cpu, strain) in [(1, 2_000, Strain::Pressed), (2, 9_000, Strain::Calm)] {
            let free = amount(cpu, 1);
            rooms.set(WorkerKey(worker), Some(Room { free, strain }));
        }
        let order: Vec<_> = rooms.fitting(amount(1_000, 0), Dominant::Cpu).collect();
        assert_eq!(
            order,
            [
                (Strain::Calm, WorkerKey(2)),
                (Strain::Pressed, WorkerKey(1))
            ]
        );
    }

    proptest! {
        #[test]
        fn just_those_that_fit_are_found(
            rooms in prop::collection::vec((0..40_u32, 0..40_u64), 0..30),
            cpu in 0..40_u32,
            memory in 0..40_u64,
        ) {
            let mut index = Rooms::default();
            let mut fit = BTreeSet::new();
            for (worker, (free_cpu, free_memory)) in rooms.into_iter().enumerate() {
                let (worker, free) = (WorkerKey(worker as u32), amount(free_cpu, free_memory));
                // Each is moved once, so that leaving a shelf is tried too.
                for free in [amount(free_memory as u32, 7), free] {
                    let strain = Strain::Calm;
                    index.set(worker, Some(Room { free, strain }));
                }
                if amount(cpu, memory).fits(free) {
                    fit.insert(worker);
                }
            }
            for dominant in [Dominant::Cpu, Dominant::Memory] {
                let found = index.fitting(amount(cpu, memory), dominant);
                let found: BTreeSet<_> = found.map(|(_, worker)| worker).collect();
                prop_assert_eq!(&found, &fit);
            }
        }
    }
}
