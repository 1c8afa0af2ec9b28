//! How deliveries leave: attempts end, or belong to others now.
//!
//! What must hold: an attempt that has ended frees its slot, whatever became of its delivery; and of a revoked
//! delivery nothing is ever said.

use std::time::Duration;

use rota_wire::Span;
use rota_wire::dispatch::Ending;

use super::{
    Action, Agent, AttemptEnd, AttemptNumber, Begun, Note, Place, ReadySeq, STOPPING, Standing,
};

impl Agent {
    /// Stops a delivery if it runs, and never speaks of it again.
    pub(super) fn forget(&mut self, seq: ReadySeq, actions: &mut Vec<Action>) {
        let Some(held) = self.held.remove(&seq) else {
            return;
        };
        actions.push(Action::Note(Note::Revoked(held.task)));
        match held.place {
            Place::Waiting(Some(ticket), waiting) => self.slots.withdraw(&waiting.kind, ticket),
            Place::Waiting(None, _) => {}
            Place::Ended(number) => drop(self.outbox.remove(number)),
            Place::Begun(attempt) => {
                self.not_resume(attempt).seq = None;
                actions.push(Action::Stop(attempt));
            }
        }
    }

    pub(super) fn handle_ended(
        &mut self,
        now: Duration,
        attempt: AttemptNumber,
        end: AttemptEnd,
        ran: Span,
        actions: &mut Vec<Action>,
    ) {
        // Nothing: it was given up, and ended after all.
        let Some(begun) = self.attempts.remove(&attempt) else {
            return;
        };
        self.vacate(&begun);
        self.judge(now, &begun.kind, &end, actions);
        let ending = end.into_ending();
        if let Some(held) = begun.seq.and_then(|seq| self.held.get_mut(&seq)) {
            held.place = Place::Ended(self.outbox.push(held.holding, ran, ending));
        }
        self.fill(now, actions);
    }

    /// Frees what an attempt that is over had of the slots.
    pub(super) fn vacate(&mut self, begun: &Begun) {
        match begun.standing {
            Standing::Running => self.slots.leave(&begun.kind),
            Standing::Resuming(ticket) => self.slots.withdraw(&begun.kind, ticket),
            Standing::Suspended => {}
        }
    }
}

impl AttemptEnd {
    pub(super) fn into_ending(self) -> Ending {
        match self {
            Self::Ended(ending) => ending,
            Self::Stopped => returned(STOPPING),
            Self::Returned { reason } | Self::Unfit { reason } => Ending::Returned { reason },
        }
    }
}

pub(super) fn returned(reason: &str) -> Ending {
    Ending::Returned {
        reason: reason.to_owned(),
    }
}
