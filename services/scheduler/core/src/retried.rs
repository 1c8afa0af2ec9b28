//! Attempts that this leader has put into the schedule, so that a late copy of an earlier one is known for what it is.
//!
//! Between its time in the schedule and its lane an attempt is nowhere to be looked up. A second message of the attempt
//! before it, which a lost ack has left, would be run again meanwhile.
//!
//! Only copies of the same submission are told by this: an id that was submitted anew is another matter.
//!
//! A copy that had come before is acked. One that comes later may be none: a store of an earlier attempt that seemed
//! to have failed may happen late and take the place of the later one in the schedule, and then what it brings
//! carries the task on. So that waits for a while until the later attempt has come, and runs if it has not.
//! Bounded: of more than [`RETRIED_MAX`] the oldest are forgotten, and their copies run again at worst.

use std::collections::VecDeque;

use rota_wire::{Micros, Span, TaskId, TaskSpec};

use crate::maps::TextMap;

/// How long an attempt that is due may be on its way to its lane.
const ON_ITS_WAY: Span = Span::from_secs(10);
const RETRIED_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Retried {
    newest: TextMap<TaskId, Stored>,
    /// Ids in the order in which they came.
    order: VecDeque<TaskId>,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    attempt: u32,
    submitted: Micros,
    /// The newest message that had come by then.
    newest: u64,
    /// Until then it has come to its lane.
    until: Micros,
}

impl Retried {
    /// An attempt lies in the schedule for so long: the server has said so. Of all messages this was the newest by
    /// then.
    pub(crate) fn note(&mut self, spec: &TaskSpec, wait: Span, newest: u64, now: Micros) {
        let stored = Stored {
            attempt: spec.attempt,
            submitted: spec.submitted,
            newest,
            until: now.plus(wait).plus(ON_ITS_WAY),
        };
        if self.newest.insert(spec.id.clone(), stored).is_some() {
            return;
        }
        self.order.push_back(spec.id.clone());
        if self.order.len() > RETRIED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.newest.remove(&oldest);
        }
    }

    /// Whether a message is a copy of an attempt that was followed by another, and was there before that.
    pub(crate) fn was_followed(&self, seq: u64, spec: &TaskSpec) -> bool {
        let later = self.later(spec);
        later.is_some_and(|stored| seq <= stored.newest)
    }

    /// Until when a later attempt than a message's may be on its way.
    pub(crate) fn awaited_until(&self, spec: &TaskSpec) -> Option<Micros> {
        self.later(spec).map(|stored| stored.until)
    }

    fn later(&self, spec: &TaskSpec) -> Option<&Stored> {
        let stored = self.newest.get(&spec.id)?;
        let later = stored.submitted == spec.submitted && spec.attempt < stored.attempt;
        later.then_some(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::task;

    fn attempt(id: &str, attempt: u32) -> TaskSpec {
        TaskSpec {
            attempt,
            ..task(id)
        }
    }

    #[test]
    fn only_earlier_attempts_of_the_same_submission_were_followed() {
        let mut retried = Retried::default();
        assert!(!retried.was_followed(4, &attempt("t", 1)));
        retried.note(&attempt("t", 2), Span::from_secs(1), 9, Micros(0));
        assert!(retried.was_followed(4, &attempt("t", 1)));
        assert!(!retried.was_followed(4, &attempt("t", 2)));
        assert!(!retried.was_followed(4, &attempt("u", 1)));
        assert!(!retried.was_followed(10, &attempt("t", 1)), "it came later");
        let until = retried.awaited_until(&attempt("t", 1));
        assert_eq!(until, Some(Micros(11_000_000)));
        assert_eq!(retried.awaited_until(&attempt("t", 2)), None);
        let mut anew = attempt("t", 1);
        anew.submitted = Micros(anew.submitted.0 + 1);
        assert!(!retried.was_followed(4, &anew), "submitted again");
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut retried = Retried::default();
        for number in 0..=RETRIED_MAX {
            retried.note(
                &attempt(&format!("t{number}"), 2),
                Span::default(),
                9,
                Micros(0),
            );
            retried.note(
                &attempt(&format!("t{number}"), 3),
                Span::default(),
                9,
                Micros(0),
            );
        }
        assert_eq!(retried.newest.len(), RETRIED_MAX);
        assert!(!retried.was_followed(4, &attempt("t0", 1)));
        assert!(retried.was_followed(4, &attempt("t1", 2)));
    }
}
