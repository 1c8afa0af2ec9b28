//! Suspending and resuming attempts, and who gets a slot that is free.
//!
//! What must hold: what is told twice, or of a delivery that has ended, is unknown or belongs to another
//! holding, changes nothing; nobody goes on without a slot; and a worker that drains suspends nothing, as
//! nobody would resume it.

use std::time::Duration;

use rota_wire::Holding;

use super::{Action, Agent, AttemptNumber, Begun, Note, Phase, Place, ReadySeq, Standing};

impl Agent {
    /// Makes a delivery stand still; its slot is free at once. One that has not begun waits until it is
    /// resumed.
    pub(super) fn suspend(&mut self, now: Duration, holding: Holding, actions: &mut Vec<Action>) {
        if self.phase != Phase::Up {
            return;
        }
        let Some(held) = self.held_as(holding) else {
            return;
        };
        let task = held.task.clone();
        match &mut held.place {
            Place::Ended(_) => {}
            Place::Waiting(ticket, assignment) => {
                let (ticket, kind) = (ticket.take(), assignment.kind.clone());
                if let Some(ticket) = ticket {
                    self.slots.withdraw(&kind, ticket);
                }
            }
            &mut Place::Begun(attempt) => {
                let begun = self.not_resume(attempt);
                if begun.standing == Standing::Running {
                    begun.standing = Standing::Suspended;
                    begun.stint.pause(now);
                    let kind = begun.kind.clone();
                    self.slots.leave(&kind);
                    actions.push(Action::Suspend(attempt));
                    actions.push(Action::Note(Note::Suspended(task)));
                }
            }
        }
    }

    /// Gives a delivery that stands still a place in the queue; [`fill`](Self::fill) then gives it a slot.
    pub(super) fn resume(&mut self, holding: Holding) {
        if self.phase != Phase::Up {
            return;
        }
        let seq = ReadySeq(holding.delivery.seq);
        let Some(held) = self
            .held
            .get_mut(&seq)
            .filter(|held| held.holding == holding)
        else {
            return;
        };
        match &mut held.place {
            Place::Waiting(Some(_), _) | Place::Ended(_) => {}
            Place::Waiting(ticket @ None, assignment) => {
                *ticket = Some(self.slots.queue_resumed(&assignment.kind, seq));
            }
            Place::Begun(attempt) => {
                let begun = self.attempts.get_mut(attempt).expect(KNOWN);
                if begun.standing == Standing::Suspended {
                    let ticket = self.slots.queue_resumed(&begun.kind, seq);
                    begun.standing = Standing::Resuming(ticket);
                }
            }
        }
    }

    /// An attempt that waits for a slot to go on does not any more.
    pub(super) fn not_resume(&mut self, attempt: AttemptNumber) -> &mut Begun {
        let begun = self.attempts.get_mut(&attempt).expect(KNOWN);
        if let Standing::Resuming(ticket) = begun.standing {
            self.slots.withdraw(&begun.kind, ticket);
            begun.standing = Standing::Suspended;
        }
        begun
    }

    /// Gives free slots to those that wait.
    pub(super) fn fill(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Some(seq) = self.slots.begin_next() {
            let mut held = self.held.remove(&seq).expect("what waits is held");
            held.place = match held.place {
                Place::Waiting(_, assignment) => self.begin(now, *assignment, actions),
                Place::Begun(attempt) => {
                    let begun = self.attempts.get_mut(&attempt).expect(KNOWN);
                    begun.standing = Standing::Running;
                    begun.stint.go_on(now);
                    actions.push(Action::Resume(attempt));
                    actions.push(Action::Note(Note::Resumed(held.task.clone())));
                    Place::Begun(attempt)
                }
                ended @ Place::Ended(_) => ended,
            };
            self.held.insert(seq, held);
        }
    }
}

const KNOWN: &str = "what has begun and not ended is known";
