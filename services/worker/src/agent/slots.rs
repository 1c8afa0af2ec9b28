//! Which attempts may begin now, and which wait for a slot.
//!
//! Pure. The scheduler assigns no more than there are free slots, as far as it knows; an attempt that
//! was revoked occupies its slot until it has ended, so now and then something has to wait here. So may
//! one that was suspended and is to go on.
//!
//! What must hold: no more attempts run than there are slots, none of a kind more than its own limit;
//! of what may begin, the oldest does, and what is to go on before what is new; of what is new, no more
//! than [`Slots::waiting_max`] wait. Those that are to go on are all held already, which bounds them.

use std::collections::BTreeMap;

use rota_wire::Kind;
use rota_wire::fleet::KindCapacity;

use super::ReadySeq;

/// The slots of one worker.
#[derive(Debug)]
pub(super) struct Slots {
    slots: u32,
    busy: u32,
    /// All that wait.
    waiting: usize,
    /// Those of them that have not begun.
    new_waiting: usize,
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

/// A place in the queue; a lower one is served earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    turn: Turn,
    number: u64,
}

/// Whose turn it is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Resumed,
    New,
}

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
            new_waiting: 0,
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
        if self.new_waiting >= self.waiting_max {
            return Admission::Full;
        }
        Admission::Wait(self.enqueue(kind, seq, Turn::New))
    }

    /// Gives one that is to go on a place in the queue, before all that are new.
    pub(super) fn queue_resumed(&mut self, kind: &Kind, seq: ReadySeq) -> Ticket {
        self.enqueue(kind, seq, Turn::Resumed)
    }

    fn enqueue(&mut self, kind: &Kind, seq: ReadySeq, turn: Turn) -> Ticket {
        let number = self.next_ticket;
        let ticket = Ticket { turn, number };
        self.next_ticket += 1;
        self.waiting += 1;
        self.new_waiting += usize::from(turn == Turn::New);
        let books = self.kinds.get_mut(kind);
        let books = books.expect("only an attempt of a known kind waits");
        books.waiting.insert(ticket, seq);
        ticket
    }

    /// Gives a free slot to the first that waits and may begin.
    pub(super) fn begin_next(&mut self) -> Option<ReadySeq> {
        if self.waiting == 0 || self.busy >= self.slots {
            return None;
        }
        let able = self.kinds.values_mut().filter(|books| books.may_begin());
        let first = able
            .filter_map(|books| Some((*books.waiting.first_key_value()?.0, books)))
            .min_by_key(|(ticket, _)| *ticket);
        let (_, books) = first?;
        let (ticket, seq) = books.waiting.pop_first()?;
        books.busy += 1;
        self.busy += 1;
        self.forget(ticket);
        Some(seq)
    }

    /// An attempt has ended, or stands still.
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
            self.forget(ticket);
        }
    }

    fn forget(&mut self, ticket: Ticket) {
        self.waiting -= 1;
        self.new_waiting -= usize::from(ticket.turn == Turn::New);
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
    fn what_is_to_go_on_goes_before_what_is_new_and_is_never_too_much() {
        let mut slots = slots(1, &[("a", None)]);
        assert_eq!(slots.admit(&kind("a"), ReadySeq(1)), Admission::Begin);
        for seq in 0..slots.waiting_max() as u64 {
            waits(slots.admit(&kind("a"), ReadySeq(100 + seq)));
        }
        slots.queue_resumed(&kind("a"), ReadySeq(7));
        let withdrawn = slots.queue_resumed(&kind("a"), ReadySeq(5));
        slots.queue_resumed(&kind("a"), ReadySeq(6));
        slots.withdraw(&kind("a"), withdrawn);
        assert_eq!(slots.admit(&kind("a"), ReadySeq(999)), Admission::Full);
        let mut order = Vec::new();
        for _ in 0..3 {
            slots.leave(&kind("a"));
            order.extend(slots.begin_next());
        }
        assert_eq!(order, [ReadySeq(7), ReadySeq(6), ReadySeq(100)]);
        waits(slots.admit(&kind("a"), ReadySeq(999)));
    }

    #[test]
    fn a_kind_that_is_not_handled_gets_no_slot() {
        let mut slots = slots(1, &[("a", None)]);
        assert_eq!(slots.admit(&kind("b"), ReadySeq(1)), Admission::UnknownKind);
    }
}
