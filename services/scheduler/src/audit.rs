//! Whether the server counts more un-acked messages in a lane than the core knows of.
//!
//! Acks and naks are sent and not confirmed. While a consumer changes its leader among the servers, nobody takes
//! them: then a settled message lies in its lane until the lane is opened anew, and one that was given back
//! does not come again. So lanes are counted now and then, and one that has too many twice in a row is opened
//! anew: all that is un-acked comes again, and is recognised. Only lanes of which nothing comes are counted, for of one
//! that flows much is always on its way: those are read instead (see [`Flow`](crate::flow::Flow)).
//!
//! What must hold: a lane is opened anew only for messages that the core does not have; an ack that is under way
//! is no such message.

use std::collections::BTreeMap;
use std::time::Duration;

use rota_wire::Lane;
use tokio::time::Instant;

/// How often lanes are counted.
const EVERY: Duration = Duration::from_secs(5);
/// Lanes counted at a time.
const LANES_MAX: usize = 64;
/// So many counts in a row must show too many.
const COUNTS: u32 = 2;

/// The counts so far.
#[derive(Debug)]
pub(crate) struct Audit {
    next: Instant,
    /// The last lane that was counted: the next ones follow it.
    turn: Option<Lane>,
    /// Lanes with too many, and how often in a row.
    suspected: BTreeMap<Lane, u32>,
}

impl Audit {
    pub(crate) fn new() -> Self {
        Self {
            next: Instant::now() + EVERY,
            turn: None,
            suspected: BTreeMap::new(),
        }
    }

    /// Whether it is time to count.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// The lanes whose turn it is; of those that there are, with what is known of each.
    pub(crate) fn take_turn(&mut self, lanes: &BTreeMap<Lane, u64>) -> Vec<(Lane, u64)> {
        self.next = Instant::now() + EVERY;
        self.suspected.retain(|lane, _| lanes.contains_key(lane));
        let after = lanes
            .iter()
            .filter(|(lane, _)| Some(*lane) > self.turn.as_ref());
        let again = lanes
            .iter()
            .filter(|(lane, _)| Some(*lane) <= self.turn.as_ref());
        let taken = after.chain(again).take(LANES_MAX);
        let taken: Vec<_> = taken.map(|(lane, known)| (lane.clone(), *known)).collect();
        self.turn = taken.last().map(|(lane, _)| lane.clone());
        taken
    }

    /// Notes a count: whether the lane is to be opened anew.
    pub(crate) fn note(&mut self, lane: &Lane, counted: u64, known: u64) -> bool {
        if counted <= known {
            self.suspected.remove(lane);
            return false;
        }
        let times = self.suspected.entry(lane.clone()).or_insert(0);
        *times += 1;
        if *times < COUNTS {
            return false;
        }
        self.suspected.remove(lane);
        true
    }
}

#[cfg(test)]
mod tests {
    use rota_wire::{Kind, Priority};

    use super::*;

    fn lane(kind: &str) -> Lane {
        Lane {
            kind: Kind::parse(kind).expect("good"),
            priority: Priority::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_is_opened_anew_when_it_has_too_many_twice_in_a_row() {
        let mut audit = Audit::new();
        let mail = lane("mail");
        assert!(!audit.note(&mail, 3, 2));
        assert!(!audit.note(&mail, 2, 2), "an ack was under way");
        assert!(!audit.note(&mail, 3, 2));
        assert!(audit.note(&mail, 4, 2));
        assert!(!audit.note(&mail, 4, 2), "from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn each_lane_has_its_turn() {
        let mut audit = Audit::new();
        let lanes: BTreeMap<Lane, u64> = (0..100).map(|n| (lane(&format!("k{n:03}")), 0)).collect();
        assert!(!audit.is_due());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2 {
            tokio::time::advance(EVERY).await;
            assert!(audit.is_due());
            seen.extend(audit.take_turn(&lanes).into_iter().map(|(lane, _)| lane));
        }
        assert_eq!(seen.len(), 100);
    }
}
