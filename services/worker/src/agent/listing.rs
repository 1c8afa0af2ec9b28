//! What a worker says of itself and of all that it holds, for its heartbeats.
//!
//! What must hold: every delivery is listed, with how far it is and how long it has run. Which task it is, is
//! told as far as there is room, of those that have not ended first.

use std::time::Duration;

use rota_wire::Span;
use rota_wire::fleet::{Held, HeldTask, Stage, WorkerState};

use super::pulse::Beat;
use super::room::name_bytes;
use super::running::span_of;
use super::{Accepted, Action, Agent, Phase, Place, Standing};

impl Agent {
    pub(super) fn beat(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let state = match self.phase {
            Phase::Up => WorkerState::Up,
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Settling { .. } => {
                WorkerState::Draining
            }
            Phase::Gone => WorkerState::Gone,
        };
        let heartbeat = self.pulse.beat(Beat {
            state,
            seen: self.seen,
            held: self.list_held(now),
            withdrawn: self.offer.withdrawn(self.room.reasons),
            dialect: self.gate.dialect(),
        });
        actions.push(Action::Beat(heartbeat));
    }

    /// What a heartbeat lists.
    pub(super) fn list_held(&self, now: Duration) -> Vec<Held> {
        let listed = self.held.values().map(|held| {
            let (stage, ran) = self.progress(now, &held.place);
            let holding = held.holding;
            let task = held.name();
            Held {
                holding,
                stage,
                ran,
                task,
            }
        });
        let mut listed: Vec<Held> = listed.collect();
        leave_out_names(&mut listed, self.room.for_names(self.held.len()));
        listed
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

impl Accepted {
    fn name(&self) -> Option<HeldTask> {
        Some(HeldTask {
            id: self.task.clone(),
            lane: self.lane.clone()?,
            attempt: self.attempt,
        })
    }
}

/// Leaves out the names for which there is no room.
fn leave_out_names(listed: &mut [Held], mut room: usize) {
    for ended in [false, true] {
        let listed = listed.iter_mut();
        for held in listed.filter(|held| (held.stage == Stage::Ended) == ended) {
            let bytes = held.task.as_ref().map_or(0, name_bytes);
            if bytes > room {
                held.task = None;
            } else {
                room -= bytes;
            }
        }
    }
}
