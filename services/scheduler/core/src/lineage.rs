//! Two messages of one task: the newest attempt wins, everywhere and in every state.
//!
//! A dropped ack, a reset consumer or a resubmission can bring a second message of an id. One of both is acked,
//! and that must never be the one that carries the task on while the other is acked elsewhere:
//!
//! * A later attempt supersedes an earlier one: it exists only because the earlier one has failed. The one that was
//!   put into the schedule counts before it is read.
//! * Of the same attempt the one in memory stays, but one that only waits makes way for the one that a worker
//!   has, or for the earlier message. So two leaders that see both in any order ack the same one.
//! * A message that has come before in this term and was not in memory any more may have been acked, and its ack be
//!   on its way. Nothing of the same attempt is acked in its favour while both wait.
//! * One whose retry is being stored makes way for a message of the same attempt and submission. The schedule holds one attempt of
//!   an id; a store that was given up may come late, take the place of the later attempt, and bring this one.
//!   For the same reason a look-up that found a later attempt in the schedule is not believed when a copy has come
//!   since it was asked for.
//! * Whatever is acked as a copy has its task in another message that is un-acked, and stays so until the
//!   result, the retry or the dead letter is stored.

use std::cmp::Ordering;

use rota_wire::TaskSpec;
use rota_wire::event::Event as Told;

use crate::action::Action;
use crate::lanes::Past;
use crate::scheduler::Scheduler;
use crate::tasks::{Settling, SettlingStep, Task, TaskState};

/// What a message is beside the one that is in memory for its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is no other.
    Only,
    /// There was another, or may be one on its way: something of the task may have run.
    Heir,
    /// The other carries the task.
    Duplicate,
}

impl Scheduler {
    /// Decides between a message that has come and the one in memory for its task, which is acked if it is
    /// the older one.
    pub(crate) fn make_way(
        &mut self,
        seq: u64,
        spec: &TaskSpec,
        past: Past,
        actions: &mut Vec<Action>,
    ) -> Standing {
        if self.retried.was_followed(seq, spec) {
            self.drop_claim_of(seq);
            return Standing::Duplicate;
        }
        let Some(known) = self.tasks.message_of(&spec.id) else {
            return match self.retried.awaited_until(spec) {
                None => Standing::Only,
                Some(_) => Standing::Heir,
            };
        };
        let supersedes = self
            .tasks
            .get(known)
            .is_some_and(|task| self.supersedes(seq, spec, past, task));
        if !supersedes {
            self.drop_claim_of(seq);
            if let Some(task) = self.tasks.get_mut(known) {
                task.copied = true;
            }
            return Standing::Duplicate;
        }
        self.part_with(known);
        actions.push(Action::Tell(Told::Duplicate {
            task: spec.id.clone(),
        }));
        actions.push(Action::Ack { seq: known });
        Standing::Heir
    }

    fn supersedes(&self, seq: u64, spec: &TaskSpec, past: Past, known: &Task) -> bool {
        let again = past.is_again();
        match spec.attempt.cmp(&known.spec.attempt) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => match known.state {
                // What it has put into the schedule may have been replaced by what brought this one.
                TaskState::Settling(Settling {
                    step: SettlingStep::Retry { .. },
                    ..
                }) => !again && spec.submitted == known.spec.submitted,
                TaskState::Settling(_) => false,
                TaskState::Held(_) => false,
                TaskState::LookingUp | TaskState::Ready | TaskState::Returning => {
                    // That its ack is on its way counts for more than that a worker claims it.
                    let rank = |seq, again| (again, self.recovery.claims.get(seq).is_none(), seq);
                    rank(seq, again) < rank(known.delivery.seq, known.again)
                }
            },
        }
    }

    fn drop_claim_of(&mut self, seq: u64) {
        if let Some(claim) = self.recovery.claims.remove(seq) {
            self.drop_claim(claim);
        }
    }

    /// Takes a message out of all books, and from whoever holds it.
    pub(crate) fn part_with(&mut self, seq: u64) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        if let TaskState::Settling(settling) = &task.state {
            let report = settling.report.clone();
            self.settle_report(report);
        }
        self.drop_claim_of(seq);
        if let Some(hold) = self.leave_holder(seq) {
            self.revoke(hold.worker, hold.holding);
        }
        self.forget(seq);
    }
}

#[cfg(test)]
mod tests;
