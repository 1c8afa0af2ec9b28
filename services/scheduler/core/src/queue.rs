//! What waits: for any worker that handles its kind, or for the one that it is bound to.
//!
//! One ordered line for each kind and for each need of cores, memory and labels, so that a task without a
//! worker that could take it delays no other; and the same for each worker, with the tasks that were bound to
//! it on arrival and the attempts that are suspended on it. The next of a kind is the first of its lines; one
//! that asks for much may be passed by those that ask for less.
//! A message that comes again keeps its sequence, and so its place among equals.
//!
//! What must hold: where one of a line finds no room, no other of it would. Only of more than [`LINES_MAX`]
//! needs the others share a line, and wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::{Cpu, Kind, Label, Memory, Resources};

use crate::fleet::WorkerKey;
use crate::order::Rank;

/// Lines for which a head is looked at in each turn, beside those of tasks that need nothing.
const LINES_MAX: usize = 256;

/// A line of waiting tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    /// The one worker to which they go; nothing when they may go to any that handles the kind.
    pub(crate) at: Option<WorkerKey>,
    pub(crate) row: Row,
}

/// What the tasks of a line have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    needs: Needs,
}

impl Row {
    const fn is_needy(&self) -> bool {
        !matches!(self.needs, Needs::Nothing)
    }
}

/// What they need beside a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    Of(Standing, Cpu, Memory, Vec<Label>),
    /// Of too many different needs.
    Any(Standing),
}

/// Whether they have begun: a suspended attempt has its memory already, so it never waits for one that
/// would need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    New,
    Suspended,
}

/// A place in a line: the smallest is next.
pub(crate) type Place = (Rank, u64);

type Lines = BTreeMap<Row, BTreeSet<Place>>;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    anywhere: Lines,
    at: BTreeMap<WorkerKey, Lines>,
    len: usize,
    /// Those that need something beside a slot.
    needy: usize,
}

impl Queue {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The line for a task.
    pub(crate) fn line_for(
        &self,
        at: Option<WorkerKey>,
        kind: Kind,
        standing: Standing,
        demand: Resources,
        requires: &[Label],
    ) -> Line {
        let needs = if demand.is_none() && requires.is_empty() {
            Needs::Nothing
        } else {
            Needs::Of(standing, demand.cpu, demand.memory, requires.to_vec())
        };
        let mut row = Row { kind, needs };
        let lines = match at {
            None => Some(&self.anywhere),
            Some(worker) => self.at.get(&worker),
        };
        let is_new = |lines: &Lines| lines.len() >= LINES_MAX && !lines.contains_key(&row);
        if row.needs != Needs::Nothing && lines.is_some_and(is_new) {
            row.needs = Needs::Any(standing);
        }
        Line { at, row }
    }

    pub(crate) fn insert(&mut self, line: &Line, place: Place) {
        let lines = match line.at {
            None => &mut self.anywhere,
            Some(worker) => self.at.entry(worker).or_default(),
        };
        let inserted = match lines.get_mut(&line.row) {
            Some(places) => places.insert(place),
            None => lines.entry(line.row.clone()).or_default().insert(place),
        };
        self.len += usize::from(inserted);
        self.needy += usize::from(inserted && line.row.is_needy());
    }

    pub(crate) fn remove(&mut self, line: &Line, place: Place) {
        let lines = match line.at {
            None => Some(&mut self.anywhere),
            Some(worker) => self.at.get_mut(&worker),
        };
        let Some(lines) = lines else {
            return;
        };
        let Some(places) = lines.get_mut(&line.row) else {
            return;
        };
        let removed = places.remove(&place);
        self.len -= usize::from(removed);
        self.needy -= usize::from(removed && line.row.is_needy());
        if places.is_empty() {
            lines.remove(&line.row);
        }
        if let Some(worker) = line.at
            && self.at.get(&worker).is_some_and(BTreeMap::is_empty)
        {
            self.at.remove(&worker);
        }
    }

    /// The next task of each line of tasks that may go anywhere.
    pub(crate) fn heads_anywhere(&self) -> impl Iterator<Item = (Place, &Row)> {
        heads(&self.anywhere)
    }

    /// The first of each line of tasks that may go anywhere, so many of each.
    pub(crate) fn first_anywhere(&self, each: usize) -> impl Iterator<Item = Place> {
        let lines = self.anywhere.values();
        lines.flat_map(move |places| places.iter().copied().take(each))
    }

    /// The lines of tasks that need something beside a slot: how many tasks, of which kind, what they need.
    pub(crate) fn needy(&self) -> impl Iterator<Item = (usize, &Kind, Resources, &[Label])> {
        self.anywhere.iter().filter_map(|(row, places)| {
            let Needs::Of(_, cpu, memory, requires) = &row.needs else {
                return None;
            };
            let (cpu, memory) = (*cpu, *memory);
            Some((
                places.len(),
                &row.kind,
                Resources { cpu, memory },
                requires.as_slice(),
            ))
        })
    }

    /// Tasks that wait and need something beside a slot.
    pub(crate) const fn needy_len(&self) -> usize {
        self.needy
    }

    /// The lines of tasks that need cores or memory and may go anywhere.
    pub(crate) fn needy_places(&self) -> impl Iterator<Item = &BTreeSet<Place>> {
        needy_places(&self.anywhere)
    }

    /// The same of those that wait for a worker.
    pub(crate) fn needy_places_at(&self) -> impl Iterator<Item = &BTreeSet<Place>> {
        self.at.values().flat_map(needy_places)
    }

    /// The next task of each line at a worker.
    pub(crate) fn heads_at(&self, worker: WorkerKey) -> impl Iterator<Item = (Place, &Row)> {
        self.at.get(&worker).into_iter().flat_map(heads)
    }

    /// All that wait at a worker.
    pub(crate) fn places_at(&self, worker: WorkerKey) -> impl Iterator<Item = Place> {
        let lines = self.at.get(&worker).into_iter().flatten();
        lines.flat_map(|(_, places)| places.iter().copied())
    }

    /// The next task of a line.
    pub(crate) fn head(&self, line: &Line) -> Option<Place> {
        self.lines(line)?.get(&line.row)?.first().copied()
    }

    /// How many of the kind wait there and come before a place.
    pub(crate) fn before(&self, line: &Line, place: Place) -> usize {
        let first = Row {
            kind: line.row.kind.clone(),
            needs: Needs::Nothing,
        };
        let lines = self.lines(line).into_iter();
        let of_kind = lines
            .flat_map(|lines| lines.range(&first..))
            .take_while(|(row, _)| row.kind == line.row.kind);
        of_kind
            .map(|(_, places)| places.range(..place).count())
            .sum()
    }

    fn lines(&self, line: &Line) -> Option<&Lines> {
        match line.at {
            None => Some(&self.anywhere),
            Some(worker) => self.at.get(&worker),
        }
    }
}

fn needy_places(lines: &Lines) -> impl Iterator<Item = &BTreeSet<Place>> {
    let needy = lines.iter().filter(|(row, _)| match &row.needs {
        Needs::Nothing => false,
        Needs::Of(_, cpu, memory, _) => cpu.0 > 0 || memory.0 > 0,
        Needs::Any(_) => true,
    });
    needy.map(|(_, places)| places)
}

fn heads(lines: &Lines) -> impl Iterator<Item = (Place, &Row)> {
    lines
        .iter()
        .filter_map(|(row, places)| Some((*places.first()?, row)))
}

#[cfg(test)]
mod tests {
    use rota_wire::{Micros, Priority};

    use super::*;
    use crate::order::{Waiting, rank};
    use crate::policy::Policy;

    fn line(queue: &Queue, demand: Resources) -> Line {
        let kind = Kind::parse("echo").expect("good");
        queue.line_for(None, kind, Standing::New, demand, &[])
    }

    fn memory(bytes: u64) -> Resources {
        Resources {
            cpu: Cpu(0),
            memory: Memory(bytes),
        }
    }

    fn place(submitted: u64, seq: u64) -> Place {
        let waiting = Waiting {
            submitted: Micros(submitted),
            priority: Priority::default(),
            expected: 0,
            ran: 0,
            came: 0,
        };
        (rank(&Policy::default(), &waiting), seq)
    }

    #[test]
    fn lines_are_bounded_and_what_comes_before_is_counted_over_all_of_a_kind() {
        let mut queue = Queue::default();
        for seq in 0..1_000 {
            let line = line(&queue, memory(seq + 1));
            queue.insert(&line, place(seq, seq));
        }
        assert_eq!(queue.heads_anywhere().count(), LINES_MAX + 1);
        let plain = line(&queue, Resources::NONE);
        queue.insert(&plain, place(1_000, 1_000));
        assert_eq!(queue.head(&plain), Some(place(1_000, 1_000)));
        assert_eq!(queue.before(&plain, place(1_000, 1_000)), 1_000);
        assert_eq!(queue.before(&plain, place(300, 300)), 300);
        assert_eq!(queue.len(), 1_001);
    }

    #[test]
    fn higher_priority_goes_first_and_then_the_earlier_message() {
        let mut queue = Queue::default();
        let line = line(&queue, Resources::NONE);
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
