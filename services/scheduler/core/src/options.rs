//! What an operator may choose, checked as a whole before the core is made.

use std::collections::BTreeMap;

use rota_wire::{Kind, Span};

use crate::policy::Policy;

/// The scheduler's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How tasks are scheduled.
    pub policy: Policy,
    /// The same for kinds that differ.
    pub kinds: BTreeMap<Kind, Policy>,
    /// Suspended attempts on one worker, at most.
    pub suspended_max: u32,
    /// What counts as a worker's load.
    pub load_view: LoadView,
    /// Whether completed tasks are told one by one, for a trace.
    pub recording: Recording,
    /// Heartbeats that a worker may miss before it counts as lost.
    pub missed_heartbeats_max: u32,
    /// Workers that a task may take down before it is poison.
    pub losses_max: u32,
    /// Tasks pulled from each lane beyond what free slots could start now, so that the head of each
    /// lane is known and a slot that becomes free is filled without a round trip.
    pub look_ahead: u32,
    /// Tasks in memory, at most; at the limit nothing more is pulled.
    pub tasks_max: usize,
    /// Workers, at most; heartbeats of more are not heard.
    pub workers_max: usize,
    /// Tasks in one assign frame, at most.
    pub frame_tasks_max: usize,
    /// Input bytes in one assign frame, at most, unless a single task has more.
    pub frame_bytes_max: u64,
    /// How long a new leader listens for workers before it assigns anything.
    pub roll_call: Span,
    /// How long to wait before an action that failed is tried again.
    pub again_after: Span,
    /// How often a leader tells its totals.
    pub count_every: Span,
    /// How long a task for which no worker has room waits until one is kept for it.
    pub reserve_after: Span,
    /// How long a lane brings nothing until it is closed.
    pub lane_idle: Span,
    /// How long nobody handles the kind of a lane until it is closed.
    pub lane_unserved: Span,
}

/// Whether completed tasks are told one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recording {
    /// They are only counted.
    #[default]
    Off,
    /// Each is an action.
    On,
}

/// What counts as a worker's load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoadView {
    /// What the scheduler knows the worker to hold, what it was assigned since its last heartbeat included.
    #[default]
    Counted,
    /// What it held at its last heartbeat, and nothing else. It herds: this is here to show that.
    HeartbeatOnly,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            kinds: BTreeMap::new(),
            suspended_max: 64,
            load_view: LoadView::Counted,
            recording: Recording::Off,
            missed_heartbeats_max: 3,
            losses_max: 3,
            look_ahead: 64,
            tasks_max: 200_000,
            workers_max: 20_000,
            frame_tasks_max: 512,
            frame_bytes_max: 512 * 1024,
            roll_call: Span::from_secs(1),
            again_after: Span::from_ms(500),
            count_every: Span::from_secs(1),
            reserve_after: Span::from_secs(60),
            lane_idle: Span::from_secs(600),
            lane_unserved: Span::from_secs(60),
        }
    }
}

impl Options {
    /// How tasks of a kind are scheduled.
    #[must_use]
    pub fn policy_of(&self, kind: &Kind) -> Policy {
        self.kinds.get(kind).copied().unwrap_or(self.policy)
    }

    /// All rules that the settings break: the setting, its value, and what it must be.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, u64, &'static str)> {
        let rules = [
            (
                "missed heartbeats",
                u64::from(self.missed_heartbeats_max),
                1..=1_000,
            ),
            ("losses", u64::from(self.losses_max), 1..=1_000),
            ("look-ahead", u64::from(self.look_ahead), 1..=10_000_000),
            ("tasks in memory", self.tasks_max as u64, 1..=10_000_000),
            ("workers", self.workers_max as u64, 1..=1_000_000),
            ("tasks in a frame", self.frame_tasks_max as u64, 1..=65_536),
            (
                "suspended attempts",
                u64::from(self.suspended_max),
                1..=10_000,
            ),
            ("quantum in ms", self.least_quantum(), 1..=86_400_000),
            ("roll call in ms", self.roll_call.ms(), 1..=60_000),
            (
                "pause before another try in ms",
                self.again_after.ms(),
                1..=60_000,
            ),
            (
                "time between totals in ms",
                self.count_every.ms(),
                1..=86_400_000,
            ),
            (
                "wait before a reservation in ms",
                self.reserve_after.ms(),
                1..=86_400_000,
            ),
            ("idle lane in ms", self.lane_idle.ms(), 1..=86_400_000),
            (
                "unserved lane in ms",
                self.lane_unserved.ms(),
                1..=86_400_000,
            ),
        ];
        let broken = rules
            .into_iter()
            .filter(|(_, value, range)| !range.contains(value));
        broken
            .map(|(name, value, range)| (name, value, rule(*range.end())))
            .collect()
    }
}

impl Options {
    fn least_quantum(&self) -> u64 {
        let all = self.kinds.values().chain([&self.policy]);
        all.map(|policy| policy.quantum.ms()).min().unwrap_or(0)
    }
}

const fn rule(max: u64) -> &'static str {
    match max {
        1_000 => "must be 1 to 1000",
        10_000 => "must be 1 to 10000",
        60_000 => "must be 1 to 60000",
        65_536 => "must be 1 to 65536",
        86_400_000 => "must be 1 to 86400000",
        1_000_000 => "must be 1 to 1000000",
        _ => "must be 1 to 10000000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_break_no_rule_and_all_broken_rules_are_told() {
        assert!(Options::default().faults().is_empty());
        let broken = Options {
            look_ahead: 0,
            losses_max: 0,
            ..Options::default()
        };
        assert_eq!(broken.faults().len(), 2);
    }
}
