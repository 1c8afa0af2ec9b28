//! The arrivals, drawn one by one: the same for every strategy, since nothing else draws from these
//! generators.

use std::sync::Arc;

use rand::RngExt;
use rand_pcg::Pcg64;
use rota_wire::{Kind, Lane, Priority, Resources, Span};

use crate::quantity::{UNIT, to_micros, to_work};
use crate::setup::{Estimates, Setup};
use crate::workload::{
    Demands, Priorities, Sampler, Trace, Workload, exponential, standard_normal,
};

/// The first arrival: the roll call is over by then.
const START: u64 = 200_000_000;
/// Generators of one seed differ by their stream.
const GAPS: u128 = 1;
const DURATIONS: u128 = 2;
const PRIORITIES: u128 = 3;
const ESTIMATES: u128 = 4;

/// A task that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: u64,
    pub(crate) duration: u64,
    /// Which of [`Arrivals::lanes`] it comes in.
    pub(crate) lane: usize,
    /// What it says of its duration, if it does.
    pub(crate) estimate: Option<Span>,
    /// What it needs beside its slot.
    pub(crate) demand: Resources,
}

#[derive(Debug)]
pub(crate) struct Arrivals {
    source: Source,
    left: u64,
    estimates: Estimates,
    noise: Pcg64,
}

#[derive(Debug)]
enum Source {
    Drawn(Drawn),
    Trace { trace: Arc<Trace>, next: usize },
}

#[derive(Debug)]
struct Drawn {
    sampler: Sampler,
    priorities: Priorities,
    demands: Demands,
    /// Units between two arrivals, on average.
    gap: f64,
    /// Kept as a fraction, so that rounding does not change the load.
    now: f64,
    gaps: Pcg64,
    durations: Pcg64,
    levels: Pcg64,
}

/// A generator of its own for each purpose.
pub(crate) fn generator(seed: u64, stream: u128) -> Pcg64 {
    Pcg64::new(
        u128::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        stream,
    )
}

impl Arrivals {
    pub(crate) fn new(setup: &Setup) -> Self {
        let source = match (&setup.workload, Sampler::new(&setup.workload)) {
            (Workload::Trace(trace), _) => Source::Trace {
                trace: trace.clone(),
                next: 0,
            },
            (_, sampler) => Source::Drawn(Drawn {
                sampler: sampler.expect("only a trace has none"),
                priorities: setup.priorities.clone(),
                demands: setup.demands.clone(),
                gap: 1.0 / (setup.load.value() * setup.capacity() as f64),
                now: START as f64 / UNIT,
                gaps: generator(setup.seed, GAPS),
                durations: generator(setup.seed, DURATIONS),
                levels: generator(setup.seed, PRIORITIES),
            }),
        };
        Self {
            source,
            left: setup.arrivals(),
            estimates: setup.estimates,
            noise: generator(setup.seed, ESTIMATES),
        }
    }

    /// All lanes in which something may come, by kind, and in each kind by priority.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let (kinds, levels): (Vec<Kind>, Vec<Priority>) = match &self.source {
            Source::Drawn(_) => {
                let kind = Kind::parse("task").expect("it keeps the rule");
                (vec![kind], all_priorities().collect())
            }
            Source::Trace { trace, .. } => (trace.kinds().to_vec(), all_priorities().collect()),
        };
        let lane = |kind: &Kind, priority: &Priority| Lane {
            kind: kind.clone(),
            priority: *priority,
        };
        kinds
            .iter()
            .flat_map(|kind| levels.iter().map(move |level| lane(kind, level)))
            .collect()
    }

    /// The lanes in which something does come.
    pub(crate) fn used(&self) -> Vec<usize> {
        let mut used: Vec<usize> = match &self.source {
            Source::Drawn(drawn) => drawn.priorities.levels().map(|p| lane(0, p)).collect(),
            Source::Trace { trace, .. } => trace
                .tasks()
                .iter()
                .map(|task| lane(task.kind, task.priority))
                .collect(),
        };
        used.sort_unstable();
        used.dedup();
        used
    }

    fn estimate(&mut self, duration: u64) -> Option<Span> {
        let ms = duration / 1_000;
        match self.estimates {
            Estimates::Exact => Some(Span::from_ms(ms)),
            Estimates::Learned => None,
            Estimates::Noisy(sigma) => {
                let factor = (sigma * standard_normal(&mut self.noise)).exp();
                Some(Span::from_ms((ms as f64 * factor).round() as u64))
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.left = self.left.checked_sub(1)?;
        let (at, duration, lane, demand) = match &mut self.source {
            Source::Drawn(drawn) => drawn.next(),
            Source::Trace { trace, next } => {
                let task = trace.tasks().get(*next)?;
                *next += 1;
                (
                    START + task.at,
                    task.duration,
                    lane(task.kind, task.priority),
                    task.demand,
                )
            }
        };
        let estimate = self.estimate(duration);
        Some(Arrival {
            at,
            duration,
            lane,
            estimate,
            demand,
        })
    }
}

impl Drawn {
    fn next(&mut self) -> (u64, u64, usize, Resources) {
        self.now += exponential(&mut self.gaps) * self.gap;
        let duration = to_work(self.sampler.draw(&mut self.durations));
        let priority = self.priorities.at(self.levels.random());
        let demand = self.demands.of(priority);
        (to_micros(self.now), duration, lane(0, priority), demand)
    }
}

fn lane(kind: usize, priority: Priority) -> usize {
    kind * LEVELS + usize::from(priority.level())
}

const LEVELS: usize = Priority::MAX.level() as usize + 1;

fn all_priorities() -> impl Iterator<Item = Priority> {
    (0..=Priority::MAX.level()).filter_map(Priority::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tasks_say_of_themselves_changes_nothing_else() {
        let exact = Setup {
            tasks: 1_000,
            ..Setup::default()
        };
        let noisy = Setup {
            estimates: Estimates::Noisy(1.0),
            ..exact.clone()
        };
        let pairs = Arrivals::new(&exact).zip(Arrivals::new(&noisy));
        let mut differ = 0;
        for (a, b) in pairs {
            assert_eq!((a.at, a.duration, a.lane), (b.at, b.duration, b.lane));
            assert_eq!(a.estimate, Some(Span::from_ms(a.duration / 1_000)));
            differ += usize::from(a.estimate != b.estimate);
        }
        assert!(differ > 900, "{differ}");
    }

    #[test]
    fn arrivals_come_as_often_as_the_load_says() {
        let setup = Setup {
            tasks: 200_000,
            seed: 3,
            ..Setup::default()
        };
        let last = Arrivals::new(&setup).last().expect("some").at;
        let expected = 200_000.0 / (0.8 * 10.0) * UNIT;
        assert!(((last as f64) / expected - 1.0).abs() < 0.01, "{last}");
    }

    #[test]
    fn a_lane_is_found_by_its_number() {
        let arrivals = Arrivals::new(&Setup::default());
        assert_eq!(arrivals.lanes()[5].priority.level(), 5);
        assert_eq!(arrivals.used(), [5]);
    }
}
