//! Kinds that nobody handles: what waits of them must not take the memory from the others.
//!
//! A kind may lose its last worker for a moment, so its tasks are kept for a while. Then they are given back to
//! their lane and forgotten; the lane is not pulled until a worker comes.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::{Kind, Micros, Span};

use crate::action::Action;
use crate::scheduler::Scheduler;
use crate::tasks::TaskState;

/// How long tasks of a kind without workers are kept.
const KEPT_FOR: Span = Span::from_secs(5);

/// Kinds without workers of which something waits, and until when it may.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    until: BTreeMap<Kind, Micros>,
    order: BTreeSet<(Micros, Kind)>,
}

impl Unserved {
    fn add(&mut self, kind: Kind, until: Micros) {
        if !self.until.contains_key(&kind) {
            self.order.insert((until, kind.clone()));
            self.until.insert(kind, until);
        }
    }

    pub(crate) fn remove(&mut self, kind: &Kind) {
        if let Some(until) = self.until.remove(kind) {
            self.order.remove(&(until, kind.clone()));
        }
    }

    /// When the first of them is not waited for any more.
    pub(crate) fn next(&self) -> Option<Micros> {
        self.order.first().map(|(until, _)| *until)
    }

    fn take_due(&mut self, now: Micros) -> BTreeSet<Kind> {
        let due = self.order.iter().take_while(|(until, _)| *until <= now);
        let due: BTreeSet<Kind> = due.map(|(_, kind)| kind.clone()).collect();
        for kind in &due {
            self.remove(kind);
        }
        due
    }
}

impl Scheduler {
    /// Notes that something waits of a kind that has no worker.
    pub(crate) fn await_service(&mut self, kind: Kind) {
        let until = self.now.plus(KEPT_FOR);
        self.unserved.add(kind, until);
    }

    /// Gives back what waits of kinds that nobody has handled for a while.
    pub(crate) fn give_away(&mut self, now: Micros, actions: &mut Vec<Action>) {
        let kinds = self.unserved.take_due(now);
        if kinds.is_empty() {
            return;
        }
        let waiting = self.tasks.iter().filter(|(_, task)| {
            let waits = matches!(task.state, TaskState::Ready | TaskState::Returning);
            waits && kinds.contains(&task.spec.kind)
        });
        let mut waiting: Vec<u64> = waiting.map(|(seq, _)| seq).collect();
        waiting.sort_unstable();
        for seq in waiting {
            self.give_away_one(seq, actions);
        }
    }

    fn give_away_one(&mut self, seq: u64, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let lane = task.lane.clone();
        if matches!(task.state, TaskState::Ready) {
            actions.push(Action::Nak { seq });
        }
        self.forget(seq);
        self.lanes.went_away(&lane);
    }
}

#[cfg(test)]
mod tests;
