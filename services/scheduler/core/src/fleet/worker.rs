//! One worker as the scheduler knows it.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::fleet::{FrameMark, Heartbeat, WorkerState};
use rota_wire::{Holding, Kind, Micros, Span, WorkerId};

use super::WorkerKey;
use crate::action::Placed;

/// Load is counted in parts of this, so that workers of unlike size compare.
const LOAD_SCALE: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) key: WorkerKey,
    pub(crate) id: WorkerId,
    pub(crate) state: WorkerState,
    pub(crate) class: usize,
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
    slots: u32,
    held: BTreeSet<u64>,
    used: BTreeMap<Kind, u32>,
    suspects: BTreeSet<u64>,
}

/// What is to be sent to a worker.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The frame that it becomes; 0 while it is empty.
    pub(crate) frame: u64,
    pub(crate) settled: Vec<u64>,
    pub(crate) revoked: Vec<Holding>,
    pub(crate) tasks: Vec<Placed>,
    pub(crate) input_bytes: u64,
}

impl Worker {
    pub(crate) fn new(heartbeat: &Heartbeat, key: WorkerKey) -> Self {
        Self {
            key,
            id: heartbeat.worker.clone(),
            state: heartbeat.state,
            class: 0,
            heartbeat: 0,
            interval: heartbeat.interval,
            deadline: Micros(u64::MAX),
            seen: None,
            outbox: Outbox::default(),
            frames: 0,
            frames_at_heartbeat: 0,
            turn: 0,
            foreign: 0,
            slots: heartbeat.slots,
            held: BTreeSet::new(),
            used: BTreeMap::new(),
            suspects: BTreeSet::new(),
        }
    }

    pub(crate) fn hear(&mut self, heartbeat: &Heartbeat) {
        self.heartbeat = heartbeat.number;
        self.state = heartbeat.state;
        self.interval = heartbeat.interval;
        self.slots = heartbeat.slots;
        self.seen = heartbeat.seen;
    }

    /// The messages that it holds.
    pub(crate) const fn held(&self) -> &BTreeSet<u64> {
        &self.held
    }

    /// Whether it holds a task that was on lost workers too often.
    pub(crate) fn has_suspect(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(crate) fn free_slots(&self) -> u32 {
        self.slots.saturating_sub(self.occupied())
    }

    /// Its share of occupied slots, in parts of [`LOAD_SCALE`].
    pub(crate) fn load(&self) -> u64 {
        u64::from(self.occupied()) * LOAD_SCALE / u64::from(self.slots.max(1))
    }

    /// How many attempts of a kind it has.
    pub(crate) fn used(&self, kind: &Kind) -> u32 {
        self.used.get(kind).copied().unwrap_or(0)
    }

    pub(super) fn hold(&mut self, seq: u64, kind: &Kind, turn: u64, suspect: bool) {
        self.turn = turn;
        if self.held.insert(seq) {
            match self.used.get_mut(kind) {
                Some(used) => *used += 1,
                None => drop(self.used.insert(kind.clone(), 1)),
            }
        }
        if suspect {
            self.suspects.insert(seq);
        }
    }

    pub(super) fn release(&mut self, seq: u64, kind: &Kind) {
        if self.held.remove(&seq)
            && let Some(used) = self.used.get_mut(kind)
        {
            *used = used.saturating_sub(1);
        }
        self.suspects.remove(&seq);
    }

    fn occupied(&self) -> u32 {
        u32::try_from(self.held.len())
            .unwrap_or(u32::MAX)
            .saturating_add(self.foreign)
    }
}
