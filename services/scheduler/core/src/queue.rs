//! The order of what waits for a worker: which task is next.
//!
//! One ordered set for each kind, so that a kind without a free worker delays no other. Within a kind the
//! higher priority goes first, then the earlier message. A message that comes again keeps its sequence
//! and so its place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rota_wire::{Kind, Priority};

/// The place of a task among those that wait: the smallest runs first.
pub(crate) type Place = (Reverse<Priority>, u64);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    by_kind: BTreeMap<Kind, BTreeSet<Place>>,
    len: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, kind: &Kind, priority: Priority, seq: u64) {
        let place = (Reverse(priority), seq);
        let inserted = match self.by_kind.get_mut(kind) {
            Some(places) => places.insert(place),
            None => self.by_kind.entry(kind.clone()).or_default().insert(place),
        };
        self.len += usize::from(inserted);
    }

    pub(crate) fn remove(&mut self, kind: &Kind, priority: Priority, seq: u64) {
        let Some(places) = self.by_kind.get_mut(kind) else {
            return;
        };
        if places.remove(&(Reverse(priority), seq)) {
            self.len -= 1;
        }
        if places.is_empty() {
            self.by_kind.remove(kind);
        }
    }

    /// The next task of each kind that has any.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (Place, &Kind)> {
        self.by_kind
            .iter()
            .filter_map(|(kind, places)| Some((*places.first()?, kind)))
    }

    /// The next task of a kind.
    pub(crate) fn head(&self, kind: &Kind) -> Option<Place> {
        self.by_kind.get(kind)?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priority_goes_first_and_then_the_earlier_message() {
        let kind = Kind::parse("echo").expect("good");
        let mut queue = Queue::default();
        for (priority, seq) in [(1, 1), (5, 2), (9, 4), (9, 3)] {
            queue.insert(&kind, Priority::new(priority).expect("good"), seq);
        }
        let mut order = Vec::new();
        while let Some((Reverse(priority), seq)) = queue.head(&kind) {
            queue.remove(&kind, priority, seq);
            order.push(seq);
        }
        assert_eq!(order, [3, 4, 2, 1]);
        assert_eq!(queue.len(), 0);
    }
}
