//! How long tasks run, learned for each kind from those that have.
//!
//! The mean follows change: the newest runs weigh most, a run from 64 runs ago about a third of that. The
//! quantiles come from a histogram whose buckets are 9 % wide and are halved now and then, so they follow too.
//!
//! What one leader has learned the next is told, if it could be stored. Bounded: of more than [`KINDS_MAX`] kinds the others are not learned.

use std::collections::BTreeMap;

use rota_wire::Kind;
use rota_wire::memory::{self, KindDurations};

const KINDS_MAX: usize = 10_000;
/// The newest run weighs one part in this many, once there were as many.
const MEMORY: u64 = 64;
/// Buckets for each doubling.
const STEPS: f64 = 8.0;
const BUCKETS: usize = 8 * 45;
/// Runs in a histogram; then all its buckets are halved.
const RUNS_MAX: u32 = 4_096;

/// What is known of all kinds.
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    by_kind: BTreeMap<Kind, Learned>,
    all: Learned,
}

/// What is known of the runs of a kind. Times are in microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Learned {
    runs: u64,
    mean: f64,
    buckets: Vec<u16>,
    counted: u32,
}

impl Estimates {
    pub(crate) fn learn(&mut self, kind: &Kind, ran: u64) {
        self.all.learn(ran);
        if let Some(known) = self.by_kind.get_mut(kind) {
            known.learn(ran);
        } else if self.by_kind.len() < KINDS_MAX {
            let mut known = Learned::default();
            known.learn(ran);
            self.by_kind.insert(kind.clone(), known);
        }
    }

    /// How long a task of a kind is expected to run; of a kind that never ran, what all tasks do.
    pub(crate) fn expected(&self, kind: &Kind) -> Option<u64> {
        let known = self.by_kind.get(kind).unwrap_or(&self.all);
        (known.runs > 0).then_some(known.mean as u64)
    }

    /// For the next leader: the kinds that ran most, as many as it may be told.
    pub(crate) fn remember(&self) -> Vec<KindDurations> {
        let mut kinds: Vec<(&Kind, &Learned)> = self.by_kind.iter().collect();
        kinds.sort_by_key(|(kind, learned)| (std::cmp::Reverse(learned.runs), *kind));
        kinds.truncate(memory::KINDS_MAX);
        let durations = kinds.into_iter().map(|(kind, learned)| KindDurations {
            kind: kind.clone(),
            runs: learned.runs,
            mean_us: learned.mean as u64,
            buckets: learned.filled().collect(),
        });
        durations.collect()
    }

    /// Takes in what the leader before has told.
    pub(crate) fn recall(&mut self, durations: Vec<KindDurations>) {
        for told in durations {
            let learned = Learned::recalled(&told);
            self.all.add(&learned);
            if learned.runs > 0 && self.by_kind.len() < KINDS_MAX {
                self.by_kind.insert(told.kind, learned);
            }
        }
    }

    pub(crate) fn of(&self, kind: &Kind) -> Option<&Learned> {
        self.by_kind.get(kind)
    }
}

impl Learned {
    fn learn(&mut self, ran: u64) {
        self.runs = self.runs.saturating_add(1);
        let weight = 1.0 / self.runs.min(MEMORY) as f64;
        self.mean += (ran as f64 - self.mean) * weight;
        if self.buckets.is_empty() {
            self.buckets.resize(BUCKETS, 0);
        }
        if self.counted >= RUNS_MAX {
            self.buckets.iter_mut().for_each(|count| *count /= 2);
            self.counted = self.buckets.iter().map(|count| u32::from(*count)).sum();
        }
        self.buckets[bucket(ran)] += 1;
        self.counted += 1;
    }

    fn recalled(told: &KindDurations) -> Self {
        let mut learned = Self {
            runs: told.runs,
            mean: told.mean_us as f64,
            ..Self::default()
        };
        learned.buckets.resize(BUCKETS, 0);
        for (bucket, count) in &told.buckets {
            if let Some(known) = learned.buckets.get_mut(usize::from(*bucket)) {
                *known = (*count).min(RUNS_MAX as u16);
            }
        }
        learned.counted = learned.buckets.iter().map(|count| u32::from(*count)).sum();
        learned
    }

    /// Counts the runs of others as its own.
    fn add(&mut self, other: &Self) {
        let runs = self.runs.saturating_add(other.runs);
        if runs > 0 {
            let sum = self.mean * self.runs as f64 + other.mean * other.runs as f64;
            (self.mean, self.runs) = (sum / runs as f64, runs);
        }
    }

    /// The buckets in which something is.
    fn filled(&self) -> impl Iterator<Item = (u16, u16)> {
        let numbered = (0..).zip(&self.buckets);
        numbered.filter_map(|(bucket, count)| (*count > 0).then_some((bucket, *count)))
    }

    /// Runs that it was learned from.
    pub(crate) const fn runs(&self) -> u64 {
        self.runs
    }

    /// So many of a thousand runs take at most this, within 9 %.
    pub(crate) fn quantile(&self, permille: u32) -> u64 {
        let wanted = u64::from(self.counted) * u64::from(permille) / 1_000;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen > wanted {
                return upper(index);
            }
        }
        self.buckets
            .iter()
            .rposition(|count| *count > 0)
            .map_or(0, upper)
    }
}

fn bucket(ran: u64) -> usize {
    let steps = (ran.max(1) as f64).log2() * STEPS;
    (steps.ceil() as usize).min(BUCKETS - 1)
}

fn upper(bucket: usize) -> u64 {
    (bucket as f64 / STEPS).exp2() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Kind {
        Kind::parse(name).expect("good")
    }

    #[test]
    fn an_unknown_kind_is_expected_to_be_like_all_others() {
        let mut estimates = Estimates::default();
        assert_eq!(estimates.expected(&kind("new")), None);
        estimates.learn(&kind("a"), 100);
        estimates.learn(&kind("b"), 300);
        assert_eq!(estimates.expected(&kind("a")), Some(100));
        assert_eq!(estimates.expected(&kind("new")), Some(200));
    }

    #[test]
    fn the_mean_follows_a_change() {
        let mut estimates = Estimates::default();
        for _ in 0..10_000 {
            estimates.learn(&kind("a"), 1_000);
        }
        for _ in 0..300 {
            estimates.learn(&kind("a"), 9_000);
        }
        let expected = estimates.expected(&kind("a")).expect("it ran");
        assert!((8_800..=9_000).contains(&expected), "{expected}");
    }

    #[test]
    fn quantiles_are_within_a_bucket_and_follow() {
        let mut learned = Learned::default();
        for ran in 1..=1_000 {
            learned.learn(ran * 1_000);
        }
        for (permille, exact) in [(500, 500_000.0), (950, 950_000.0)] {
            let off = learned.quantile(permille) as f64 / exact;
            assert!((0.99..=1.1).contains(&off), "{permille}: {off}");
        }
        for _ in 0..20_000 {
            learned.learn(5);
        }
        assert!(learned.quantile(990) <= 6, "{}", learned.quantile(990));
    }

    #[test]
    fn what_one_leader_has_learned_the_next_knows() {
        let mut before = Estimates::default();
        for ran in 1..=1_000 {
            before.learn(&kind("a"), ran * 1_000);
            before.learn(&kind("b"), 7);
        }
        let mut after = Estimates::default();
        after.recall(before.remember());
        for name in ["a", "b"] {
            let (then, now) = (before.of(&kind(name)), after.of(&kind(name)));
            let (then, now) = (then.expect("it ran"), now.expect("it is told"));
            assert_eq!(then.quantile(950), now.quantile(950));
            assert_eq!(then.mean as u64, now.mean as u64);
        }
        let off = after.expected(&kind("new")).expect("others ran");
        assert!((400_000..500_000).contains(&off), "{off}");
        after.learn(&kind("a"), 5);
        assert_eq!(after.of(&kind("a")).map(Learned::runs), Some(1_001));
    }

    #[test]
    fn absurd_memories_do_no_harm() {
        let mut estimates = Estimates::default();
        estimates.recall(vec![KindDurations {
            kind: kind("a"),
            runs: u64::MAX,
            mean_us: u64::MAX,
            buckets: vec![(u16::MAX, 9), (3, u16::MAX), (4, u16::MAX)],
        }]);
        for _ in 0..10_000 {
            estimates.learn(&kind("a"), 8);
        }
        assert!(estimates.of(&kind("a")).expect("known").quantile(990) < 100);
    }

    #[test]
    fn extreme_runs_have_a_bucket() {
        let mut learned = Learned::default();
        learned.learn(0);
        learned.learn(u64::MAX);
        assert_eq!(learned.quantile(0), 1);
        assert!(learned.quantile(999) > 1 << 40);
    }
}
