//! What lies at the door and is brought to nobody: looked for now and then, and passed on like the rest.
//!
//! The door's stream and its consumer are two states of the server, which after a crash or a change of leaders
//! can differ: then a message stays that the consumer will not bring, for minutes or for ever. What is found
//! counts as delivered before, so that its result is looked for first; it is deleted once it is passed on.
//!
//! What must hold: nothing is taken that is only on its way. So a message must be old, nothing must be waiting
//! before it, no lane must have refused for a while, and it must be there when it is looked for again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rota_bus::{FeedError, FeedMessage};
use rota_service::chain;
use rota_wire::Span;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::decision::{Arrival, Decision, Rules};
use crate::settle::Settler;
use crate::window::Settled;

/// Between two looks. More than it takes to pass on a message that is on its way.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How old a message must be: another submitter that dies with it holds it up for ten seconds.
const AGE_MIN: Span = Span::from_secs(20);
/// How long no lane may have refused.
const CALM_MIN: Duration = Duration::from_secs(20);
/// Messages that are looked at at a time, and the bytes of their bodies. A server that is killed can forget
/// thousands at once.
const LOOKS_MAX: usize = 1_000;
const LOOK_BYTES_MAX: usize = 16 << 20;

/// When to look, and what was seen.
#[derive(Debug, Clone)]
pub(crate) struct Stragglers {
    look_at: Instant,
    /// What the last look found; at most [`LOOKS_MAX`].
    seen: Arc<Mutex<BTreeSet<u64>>>,
}

impl Stragglers {
    /// Nothing was seen yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            look_at: now + LOOK_EVERY,
            seen: Arc::default(),
        }
    }

    /// Whether it is time to look; the next time is then later.
    pub(crate) fn is_time(&mut self, now: Instant) -> bool {
        let is_time = now >= self.look_at;
        if is_time {
            self.look_at = now + LOOK_EVERY;
        }
        is_time
    }

    /// A lane has refused: what waits for it is no straggler.
    pub(crate) fn handle_refusal(&mut self, now: Instant) {
        self.look_at = self.look_at.max(now + CALM_MIN);
        self.seen().clear();
    }

    /// Looks, and passes on what was there the last time too.
    pub(crate) async fn look(self, settler: Arc<Settler>, rules: Rules) -> Settled {
        let found = match find(&settler, &rules).await {
            Ok(found) => found,
            Err(error) => {
                debug!(error = %chain(&error), "not looked for what is left behind");
                Vec::new()
            }
        };
        let still_there = self.replace(&found);
        let mut passed = 0;
        for message in found {
            if !still_there.contains(&message.sequence) {
                continue;
            }
            let (subject, seq) = (message.subject.as_str(), message.sequence);
            warn!(subject, seq, "passing on what was left behind at the door");
            let decision = rules.decide(&Arrival::from(&message));
            settler.begin(message, decision).await.await;
            passed += 1;
        }
        Settled::LookedBack { passed }
    }

    /// Notes what was found; gives what was found before too.
    fn replace(&self, found: &[FeedMessage]) -> BTreeSet<u64> {
        let now: BTreeSet<u64> = found.iter().map(|message| message.sequence).collect();
        let before = std::mem::replace(&mut *self.seen(), now.clone());
        now.intersection(&before).copied().collect()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Old messages, in their order; those of a newer Rota, which are left there, are none.
async fn find(settler: &Settler, rules: &Rules) -> Result<Vec<FeedMessage>, FeedError> {
    let mut found = Vec::new();
    let (mut from, mut bytes) = (1, 0);
    for _ in 0..LOOKS_MAX {
        if bytes >= LOOK_BYTES_MAX {
            break;
        }
        let next = settler.bus().straggler(rules.source, from, AGE_MIN).await?;
        let Some(message) = next else {
            break;
        };
        from = message.sequence + 1;
        bytes += message.payload.len();
        match rules.decide(&Arrival::from(&message)) {
            Decision::Leave(_) => {}
            Decision::Ready(_) | Decision::Reject(_) | Decision::Bury(_) => found.push(message),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_refusal_nothing_is_looked_for_until_all_was_calm_for_a_while() {
        let start = Instant::now();
        let mut stragglers = Stragglers::new(start);
        assert!(!stragglers.is_time(start));
        assert!(stragglers.is_time(start + LOOK_EVERY));
        assert!(!stragglers.is_time(start + LOOK_EVERY));
        stragglers.handle_refusal(start + LOOK_EVERY);
        assert!(!stragglers.is_time(start + LOOK_EVERY * 2));
        assert!(stragglers.is_time(start + LOOK_EVERY + CALM_MIN));
    }
}
