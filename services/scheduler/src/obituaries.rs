//! Obituaries that are being checked: at most one check for each worker, and a few at a time.
//!
//! Anybody may write obituaries, and a check of one that is false takes seconds. So they may not fill memory, nor take
//! the place of the other requests. Of those that are dropped the worker's silence tells, as if its guardian had died.

use std::collections::{BTreeSet, VecDeque};

use rota_wire::WorkerId;

/// Checks under way at a time. A true one takes some milliseconds.
const UNDER_WAY_MAX: usize = 64;
/// Workers whose turn has not come.
const WAITING_MAX: usize = 1_024;

/// What becomes of an obituary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is to be checked now.
    Begin,
    /// Its turn will come.
    Later,
    /// The same is being checked, or its turn will come.
    Known,
    /// There are too many.
    Dropped,
}

#[derive(Debug, Default)]
pub(crate) struct Obituaries {
    /// All workers whose obituaries are being checked or wait.
    workers: BTreeSet<WorkerId>,
    waiting: VecDeque<WorkerId>,
}

impl Obituaries {
    pub(crate) fn take(&mut self, worker: &WorkerId) -> Taken {
        if self.workers.contains(worker) {
            return Taken::Known;
        }
        let taken = if self.workers.len() - self.waiting.len() < UNDER_WAY_MAX {
            Taken::Begin
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(worker.clone());
            Taken::Later
        } else {
            return Taken::Dropped;
        };
        self.workers.insert(worker.clone());
        taken
    }

    /// One was checked; gives the next one to be.
    pub(crate) fn checked(&mut self, worker: &WorkerId) -> Option<WorkerId> {
        self.workers.remove(worker);
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: usize) -> WorkerId {
        WorkerId::parse(&format!("w{number}-abcdef")).expect("an id")
    }

    #[test]
    fn a_worker_is_checked_once_at_a_time() {
        let mut obituaries = Obituaries::default();
        assert_eq!(obituaries.take(&worker(1)), Taken::Begin);
        for _ in 0..10_000 {
            assert_eq!(obituaries.take(&worker(1)), Taken::Known);
        }
        assert_eq!(obituaries.checked(&worker(1)), None);
        assert_eq!(obituaries.take(&worker(1)), Taken::Begin);
    }

    #[test]
    fn a_few_are_checked_at_a_time_some_wait_and_the_rest_are_dropped() {
        let mut obituaries = Obituaries::default();
        let count = UNDER_WAY_MAX + WAITING_MAX + 10;
        let taken: Vec<Taken> = (0..count).map(|n| obituaries.take(&worker(n))).collect();
        let number = |what| taken.iter().filter(|taken| **taken == what).count();
        assert_eq!(number(Taken::Begin), UNDER_WAY_MAX);
        assert_eq!(number(Taken::Later), WAITING_MAX);
        assert_eq!(number(Taken::Dropped), 10);
        assert_eq!(obituaries.take(&worker(UNDER_WAY_MAX)), Taken::Known);
        for checked in 0..WAITING_MAX {
            let next = obituaries.checked(&worker(checked));
            assert_eq!(next, Some(worker(checked + UNDER_WAY_MAX)));
        }
        for checked in WAITING_MAX..WAITING_MAX + UNDER_WAY_MAX {
            assert_eq!(obituaries.checked(&worker(checked)), None);
        }
        assert_eq!(obituaries.take(&worker(count)), Taken::Begin);
    }
}
