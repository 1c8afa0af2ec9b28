//! What a worker says of itself and of all that it holds, for its heartbeats.
//!
//! What must hold: every delivery is listed, with how far it is and how long it has run.

use std::time::Duration;

use rota_wire::Span;
use rota_wire::fleet::{Held, Stage, WorkerState};

use super::running::span_of;
use super::{Action, Agent, Phase, Place, Standing};

impl Agent {
    pub(super) fn beat(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let state = match self.phase {
            Phase::Up => WorkerState::Up,
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Settling { .. } => {
                WorkerState::Draining
            }
            Phase::Gone => WorkerState::Gone,
        };
        let withdrawn = self.offer.withdrawn();
        let heartbeat = self
            .pulse
            .beat(state, self.seen, self.list_held(now), withdrawn);
        actions.push(Action::Beat(heartbeat));
    }

    /// What a heartbeat lists.
    pub(super) fn list_held(&self, now: Duration) -> Vec<Held> {
        let listed = self.held.values().map(|held| {
            let (stage, ran) = self.progress(now, &held.place);
            let holding = held.holding;
            Held {
                holding,
                stage,
                ran,
                task: None,
            }
        });
        listed.collect()
    }

    fn progress(&self, now: Duration, place: &Place) -> (Stage, Span) {
        match place {
            Place::Waiting(Some(_), _) => (Stage::Running, Span::default()),
            Place::Waiting(None, _) => (Stage::Suspended, Span::default()),
            Place::Begun(attempt) => {
                let begun = &self.attempts[attempt];
                let stage = match begun.standing {
                    // Who waits for a slot has been promised one.
                    Standing::Running | Standing::Resuming(_) => Stage::Running,
                    Standing::Suspended => Stage::Suspended,
                };
                (stage, span_of(begun.stint.ran(now)))
            }
            Place::Ended(number) => (Stage::Ended, self.outbox.ran(*number).unwrap_or_default()),
        }
    }
}
