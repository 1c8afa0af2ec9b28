//! The lanes: what is known of each consumer, what was asked of each and has not come, and how much to ask.
//!
//! ```text
//! Opening ──opened──► Open ──quiet──► Closing ──closed──► (unknown)
//!    ▲ │               │ ▲               │
//!    │ └─not─► Resting │ └─────kept──────┘
//!    └────────────┴────┘ gone
//! ```
//!
//! Late binding: from a lane comes only what free slots could start now, and a small look-ahead. A lane
//! whose kind no live worker handles is not pulled, but for what earlier terms left.
//!
//! A lane is recovered when it was opened and all that was un-acked has come. Only then is it known that what
//! is not in memory is over.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::{Delivery, Kind, Lane, Micros, Priority};

/// The most messages asked of one lane at a time.
const PULL_MAX: u32 = 1_024;

/// Lanes that are closed and of which it is remembered how far they came.
const CLOSED_MAX: usize = 10_000;

/// What is known of a lane's consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// It is being made.
    #[default]
    Opening,
    /// It could not be made; tried again then.
    Resting {
        until: Micros,
    },
    Open,
    /// It is being deleted.
    Closing,
}

#[derive(Debug, Default)]
pub(crate) struct LaneBook {
    pub(crate) consumer: Consumer,
    /// Times that it could not be opened, one after the other.
    pub(crate) failures: u32,
    /// Asked for and neither come nor told to be unused.
    pub(crate) owed: u32,
    /// In memory and not assigned: ready or looked up.
    pub(crate) waiting: u32,
    /// Those of them that are held back for workers which may have them.
    pub(crate) held_back: u32,
    /// Given back and not come again yet.
    pub(crate) returning: u32,
    /// Given back and forgotten: nobody could have run them.
    pub(crate) away: u32,
    /// Whether anything was asked for since one went away.
    asked: bool,
    /// Deliveries of earlier terms that are still to come again.
    pub(crate) redeliveries_due: u32,
    /// The last sequence that earlier terms or lost consumers were given: up to here a task may have
    /// run before.
    pub(crate) delivered_to: u64,
    /// The last sequence that we were given.
    pub(crate) newest: u64,
    /// Whether anything has come since the lane was opened or the last pull ended.
    came: bool,
    /// Whether it was opened and not lost since.
    opened: bool,
    /// Whether the server has had nothing to give since then.
    drained: bool,
    /// When something last came, or the lane was last kept.
    pub(crate) quiet_since: Micros,
    /// Since when nobody handles its kind.
    pub(crate) unserved_since: Option<Micros>,
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

/// Whether somebody may have run a message that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// It was never handed out before, as far as can be known.
    None,
    /// It was handed out in this term.
    Ours,
    /// It was handed out in an earlier term, or by a consumer that was lost.
    Left,
    /// Both.
    LeftAgain,
}

impl Past {
    /// Whether it was handed out in this term.
    pub(crate) const fn is_again(self) -> bool {
        matches!(self, Self::Ours | Self::LeftAgain)
    }

    /// Whether it was handed out before that.
    pub(crate) const fn is_left(self) -> bool {
        matches!(self, Self::Left | Self::LeftAgain)
    }
}

/// All lanes that are open or wanted.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    books: BTreeMap<Lane, LaneBook>,
    /// The last lane that was asked when there was not enough memory for all: the next is asked first.
    turn: Option<Lane>,
    /// Those in which something un-acked is still to come.
    unrecovered: BTreeSet<Lane>,
    /// Those that were recovered since that was last asked.
    recovered: Vec<Lane>,
    /// How far the lanes came that were closed, so many of them: a consumer made anew does not know.
    closed: BTreeMap<Lane, u64>,
    /// The newest message of all that have come.
    newest: u64,
    /// When to try again those that could not be opened.
    resting: BTreeSet<(Micros, Lane)>,
}

impl Lanes {
    pub(crate) fn get_mut(&mut self, lane: &Lane) -> Option<&mut LaneBook> {
        self.books.get_mut(lane)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Lane, &LaneBook)> {
        self.books.iter()
    }

    /// The lanes of a kind.
    pub(crate) fn of_kind(&mut self, kind: &Kind) -> impl Iterator<Item = &mut LaneBook> {
        let lane = |level| Lane {
            kind: kind.clone(),
            priority: Priority::new(level).unwrap_or(Priority::MAX),
        };
        let range = lane(0)..=lane(Priority::MAX.level());
        self.books.range_mut(range).map(|(_, book)| book)
    }

    /// Begins a book for a lane, if there is none. Tells whether it is to be opened.
    pub(crate) fn begin(&mut self, lane: &Lane, now: Micros, served: bool) -> bool {
        if self.books.contains_key(lane) {
            return false;
        }
        let book = LaneBook {
            quiet_since: now,
            unserved_since: (!served).then_some(now),
            delivered_to: self.closed.remove(lane).unwrap_or(0),
            ..LaneBook::default()
        };
        self.books.insert(lane.clone(), book);
        true
    }

    /// Something un-acked may be in a lane.
    pub(crate) fn doubt(&mut self, lane: &Lane) {
        if !self.recovered(lane) {
            self.unrecovered.insert(lane.clone());
        }
    }

    pub(crate) fn opened(&mut self, lane: &Lane, unacked: u32, delivered_to: u64, now: Micros) {
        self.rest(lane, None);
        let Some(book) = self.books.get_mut(lane) else {
            return;
        };
        (book.consumer, book.failures, book.owed) = (Consumer::Open, 0, 0);
        (book.redeliveries_due, book.away) = (unacked, 0);
        (book.came, book.opened, book.quiet_since) = (false, true, now);
        book.drained = false;
        // A consumer that was made anew knows nothing of what its predecessor delivered to us.
        book.delivered_to = book.delivered_to.max(delivered_to).max(book.newest);
        if unacked == 0 {
            self.unrecovered.remove(lane);
            self.recovered.push(lane.clone());
        } else {
            self.unrecovered.insert(lane.clone());
        }
    }

    /// The consumer is gone, and with it all pulls. What it had handed out comes again from the next one.
    pub(crate) fn gone(&mut self, lane: &Lane) {
        let Some(book) = self.books.get_mut(lane) else {
            return;
        };
        (book.consumer, book.owed, book.opened) = (Consumer::Opening, 0, false);
        self.unrecovered.insert(lane.clone());
        self.rest(lane, None);
    }

    /// A lane is closed.
    pub(crate) fn closed(&mut self, lane: &Lane) {
        self.rest(lane, None);
        self.unrecovered.remove(lane);
        let Some(book) = self.books.remove(lane) else {
            return;
        };
        let newest = book.newest.max(book.delivered_to);
        if newest > 0 {
            self.closed.insert(lane.clone(), newest);
        }
        if self.closed.len() > CLOSED_MAX {
            self.closed.pop_first();
        }
    }

    /// A lane is tried again later, or is not waited for any more.
    pub(crate) fn rest(&mut self, lane: &Lane, until: Option<Micros>) {
        let Some(book) = self.books.get_mut(lane) else {
            return;
        };
        if let Consumer::Resting { until } = book.consumer {
            self.resting.remove(&(until, lane.clone()));
            book.consumer = Consumer::Opening;
        }
        if let Some(until) = until {
            book.consumer = Consumer::Resting { until };
            self.resting.insert((until, lane.clone()));
        }
    }

    /// When the next lane is tried again.
    pub(crate) fn next_try(&self) -> Option<Micros> {
        self.resting.first().map(|(at, _)| *at)
    }

    /// Takes a lane that is to be tried again by now.
    pub(crate) fn take_rested(&mut self, now: Micros) -> Option<Lane> {
        let (at, lane) = self.resting.first()?;
        if *at > now {
            return None;
        }
        let lane = lane.clone();
        self.rest(&lane, None);
        Some(lane)
    }

    /// Whether all that was un-acked in a lane has come.
    pub(crate) fn recovered(&self, lane: &Lane) -> bool {
        let book = self.books.get(lane);
        book.is_some_and(|book| book.opened && book.is_recovered())
    }

    /// Whether a message of a lane that is held by a worker and not in memory can only be over. A consumer that
    /// was made anew gives out the old ones as if they were new.
    pub(crate) fn is_past(&self, lane: &Lane, seq: u64) -> bool {
        let book = self.books.get(lane).filter(|_| self.recovered(lane));
        book.is_some_and(|book| {
            let passed = seq <= book.delivered_to.max(book.newest);
            passed || book.drained
        })
    }

    /// Whether all has come that may be un-acked anywhere.
    pub(crate) fn all_recovered(&self) -> bool {
        self.unrecovered.is_empty()
    }

    /// Whether a lane was opened and not lost since, for checks.
    pub(crate) fn was_opened(&self, lane: &Lane) -> bool {
        self.books.get(lane).is_some_and(|book| book.opened)
    }

    /// The newest message of all that have come.
    pub(crate) const fn newest(&self) -> u64 {
        self.newest
    }

    /// Those of the lanes that are to be recovered, for checks.
    pub(crate) const fn unrecovered(&self) -> &BTreeSet<Lane> {
        &self.unrecovered
    }

    /// Lanes that were recovered since this was last asked.
    pub(crate) fn take_recovered(&mut self) -> Vec<Lane> {
        std::mem::take(&mut self.recovered)
    }

    /// Counts a message that has come and tells what is behind it; nothing of a lane that nobody opened.
    pub(crate) fn came(
        &mut self,
        lane: &Lane,
        delivery: Delivery,
        pending: u64,
        known: Known,
        now: Micros,
    ) -> Option<Past> {
        let book = self.books.get_mut(lane)?;
        self.newest = self.newest.max(delivery.seq);
        let was_recovered = book.is_recovered();
        let past = book.came(delivery, pending, known);
        book.quiet_since = now;
        if !was_recovered {
            self.note_recovered(lane);
        }
        Some(past)
    }

    /// Part of a pull is not coming; whether the server had nothing to give. Tells whether that means that
    /// what was given back is not there.
    pub(crate) fn pull_ended(&mut self, lane: &Lane, unused: u32, nothing: bool) -> bool {
        let Some(book) = self.books.get_mut(lane) else {
            return false;
        };
        let was_recovered = book.is_recovered();
        let empty = book.pull_ended(unused, nothing);
        let missing = empty && book.asked && book.returning > 0;
        if !was_recovered {
            self.note_recovered(lane);
        }
        missing
    }

    /// A message was given back.
    pub(crate) fn gave_back(&mut self, lane: &Lane) {
        if let Some(book) = self.books.get_mut(lane) {
            book.returning += 1;
            book.asked = false;
        }
    }

    /// A message was given back and is forgotten.
    pub(crate) fn went_away(&mut self, lane: &Lane) {
        if let Some(book) = self.books.get_mut(lane) {
            book.away = book.away.saturating_add(1);
            book.asked = false;
            self.unrecovered.insert(lane.clone());
        }
    }

    fn note_recovered(&mut self, lane: &Lane) {
        let book = self.books.get(lane);
        let recovered = book.is_some_and(|book| book.opened && book.is_recovered());
        if recovered && self.unrecovered.remove(lane) {
            self.recovered.push(lane.clone());
        }
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
            book.asked = true;
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
}

/// Whether a message that has come is in memory already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Yes,
    No,
}

impl LaneBook {
    /// Counts a message that has come, and tells what is behind it.
    fn came(&mut self, delivery: Delivery, pending: u64, known: Known) -> Past {
        let left = delivery.seq <= self.delivered_to;
        if !left || pending == 0 {
            self.redeliveries_due = 0;
        } else if delivery.count == 1 {
            self.redeliveries_due = self.redeliveries_due.saturating_sub(1);
        }
        let ours = delivery.count > 1 || delivery.seq <= self.newest;
        if ours && known == Known::No {
            self.away = self.away.saturating_sub(1);
        }
        self.owed = self.owed.saturating_sub(1);
        self.newest = self.newest.max(delivery.seq);
        self.came = true;
        match (left, ours) {
            (true, false) => Past::Left,
            (true, true) => Past::LeftAgain,
            (false, true) => Past::Ours,
            (false, false) => Past::None,
        }
    }

    /// Tells whether nothing is there.
    fn pull_ended(&mut self, unused: u32, nothing: bool) -> bool {
        let empty = nothing && !self.came;
        self.owed = self.owed.saturating_sub(unused);
        // The server had nothing to give, so nothing un-acked is left either. A pull that brought something
        // may be an older one.
        if empty {
            self.drained = true;
            self.redeliveries_due = 0;
            if self.asked {
                self.away = 0;
            }
        }
        self.came = false;
        empty
    }

    const fn is_recovered(&self) -> bool {
        self.redeliveries_due == 0 && self.away == 0
    }

    /// Whether nothing of it is wanted or in the works, as far as its own books tell.
    pub(crate) const fn is_at_rest(&self) -> bool {
        matches!(self.consumer, Consumer::Open)
            && self.waiting == 0
            && self.returning == 0
            && self.is_recovered()
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
        if self.consumer != Consumer::Open {
            return 0;
        }
        let again = self.redeliveries_due;
        let wanted = match free_slots {
            None => again,
            Some(free) => {
                let ready = self.waiting.saturating_sub(self.held_back);
                let fresh = free.saturating_add(look_ahead).saturating_sub(ready);
                let back = self.returning.saturating_add(self.away);
                fresh.saturating_add(back).saturating_add(again)
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
            consumer: Consumer::Open,
            opened: true,
            ..LaneBook::default()
        }
    }

    const fn delivery(seq: u64, count: u32) -> Delivery {
        Delivery { seq, count }
    }

    #[test]
    fn a_lane_without_workers_is_asked_only_for_what_earlier_terms_left() {
        assert_eq!(open().to_pull(None, 64), 0);
        assert_eq!(
            LaneBook {
                redeliveries_due: 3,
                away: 9,
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
            LaneBook {
                waiting: 4,
                held_back: 4,
                ..open()
            }
            .to_pull(Some(0), 4),
            4,
            "what is held back keeps no place from others"
        );
        assert_eq!(
            LaneBook { owed: 7, ..open() }.to_pull(Some(8), 4),
            0,
            "more than half is owed"
        );
        assert_eq!(LaneBook { owed: 6, ..open() }.to_pull(Some(8), 4), 6);
    }

    #[test]
    fn what_went_away_has_come_back_before_the_lane_is_recovered() {
        let mut book = open();
        assert_eq!(book.came(delivery(7, 1), 5, Known::No), Past::None);
        book.away = 2;
        book.pull_ended(0, true);
        book.pull_ended(0, true);
        assert_eq!(book.away, 2, "that pull was asked before");
        assert_eq!(book.came(delivery(8, 1), 0, Known::No), Past::None);
        assert_eq!(book.away, 2, "it was on its way before they went");
        assert_eq!(book.came(delivery(7, 2), 0, Known::No), Past::Ours);
        assert_eq!(book.away, 1);
        book.asked = true;
        book.pull_ended(0, true);
        book.pull_ended(0, true);
        assert_eq!(book.away, 0, "the server has no more");
    }

    #[test]
    fn a_message_that_comes_anew_after_a_foreign_reset_is_not_taken_for_a_fresh_one() {
        let mut book = open();
        book.came(delivery(9, 1), 5, Known::No);
        assert_eq!(book.came(delivery(7, 1), 5, Known::No), Past::Ours);
    }
}
