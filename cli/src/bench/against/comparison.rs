//! What both worlds gave, side by side, and whether they agree.

use std::fmt;
use std::time::Duration;

use anyhow::anyhow;
use rota_scheduler_core::Order;
use rota_service::Failure;
use serde::Serialize;

use super::Args;
use super::live::Live;
use super::simulated::Simulated;

/// All orders.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    workload: String,
    mean_ms: u64,
    load: f64,
    workers: u32,
    slots: u32,
    seed: u64,
    seconds: u32,
    tasks: usize,
    orders: Vec<Pair>,
}

/// One order in both worlds. Times are in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
    order: String,
    live: LiveFigures,
    simulated: Simulated,
    /// Live mean response over the simulated one.
    ratio: f64,
}

#[derive(Debug, Serialize)]
struct LiveFigures {
    mean_response: f64,
    p50_response: f64,
    p99_response: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    preemptions: Option<u64>,
    lost: u64,
    doubled: u64,
}

impl Comparison {
    pub(super) fn new(args: &Args, tasks: usize, orders: Vec<Pair>) -> Self {
        Self {
            workload: args.workload.to_string(),
            mean_ms: args.mean.ms(),
            load: args.load.value(),
            workers: args.workers,
            slots: args.slots,
            seed: args.seed,
            seconds: args.seconds,
            tasks,
            orders,
        }
    }

    /// Fails when a task is lost or ran twice, or a mean is further off than is tolerated.
    pub(super) fn verdict(&self, tolerance: f64) -> Result<(), Failure> {
        let faults = self.orders.iter().filter_map(|pair| pair.fault(tolerance));
        let faults: Vec<String> = faults.collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(anyhow!("{}", faults.join("; ")).into())
        }
    }
}

impl Pair {
    pub(super) fn new(order: Order, live: Live, simulated: Simulated) -> Self {
        let live = LiveFigures::of(live);
        Self {
            order: order.to_string(),
            ratio: live.mean_response / simulated.mean_response,
            live,
            simulated,
        }
    }

    fn fault(&self, tolerance: f64) -> Option<String> {
        let Self {
            order, live, ratio, ..
        } = self;
        if live.lost + live.doubled > 0 {
            let (lost, doubled) = (live.lost, live.doubled);
            return Some(format!("{order}: {lost} tasks lost, {doubled} ran twice"));
        }
        // A ratio that is no number is off too.
        let good = (ratio - 1.0).abs() <= tolerance;
        (!good).then(|| {
            let (off, allowed) = ((ratio - 1.0) * 100.0, tolerance * 100.0);
            format!("{order}: the live mean is {off:+.1} % off, {allowed} % are allowed")
        })
    }
}

impl LiveFigures {
    fn of(live: Live) -> Self {
        let Live {
            mut responses,
            preemptions,
            lost,
            doubled,
        } = live;
        responses.sort_unstable();
        let sum: Duration = responses.iter().sum();
        Self {
            mean_response: sum.as_secs_f64() / responses.len() as f64,
            p50_response: quantile(&responses, 0.50),
            p99_response: quantile(&responses, 0.99),
            preemptions,
            lost,
            doubled,
        }
    }
}

/// The least of the sorted values that so many do not exceed.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1));
    value.map_or(f64::NAN, Duration::as_secs_f64)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            workload,
            mean_ms,
            load,
            workers,
            slots,
            seed,
            seconds,
            tasks,
            orders,
        } = self;
        writeln!(
            f,
            "{tasks} tasks in {seconds} s: {workload} of mean {mean_ms} ms, load {load}, {workers} workers \
             of {slots} slots, seed {seed}"
        )?;
        writeln!(
            f,
            "{:<12}{:^24}{:^18}{:^18}{:^18}",
            "seconds", "mean", "p50", "p99", "suspended"
        )?;
        write!(f, "{:<12}{:>8}{:>8}{:>8}", "order", "live", "sim", "ratio")?;
        for _ in 0..3 {
            write!(f, "{:>10}{:>8}", "live", "sim")?;
        }
        write!(f, "{:>8}", "lost")?;
        orders.iter().try_for_each(|pair| write!(f, "\n{pair}"))
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            order,
            live,
            simulated,
            ratio,
        } = self;
        write!(
            f,
            "{order:<12}{:>8.3}{:>8.3}{ratio:>8.3}",
            live.mean_response, simulated.mean_response
        )?;
        for (live, simulated) in [
            (live.p50_response, simulated.p50_response),
            (live.p99_response, simulated.p99_response),
        ] {
            write!(f, "{live:>10.3}{simulated:>8.3}")?;
        }
        let suspended = live.preemptions.map(|count| count.to_string());
        write!(
            f,
            "{:>10}{:>8}{:>8}",
            suspended.as_deref().unwrap_or("?"),
            simulated.preemptions,
            live.lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(responses_ms: &[u64], simulated: f64, lost: u64, doubled: u64) -> Pair {
        let live = Live {
            responses: responses_ms
                .iter()
                .map(|ms| Duration::from_millis(*ms))
                .collect(),
            preemptions: Some(3),
            lost,
            doubled,
        };
        let simulated = Simulated {
            mean_response: simulated,
            p50_response: simulated,
            p99_response: simulated,
            preemptions: 3,
            lost: 0,
        };
        Pair::new(Order::Srtf, live, simulated)
    }

    #[test]
    fn a_mean_within_the_tolerance_is_good_and_one_beyond_it_is_told() {
        assert_eq!(pair(&[100, 300], 0.18, 0, 0).fault(0.15), None);
        for (simulated, word) in [(0.25, "-20.0 %"), (0.16, "+25.0 %")] {
            let fault = pair(&[100, 300], simulated, 0, 0).fault(0.15).unwrap();
            assert!(fault.contains(word), "{fault}");
        }
    }

    #[test]
    fn a_task_that_is_lost_or_ran_twice_is_a_fault_however_good_the_mean() {
        assert!(pair(&[200], 0.2, 1, 0).fault(0.15).is_some());
        assert!(pair(&[200], 0.2, 0, 1).fault(0.15).is_some());
        assert!(pair(&[], 0.2, 0, 0).fault(0.15).is_some(), "no response");
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let figures = pair(&[400, 100, 200, 300], 1.0, 0, 0).live;
        assert_eq!(figures.p50_response, 0.2);
        assert_eq!(figures.p99_response, 0.4);
        assert_eq!(figures.mean_response, 0.25);
    }
}
