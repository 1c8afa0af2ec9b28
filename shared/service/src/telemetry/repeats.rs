//! Keeps the log readable whatever is wrong: nothing repeats faster than once in ten seconds.
//!
//! Two rules for each place in the code that logs. The same content passes once in ten seconds, where
//! counts and times do not make it another content. And different contents share a burst; once it is used
//! up, one passes each ten seconds. So a thousand look-ups that fail one by one are ten lines and not a
//! thousand, while ten workers that join are ten lines. The next line from the same place says how many
//! were left out, as `suppressed`; where none follows, [`Repeats::take_left_out`] tells it.
//!
//! What must hold: only lines of Rota itself and of the NATS client are held back, never those of a
//! handler, and never `debug` and `trace`, which somebody asked for; and the memory is bounded.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

use super::values::Values;

/// The same content passes once in this time, and so does the next one of a place whose burst is used up.
const INTERVAL: Duration = Duration::from_secs(10);
/// Changes of state: a fleet may start at once.
const NEWS: Budget = Budget {
    burst: 50,
    calm: INTERVAL,
};
/// What is wrong is seen from a few examples.
const TROUBLE: Budget = Budget {
    burst: 10,
    calm: Duration::from_secs(60),
};
/// Places that are kept apart: more than there are in the code. Lines through the `log` crate all come from
/// one place, so that their targets count too, and these are not known beforehand.
const SITES_MAX: usize = 1_024;
/// Contents of a place that are remembered: those that can pass within the interval.
const CONTENTS_MAX: usize = 64;
/// What is shown of a line that was left out.
const EXAMPLE_BYTES_MAX: usize = 100;

/// Those who bound what they say by rules of their own, and what this file has to say.
const SELF_LIMITED: [&str; 3] = [
    "rota_monitor::say",
    "rota_worker::stderr",
    super::LEFT_OUT_TARGET,
];
/// Numbers that say what a line is about. Others are counts and times.
const IDENTIFYING: [&str; 5] = ["term", "seq", "attempt", "task", "exit"];

/// How much one place may say.
#[derive(Debug, Clone, Copy)]
struct Budget {
    burst: u32,
    /// After so long without a word the burst is whole again.
    calm: Duration,
}

/// What was said when, place by place.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    sites: Mutex<HashMap<SiteKey, Site>>,
}

/// Whether a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// So many from the same place were left out before it.
    Said {
        suppressed: u64,
    },
    LeftOut,
}

/// Lines that were left out and that no later line of their place has told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// The message of the last of them.
    pub(super) line: String,
    pub(super) suppressed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum SiteKey {
    Place(Identifier, Option<String>),
    /// All those beyond the bound together.
    Others,
}

#[derive(Debug)]
struct Site {
    tokens: u32,
    /// When it last gained a token by waiting.
    refilled: Instant,
    /// When something was last to be said.
    seen: Instant,
    /// When each content last passed.
    passed: HashMap<u64, Instant>,
    suppressed: u64,
    example: String,
}

impl Repeats {
    /// Whether a line may be written now; if not, it is counted.
    pub(super) fn admit(&self, metadata: &Metadata<'_>, values: &Values, now: Instant) -> Verdict {
        let target = values.log_target.as_deref().unwrap_or(metadata.target());
        let Some(budget) = budget_of(*metadata.level(), target) else {
            return Verdict::Said { suppressed: 0 };
        };
        let key = SiteKey::Place(metadata.callsite(), values.log_target.clone());
        let mut sites = self.sites();
        let key = if sites.contains_key(&key) || sites.len() < SITES_MAX {
            key
        } else {
            SiteKey::Others
        };
        let site = sites.entry(key).or_insert_with(|| Site::new(budget, now));
        site.admit(budget, content_of(values), now, &values.message)
    }

    /// What was left out at places that have had nothing to say for a while, each once.
    pub(super) fn take_left_out(&self, now: Instant) -> Vec<LeftOut> {
        self.take(|site| now.saturating_duration_since(site.seen) >= INTERVAL)
    }

    /// All that was left out and not told of.
    pub(super) fn take_all_left_out(&self) -> Vec<LeftOut> {
        self.take(|_| true)
    }

    fn take(&self, is_due: impl Fn(&Site) -> bool) -> Vec<LeftOut> {
        let mut sites = self.sites();
        let due = sites
            .values_mut()
            .filter(|site| site.suppressed > 0 && is_due(site));
        due.map(|site| LeftOut {
            line: std::mem::take(&mut site.example),
            suppressed: std::mem::take(&mut site.suppressed),
        })
        .collect()
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<SiteKey, Site>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site {
    fn new(budget: Budget, now: Instant) -> Self {
        Self {
            tokens: budget.burst,
            refilled: now,
            seen: now,
            passed: HashMap::new(),
            suppressed: 0,
            example: String::new(),
        }
    }

    fn admit(&mut self, budget: Budget, content: u64, now: Instant, message: &str) -> Verdict {
        self.refill(budget, now);
        self.seen = now;
        self.passed
            .retain(|_, passed| now.saturating_duration_since(*passed) < INTERVAL);
        let may_pass = self.tokens > 0
            && !self.passed.contains_key(&content)
            && self.passed.len() < CONTENTS_MAX;
        if !may_pass {
            self.suppressed += 1;
            message[..message.floor_char_boundary(EXAMPLE_BYTES_MAX)].clone_into(&mut self.example);
            return Verdict::LeftOut;
        }
        self.tokens -= 1;
        self.passed.insert(content, now);
        Verdict::Said {
            suppressed: std::mem::take(&mut self.suppressed),
        }
    }

    fn refill(&mut self, budget: Budget, now: Instant) {
        if now.saturating_duration_since(self.seen) >= budget.calm {
            self.tokens = budget.burst;
            self.refilled = now;
        } else if self.tokens > 0 {
            // The pause before the next token begins when the last one is spent.
            self.refilled = now;
        } else if now.saturating_duration_since(self.refilled) >= INTERVAL {
            self.tokens = 1;
            self.refilled = now;
        }
    }
}

/// Nothing for what is not held back.
fn budget_of(level: Level, target: &str) -> Option<Budget> {
    let is_ours = target.starts_with("rota") || target.starts_with("async_nats");
    if !is_ours || SELF_LIMITED.contains(&target) {
        return None;
    }
    match level {
        Level::ERROR | Level::WARN => Some(TROUBLE),
        Level::INFO => Some(NEWS),
        Level::DEBUG | Level::TRACE => None,
    }
}

/// What a line says, without counts and times.
fn content_of(values: &Values) -> u64 {
    let mut hasher = DefaultHasher::new();
    values.message.hash(&mut hasher);
    for (name, value) in &values.fields {
        name.hash(&mut hasher);
        match value {
            Value::Number(number) if IDENTIFYING.contains(name) => {
                number.to_string().hash(&mut hasher);
            }
            Value::Number(_) => {}
            Value::String(text) => text.hash(&mut hasher),
            other => other.to_string().hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One place, asked at milliseconds since its first word.
    struct Place {
        site: Site,
        budget: Budget,
        start: Instant,
    }

    impl Place {
        fn new(budget: Budget) -> Self {
            let start = Instant::now();
            let site = Site::new(budget, start);
            Self {
                site,
                budget,
                start,
            }
        }

        fn says(&mut self, ms: u64, content: u64) -> Verdict {
            let now = self.start + Duration::from_millis(ms);
            self.site.admit(self.budget, content, now, "look-up failed")
        }

        fn said_of(&mut self, contents: impl IntoIterator<Item = (u64, u64)>) -> usize {
            let verdicts = contents
                .into_iter()
                .map(|(ms, content)| self.says(ms, content));
            let said = verdicts.filter(|verdict| matches!(verdict, Verdict::Said { .. }));
            said.count()
        }
    }

    const SAID: Verdict = Verdict::Said { suppressed: 0 };

    #[test]
    fn the_same_content_passes_once_in_ten_seconds_and_tells_of_the_rest() {
        let mut place = Place::new(TROUBLE);
        assert_eq!(place.says(0, 1), SAID);
        assert_eq!(place.says(5_000, 1), Verdict::LeftOut);
        assert_eq!(place.says(9_999, 1), Verdict::LeftOut);
        assert_eq!(place.says(10_000, 1), Verdict::Said { suppressed: 2 });
    }

    #[test]
    fn different_contents_pass_up_to_the_burst_and_then_one_in_ten_seconds() {
        let mut place = Place::new(TROUBLE);
        assert_eq!(place.said_of((0..1_000).map(|id| (id, id))), 10);
        // Ten a second for 100 seconds more.
        let flood = (1..=1_000).map(|id| (1_000 + id * 100, id + 1_000));
        assert_eq!(place.said_of(flood), 10);
    }

    #[test]
    fn a_place_that_was_calm_has_its_whole_burst_again() {
        let mut place = Place::new(NEWS);
        assert_eq!(place.said_of((0..60).map(|id| (id, id))), 50);
        assert_eq!(place.says(5_000, 100), Verdict::LeftOut);
        assert_eq!(place.says(15_000, 101), Verdict::Said { suppressed: 11 });
        assert_eq!(place.said_of((0..49).map(|id| (15_001, 200 + id))), 49);
    }

    #[test]
    fn the_contents_that_a_place_remembers_are_few() {
        let mut place = Place::new(NEWS);
        place.said_of((0..100_000).map(|n| (n, n)));
        assert!(place.site.passed.len() <= CONTENTS_MAX);
    }

    #[test]
    fn only_our_own_lines_from_info_up_are_held_back() {
        assert!(budget_of(Level::WARN, "rota_bus::connect").is_some());
        assert!(budget_of(Level::INFO, "async_nats::connector").is_some());
        assert!(budget_of(Level::DEBUG, "rota_bus::connect").is_none());
        assert!(budget_of(Level::ERROR, "a_handler").is_none());
        for target in SELF_LIMITED {
            assert!(budget_of(Level::WARN, target).is_none(), "{target}");
        }
    }

    #[test]
    fn counts_and_times_make_no_other_content_but_terms_and_ids_do() {
        let content = |name: &'static str, value: Value| {
            content_of(&Values {
                message: "left".to_owned(),
                log_target: None,
                fields: vec![(name, value)],
            })
        };
        assert_eq!(
            content("elapsed_ms", 3.into()),
            content("elapsed_ms", 4.into())
        );
        assert_ne!(content("term", 3.into()), content("term", 4.into()));
        assert_ne!(content("worker", "a".into()), content("worker", "b".into()));
    }
}
