//! Attempts that this leader has put into the schedule, so that a late copy of an earlier one is known for what it is.
//!
//! Between its time in the schedule and its lane an attempt is nowhere to be looked up. A second message of the attempt
//! before it, which a lost ack has left, would be run again meanwhile.
//!
//! Only copies of the same submission are told by this: an id that was submitted anew is another matter. Bounded:
//! of more than [`RETRIED_MAX`] the oldest are forgotten, and their copies run again at worst.

use std::collections::VecDeque;

use rota_wire::{Micros, TaskId, TaskSpec};

use crate::maps::TextMap;

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
}

impl Retried {
    /// An attempt lies in the schedule: the server has said so.
    pub(crate) fn note(&mut self, spec: &TaskSpec) {
        let stored = Stored {
            attempt: spec.attempt,
            submitted: spec.submitted,
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

    /// Whether a message carries an attempt that was followed by another.
    pub(crate) fn was_followed(&self, spec: &TaskSpec) -> bool {
        let stored = self.newest.get(&spec.id);
        stored.is_some_and(|stored| {
            stored.submitted == spec.submitted && spec.attempt < stored.attempt
        })
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
        assert!(!retried.was_followed(&attempt("t", 1)));
        retried.note(&attempt("t", 2));
        assert!(retried.was_followed(&attempt("t", 1)));
        assert!(!retried.was_followed(&attempt("t", 2)));
        assert!(!retried.was_followed(&attempt("u", 1)));
        let mut anew = attempt("t", 1);
        anew.submitted = Micros(anew.submitted.0 + 1);
        assert!(!retried.was_followed(&anew), "submitted again");
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut retried = Retried::default();
        for number in 0..=RETRIED_MAX {
            retried.note(&attempt(&format!("t{number}"), 2));
            retried.note(&attempt(&format!("t{number}"), 3));
        }
        assert_eq!(retried.newest.len(), RETRIED_MAX);
        assert!(!retried.was_followed(&attempt("t0", 1)));
        assert!(retried.was_followed(&attempt("t1", 2)));
    }
}
