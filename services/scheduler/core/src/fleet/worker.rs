//! One worker as the scheduler knows it.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::fleet::{FrameMark, Heartbeat, MachineLoad, WorkerState};
use rota_wire::{Cpu, Dialect, Holding, Kind, Label, Micros, Resources, Span, WorkerId};

use super::class::Kept;
use super::{ClassKey, WorkerKey};
use crate::action::Placed;
use crate::options::LoadView;
use crate::tasks::Course;

/// Load is counted in parts of this, so that workers of unlike size compare.
pub(crate) const LOAD_SCALE: u64 = 1 << 20;
/// Reports that are settled, and holdings that are revoked, in one frame.
pub(crate) const ORDERS_MAX: usize = 4_096;
/// From this share of time in which some task waited for it, a machine counts as under pressure.
const PRESSURE_CPU_PERMILLE: u16 = 600;
const PRESSURE_MEMORY_PERMILLE: u16 = 200;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) key: WorkerKey,
    pub(crate) id: WorkerId,
    pub(crate) state: WorkerState,
    pub(crate) class: ClassKey,
    /// The last heartbeat's number.
    pub(crate) heartbeat: u64,
    pub(crate) interval: Span,
    /// When it counts as lost unless it is heard.
    pub(crate) deadline: Micros,
    /// The last assign frame that it says it has seen.
    pub(crate) seen: Option<FrameMark>,
    pub(crate) outbox: Outbox,
    /// The number of its last frame.
    pub(crate) frames: u64,
    /// The same at its last heartbeat.
    pub(crate) frames_at_heartbeat: u64,
    /// When it was last given a task, counted in assignments.
    pub(crate) turn: u64,
    /// Attempts that it runs and that are not in our books.
    pub(crate) foreign: u32,
    /// What it may give to attempts that ask for cores or memory.
    pub(crate) resources: Resources,
    pub(crate) labels: BTreeSet<Label>,
    /// Whether its machine has its tasks wait.
    pub(crate) pressed: bool,
    /// The task for which it is kept.
    pub(crate) kept_for: Option<u64>,
    /// Nobody listened when something was sent to it, and it was not heard since.
    pub(crate) muted: bool,
    /// Kinds that it cannot run although it was told to, and why.
    pub(crate) withdrawn: BTreeMap<Kind, String>,
    /// What it reads.
    pub(crate) dialect: Dialect,
    pub(super) kept: Kept,
    view: LoadView,
    slots: u32,
    held: BTreeSet<u64>,
    suspended: BTreeSet<u64>,
    /// Tasks that are bound to it and not begun.
    bound: u32,
    used: BTreeMap<Kind, u32>,
    /// What its attempts were promised: the memory of the suspended ones, but not their cores.
    demand: Resources,
    /// Attempts and bound tasks at its last heartbeat.
    heard_load: u32,
    suspects: BTreeSet<u64>,
}

/// What is to be sent to a worker.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The frame that it becomes; 0 while it is empty.
    pub(crate) frame: u64,
    pub(crate) settled: Vec<u64>,
    pub(crate) revoked: Vec<Holding>,
    pub(crate) suspended: Vec<Holding>,
    pub(crate) resumed: Vec<Holding>,
    /// Those of both that were told before and are told again.
    pub(crate) repeated: Vec<Holding>,
    pub(crate) tasks: Vec<Placed>,
    pub(crate) input_bytes: u64,
}

impl Outbox {
    /// Has an attempt suspended; one that was to go on and was not told yet just stays as it is.
    pub(crate) fn suspend(&mut self, holding: Holding) -> Told {
        if self.takes_back(holding, |outbox| &mut outbox.resumed) {
            return Told::TakenBack;
        }
        self.suspended.push(holding);
        Told::Sent
    }

    /// Has an attempt go on; one that was to be suspended and was not told yet just stays as it is.
    pub(crate) fn resume(&mut self, holding: Holding) -> Told {
        if self.takes_back(holding, |outbox| &mut outbox.suspended) {
            return Told::TakenBack;
        }
        self.resumed.push(holding);
        Told::Sent
    }

    /// Takes out what is over the bound of one frame.
    pub(crate) fn take_excess(&mut self) -> Option<(Vec<u64>, Vec<Holding>)> {
        if self.settled.len() <= ORDERS_MAX && self.revoked.len() <= ORDERS_MAX {
            return None;
        }
        let settled = self.settled.len().min(ORDERS_MAX);
        let revoked = self.revoked.len().min(ORDERS_MAX);
        Some((
            self.settled.split_off(settled),
            self.revoked.split_off(revoked),
        ))
    }

    /// Tells once more what was not followed.
    pub(crate) fn repeat(&mut self, holding: Holding, course: Course) {
        self.repeated.push(holding);
        match course {
            Course::Suspended => self.suspended.push(holding),
            Course::Running { .. } => self.resumed.push(holding),
        }
    }

    /// Removes the contrary of an order. That is all there is to do, unless the contrary was sent before.
    fn takes_back(
        &mut self,
        holding: Holding,
        contrary: impl Fn(&mut Self) -> &mut Vec<Holding>,
    ) -> bool {
        let orders = contrary(self);
        let Some(at) = orders.iter().position(|other| *other == holding) else {
            return false;
        };
        orders.remove(at);
        !self.repeated.contains(&holding)
    }
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is sent.
    Sent,
    /// Its contrary was not sent yet, and neither is.
    TakenBack,
}

/// What the books of a worker are told of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) seq: u64,
    pub(crate) kind: &'a Kind,
    pub(crate) demand: Resources,
}

impl Worker {
    pub(crate) fn new(heartbeat: &Heartbeat, key: WorkerKey, view: LoadView) -> Self {
        Self {
            key,
            id: heartbeat.worker.clone(),
            state: heartbeat.state,
            class: ClassKey::default(),
            heartbeat: 0,
            interval: heartbeat.interval,
            deadline: Micros(u64::MAX),
            seen: None,
            outbox: Outbox::default(),
            frames: 0,
            frames_at_heartbeat: 0,
            turn: 0,
            foreign: 0,
            resources: heartbeat.resources,
            labels: heartbeat.labels.iter().cloned().collect(),
            pressed: is_pressed(&heartbeat.machine),
            kept_for: None,
            muted: false,
            withdrawn: BTreeMap::new(),
            dialect: heartbeat.dialect,
            kept: Kept::default(),
            view,
            slots: heartbeat.slots,
            held: BTreeSet::new(),
            suspended: BTreeSet::new(),
            bound: 0,
            used: BTreeMap::new(),
            demand: Resources::NONE,
            heard_load: 0,
            suspects: BTreeSet::new(),
        }
    }

    pub(crate) fn hear(&mut self, heartbeat: &Heartbeat) {
        self.heartbeat = heartbeat.number;
        self.state = heartbeat.state;
        self.interval = heartbeat.interval;
        self.slots = heartbeat.slots;
        self.resources = heartbeat.resources;
        if !self.carries_just(&heartbeat.labels) {
            self.labels = heartbeat.labels.iter().cloned().collect();
        }
        self.pressed = is_pressed(&heartbeat.machine);
        self.muted = false;
        self.dialect = heartbeat.dialect;
        if !(heartbeat.withdrawn.is_empty() && self.withdrawn.is_empty()) {
            let withdrawn = heartbeat.withdrawn.iter();
            self.withdrawn = withdrawn
                .map(|withdrawn| (withdrawn.kind.clone(), withdrawn.reason.clone()))
                .collect();
        }
        self.seen = heartbeat.seen;
        self.heard_load = self.all();
        // A kind that nothing runs of is kept as long as it may run here: it comes again.
        if self.used.len() > heartbeat.kinds.len() {
            self.used.retain(|_, used| *used > 0);
        }
    }

    /// Whether it may be given tasks.
    pub(crate) fn takes_tasks(&self) -> bool {
        self.state == WorkerState::Up && !self.muted
    }

    /// Whether these are its labels.
    pub(crate) fn carries_just(&self, labels: &[Label]) -> bool {
        let all = labels.iter().all(|label| self.labels.contains(label));
        all && labels.len() == self.labels.len()
    }

    /// A task that it holds is not under suspicion any more.
    pub(super) fn clear(&mut self, seq: u64) {
        self.suspects.remove(&seq);
    }

    /// The messages that it holds, suspended ones included.
    pub(crate) const fn held(&self) -> &BTreeSet<u64> {
        &self.held
    }

    /// How many of them are suspended.
    pub(crate) fn suspended(&self) -> u32 {
        u32::try_from(self.suspended.len()).unwrap_or(u32::MAX)
    }

    /// Whether it holds a task that was on lost workers too often.
    pub(crate) fn has_suspect(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(crate) const fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn free_slots(&self) -> u32 {
        self.slots.saturating_sub(self.occupied())
    }

    /// Its load in parts of [`LOAD_SCALE`] of its slots: attempts that run, stand still, or are bound to it.
    pub(crate) fn load(&self) -> u64 {
        let load = match self.view {
            LoadView::Counted => self.all(),
            LoadView::HeartbeatOnly => self.heard_load,
        };
        u64::from(load) * LOAD_SCALE / u64::from(self.slots.max(1))
    }

    /// What of it nothing uses, of cores or of slots, in parts of [`LOAD_SCALE`].
    pub(crate) fn idle(&self) -> u64 {
        let slots = u64::from(self.free_slots()) * LOAD_SCALE / u64::from(self.slots.max(1));
        let cores =
            u64::from(self.room().cpu.0) * LOAD_SCALE / u64::from(self.resources.cpu.0.max(1));
        if self.resources.cpu.0 == 0 {
            slots
        } else {
            cores.min(slots)
        }
    }

    /// How many attempts of a kind run on it.
    pub(crate) fn used(&self, kind: &Kind) -> u32 {
        self.used.get(kind).copied().unwrap_or(0)
    }

    /// What it can still promise.
    pub(crate) const fn room(&self) -> Resources {
        self.resources.minus(self.demand)
    }

    /// What it could promise if so much of its promises were given back. It may have promised more than it
    /// has, so this is not the sum of both.
    pub(crate) const fn room_without(&self, freed: Resources) -> Resources {
        self.resources.minus(self.demand.minus(freed))
    }

    /// What it has promised.
    pub(crate) const fn demand(&self) -> Resources {
        self.demand
    }

    /// An attempt begins on it, or is found there.
    pub(super) fn hold(&mut self, part: Part<'_>, suspect: bool) {
        if !self.held.insert(part.seq) {
            return;
        }
        self.use_slot(part.kind);
        self.demand = self.demand.plus(part.demand);
        if suspect {
            self.suspects.insert(part.seq);
        }
    }

    /// An attempt is gone from it.
    pub(super) fn release(&mut self, part: Part<'_>) {
        if !self.held.remove(&part.seq) {
            return;
        }
        if self.suspended.remove(&part.seq) {
            self.demand = self.demand.minus(memory_of(part.demand));
        } else {
            self.free_slot(part.kind);
            self.demand = self.demand.minus(part.demand);
        }
        self.suspects.remove(&part.seq);
    }

    pub(super) fn suspend(&mut self, part: Part<'_>) {
        if self.held.contains(&part.seq) && self.suspended.insert(part.seq) {
            self.free_slot(part.kind);
            self.demand = self.demand.minus(cpu_of(part.demand));
        }
    }

    pub(super) fn resume(&mut self, part: Part<'_>) {
        if self.suspended.remove(&part.seq) {
            self.use_slot(part.kind);
            self.demand = self.demand.plus(cpu_of(part.demand));
        }
    }

    /// Whether anything may wait for it alone.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.bound > 0 || !self.suspended.is_empty()
    }

    /// Tasks that are bound to it and not begun.
    pub(crate) const fn bound(&self) -> u32 {
        self.bound
    }

    pub(super) const fn bind(&mut self) {
        self.bound = self.bound.saturating_add(1);
    }

    pub(super) const fn unbind(&mut self) {
        self.bound = self.bound.saturating_sub(1);
    }

    fn use_slot(&mut self, kind: &Kind) {
        match self.used.get_mut(kind) {
            Some(used) => *used += 1,
            None => drop(self.used.insert(kind.clone(), 1)),
        }
    }

    fn free_slot(&mut self, kind: &Kind) {
        if let Some(used) = self.used.get_mut(kind) {
            *used = used.saturating_sub(1);
        }
    }

    /// Occupied slots.
    pub(crate) fn occupied(&self) -> u32 {
        let running = self.held.len() - self.suspended.len();
        u32::try_from(running)
            .unwrap_or(u32::MAX)
            .saturating_add(self.foreign)
    }

    fn all(&self) -> u32 {
        self.occupied()
            .saturating_add(self.suspended())
            .saturating_add(self.bound)
    }
}

/// What a suspended attempt gives back.
pub(crate) const fn cpu_of(demand: Resources) -> Resources {
    Resources {
        cpu: demand.cpu,
        ..Resources::NONE
    }
}

const fn memory_of(demand: Resources) -> Resources {
    Resources {
        cpu: Cpu(0),
        memory: demand.memory,
    }
}

fn is_pressed(machine: &MachineLoad) -> bool {
    let over = |share: Option<u16>, limit| share.is_some_and(|share| share >= limit);
    over(machine.pressure_cpu_permille, PRESSURE_CPU_PERMILLE)
        || over(machine.pressure_memory_permille, PRESSURE_MEMORY_PERMILLE)
}
