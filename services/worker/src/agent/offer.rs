//! Which kinds the worker offers: those that it was started with, without those that it cannot start now.
//!
//! Pure. A kind whose program does not start is withdrawn, so that its tasks go to workers that can run
//! them, and is looked at again and again, with growing pauses.
//!
//! ```text
//! offered ──could not be started──► withdrawn ──pause over──► looked at ──fit──► offered
//!    ▲                                  ▲                          │
//!    └──an attempt began: short pauses  └──────────unfit───────────┘
//! ```
//!
//! What must hold: a kind that looks fit and does not start is offered more and more rarely; it is never
//! given up.

use std::collections::BTreeMap;
use std::time::Duration;

use rota_wire::Kind;
use rota_wire::fleet::Withdrawn;

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A heartbeat has room for this much of a reason.
const REASON_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Offer {
    withdrawn: BTreeMap<Kind, Withdrawal>,
    /// The next pause of kinds that have not been started since they were withdrawn.
    pauses: BTreeMap<Kind, Duration>,
}

#[derive(Debug)]
struct Withdrawal {
    reason: String,
    /// Nothing while it is being looked at.
    look_at: Option<Duration>,
}

/// Whether something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It did.
    Made,
    /// It was so already.
    None,
}

impl Offer {
    pub(super) fn has(&self, kind: &Kind) -> bool {
        !self.withdrawn.contains_key(kind)
    }

    /// Takes a kind back, because it could not be started.
    pub(super) fn withdraw(&mut self, now: Duration, kind: &Kind, reason: &str) -> Change {
        if !self.has(kind) {
            return Change::None;
        }
        let withdrawal = Withdrawal {
            reason: cut(reason, REASON_BYTES_MAX).to_owned(),
            look_at: Some(now + self.next_pause(kind)),
        };
        self.withdrawn.insert(kind.clone(), withdrawal);
        Change::Made
    }

    /// An attempt of the kind has begun: whatever was wrong with it is mended.
    pub(super) fn begun(&mut self, kind: &Kind) {
        if self.has(kind) {
            self.pauses.remove(kind);
        }
    }

    /// The kinds to be looked at now; each is asked for once until the answer comes.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<Kind> {
        let mut due = Vec::new();
        for (kind, withdrawal) in &mut self.withdrawn {
            if withdrawal.look_at.is_some_and(|at| at <= now) {
                withdrawal.look_at = None;
                due.push(kind.clone());
            }
        }
        due
    }

    /// What a look has shown: why the kind cannot be started, or nothing if it seems that it can.
    pub(super) fn handle_look(
        &mut self,
        now: Duration,
        kind: &Kind,
        unfit: Option<&str>,
    ) -> Change {
        let Some(reason) = unfit else {
            let offered = self.withdrawn.remove(kind);
            return offered.map_or(Change::None, |_| Change::Made);
        };
        let look_at = Some(now + self.next_pause(kind));
        if let Some(withdrawal) = self.withdrawn.get_mut(kind) {
            let reason = cut(reason, REASON_BYTES_MAX).to_owned();
            *withdrawal = Withdrawal { reason, look_at };
        }
        Change::None
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let looks = self.withdrawn.values();
        looks.filter_map(|withdrawal| withdrawal.look_at).min()
    }

    /// What is not offered, for heartbeats, with reasons of so many bytes in all.
    pub(super) fn withdrawn(&self, reasons: usize) -> Vec<Withdrawn> {
        let each = reasons / self.withdrawn.len().max(1);
        let listed = self.withdrawn.iter().map(|(kind, withdrawal)| Withdrawn {
            kind: kind.clone(),
            reason: cut(&withdrawal.reason, each).to_owned(),
        });
        listed.collect()
    }

    fn next_pause(&mut self, kind: &Kind) -> Duration {
        let next = self.pauses.entry(kind.clone()).or_insert(PAUSE_FIRST);
        let pause = *next;
        *next = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

fn cut(reason: &str, bytes: usize) -> &str {
    &reason[..reason.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn kind() -> Kind {
        Kind::parse("resize").expect("good")
    }

    #[test]
    fn the_pauses_grow_from_a_second_to_a_minute_and_begin_anew_once_it_was_started() {
        let mut offer = Offer::default();
        let mut now = Duration::ZERO;
        offer.withdraw(now, &kind(), "gone");
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let due = now + pause * SECOND;
            assert_eq!(offer.next_deadline(), Some(due));
            assert!(offer.take_due(due - Duration::from_millis(1)).is_empty());
            assert_eq!(offer.take_due(due), [kind()]);
            assert!(offer.take_due(due).is_empty(), "it is being looked at");
            now = due;
            assert_eq!(offer.handle_look(now, &kind(), Some("gone")), Change::None);
        }
        assert_eq!(offer.handle_look(now, &kind(), None), Change::Made);
        assert_eq!(offer.next_deadline(), None);
        offer.begun(&kind());
        assert_eq!(offer.withdraw(now, &kind(), "again"), Change::Made);
        assert_eq!(offer.next_deadline(), Some(now + SECOND));
    }

    #[test]
    fn what_looks_fit_and_does_not_start_is_offered_more_and_more_rarely() {
        let mut offer = Offer::default();
        let mut now = Duration::ZERO;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(offer.withdraw(now, &kind(), "format"), Change::Made);
            assert_eq!(offer.withdraw(now, &kind(), "format"), Change::None);
            now += pause * SECOND;
            assert_eq!(offer.take_due(now), [kind()]);
            assert_eq!(offer.handle_look(now, &kind(), None), Change::Made);
            assert!(offer.has(&kind()));
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut offer = Offer::default();
        offer.withdraw(Duration::ZERO, &kind(), &"é".repeat(300));
        assert_eq!(offer.withdrawn(1_000)[0].reason, "é".repeat(128));
        assert_eq!(offer.withdrawn(9)[0].reason, "é".repeat(4));
    }
}
