//! When a heartbeat is due, and what all heartbeats of a worker have in common.
//!
//! Pure. What must hold: the pause between two heartbeats is never longer than the interval, and
//! their numbers count up from 1.

use std::time::Duration;

use rota_wire::fleet::{
    FrameMark, Heartbeat, Held, KindCapacity, MachineLoad, Withdrawn, WorkerState,
};
use rota_wire::{Label, Micros, Resources, Span, WorkerId};

/// What a worker is, for as long as it lives.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) worker: WorkerId,
    pub(crate) started: Micros,
    pub(crate) interval: Span,
    pub(crate) slots: u32,
    pub(crate) kinds: Vec<KindCapacity>,
    /// What it may give to attempts that ask for cores or memory.
    pub(crate) resources: Resources,
    pub(crate) labels: Vec<Label>,
}

#[derive(Debug)]
pub(super) struct Pulse {
    profile: Profile,
    beats: u64,
    next: Duration,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    AtOnce,
    InTime,
}

impl Pulse {
    /// The first heartbeat is due at once.
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            beats: 0,
            next: Duration::ZERO,
            wanted: Wanted::AtOnce,
        }
    }

    pub(super) fn worker(&self) -> &WorkerId {
        &self.profile.worker
    }

    /// Asks for a heartbeat with the end of this turn.
    pub(super) fn want(&mut self) {
        self.wanted = Wanted::AtOnce;
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if self.next <= now {
            self.want();
        }
    }

    pub(super) fn next(&self) -> Duration {
        self.next
    }

    /// Whether a heartbeat is to be sent now; the next is due one interval later.
    pub(super) fn take_due(&mut self, now: Duration) -> bool {
        if self.wanted == Wanted::InTime {
            return false;
        }
        self.wanted = Wanted::InTime;
        self.next = now + self.profile.interval.duration();
        true
    }

    pub(super) fn beat(
        &mut self,
        state: WorkerState,
        seen: Option<FrameMark>,
        held: Vec<Held>,
        withdrawn: Vec<Withdrawn>,
    ) -> Heartbeat {
        self.beats += 1;
        let kinds = self.profile.kinds.iter();
        let offered = kinds.filter(|offer| withdrawn.iter().all(|other| other.kind != offer.kind));
        Heartbeat {
            worker: self.profile.worker.clone(),
            number: self.beats,
            started: self.profile.started,
            interval: self.profile.interval,
            state,
            slots: self.profile.slots,
            resources: self.profile.resources,
            kinds: offered.cloned().collect(),
            labels: self.profile.labels.clone(),
            seen,
            held,
            machine: MachineLoad::default(),
            withdrawn,
            dialect: rota_wire::Dialect::V2,
        }
    }
}
