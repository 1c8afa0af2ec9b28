//! Gathers the figures while a simulation runs, in the same memory however long it runs.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::figures::{Figures, Percentile, PriorityFigures};
use crate::quantity::{UNIT, to_units};

/// The largest value that a histogram tells from larger ones: a hundred million mean service times.
const VALUE_MAX: u64 = 1 << 53;
/// A slowdown is kept in parts of this.
const SLOWDOWN_SCALE: f64 = 1_000.0;
/// Points of the plot for each factor of ten in the share of tasks that are worse.
const POINTS_PER_DECADE: i32 = 12;
/// The plot ends where fewer than so many tasks are worse.
const WORSE_MIN: f64 = 10.0;

#[derive(Debug)]
pub(crate) struct Gauge {
    total: Sums,
    slowdown: f64,
    responses: Histogram<u64>,
    slowdowns: Histogram<u64>,
    by_priority: BTreeMap<u8, Sums>,
    pub(crate) preemptions: u64,
    pub(crate) redeliveries: u64,
    pub(crate) workers_lost: u64,
    pub(crate) dead: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    tasks: u64,
    response: u128,
    wait: u128,
}

/// A task that has its result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completed {
    pub(crate) response: u64,
    pub(crate) duration: u64,
    pub(crate) priority: u8,
}

impl Gauge {
    pub(crate) fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, VALUE_MAX, 3).expect("the bounds are far apart");
        Self {
            total: Sums::default(),
            slowdown: 0.0,
            responses: histogram(),
            slowdowns: histogram(),
            by_priority: BTreeMap::new(),
            preemptions: 0,
            redeliveries: 0,
            workers_lost: 0,
            dead: 0,
        }
    }

    pub(crate) fn completed(&mut self, task: Completed) {
        let slowdown = task.response as f64 / task.duration as f64;
        self.total.add(task);
        self.by_priority.entry(task.priority).or_default().add(task);
        self.slowdown += slowdown;
        self.responses.saturating_record(task.response);
        self.slowdowns
            .saturating_record((slowdown * SLOWDOWN_SCALE).round() as u64);
    }

    pub(crate) fn figures(&self, utilisation: f64, lost: u64) -> Figures {
        let response = |share| to_units(self.responses.value_at_quantile(share));
        let priority = |(level, sums): (&u8, &Sums)| {
            let figures = PriorityFigures {
                tasks: sums.tasks,
                mean_response: sums.mean(sums.response),
                mean_wait: sums.mean(sums.wait),
            };
            (*level, figures)
        };
        Figures {
            tasks: self.total.tasks,
            mean_response: self.total.mean(self.total.response),
            p50_response: response(0.5),
            p95_response: response(0.95),
            p99_response: response(0.99),
            mean_wait: self.total.mean(self.total.wait),
            mean_slowdown: self.slowdown / self.total.tasks.max(1) as f64,
            p99_slowdown: self.slowdown_at(0.99),
            utilisation,
            preemptions: self.preemptions,
            redeliveries: self.redeliveries,
            workers_lost: self.workers_lost,
            dead: self.dead,
            lost,
            by_priority: self.by_priority.iter().map(priority).collect(),
            percentiles: self.percentiles(),
        }
    }

    fn slowdown_at(&self, share: f64) -> f64 {
        self.slowdowns.value_at_quantile(share) as f64 / SLOWDOWN_SCALE
    }

    fn percentiles(&self) -> Vec<Percentile> {
        // The very least of all values would only stretch the plot.
        let worse =
            (1..).map(|point| 10_f64.powf(-f64::from(point) / f64::from(POINTS_PER_DECADE)));
        worse
            .take_while(|worse| worse * self.total.tasks as f64 >= WORSE_MIN)
            .map(|worse| {
                let share = 1.0 - worse;
                let response = to_units(self.responses.value_at_quantile(share));
                Percentile {
                    share,
                    response,
                    slowdown: self.slowdown_at(share),
                }
            })
            .collect()
    }
}

impl Sums {
    fn add(&mut self, task: Completed) {
        self.tasks += 1;
        self.response += u128::from(task.response);
        self.wait += u128::from(task.response.saturating_sub(task.duration));
    }

    fn mean(&self, sum: u128) -> f64 {
        sum as f64 / self.tasks.max(1) as f64 / UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_exact_and_quantiles_have_three_digits() {
        let mut gauge = Gauge::new();
        for n in 1..=1_000 {
            gauge.completed(Completed {
                response: n * 100_000_000,
                duration: 50_000_000,
                priority: 5,
            });
        }
        let figures = gauge.figures(0.5, 0);
        assert_eq!(figures.mean_response, 500.5);
        assert_eq!(figures.mean_wait, 500.0);
        assert_eq!(figures.mean_slowdown, 1_001.0);
        assert!((figures.p99_response / 990.0 - 1.0).abs() < 1e-3);
        assert!((figures.p99_slowdown / 1_980.0 - 1.0).abs() < 1e-3);
        assert_eq!(figures.by_priority[&5].tasks, 1_000);
    }

    #[test]
    fn a_run_without_a_counted_task_has_figures_too() {
        assert_eq!(Gauge::new().figures(0.0, 3).lost, 3);
        assert!(Gauge::new().figures(0.0, 0).percentiles.is_empty());
    }
}
