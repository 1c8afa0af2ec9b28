//! What became of attempts: completed, failed, handed back; and what follows from it.

use std::sync::Arc;

use rand::RngExt;
use rota_wire::dispatch::{Ending, Failure, Outcome, Retry};
use rota_wire::event::{Event as Told, RedeliveryCause};
use rota_wire::fleet::Stage;
use rota_wire::{Micros, Span, TaskSpec, WorkerId};

use crate::action::Action;
use crate::deliveries::settling_action;
use crate::fleet::WorkerKey;
use crate::options::Recording;
use crate::order::micros;
use crate::recovery::Claim;
use crate::scheduler::Scheduler;
use crate::tasks::{Settling, SettlingStep, TaskState};

impl Scheduler {
    /// A report of a worker that we do not know is left unanswered: it comes again after the worker's
    /// heartbeat.
    pub(crate) fn reported(
        &mut self,
        worker: &WorkerId,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(key) = self.fleet.key(worker) else {
            return;
        };
        let seq = outcome.holding.delivery.seq;
        if outcome.holding.term > self.term {
            // Of a server that is no more: its sequences mean other tasks here.
            self.settle(key, outcome.number);
            return;
        }
        match self.tasks.get(seq) {
            None => self.report_unknown(seq, key, outcome),
            Some(task) => match &task.state {
                TaskState::Held(hold) if hold.worker == key && hold.holding == outcome.holding => {
                    self.holder_reported(key, outcome, actions);
                }
                TaskState::Settling(Settling {
                    report: Some((who, number)),
                    ..
                }) if who == worker && *number == outcome.number => {}
                TaskState::Held(_)
                | TaskState::Settling(_)
                | TaskState::LookingUp
                | TaskState::Ready
                | TaskState::Returning => self.other_reported(key, &outcome, actions),
            },
        }
    }

    /// As long as the delivery may yet come again the outcome waits for it.
    fn report_unknown(&mut self, seq: u64, worker: WorkerKey, outcome: Outcome) {
        let claim = self.recovery.claims.get(seq);
        let task = claim
            .filter(|claim| claim.worker == worker)
            .and_then(|claim| claim.task.clone());
        if self.is_over(seq, task.as_ref()) {
            self.recovery.claims.remove(seq);
            return self.settle(worker, outcome.number);
        }
        let holding = outcome.holding;
        let claim = Claim {
            worker,
            holding,
            task,
            stage: Stage::Ended,
            ran: outcome.ran,
            outcome: Some(Box::new(outcome)),
        };
        if let Some(loser) = self.recovery.claims.add(seq, claim) {
            self.drop_claim(loser);
        }
    }

    pub(crate) fn holder_reported(
        &mut self,
        key: WorkerKey,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let seq = outcome.holding.delivery.seq;
        match outcome.ending {
            Ending::Stored => {
                self.counts.completed += 1;
                if let Some(task) = self.tasks.get(seq) {
                    self.estimates.learn(&task.spec.kind, micros(outcome.ran));
                    self.losses.forget(&task.spec.id);
                    if self.options.recording == Recording::On {
                        let (task, ran) = (task.spec.clone(), outcome.ran);
                        actions.push(Action::Record { task, ran });
                    }
                }
                self.forget(seq);
                actions.push(Action::Ack { seq });
                self.settle(key, outcome.number);
            }
            Ending::Failed(failure) => {
                self.counts.failed_attempts += 1;
                self.leave_holder(seq);
                self.follow_failure(key, outcome.number, seq, failure, actions);
            }
            Ending::Returned { .. } => {
                self.settle(key, outcome.number);
                self.redeliver(key, seq, RedeliveryCause::Returned, actions);
            }
        }
    }

    /// A report about a delivery that is not this worker's any more. A stored result counts whoever
    /// stored it; everything else is out of date.
    fn other_reported(&mut self, key: WorkerKey, outcome: &Outcome, actions: &mut Vec<Action>) {
        let seq = outcome.holding.delivery.seq;
        self.settle(key, outcome.number);
        match outcome.ending {
            Ending::Failed(_) | Ending::Returned { .. } => return,
            Ending::Stored => {}
        }
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        // What is being stored settles the task by itself, and finds the result there.
        if matches!(task.state, TaskState::Settling(_)) {
            return;
        }
        if let Some(hold) = self.leave_holder(seq) {
            self.revoke(hold.worker, hold.holding);
        }
        self.counts.completed += 1;
        let id = self.tasks.get(seq).map(|task| task.spec.id.clone());
        if let Some(id) = id {
            self.losses.forget(&id);
        }
        self.forget(seq);
        actions.push(Action::Ack { seq });
    }

    fn follow_failure(
        &mut self,
        key: WorkerKey,
        report: u64,
        seq: u64,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let spec = task.spec.clone();
        let worker = self.fleet.get(key).map(|worker| worker.id.clone());
        let step = if failure.retry == Retry::Later && spec.attempt < spec.options.attempts {
            let wait = self.jittered(spec.options.backoff.ceiling(spec.attempt));
            actions.push(Action::Tell(Told::Retrying {
                task: spec.id.clone(),
                kind: spec.kind.clone(),
                attempt: spec.attempt,
                wait,
                reason: failure.reason.clone(),
            }));
            let next = TaskSpec {
                attempt: spec.attempt + 1,
                ..TaskSpec::clone(&spec)
            };
            SettlingStep::Retry {
                spec: Arc::new(next),
                wait,
            }
        } else {
            let reason = match failure.retry {
                Retry::Never => failure.reason.clone(),
                Retry::Later => {
                    format!(
                        "{} (attempt {} of {})",
                        failure.reason, spec.attempt, spec.options.attempts
                    )
                }
            };
            SettlingStep::Bury {
                reason,
                failure: Some(Box::new(failure)),
            }
        };
        let report = worker.map(|worker| (worker, report));
        self.begin_settling(seq, step, report, actions);
    }

    /// Full jitter: anything from nothing to the ceiling, so that what failed together does not come
    /// again together.
    fn jittered(&mut self, ceiling: Span) -> Span {
        Span::from_ms(self.allocator.rng.random_range(0..=ceiling.ms()))
    }

    /// Has a task's retry or dead letter stored. It is acked once that is done.
    pub(crate) fn begin_settling(
        &mut self,
        seq: u64,
        step: SettlingStep,
        report: Option<(WorkerId, u64)>,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        if let Some((worker, _)) = &report {
            task.last_worker = Some(worker.clone());
        }
        actions.push(settling_action(seq, task, &step));
        task.state = TaskState::Settling(Settling { step, report });
    }

    pub(crate) fn stored(&mut self, seq: u64, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let TaskState::Settling(Settling { step, report }) = &task.state else {
            return;
        };
        if let SettlingStep::Bury { reason, .. } = step {
            self.counts.dead += 1;
            self.losses.forget(&task.spec.id);
            actions.push(Action::Tell(Told::DeadLettered {
                task: task.spec.id.clone(),
                kind: task.spec.kind.clone(),
                attempts: task.spec.attempt,
                reason: reason.clone(),
            }));
        }
        if let SettlingStep::Retry { spec, wait } = step {
            let newest = self.lanes.newest();
            self.retried.note(spec, *wait, newest, self.now);
        }
        let report = report.clone();
        self.forget(seq);
        actions.push(Action::Ack { seq });
        self.settle_report(report);
    }

    pub(crate) fn store_failed(&mut self, now: Micros, seq: u64) {
        if self
            .tasks
            .get(seq)
            .is_some_and(|task| matches!(task.state, TaskState::Settling(_)))
        {
            self.try_again_later(now, seq);
        }
    }
}

#[cfg(test)]
mod tests;
