//! Workers that are not there any more: those that fell silent, died or found nobody, and what becomes of what they held.

use rota_wire::event::{Event as Told, RedeliveryCause};
use rota_wire::{Micros, Span, WorkerId};

use crate::action::Action;
use crate::fleet::WorkerKey;
use crate::scheduler::Scheduler;

/// Heartbeats of a worker that has died may still be under way for so long.
pub(crate) const DEAD_FOR: Span = Span::from_secs(5);

impl Scheduler {
    pub(crate) fn lose_silent_workers(&mut self, now: Micros, actions: &mut Vec<Action>) {
        while let Some((deadline, key)) = self.fleet.next_deadline() {
            if deadline > now {
                break;
            }
            let Some(worker) = self.fleet.get(key) else {
                break;
            };
            let patience = self.patience(worker.interval);
            let silent = Span::from_ms(now.since(deadline).ms().saturating_add(patience.ms()));
            let holding = u32::try_from(worker.held().len()).unwrap_or(u32::MAX);
            let id = worker.id.clone();
            actions.push(Action::Tell(Told::WorkerLost {
                worker: id.clone(),
                silent,
                holding,
            }));
            self.fleet.say_lost(&id);
            self.remove_worker(key, RedeliveryCause::Lost, actions);
        }
    }

    pub(crate) fn remove_worker(
        &mut self,
        key: WorkerKey,
        cause: RedeliveryCause,
        actions: &mut Vec<Action>,
    ) {
        let held: Vec<u64> = self
            .fleet
            .get(key)
            .map(|w| w.held().iter().copied().collect())
            .unwrap_or_default();
        for seq in held {
            self.redeliver(key, seq, cause, actions);
        }
        self.unreserve_worker(key);
        self.unbind_all(key);
        self.runners.forget(key);
        for seq in self.recovery.claims.by(key) {
            self.recovery.claims.remove(seq);
        }
        self.fleet.leave(key);
    }

    /// Takes a delivery from its worker and has it delivered again.
    pub(crate) fn redeliver(
        &mut self,
        key: WorkerKey,
        seq: u64,
        cause: RedeliveryCause,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        let (id, kind) = (task.spec.id.clone(), task.spec.kind.clone());
        if let Some(worker) = self.fleet.get(key).map(|worker| worker.id.clone()) {
            task.last_worker = Some(worker.clone());
            if cause == RedeliveryCause::Lost {
                self.losses.add(&id, &worker);
            }
            actions.push(Action::Tell(Told::Redelivered {
                task: id,
                kind,
                worker,
                cause,
            }));
        }
        self.counts.redelivered += 1;
        self.give_back(seq, actions);
    }

    /// Nothing was heard for so long, whoever spoke.
    pub(crate) fn deaf(&mut self, span: Span) {
        self.fleet.extend_deadlines(span);
        self.recovery.extend(span, self.now);
    }

    /// A frame found nobody. What was new in it goes elsewhere; what the worker had it may still have, for it
    /// may only be cut off.
    pub(crate) fn unreachable(&mut self, worker: &WorkerId, frame: u64, actions: &mut Vec<Action>) {
        let Some(key) = self.fleet.key(worker) else {
            return;
        };
        self.fleet.mute(key);
        self.unreserve_worker(key);
        self.unbind_all(key);
        let held = self.fleet.get(key).into_iter();
        let held = held.flat_map(|worker| worker.held().iter().copied());
        let new: Vec<u64> = held
            .filter(|seq| self.frame_of(*seq) == Some(frame))
            .collect();
        for seq in new {
            self.redeliver(key, seq, RedeliveryCause::Missing, actions);
        }
    }

    /// A worker has died: that is certain.
    pub(crate) fn died(&mut self, worker: &WorkerId, actions: &mut Vec<Action>) {
        self.recovery.heard(worker, self.now);
        let until = self.now.plus(DEAD_FOR);
        self.fleet.say_dead(worker, until);
        if let Some(key) = self.fleet.key(worker) {
            let held = self.fleet.get(key).map_or(0, |worker| worker.held().len());
            actions.push(Action::Tell(Told::WorkerDied {
                worker: worker.clone(),
                holding: u32::try_from(held).unwrap_or(u32::MAX),
            }));
            self.remove_worker(key, RedeliveryCause::Lost, actions);
        }
        self.losses.end(worker);
    }
}
