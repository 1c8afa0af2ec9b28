//! All machines, and how much of their time is used.

use std::collections::BTreeMap;

use rota_wire::WorkerId;

use super::machine::{Build, Machine, MachineKey};

#[derive(Debug)]
pub(crate) struct Machines {
    machines: Vec<Machine>,
    by_id: BTreeMap<WorkerId, MachineKey>,
    usage: Usage,
}

/// Occupied slots, summed over the time that is measured.
#[derive(Debug, Default)]
struct Usage {
    occupied: u64,
    changed: u64,
    sum: u128,
    /// When measuring began.
    since: Option<u64>,
    measured: Option<Measured>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    sum: u128,
    time: u64,
}

impl Machines {
    pub(crate) fn new(count: u32, build: Build) -> Self {
        let machines: Vec<Machine> = (0..count)
            .map(|key| Machine::new(MachineKey(key), build))
            .collect();
        let by_id = machines
            .iter()
            .map(|machine| (machine.id.clone(), machine.key))
            .collect();
        Self {
            machines,
            by_id,
            usage: Usage::default(),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.machines.len()
    }

    pub(crate) fn get(&self, key: MachineKey) -> &Machine {
        &self.machines[key.0 as usize]
    }

    /// The machine on which a worker runs; nothing when it is lost.
    pub(crate) fn find(&self, id: &WorkerId) -> Option<&Machine> {
        self.by_id.get(id).map(|key| self.get(*key))
    }

    /// Slots that are occupied at this moment.
    pub(crate) const fn occupied(&self) -> u64 {
        self.usage.occupied
    }

    /// Changes a machine and keeps the books.
    pub(crate) fn change<R>(
        &mut self,
        now: u64,
        key: MachineKey,
        change: impl FnOnce(&mut Machine) -> R,
    ) -> R {
        let machine = &mut self.machines[key.0 as usize];
        let before = machine.busy();
        let result = change(machine);
        self.usage.note(now, before, machine.busy());
        result
    }

    /// The worker on a machine is lost.
    pub(crate) fn fail(&mut self, now: u64, key: MachineKey) {
        let id = self.get(key).id.clone();
        self.by_id.remove(&id);
        self.change(now, key, Machine::fail);
    }

    pub(crate) fn restart(&mut self, now: u64, key: MachineKey) {
        self.change(now, key, |machine| machine.restart(now));
        let id = self.get(key).id.clone();
        self.by_id.insert(id, key);
    }

    /// The first task arrives that counts.
    pub(crate) fn begin_measuring(&mut self, now: u64) {
        self.usage.note(now, 0, 0);
        self.usage.sum = 0;
        self.usage.since = Some(now);
    }

    /// The last task arrives.
    pub(crate) fn end_measuring(&mut self, now: u64) {
        self.usage.note(now, 0, 0);
        let time = now - self.usage.since.unwrap_or(now);
        self.usage.measured = Some(Measured {
            sum: self.usage.sum,
            time,
        });
    }

    /// The share of so many slots' time that was occupied.
    pub(crate) fn utilisation(&self, slots: u64) -> f64 {
        match self.usage.measured {
            Some(Measured { sum, time }) if time > 0 => sum as f64 / time as f64 / slots as f64,
            Some(_) | None => 0.0,
        }
    }
}

impl Usage {
    fn note(&mut self, now: u64, before: u32, after: u32) {
        if before == after && now == self.changed {
            return;
        }
        self.sum += u128::from(self.occupied) * u128::from(now - self.changed);
        self.changed = now;
        self.occupied = self.occupied + u64::from(after) - u64::from(before);
    }
}
