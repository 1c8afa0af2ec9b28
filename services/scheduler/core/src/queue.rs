//! What waits: for any worker that handles its kind, or for the one that it is bound to.
//!
//! One ordered line for each kind, so that a kind without a free worker delays no other; and one for each
//! worker and kind, with the tasks that were bound to it on arrival and the attempts that are suspended on it.
//! A message that comes again keeps its sequence, and so its place among equals.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::Kind;

use crate::fleet::WorkerKey;
use crate::order::Rank;

/// A line of waiting tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// They may go to any worker that handles the kind.
    Anywhere(Kind),
    /// They go to this worker.
    At(WorkerKey, Kind),
}

impl Line {
    pub(crate) const fn kind(&self) -> &Kind {
        match self {
            Self::Anywhere(kind) | Self::At(_, kind) => kind,
        }
    }
}

/// A place in a line: the smallest is next.
pub(crate) type Place = (Rank, u64);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    anywhere: BTreeMap<Kind, BTreeSet<Place>>,
    at: BTreeMap<WorkerKey, BTreeMap<Kind, BTreeSet<Place>>>,
    len: usize,
}

impl Queue {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, line: &Line, place: Place) {
        let lines = match line {
            Line::Anywhere(_) => &mut self.anywhere,
            Line::At(worker, _) => self.at.entry(*worker).or_default(),
        };
        let inserted = match lines.get_mut(line.kind()) {
            Some(places) => places.insert(place),
            None => lines.entry(line.kind().clone()).or_default().insert(place),
        };
        self.len += usize::from(inserted);
    }

    pub(crate) fn remove(&mut self, line: &Line, place: Place) {
        let lines = match line {
            Line::Anywhere(_) => Some(&mut self.anywhere),
            Line::At(worker, _) => self.at.get_mut(worker),
        };
        let Some(lines) = lines else {
            return;
        };
        let Some(places) = lines.get_mut(line.kind()) else {
            return;
        };
        self.len -= usize::from(places.remove(&place));
        if places.is_empty() {
            lines.remove(line.kind());
        }
        if let Line::At(worker, _) = line
            && self.at.get(worker).is_some_and(BTreeMap::is_empty)
        {
            self.at.remove(worker);
        }
    }

    /// The next task of each line of tasks that may go anywhere.
    pub(crate) fn heads_anywhere(&self) -> impl Iterator<Item = (Place, &Kind)> {
        self.anywhere
            .iter()
            .filter_map(|(kind, places)| Some((*places.first()?, kind)))
    }

    /// The next task of each line at a worker.
    pub(crate) fn heads_at(&self, worker: WorkerKey) -> impl Iterator<Item = (Place, &Kind)> {
        let lines = self.at.get(&worker).into_iter().flatten();
        lines.filter_map(|(kind, places)| Some((*places.first()?, kind)))
    }

    /// All that wait at a worker.
    pub(crate) fn places_at(&self, worker: WorkerKey) -> impl Iterator<Item = (Place, &Kind)> {
        let lines = self.at.get(&worker).into_iter().flatten();
        lines.flat_map(|(kind, places)| places.iter().map(move |place| (*place, kind)))
    }

    /// The next task of a line.
    pub(crate) fn head(&self, line: &Line) -> Option<Place> {
        self.line(line)?.first().copied()
    }

    /// How many stand in a line before a place.
    pub(crate) fn before(&self, line: &Line, place: Place) -> usize {
        self.line(line)
            .map_or(0, |places| places.range(..place).count())
    }

    fn line(&self, line: &Line) -> Option<&BTreeSet<Place>> {
        match line {
            Line::Anywhere(kind) => self.anywhere.get(kind),
            Line::At(worker, kind) => self.at.get(worker)?.get(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use rota_wire::{Micros, Priority};

    use super::*;
    use crate::order::{Waiting, rank};
    use crate::policy::Policy;

    #[test]
    fn higher_priority_goes_first_and_then_the_earlier_message() {
        let line = Line::Anywhere(Kind::parse("echo").expect("good"));
        let mut queue = Queue::default();
        for (priority, seq) in [(1, 1), (5, 2), (9, 4), (9, 3)] {
            let waiting = Waiting {
                submitted: Micros(5),
                priority: Priority::new(priority).expect("good"),
                expected: 0,
                ran: 0,
                came: 0,
            };
            queue.insert(&line, (rank(&Policy::default(), &waiting), seq));
        }
        let mut order = Vec::new();
        while let Some(place) = queue.head(&line) {
            queue.remove(&line, place);
            order.push(place.1);
        }
        assert_eq!(order, [3, 4, 2, 1]);
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.heads_anywhere().count(), 0);
    }
}
