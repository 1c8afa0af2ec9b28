//! What waits, by kind: the lanes of a kind put together.

use std::collections::BTreeMap;

use rota_bus::LaneState;
use rota_wire::{Kind, Micros, Span};

/// All kinds with waiting tasks, the longest queue first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    kinds: Vec<KindWaiting>,
}

/// What waits of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KindWaiting {
    pub(crate) kind: Kind,
    pub(crate) waiting: u64,
    /// How long the oldest has been in its lane.
    pub(crate) oldest: Option<Span>,
}

impl Backlog {
    /// Puts the lanes of each kind together.
    pub(crate) fn new(lanes: &[LaneState], now: Micros) -> Self {
        let mut by_kind: BTreeMap<&Kind, (u64, Option<Span>)> = BTreeMap::new();
        for state in lanes.iter().filter(|state| state.waiting > 0) {
            let (waiting, oldest) = by_kind.entry(&state.lane.kind).or_default();
            *waiting += state.waiting;
            *oldest = (*oldest).max(state.oldest.map(|since| now.since(since)));
        }
        let kinds = by_kind.into_iter();
        let mut kinds: Vec<KindWaiting> = kinds
            .map(|(kind, (waiting, oldest))| KindWaiting {
                kind: kind.clone(),
                waiting,
                oldest,
            })
            .collect();
        // A stable sort: equals stay in the order of their names.
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.waiting));
        Self { kinds }
    }

    /// Tasks that wait, of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.waiting).sum()
    }

    /// The age of the oldest of all.
    pub(crate) fn oldest(&self) -> Option<Span> {
        self.kinds.iter().filter_map(|kind| kind.oldest).max()
    }

    /// The longest queues, at most `count`.
    pub(crate) fn first(&self, count: usize) -> &[KindWaiting] {
        &self.kinds[..self.kinds.len().min(count)]
    }

    /// How many kinds are not among the first `count`.
    pub(crate) const fn beyond(&self, count: usize) -> usize {
        self.kinds.len().saturating_sub(count)
    }
}

#[cfg(test)]
mod tests {
    use rota_wire::{Lane, Priority};

    use super::*;

    fn lane(kind: &str, priority: u8, waiting: u64, since_ms: u64) -> LaneState {
        LaneState {
            lane: Lane {
                kind: Kind::parse(kind).expect("a good kind"),
                priority: Priority::new(priority).expect("a good priority"),
            },
            waiting,
            oldest: (waiting > 0).then_some(Micros(since_ms * 1_000)),
        }
    }

    #[test]
    fn lanes_of_a_kind_are_one_and_the_oldest_of_them_counts() {
        let lanes = [
            lane("echo", 5, 100, 9_000),
            lane("echo", 9, 20, 8_800),
            lane("report", 5, 300, 9_960),
        ];
        let backlog = Backlog::new(&lanes, Micros(10_000_000));
        let told: Vec<_> = backlog
            .first(8)
            .iter()
            .map(|kind| (kind.kind.as_str(), kind.waiting, kind.oldest))
            .collect();
        assert_eq!(
            told,
            [
                ("report", 300, Some(Span::from_ms(40))),
                ("echo", 120, Some(Span::from_ms(1_200))),
            ]
        );
        assert_eq!((backlog.total(), backlog.beyond(8)), (420, 0));
        assert_eq!(backlog.oldest(), Some(Span::from_ms(1_200)));
    }

    #[test]
    fn a_lane_whose_tasks_are_all_handed_out_does_not_wait() {
        let backlog = Backlog::new(&[lane("echo", 5, 0, 0)], Micros(1));
        assert_eq!(backlog, Backlog::default());
        assert_eq!(backlog.oldest(), None);
    }

    #[test]
    fn beyond_the_first_kinds_the_others_are_counted() {
        let lanes: Vec<_> = (0..11)
            .map(|n| lane(&format!("k{n:02}"), 5, 1, 0))
            .collect();
        let backlog = Backlog::new(&lanes, Micros(1));
        assert_eq!((backlog.first(8).len(), backlog.beyond(8)), (8, 3));
        assert_eq!(backlog.first(8)[0].kind.as_str(), "k00");
    }
}
