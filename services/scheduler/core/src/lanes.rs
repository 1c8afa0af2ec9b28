//! The lanes: what was asked of each and has not come, and how much to ask.
//!
//! Late binding: from a lane comes only what free slots could start now, and a small look-ahead. A lane
//! whose kind no live worker handles is not pulled.

use std::collections::BTreeMap;

use rota_wire::Lane;

/// The most messages asked of one lane at a time.
const PULL_MAX: u32 = 1_024;

#[derive(Debug, Default)]
pub(crate) struct LaneBook {
    /// Asked for and neither come nor told to be unused.
    pub(crate) owed: u32,
    /// In memory and not assigned: ready, looked up, or being settled.
    pub(crate) waiting: u32,
    /// Given back and not come again yet.
    pub(crate) returning: u32,
    /// Deliveries of earlier terms that are still to come again.
    pub(crate) redeliveries_due: u32,
    /// The last sequence that earlier terms were given: up to here a task may have run before.
    pub(crate) delivered_to: u64,
    pub(crate) open: bool,
}

/// All lanes that were ever opened in this term.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    books: BTreeMap<Lane, LaneBook>,
}

impl Lanes {
    pub(crate) fn get_mut(&mut self, lane: &Lane) -> Option<&mut LaneBook> {
        self.books.get_mut(lane)
    }

    pub(crate) fn entry(&mut self, lane: Lane) -> &mut LaneBook {
        self.books.entry(lane).or_default()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Lane, &mut LaneBook)> {
        self.books.iter_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Lane, &LaneBook)> {
        self.books.iter()
    }

    /// What was asked of all lanes and has not come.
    pub(crate) fn owed(&self) -> usize {
        self.books.values().map(|book| book.owed as usize).sum()
    }

    /// Whether everything that earlier terms left has come again.
    pub(crate) fn caught_up(&self) -> bool {
        self.books.values().all(|book| book.redeliveries_due == 0)
    }
}

impl LaneBook {
    /// How many to ask for now, given the free slots of its kind's workers and the look-ahead; `None`
    /// for the slots when nobody handles the kind. A pull is made only when half of what is wanted is
    /// missing, so that there is not one pull for each message.
    pub(crate) fn to_pull(&self, free_slots: Option<u32>, look_ahead: u32) -> u32 {
        if !self.open {
            return 0;
        }
        let again = self.redeliveries_due;
        let wanted = match free_slots {
            None => again,
            Some(free) => {
                let fresh = free.saturating_add(look_ahead).saturating_sub(self.waiting);
                fresh.saturating_add(self.returning).saturating_add(again)
            }
        };
        let wanted = wanted.min(PULL_MAX);
        if self.owed > wanted / 2 {
            0
        } else {
            wanted - self.owed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> LaneBook {
        LaneBook {
            open: true,
            ..LaneBook::default()
        }
    }

    #[test]
    fn a_lane_without_workers_is_asked_only_for_what_earlier_terms_left() {
        assert_eq!(open().to_pull(None, 64), 0);
        assert_eq!(
            LaneBook {
                redeliveries_due: 3,
                ..open()
            }
            .to_pull(None, 64),
            3
        );
        assert_eq!(
            LaneBook::default().to_pull(Some(8), 64),
            0,
            "it is not open"
        );
    }

    #[test]
    fn free_slots_and_look_ahead_are_asked_for_less_what_waits_already() {
        assert_eq!(open().to_pull(Some(8), 4), 12);
        assert_eq!(
            LaneBook {
                waiting: 4,
                ..open()
            }
            .to_pull(Some(0), 4),
            0
        );
        assert_eq!(
            LaneBook { owed: 7, ..open() }.to_pull(Some(8), 4),
            0,
            "more than half is owed"
        );
        assert_eq!(LaneBook { owed: 6, ..open() }.to_pull(Some(8), 4), 6);
    }
}
