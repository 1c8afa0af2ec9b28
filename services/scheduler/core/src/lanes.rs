//! The lanes: what was asked of each and has not come, and how much to ask.
//!
//! Late binding: from a lane comes only what free slots could start now, and a small look-ahead. A lane
//! whose kind no live worker handles is not pulled.

use std::collections::BTreeMap;

use rota_wire::{Delivery, Lane};

/// The most messages asked of one lane at a time.
const PULL_MAX: u32 = 1_024;

#[derive(Debug, Default)]
pub(crate) struct LaneBook {
    /// Asked for and neither come nor told to be unused.
    pub(crate) owed: u32,
    /// In memory and not assigned: ready or looked up.
    pub(crate) waiting: u32,
    /// Given back and not come again yet.
    pub(crate) returning: u32,
    /// Deliveries of earlier terms that are still to come again.
    pub(crate) redeliveries_due: u32,
    /// The last sequence that earlier terms or lost consumers were given: up to here a task may have
    /// run before.
    pub(crate) delivered_to: u64,
    /// The last sequence that we were given.
    pub(crate) newest: u64,
    /// Whether anything has come since the lane was opened or the last pull ended.
    pub(crate) came: bool,
    pub(crate) open: bool,
}

/// What a lane is to be asked for, if there is room.
#[derive(Debug)]
pub(crate) struct Want {
    pub(crate) lane: Lane,
    /// Messages that were given back: they are in memory.
    pub(crate) back: u32,
    /// Others.
    pub(crate) fresh: u32,
}

/// All lanes that were ever opened in this term.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    books: BTreeMap<Lane, LaneBook>,
    /// The last lane that was asked when there was not enough memory for all: the next is asked first.
    turn: Option<Lane>,
}

impl Lanes {
    pub(crate) fn get_mut(&mut self, lane: &Lane) -> Option<&mut LaneBook> {
        self.books.get_mut(lane)
    }

    pub(crate) fn entry(&mut self, lane: Lane) -> &mut LaneBook {
        self.books.entry(lane).or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Lane, &LaneBook)> {
        self.books.iter()
    }

    /// What was asked of all lanes and has not come, but for what has its place in memory already.
    pub(crate) fn owed(&self) -> usize {
        let books = self.books.values();
        books
            .map(|book| book.owed.saturating_sub(book.returning) as usize)
            .sum()
    }

    /// Asks lanes for what they want, in a room for so many more messages. What was given back has its
    /// place already. When the room is too small for the rest, each gets a share of it, and those that
    /// get nothing are the first next time.
    pub(crate) fn ask(&mut self, wants: Vec<Want>, room: usize) -> Vec<(Lane, u32)> {
        let hungry = wants.iter().filter(|want| want.fresh > 0).count();
        let fresh: usize = wants.iter().map(|want| want.fresh as usize).sum();
        let short = fresh > room;
        let share = if short { (room / hungry).max(1) } else { room };
        let mut left = room;
        let mut asked = Vec::new();
        for Want { lane, back, fresh } in self.in_turn(wants) {
            let fresh = fresh.min(u32::try_from(share.min(left)).unwrap_or(u32::MAX));
            let Some(book) = self.books.get_mut(&lane).filter(|_| back + fresh > 0) else {
                continue;
            };
            book.owed += back + fresh;
            left -= fresh as usize;
            if short && fresh > 0 {
                self.turn = Some(lane.clone());
            }
            asked.push((lane, back + fresh));
        }
        asked
    }

    fn in_turn(&self, mut wants: Vec<Want>) -> Vec<Want> {
        if let Some(turn) = &self.turn {
            let next = wants.partition_point(|want| want.lane <= *turn);
            wants.rotate_left(next);
        }
        wants
    }

    /// Whether everything that earlier terms left has come again.
    pub(crate) fn caught_up(&self) -> bool {
        self.books.values().all(|book| book.redeliveries_due == 0)
    }
}

impl LaneBook {
    /// Counts a message that has come. Tells whether it may be of an earlier term or a lost consumer.
    pub(crate) fn came(&mut self, delivery: Delivery, pending: u64) -> bool {
        let left = delivery.seq <= self.delivered_to;
        if !left || pending == 0 {
            self.redeliveries_due = 0;
        } else if delivery.count == 1 {
            self.redeliveries_due = self.redeliveries_due.saturating_sub(1);
        }
        self.owed = self.owed.saturating_sub(1);
        self.newest = self.newest.max(delivery.seq);
        self.came = true;
        left
    }

    /// What to ask for now, if anything.
    pub(crate) fn want(
        &self,
        lane: &Lane,
        free_slots: Option<u32>,
        look_ahead: u32,
    ) -> Option<Want> {
        let count = self.to_pull(free_slots, look_ahead);
        let back = self.returning.saturating_sub(self.owed).min(count);
        (count > 0).then(|| Want {
            lane: lane.clone(),
            back,
            fresh: count - back,
        })
    }

    /// How many to ask for now, given the free slots of its kind's workers and the look-ahead; `None`
    /// for the slots when nobody handles the kind. A pull is made only when half of what is wanted is
    /// missing, so that there is not one pull for each message.
    fn to_pull(&self, free_slots: Option<u32>, look_ahead: u32) -> u32 {
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
