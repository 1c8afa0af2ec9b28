//! When a heartbeat is due, and what all heartbeats of a worker have in common.
//!
//! Pure. What must hold: the pause between two heartbeats is never longer than the interval, and
//! their numbers count up from 1.

use std::time::Duration;

use rota_wire::fleet::{
    FrameMark, Heartbeat, Held, KindCapacity, MachineLoad, Withdrawn, WorkerState,
};
use rota_wire::{Dialect, Kind, Label, Micros, Resources, Span, WorkerId};

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

impl Profile {
    /// A heartbeat that offers all and holds nothing.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            worker: self.worker.clone(),
            number: 0,
            started: self.started,
            interval: self.interval,
            state: WorkerState::Up,
            slots: self.slots,
            resources: self.resources,
            kinds: self.kinds.clone(),
            labels: self.labels.clone(),
            seen: None,
            held: Vec::new(),
            machine: MachineLoad::default(),
            withdrawn: Vec::new(),
            dialect: Dialect::V1,
        }
    }
}

/// What differs from one heartbeat to the next.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) state: WorkerState,
    pub(super) seen: Option<FrameMark>,
    pub(super) held: Vec<Held>,
    pub(super) withdrawn: Vec<Withdrawn>,
    pub(super) dialect: Dialect,
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

    pub(super) fn beat(&mut self, beat: Beat) -> Heartbeat {
        self.beats += 1;
        let Beat {
            state,
            seen,
            held,
            withdrawn,
            dialect,
        } = beat;
        let mut heartbeat = self.profile.heartbeat();
        let is_offered = |kind: &Kind| withdrawn.iter().all(|other| other.kind != *kind);
        heartbeat.kinds.retain(|offer| is_offered(&offer.kind));
        Heartbeat {
            number: self.beats,
            state,
            seen,
            held,
            withdrawn,
            dialect,
            ..heartbeat
        }
    }
}
