//! The figures of a run, for people and as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use rota_wire::Micros;
use serde::Serialize;

use super::Args;
use super::load::Trace;

/// Longer than any run waits; what takes longer counts as this.
const HOUR_MICROS: u64 = 3_600_000_000;

/// What was measured. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    tasks: u64,
    workers: u32,
    slots: u32,
    /// Submissions in a second; 0 means as fast as they were taken.
    rate: u64,
    /// Whether each task had an id of the submitter's.
    named: bool,
    seconds: f64,
    tasks_per_second: f64,
    to_start_ms: Quantiles,
    to_result_ms: Quantiles,
    /// Tasks without a result.
    pub(crate) lost: u64,
    /// Results beyond the first of a task.
    pub(crate) doubled: u64,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Figures {
    pub(crate) fn of(trace: &Trace, args: &Args) -> Self {
        let pairs = trace
            .published
            .iter()
            .filter_map(|(seq, at)| Some((*at, *trace.results.get(seq)?)));
        let to_start = pairs
            .clone()
            .filter_map(|(at, times)| Some((at, times.started?)));
        let to_result = pairs.map(|(at, times)| (at, times.result));
        let seconds = trace.took.as_secs_f64();
        Self {
            tasks: args.tasks,
            workers: args.workers,
            slots: args.slots,
            rate: args.rate,
            named: args.named,
            seconds,
            tasks_per_second: trace.results.len() as f64 / seconds.max(1e-9),
            to_start_ms: Quantiles::of(to_start),
            to_result_ms: Quantiles::of(to_result),
            lost: trace.missing(),
            doubled: trace.doubled,
        }
    }
}

impl Quantiles {
    fn of(spans: impl Iterator<Item = (Micros, Micros)>) -> Self {
        let mut histogram = Histogram::<u64>::new_with_max(HOUR_MICROS, 3)
            .expect("an hour in microseconds with 3 digits is allowed");
        for (from, to) in spans {
            histogram.saturating_record(to.0.saturating_sub(from.0));
        }
        let ms = |micros: u64| micros as f64 / 1_000.0;
        Self {
            p50: ms(histogram.value_at_quantile(0.50)),
            p99: ms(histogram.value_at_quantile(0.99)),
            max: ms(histogram.max()),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tasks,
            workers,
            slots,
            rate,
            seconds,
            tasks_per_second,
            ..
        } = self;
        let offered = if *rate == 0 {
            "as fast as taken".to_owned()
        } else {
            format!("{rate}/s")
        };
        writeln!(
            f,
            "{tasks} tasks, {workers} workers of {slots} slots, offered {offered}"
        )?;
        writeln!(f, "{tasks_per_second:.0} tasks a second ({seconds:.2} s)")?;
        writeln!(
            f,
            "{:<20}{:>10}{:>10}{:>10}",
            "milliseconds", "p50", "p99", "max"
        )?;
        for (name, q) in [
            ("publish to start", &self.to_start_ms),
            ("publish to result", &self.to_result_ms),
        ] {
            writeln!(f, "{name:<20}{:>10.2}{:>10.2}{:>10.2}", q.p50, q.p99, q.max)?;
        }
        write!(f, "lost {}, doubled {}", self.lost, self.doubled)
    }
}
