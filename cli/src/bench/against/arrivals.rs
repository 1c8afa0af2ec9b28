//! The tasks of the comparison: drawn once, submitted for real and simulated alike.
//!
//! What must hold: both sides see the same numbers. So durations are whole milliseconds, as a task tells
//! them, and arrivals whole microseconds, before either side gets them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rota_scheduler_sim::Setup;
use rota_wire::Span;

use super::Args;

/// The most tasks.
const TASKS_MAX: usize = 200_000;

/// A task that is to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    /// After the first.
    pub(super) at: Duration,
    pub(super) runs: Span,
}

/// Draws what arrives.
pub(super) fn draw(args: &Args) -> anyhow::Result<Vec<Planned>> {
    let setup = Setup {
        workers: args.workers,
        slots: args.slots,
        load: args.load,
        tasks: u64::MAX,
        seed: args.seed,
        workload: args.workload.clone(),
        ..Setup::default()
    };
    let mut drawn = rota_scheduler_sim::arrivals(&setup).peekable();
    let first = drawn.peek().map_or(0.0, |(at, _)| *at);
    let mean = args.mean.duration().as_secs_f64();
    let planned = drawn.map(|(at, runs)| Planned {
        at: Duration::from_micros(((at - first) * mean * 1e6).round() as u64),
        runs: Span::from_ms(((runs * mean * 1e3).round() as u64).max(1)),
    });
    let end = Duration::from_secs(args.seconds.into());
    let planned = planned.take_while(|task| task.at < end);
    let planned: Vec<Planned> = planned.take(TASKS_MAX + 1).collect();
    ensure!(
        planned.len() <= TASKS_MAX,
        "more than {TASKS_MAX} tasks would arrive: fewer --seconds, workers or slots, or a longer --mean"
    );
    Ok(planned)
}

/// Writes them as a trace for the simulator.
pub(super) fn write(planned: &[Planned], path: &Path) -> anyhow::Result<()> {
    let mut text = String::from("arrival_s,duration_s\n");
    for Planned { at, runs } in planned {
        let (at, ms) = (at.as_micros(), runs.ms());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}.{:06},{}.{:03}",
            at / 1_000_000,
            at % 1_000_000,
            ms / 1_000,
            ms % 1_000
        );
    }
    fs::write(path, text).with_context(|| format!("writing the trace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::args;
    use super::*;

    #[test]
    fn what_is_drawn_brings_the_load_that_was_asked_for_and_ends_in_time() {
        let flags = ["--seconds", "3600", "--load", "0.5", "--workload", "exp"];
        let planned = draw(&args(&flags).unwrap()).unwrap();
        let work: u64 = planned.iter().map(|task| task.runs.ms()).sum();
        let load = work as f64 / (3_600_000.0 * 4.0);
        assert!((load / 0.5 - 1.0).abs() < 0.05, "{load}");
        assert_eq!(planned[0].at, Duration::ZERO);
        assert!(planned.is_sorted_by_key(|task| task.at));
        assert!(planned.last().unwrap().at < Duration::from_secs(3_600));
    }

    #[test]
    fn too_much_is_refused_and_not_cut_off() {
        let flags = ["--seconds", "3600", "--mean", "10ms", "--workers", "100"];
        assert!(draw(&args(&flags).unwrap()).is_err());
    }

    #[test]
    fn the_simulator_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        let planned = draw(&args(&["--seconds", "5"]).unwrap()).unwrap();
        write(&planned, &path).unwrap();
        let workload = format!("trace:{}", path.display());
        let workload = rota_scheduler_sim::Workload::parse(&workload).unwrap();
        assert_eq!(
            workload.to_string(),
            format!("trace of {} tasks", planned.len())
        );
    }
}
