//! What happens when: the virtual clock's calendar.
//!
//! Things of the same moment happen in the order in which they were put down, so that a run can be
//! repeated.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rota_scheduler_core::Event;

use super::machine::{Life, MachineKey};
use super::mail::Frame;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Due {
    /// The next task arrives.
    Arrival,
    /// An attempt ends, unless it was interrupted since: then its stamp is out of date.
    Finish {
        machine: MachineKey,
        seq: u64,
        stamp: u64,
    },
    /// A worker speaks.
    Beat { machine: MachineKey, life: Life },
    /// A message reaches the scheduler.
    ToCore(Box<Event>),
    /// A frame reaches its worker.
    ToMachine(Box<Frame>),
    /// Some worker is lost.
    Loss,
    /// Another one starts in its place.
    Restart { machine: MachineKey },
}

#[derive(Debug, Default)]
pub(crate) struct Timeline {
    heap: BinaryHeap<Entry>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    order: u64,
    due: Due,
}

impl Timeline {
    pub(crate) fn put(&mut self, at: u64, due: Due) {
        self.count += 1;
        self.heap.push(Entry {
            at,
            order: self.count,
            due,
        });
    }

    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the next thing that happens until a moment.
    pub(crate) fn take(&mut self, until: u64) -> Option<Due> {
        if self.next_at()? > until {
            return None;
        }
        self.heap.pop().map(|entry| entry.due)
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives out its greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_moment_happen_in_the_order_in_which_they_were_put_down() {
        let mut timeline = Timeline::default();
        timeline.put(5, Due::Loss);
        timeline.put(3, Due::Arrival);
        timeline.put(5, Due::Arrival);
        assert!(matches!(timeline.take(4), Some(Due::Arrival)));
        assert!(timeline.take(4).is_none());
        assert!(matches!(timeline.take(5), Some(Due::Loss)));
        assert!(matches!(timeline.take(5), Some(Due::Arrival)));
        assert_eq!(timeline.next_at(), None);
    }
}
