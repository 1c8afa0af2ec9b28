//! What the leaders counted since the last summary.
//!
//! A leader's totals begin at zero with its term. What must hold: nothing is counted twice, and what a
//! leader counted before the monitor first heard it is not counted at all.

use rota_wire::Term;
use rota_wire::event::Counts;

use crate::utilisation::Load;

#[derive(Debug, Default)]
pub(super) struct Tally {
    last: Option<Counts>,
    since: Since,
}

/// Counted since the last summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Since {
    pub(crate) failed: u64,
    pub(crate) dead: u64,
    pub(crate) redelivered: u64,
    /// Running attempts that were suspended.
    pub(crate) preempted: u64,
}

/// What the workers declare, and what of it is promised to attempts, by the leader's last count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) cpu: Load,
    pub(crate) memory: Load,
}

impl Tally {
    /// A term begins, with all totals at zero.
    pub(super) fn handle_new_term(&mut self, term: Term) {
        if self.last.is_none_or(|last| last.term != term) {
            self.last = Some(Counts {
                term,
                ..Counts::default()
            });
        }
    }

    /// A leader's totals. Those of a leader that was deposed are for the caller to leave out.
    pub(super) fn handle_counts(&mut self, counts: Counts) {
        let before = match self.last.replace(counts) {
            // Heard in the middle of its term: how much of it is new, nobody knows.
            None => counts,
            Some(last) if last.term == counts.term => last,
            Some(_) => Counts::default(),
        };
        let since = &mut self.since;
        since.failed += counts
            .failed_attempts
            .saturating_sub(before.failed_attempts);
        since.dead += counts.dead.saturating_sub(before.dead);
        since.redelivered += counts.redelivered.saturating_sub(before.redelivered);
        since.preempted += counts.preempted.saturating_sub(before.preempted);
    }

    /// Nothing of either while nobody has counted.
    pub(super) fn declared(&self) -> Declared {
        let mut declared = Declared::default();
        if let Some(Counts {
            resources, demand, ..
        }) = self.last
        {
            let (cpu, memory) = (resources.cpu.0, resources.memory.0);
            declared.cpu.add(cpu.into(), demand.cpu.0.into());
            declared.memory.add(memory, demand.memory.0);
        }
        declared
    }

    /// What was counted, once.
    pub(super) fn take(&mut self) -> Since {
        std::mem::take(&mut self.since)
    }
}

#[cfg(test)]
mod tests {
    use rota_wire::{Cpu, Memory, Resources};

    use super::*;

    fn counts(term: u64, failed_attempts: u64) -> Counts {
        Counts {
            term: Term(term),
            failed_attempts,
            ..Counts::default()
        }
    }

    #[test]
    fn what_is_declared_and_promised_is_the_leaders_last_word() {
        let mut tally = Tally::default();
        assert_eq!(tally.declared().cpu.shares(), None);
        let amount = |cpu, memory| Resources {
            cpu: Cpu(cpu),
            memory: Memory(memory),
        };
        for demand in [amount(8_000, 0), amount(3_000, 4)] {
            tally.handle_counts(Counts {
                resources: amount(8_000, 16),
                demand,
                ..counts(7, 0)
            });
        }
        let free = |load: Load| load.shares().map(|shares| shares.free_permille);
        let declared = tally.declared();
        assert_eq!(
            (free(declared.cpu), free(declared.memory)),
            (Some(625), Some(750))
        );
    }

    #[test]
    fn what_was_counted_before_the_monitor_came_is_not_news() {
        let mut tally = Tally::default();
        tally.handle_counts(counts(7, 1_000));
        assert_eq!(tally.take().failed, 0);
        tally.handle_counts(counts(7, 1_003));
        assert_eq!(tally.take().failed, 3);
        assert_eq!(tally.take().failed, 0);
    }

    #[test]
    fn a_new_term_begins_at_zero() {
        let mut tally = Tally::default();
        tally.handle_counts(counts(7, 1_000));
        tally.handle_counts(counts(9, 4));
        assert_eq!(tally.take().failed, 4);
    }

    #[test]
    fn a_term_that_was_seen_to_begin_is_counted_from_its_beginning() {
        let mut tally = Tally::default();
        tally.handle_new_term(Term(7));
        tally.handle_counts(counts(7, 2));
        tally.handle_new_term(Term(7));
        tally.handle_counts(counts(7, 3));
        assert_eq!(tally.take().failed, 3);
    }

    #[test]
    fn totals_that_fall_are_no_underflow() {
        let mut tally = Tally::default();
        tally.handle_counts(counts(7, 5));
        tally.handle_counts(counts(7, 2));
        assert_eq!(tally.take().failed, 0);
    }
}
