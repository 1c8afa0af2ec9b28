//! What follows when a kind cannot be started on this worker.
//!
//! What must hold: no task pays for it. Those that have not begun are handed back without an attempt, the
//! scheduler hears at once that the kind is not offered, and what runs of it goes on.

use std::time::Duration;

use rota_wire::{Kind, Span};

use super::offer::Change;
use super::{Action, Agent, AttemptEnd, Note, Phase, Place, WITHDRAWN, returned};

impl Agent {
    /// What the end of an attempt says about its kind.
    pub(super) fn judge(
        &mut self,
        now: Duration,
        kind: &Kind,
        end: &AttemptEnd,
        actions: &mut Vec<Action>,
    ) {
        match end {
            AttemptEnd::Unfit { reason } => self.withdraw(now, kind, reason, actions),
            AttemptEnd::Ended(_) => self.offer.begun(kind),
            // Neither says whether it can be started.
            AttemptEnd::Returned { .. } | AttemptEnd::Stopped => {}
        }
    }

    fn withdraw(&mut self, now: Duration, kind: &Kind, reason: &str, actions: &mut Vec<Action>) {
        if self.phase != Phase::Up || self.offer.withdraw(now, kind, reason) == Change::None {
            return;
        }
        let (kind, reason) = (kind.clone(), reason.to_owned());
        self.return_waiting(&kind);
        actions.push(Action::Note(Note::Withdrawn { kind, reason }));
        self.pulse.want();
    }

    /// Hands back all of a kind that has not begun.
    fn return_waiting(&mut self, withdrawn: &Kind) {
        for held in self.held.values_mut() {
            if let Place::Waiting(ticket, assignment) = &held.place
                && assignment.kind == *withdrawn
            {
                if let Some(ticket) = ticket {
                    self.slots.withdraw(withdrawn, *ticket);
                }
                let number = self
                    .outbox
                    .push(held.holding, Span::default(), returned(WITHDRAWN));
                held.place = Place::Ended(number);
            }
        }
    }

    pub(super) fn handle_look(
        &mut self,
        now: Duration,
        kind: Kind,
        unfit: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        if self.offer.handle_look(now, &kind, unfit.as_deref()) == Change::Made {
            actions.push(Action::Note(Note::Offered(kind)));
            self.pulse.want();
        }
    }
}
