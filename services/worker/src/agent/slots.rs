//! Which attempts may begin now, and which wait for a slot.
//!
//! Pure. The scheduler assigns no more than there are free slots, as far as it knows; an attempt that
//! was revoked occupies its slot until it has ended, so now and then something has to wait here.
//!
//! What must hold: no more attempts run than there are slots, none of a kind more than its own limit;
//! of what may begin, the oldest does; and no more than [`Slots::waiting_max`] wait.

use std::collections::BTreeMap;

use rota_wire::Kind;
use rota_wire::fleet::KindCapacity;

use super::ReadySeq;

/// The slots of one worker.
#[derive(Debug)]
pub(super) struct Slots {
    slots: u32,
    busy: u32,
    waiting: usize,
    waiting_max: usize,
    next_ticket: u64,
    kinds: BTreeMap<Kind, KindSlots>,
}

/// What one kind uses of them.
#[derive(Debug)]
struct KindSlots {
    concurrency: u32,
    busy: u32,
    waiting: BTreeMap<Ticket, ReadySeq>,
}

/// A place in the queue; a lower one was given out earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What becomes of an attempt that wants a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has one.
    Begin,
    /// It waits.
    Wait(Ticket),
    /// There is no room to wait.
    Full,
    /// The kind is not handled here.
    UnknownKind,
}

impl Slots {
    pub(super) fn new(slots: u32, kinds: &[KindCapacity]) -> Self {
        let kinds = kinds.iter().map(|capacity| {
            let books = KindSlots {
                concurrency: capacity.concurrency.unwrap_or(slots),
                busy: 0,
                waiting: BTreeMap::new(),
            };
            (capacity.kind.clone(), books)
        });
        Self {
            slots,
            busy: 0,
            waiting: 0,
            waiting_max: slots as usize * 2 + 64,
            next_ticket: 0,
            kinds: kinds.collect(),
        }
    }

    /// Gives an attempt a slot, or a place in the queue.
    pub(super) fn admit(&mut self, kind: &Kind, seq: ReadySeq) -> Admission {
        let Some(books) = self.kinds.get_mut(kind) else {
            return Admission::UnknownKind;
        };
        if self.busy < self.slots && books.may_begin() {
            self.busy += 1;
            books.busy += 1;
            return Admission::Begin;
        }
        if self.waiting >= self.waiting_max {
            return Admission::Full;
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting += 1;
        books.waiting.insert(ticket, seq);
        Admission::Wait(ticket)
    }

    /// Gives a free slot to the oldest that waits and may begin.
    pub(super) fn begin_next(&mut self) -> Option<ReadySeq> {
        if self.waiting == 0 || self.busy >= self.slots {
            return None;
        }
        let able = self.kinds.values_mut().filter(|books| books.may_begin());
        let oldest = able
            .filter_map(|books| Some((*books.waiting.first_key_value()?.0, books)))
            .min_by_key(|(ticket, _)| *ticket);
        let (_, books) = oldest?;
        let (_, seq) = books.waiting.pop_first()?;
        books.busy += 1;
        self.busy += 1;
        self.waiting -= 1;
        Some(seq)
    }

    /// An attempt has ended.
    pub(super) fn leave(&mut self, kind: &Kind) {
        let books = self.kinds.get_mut(kind);
        let books = books.expect("only an attempt of a known kind is given a slot");
        books.busy -= 1;
        self.busy -= 1;
    }

    /// One that waits will not begin.
    pub(super) fn withdraw(&mut self, kind: &Kind, ticket: Ticket) {
        let books = self.kinds.get_mut(kind);
        if books.is_some_and(|books| books.waiting.remove(&ticket).is_some()) {
            self.waiting -= 1;
        }
    }

    /// The most that may wait.
    #[cfg(test)]
    pub(super) fn waiting_max(&self) -> usize {
        self.waiting_max
    }
}

impl KindSlots {
    fn may_begin(&self) -> bool {
        self.busy < self.concurrency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Kind {
        Kind::parse(name).expect("good")
    }

    fn slots(slots: u32, kinds: &[(&str, Option<u32>)]) -> Slots {
        let capacity = |&(name, concurrency): &(&str, _)| KindCapacity {
            kind: kind(name),
            concurrency,
        };
        Slots::new(slots, &kinds.iter().map(capacity).collect::<Vec<_>>())
    }

    fn waits(admission: Admission) -> Ticket {
        match admission {
            Admission::Wait(ticket) => ticket,
            other => panic!("{other:?} does not wait"),
        }
    }

    #[test]
    fn no_more_begin_than_there_are_slots() {
        let mut slots = slots(2, &[("a", None)]);
        for seq in 1..=2 {
            assert_eq!(slots.admit(&kind("a"), ReadySeq(seq)), Admission::Begin);
        }
        waits(slots.admit(&kind("a"), ReadySeq(3)));
        assert_eq!(slots.begin_next(), None);
        slots.leave(&kind("a"));
        assert_eq!(slots.begin_next(), Some(ReadySeq(3)));
        assert_eq!(slots.begin_next(), None);
    }

    #[test]
    fn a_kind_at_its_own_limit_waits_and_lets_others_pass() {
        let mut slots = slots(3, &[("a", Some(1)), ("b", None)]);
        assert_eq!(slots.admit(&kind("a"), ReadySeq(1)), Admission::Begin);
        waits(slots.admit(&kind("a"), ReadySeq(2)));
        assert_eq!(slots.begin_next(), None, "its kind is at its limit");
        assert_eq!(slots.admit(&kind("b"), ReadySeq(3)), Admission::Begin);
        slots.leave(&kind("a"));
        assert_eq!(slots.begin_next(), Some(ReadySeq(2)));
    }

    #[test]
    fn the_oldest_that_may_begin_does_whatever_its_kind() {
        let mut slots = slots(1, &[("a", None), ("b", None)]);
        assert_eq!(slots.admit(&kind("b"), ReadySeq(9)), Admission::Begin);
        for (name, seq) in [("b", 5), ("a", 1), ("b", 3)] {
            waits(slots.admit(&kind(name), ReadySeq(seq)));
        }
        let mut order = Vec::new();
        let mut last = kind("b");
        for name in ["b", "a", "b"] {
            slots.leave(&last);
            order.extend(slots.begin_next());
            last = kind(name);
        }
        assert_eq!(order, [ReadySeq(5), ReadySeq(1), ReadySeq(3)]);
    }

    #[test]
    fn the_queue_is_bounded_and_a_withdrawn_place_is_free_again() {
        let mut slots = slots(1, &[("a", None)]);
        assert_eq!(slots.admit(&kind("a"), ReadySeq(0)), Admission::Begin);
        let tickets: Vec<_> = (0..slots.waiting_max())
            .map(|seq| waits(slots.admit(&kind("a"), ReadySeq(seq as u64 + 1))))
            .collect();
        assert_eq!(tickets.len(), 66);
        assert_eq!(slots.admit(&kind("a"), ReadySeq(999)), Admission::Full);
        slots.withdraw(&kind("a"), tickets[0]);
        slots.withdraw(&kind("a"), tickets[0]);
        waits(slots.admit(&kind("a"), ReadySeq(999)));
        assert_eq!(slots.admit(&kind("a"), ReadySeq(1000)), Admission::Full);
        slots.leave(&kind("a"));
        assert_eq!(
            slots.begin_next(),
            Some(ReadySeq(2)),
            "the first was withdrawn"
        );
    }

    #[test]
    fn a_kind_that_is_not_handled_gets_no_slot() {
        let mut slots = slots(1, &[("a", None)]);
        assert_eq!(slots.admit(&kind("b"), ReadySeq(1)), Admission::UnknownKind);
    }
}
