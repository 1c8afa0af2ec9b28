//! The workers, as their heartbeats tell: who is there, who has fallen silent, what they carry.
//!
//! ```text
//! (unknown) ── heartbeat ──► here ── three intervals without ──► silent ── 10 min ──► (unknown)
//!                             │  ◄────────── heartbeat ────────────┘
//!                             └── goodbye ──► gone ── 10 min ──► (unknown)
//! ```
//!
//! What must hold: a late heartbeat changes nothing, also after a goodbye; only workers that are here
//! enter the figures; the table is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rota_wire::fleet::{Heartbeat, MachineLoad, Stage, WorkerState};
use rota_wire::{Kind, Micros, WorkerId};

use super::line::{Line, span_of};
use crate::utilisation::Load;

/// Workers that are kept. With more, those that are silent are forgotten at once.
pub(super) const WORKERS_MAX: usize = 10_000;
/// A worker that was not heard for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Heartbeats that a worker may miss.
const MISSED_MAX: u32 = 3;
/// What a worker says of its interval is believed within these bounds.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Kinds that are remembered of a worker.
const KINDS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Fleet {
    workers: BTreeMap<WorkerId, Member>,
    /// Heartbeats of workers that found no room, since they were last asked for.
    refused: u64,
}

/// What the last heartbeat of a worker said.
#[derive(Debug)]
struct Member {
    /// When it started and its heartbeat's number: heartbeats only count up within one life.
    newest: (Micros, u64),
    heard: Duration,
    interval: Duration,
    state: WorkerState,
    slots: u32,
    running: u32,
    suspended: u32,
    holding: u32,
    kinds: BTreeSet<Kind>,
    machine: MachineLoad,
    silence: Silence,
}

/// Who has said that a worker is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    Untold,
    ToldByScheduler,
    ToldHere,
}

/// What the workers that are here add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Workers that are here, those that drain included.
    pub(crate) workers: u32,
    pub(crate) draining: u32,
    /// Workers that missed three heartbeats.
    pub(crate) silent: u32,
    /// Attempts that run.
    pub(crate) running: u64,
    /// Attempts that stand still, to go on later.
    pub(crate) suspended: u64,
    pub(crate) slots: Load,
    pub(crate) cpu: Load,
    pub(crate) memory: Load,
}

impl Fleet {
    /// Takes in a heartbeat; says so when the worker had been called silent here.
    pub(super) fn handle_heartbeat(&mut self, now: Duration, heartbeat: Heartbeat) -> Option<Line> {
        let worker = heartbeat.worker.clone();
        let known = self.workers.get(&worker);
        if known.is_some_and(|member| member.is_older_news(&heartbeat)) {
            return None;
        }
        if known.is_none() && self.workers.len() >= WORKERS_MAX {
            self.refused += 1;
            return None;
        }
        let was_told_here = known.is_some_and(|member| member.silence == Silence::ToldHere);
        self.workers
            .insert(worker.clone(), Member::new(now, heartbeat));
        was_told_here.then_some(Line::WorkerHeardAgain { worker })
    }

    /// The scheduler said goodbye for it.
    pub(super) fn handle_left(&mut self, now: Duration, worker: &WorkerId) {
        if let Some(member) = self.workers.get_mut(worker) {
            member.state = WorkerState::Gone;
            member.heard = now;
        }
    }

    /// The scheduler has told that it is lost.
    pub(super) fn handle_told(&mut self, worker: &WorkerId) {
        if let Some(member) = self.workers.get_mut(worker) {
            member.silence = Silence::ToldByScheduler;
        }
    }

    /// Nobody could be heard between `since` and `now`: who was not silent before that is not now.
    pub(super) fn forgive(&mut self, now: Duration, since: Duration) {
        for member in self.workers.values_mut() {
            if !member.is_silent(since) {
                member.heard = now;
            }
        }
    }

    /// Workers whose silence nobody has told of yet; each is told once.
    pub(super) fn newly_silent(&mut self, now: Duration) -> Vec<Line> {
        let mut lines = Vec::new();
        for (worker, member) in &mut self.workers {
            if member.silence == Silence::Untold && member.is_silent(now) {
                member.silence = Silence::ToldHere;
                lines.push(Line::WorkerSilent {
                    worker: worker.clone(),
                    silent: span_of(now.saturating_sub(member.heard)),
                    holding: member.holding,
                });
            }
        }
        lines
    }

    /// Forgets who was not heard for long; when the table is full, everyone who is not here.
    pub(super) fn forget_old(&mut self, now: Duration) {
        let is_full = self.workers.len() >= WORKERS_MAX;
        self.workers.retain(|_, member| {
            let is_old = now.saturating_sub(member.heard) >= FORGET_AFTER;
            member.is_here(now) || !(is_full || is_old)
        });
    }

    /// Heartbeats that found no room since the last call.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// What those who are here add up to.
    pub(super) fn figures(&self, now: Duration) -> Figures {
        let mut figures = Figures::default();
        for member in self.workers.values() {
            if member.is_here(now) {
                member.add_to(&mut figures);
            } else if member.is_silent(now) {
                figures.silent += 1;
            }
        }
        figures
    }

    /// For each kind, whether somebody who is here and takes tasks handles it.
    pub(super) fn serves(&self, now: Duration, kinds: &[&Kind]) -> Vec<Service> {
        let takers: Vec<&Member> = self
            .workers
            .values()
            .filter(|member| member.state == WorkerState::Up && member.is_here(now))
            .collect();
        let handled = |kind: &&Kind| takers.iter().any(|member| member.kinds.contains(*kind));
        let service = |kind| {
            if handled(kind) {
                Service::Handled
            } else {
                Service::NoWorker
            }
        };
        kinds.iter().map(service).collect()
    }
}

/// Whether a kind has a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Handled,
    NoWorker,
}

impl Member {
    fn new(now: Duration, heartbeat: Heartbeat) -> Self {
        let held = &heartbeat.held;
        let at = |stage| count(held.iter().filter(|held| held.stage == stage).count());
        let (running, suspended) = (at(Stage::Running), at(Stage::Suspended));
        let holding = count(held.len());
        let kinds = heartbeat.kinds.into_iter().take(KINDS_MAX);
        Self {
            newest: (heartbeat.started, heartbeat.number),
            heard: now,
            interval: heartbeat
                .interval
                .duration()
                .clamp(INTERVAL_MIN, INTERVAL_MAX),
            state: heartbeat.state,
            slots: heartbeat.slots,
            running,
            suspended,
            holding,
            kinds: kinds.map(|capacity| capacity.kind).collect(),
            machine: heartbeat.machine,
            silence: Silence::Untold,
        }
    }

    fn is_older_news(&self, heartbeat: &Heartbeat) -> bool {
        (heartbeat.started, heartbeat.number) <= self.newest
    }

    fn is_silent(&self, now: Duration) -> bool {
        self.state != WorkerState::Gone
            && now.saturating_sub(self.heard) > self.interval * MISSED_MAX
    }

    fn is_here(&self, now: Duration) -> bool {
        self.state != WorkerState::Gone && !self.is_silent(now)
    }

    fn add_to(&self, figures: &mut Figures) {
        figures.workers += 1;
        figures.running += u64::from(self.running);
        figures.suspended += u64::from(self.suspended);
        let slots = match self.state {
            WorkerState::Up | WorkerState::Gone => self.slots,
            // Its empty slots are not free: nobody can have them.
            WorkerState::Draining => {
                figures.draining += 1;
                self.running.min(self.slots)
            }
        };
        figures.slots.add(slots.into(), self.running.into());
        let machine = &self.machine;
        // Who does not tell its demand must not count as idle.
        if let Some(busy) = machine.cpu_busy_permille {
            let cores = u64::from(machine.cpu_milli);
            figures.cpu.add(cores * 1_000, cores * u64::from(busy));
        }
        if let Some(available) = machine.memory_available_bytes {
            let total = machine.memory_bytes;
            figures.memory.add(total, total.saturating_sub(available));
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
