//! How many kinds may wait: each kind and priority that waits is a lane, and lanes cost everybody.
//!
//! ```text
//! passed a moment ago ──────────────────────────► in
//! new here ── fewer lanes than the limit ───────► in, and counted
//!     └────── as many ── its kind waits already ► in
//!                            └── it does not ───► refused
//! ```
//!
//! The server counts the lanes; it is asked at most once a second, and only while kinds come that are new
//! here. Between two counts, what was let in here is added. Several submitters, and what is on its way, can
//! so exceed the limit by what they let in within a moment.
//!
//! What must hold: a kind that waits is never refused, and the memory is bounded by the limit.

use std::collections::HashMap;
use std::time::Duration;

use rota_wire::Kind;
use tokio::time::Instant;

/// A count is good for so long.
const COUNT_GOOD_FOR: Duration = Duration::from_secs(1);
/// A kind that was let in is not asked for again for so long.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Old kinds are looked for no more often, and only when there is no room: that takes a look at each.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Knows which kinds may enter.
#[derive(Debug)]
pub(crate) struct KindGate {
    kinds_max: usize,
    /// When each kind was last let in; at most `kinds_max` of them.
    known: HashMap<Kind, Instant>,
    /// When old ones were last thrown out.
    tidied: Instant,
    counted: Option<Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    at: Instant,
    lanes: u64,
}

/// What is known of a kind that wants to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may.
    In,
    /// The lanes are to be counted first.
    Uncounted,
    /// It may if it waits already.
    OnlyIfWaiting,
}

impl KindGate {
    /// A gate that has let in nothing yet.
    pub(crate) fn new(kinds_max: usize) -> Self {
        Self {
            kinds_max,
            known: HashMap::new(),
            tidied: Instant::now(),
            counted: None,
        }
    }

    /// The limit.
    pub(crate) const fn kinds_max(&self) -> usize {
        self.kinds_max
    }

    /// Whether a kind may enter. If so, it is let in.
    pub(crate) fn ask(&mut self, kind: &Kind, now: Instant) -> Standing {
        if let Some(since) = self.known.get_mut(kind)
            && now.duration_since(*since) < KNOWN_FOR
        {
            *since = now;
            return Standing::In;
        }
        match &mut self.counted {
            Some(count) if now.duration_since(count.at) < COUNT_GOOD_FOR => {
                if count.lanes >= self.kinds_max as u64 {
                    return Standing::OnlyIfWaiting;
                }
                count.lanes += 1;
                self.let_in(kind, now);
                Standing::In
            }
            Some(_) | None => Standing::Uncounted,
        }
    }

    /// So many lanes there are. Nothing when the server did not tell: then the last count holds.
    pub(crate) fn handle_count(&mut self, lanes: Option<u64>, now: Instant) {
        let last = self.counted.map_or(0, |count| count.lanes);
        let lanes = lanes.unwrap_or(last);
        self.counted = Some(Count { at: now, lanes });
    }

    /// A kind is in: it waits already.
    pub(crate) fn let_in(&mut self, kind: &Kind, now: Instant) {
        if let Some(since) = self.known.get_mut(kind) {
            *since = now;
            return;
        }
        if self.known.len() >= self.kinds_max && now.duration_since(self.tidied) >= TIDY_EVERY {
            self.tidied = now;
            self.known
                .retain(|_, since| now.duration_since(*since) < KNOWN_FOR);
        }
        if self.known.len() < self.kinds_max {
            self.known.insert(kind.clone(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(number: u32) -> Kind {
        Kind::parse(&format!("k{number}")).unwrap()
    }

    #[test]
    fn kinds_enter_up_to_the_limit_and_those_that_are_in_go_on_entering() {
        let (mut gate, now) = (KindGate::new(3), Instant::now());
        assert_eq!(gate.ask(&kind(0), now), Standing::Uncounted);
        gate.handle_count(Some(1), now);
        assert_eq!(gate.ask(&kind(0), now), Standing::In);
        assert_eq!(gate.ask(&kind(1), now), Standing::In);
        assert_eq!(gate.ask(&kind(2), now), Standing::OnlyIfWaiting);
        assert_eq!(gate.ask(&kind(0), now), Standing::In);
        gate.let_in(&kind(2), now);
        assert_eq!(gate.ask(&kind(2), now), Standing::In);
    }

    #[test]
    fn a_count_that_is_old_is_taken_anew_and_one_that_fails_leaves_the_last() {
        let (mut gate, start) = (KindGate::new(2), Instant::now());
        gate.handle_count(Some(2), start);
        let later = start + COUNT_GOOD_FOR;
        assert_eq!(gate.ask(&kind(0), later), Standing::Uncounted);
        gate.handle_count(None, later);
        assert_eq!(gate.ask(&kind(0), later), Standing::OnlyIfWaiting);
        gate.handle_count(Some(0), later);
        assert_eq!(gate.ask(&kind(0), later), Standing::In);
    }

    #[test]
    fn a_kind_that_was_not_seen_for_a_while_is_new_again() {
        let (mut gate, start) = (KindGate::new(2), Instant::now());
        gate.handle_count(Some(0), start);
        assert_eq!(gate.ask(&kind(0), start), Standing::In);
        let later = start + KNOWN_FOR;
        gate.handle_count(Some(2), later);
        assert_eq!(gate.ask(&kind(0), later), Standing::OnlyIfWaiting);
    }

    #[test]
    fn kinds_without_number_take_no_memory_without_number() {
        let (mut gate, now) = (KindGate::new(100), Instant::now());
        for number in 0..10_000 {
            gate.handle_count(Some(0), now);
            gate.ask(&kind(number), now);
            gate.let_in(&kind(number), now);
        }
        assert_eq!(gate.known.len(), 100);
        gate.let_in(&kind(0), now + KNOWN_FOR);
        gate.let_in(&kind(10_000), now + KNOWN_FOR);
        assert_eq!(gate.known.len(), 2, "old ones made room");
    }
}
