//! How a worker leaves: what it still does of what it holds, and when it is gone.
//!
//! What must hold: what waits or stands still is handed back at once, for nobody would let it go on here;
//! what runs has the grace period; and a worker that was told to leave does, whatever its attempts do.

use std::time::Duration;

use rota_wire::Span;

use super::running::span_of;
use super::{Action, Agent, AttemptNumber, Note, Phase, Place, STOPPING, Standing, returned};

/// How long a worker that stops waits for its last outcomes to be settled.
pub(super) const SETTLE_WAIT: Duration = Duration::from_secs(3);

impl Agent {
    pub(super) fn handle_drain(&mut self, stop_at: Duration, actions: &mut Vec<Action>) {
        if self.phase != Phase::Up {
            return;
        }
        self.phase = Phase::Draining { stop_at };
        self.pulse.want();
        for held in self.held.values_mut() {
            if let Place::Waiting(ticket, assignment) = &held.place {
                if let Some(ticket) = ticket {
                    self.slots.withdraw(&assignment.kind, *ticket);
                }
                let (task, reason) = (held.task.clone(), STOPPING);
                actions.push(Action::Note(Note::HandedBack { task, reason }));
                let ran = Span::default();
                held.place = Place::Ended(self.outbox.push(held.holding, ran, returned(STOPPING)));
            }
        }
        self.stop_standing(actions);
    }

    /// What stands still is stopped, and handed back as soon as it has ended.
    fn stop_standing(&mut self, actions: &mut Vec<Action>) {
        let standing = self
            .attempts
            .iter()
            .filter(|(_, begun)| begun.standing != Standing::Running);
        let standing: Vec<AttemptNumber> = standing.map(|(attempt, _)| *attempt).collect();
        for attempt in standing {
            self.not_resume(attempt);
            actions.push(Action::Stop(attempt));
        }
    }

    pub(super) fn stop_all(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let give_up_at = now + self.stop_wait;
        self.phase = Phase::Stopping { give_up_at };
        actions.extend(self.attempts.keys().copied().map(Action::Stop));
    }

    /// What did not end although it was killed is handed back; the end of the process ends it.
    pub(super) fn give_up(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (_, begun) in std::mem::take(&mut self.attempts) {
            self.vacate(&begun);
            if let Some(held) = begun.seq.and_then(|seq| self.held.get_mut(&seq)) {
                actions.push(Action::Note(Note::GivenUp(held.task.clone())));
                let ran = span_of(begun.stint.ran(now));
                held.place = Place::Ended(self.outbox.push(held.holding, ran, returned(STOPPING)));
            }
        }
    }

    pub(super) fn try_leave(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Phase::Draining { .. } | Phase::Stopping { .. } = self.phase
            && self.attempts.is_empty()
        {
            let until = now + SETTLE_WAIT;
            self.phase = Phase::Settling { until };
        }
        if let Phase::Settling { until } = self.phase
            && (self.outbox.is_empty() || until <= now)
        {
            self.phase = Phase::Gone;
            self.held.clear();
            self.beat(now, actions);
            actions.push(Action::Leave);
        }
    }
}
