//! `rota bench against-simulation`: does the live system do what the simulator says?
//!
//! One sequence of sleep tasks is drawn by the simulator's own generator. For each order it is simulated,
//! and submitted in real time to an installation of its own; mean responses are compared. Response is the
//! time from a task's planned arrival to its result, so a submitter that comes late makes it longer.
//!
//! What must hold: both sides get the same arrivals, durations, estimates, slots and options; a figure is
//! only good when every task has exactly one result and it is `completed`; else the command fails.

mod arrivals;
mod comparison;
mod live;
mod simulated;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use rota_scheduler_core::Order;
use rota_scheduler_sim::{Load, Workload};
use rota_service::{Failure, Shutdown};
use rota_wire::Span;

use self::arrivals::Planned;
use self::comparison::{Comparison, Pair};
use self::live::Live;
use super::fleet::{BenchFleet, FleetPlan};
use crate::say::note;

const MEAN_MIN: Span = Span::from_ms(10);
const MEAN_MAX: Span = Span::from_secs(60);

/// Compares the live system with the simulator, order by order, on the same sleep tasks
///
/// Takes a little more than --seconds for each order.
#[derive(Debug, Clone, clap::Args)]
#[allow(
    rustdoc::invalid_html_tags,
    reason = "these are help texts, printed as they stand"
)]
pub(crate) struct Args {
    /// Which task is next: fifo, priority, sjf, srtf, time-slice, las; one after the other
    #[arg(
        long,
        value_name = "ORDER",
        value_delimiter = ',',
        default_value = "fifo,sjf,srtf,las"
    )]
    orders: Vec<Order>,

    /// How long tasks arrive
    #[arg(long, value_name = "COUNT", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,

    /// What arrives as a share of what all slots can serve, more than 0 and less than 1
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "0.7",
        allow_negative_numbers = true
    )]
    load: Load,

    /// How long tasks take: exp, h2:<cv2>, pareto:<alpha>,<max/min>, lognormal:<mu>,<sigma>, deterministic
    #[arg(long, value_name = "WORKLOAD", default_value = "pareto:1.5,100",
        value_parser = parse_workload)]
    workload: Workload,

    /// How long they take on average, 10ms to 60s
    #[arg(long, value_name = "SPAN", default_value = "300ms", value_parser = parse_mean)]
    mean: Span,

    /// Seeds what is drawn
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Workers
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    workers: u32,

    /// Slots of each worker
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    slots: u32,

    /// The slice of time-slice and the grain of las
    #[arg(long, value_name = "SPAN", default_value = "100ms", value_parser = Span::parse)]
    quantum: Span,

    /// How long a task runs before it may be suspended
    #[arg(long, value_name = "SPAN", default_value = "20ms", value_parser = Span::parse)]
    min_run: Span,

    /// How long a message takes in the simulation, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0.5, value_parser = parse_delay)]
    delay: f64,

    /// How far the mean responses may be apart, as a share of the simulated one
    #[arg(long, value_name = "SHARE", default_value_t = 0.15, value_parser = parse_tolerance)]
    tolerance: f64,

    /// How long without any result, beyond the longest task, until what is left counts as lost
    #[arg(long, value_name = "SPAN", default_value = "20s", value_parser = Span::parse)]
    patience: Span,

    /// Keep the arrivals in this file, as a trace for `rota simulate`
    #[arg(long, value_name = "FILE.csv")]
    trace: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,

    /// Where the services write their logs; nowhere by default
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Runs each order in both worlds and prints what they gave.
///
/// # Errors
/// When something does not start, a task is lost or ran twice, or a mean response is off.
pub(crate) async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    let planned = arrivals::draw(&args).map_err(Failure::usage)?;
    let simulated = simulated::run(&args, &planned)?;
    let log = args.log.as_ref().map(File::create).transpose();
    let log = log.context("creating the log")?;
    let mut pairs = Vec::new();
    for (order, simulated) in args.orders.iter().zip(simulated) {
        let (tasks, seconds) = (planned.len(), args.seconds);
        note(format_args!("{order}: {tasks} tasks in {seconds} s"));
        let live = run_live(&args, *order, log.as_ref(), &planned, &shutdown).await?;
        pairs.push(Pair::new(*order, live, simulated));
    }
    let comparison = Comparison::new(&args, planned.len(), pairs);
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&comparison)?)?;
    } else {
        writeln!(out, "{comparison}")?;
    }
    comparison.verdict(args.tolerance)
}

async fn run_live(
    args: &Args,
    order: Order,
    log: Option<&File>,
    planned: &[Planned],
    shutdown: &Shutdown,
) -> anyhow::Result<Live> {
    let as_ms = |span: Span| format!("{}ms", span.ms());
    let scheduler = [
        ["--order", order.as_str()],
        ["--quantum", &as_ms(args.quantum)],
        ["--min-run", &as_ms(args.min_run)],
    ];
    let plan = FleetPlan {
        workers: args.workers,
        slots: args.slots,
        scheduler: scheduler.concat().into_iter().map(str::to_owned).collect(),
        log: log
            .map(File::try_clone)
            .transpose()
            .context("opening the log")?,
    };
    let mut fleet = BenchFleet::start(plan).await?;
    let measured = tokio::select! {
        biased;
        () = shutdown.draining().cancelled() => Err(anyhow!("interrupted")),
        measured = live::measure(fleet.bus(), args, planned) => measured,
    };
    fleet.stop().await;
    measured.with_context(|| format!("measuring {order}"))
}

fn parse_workload(text: &str) -> Result<Workload, String> {
    match Workload::parse(text) {
        Ok(Workload::Trace(_)) => Err("must be drawn: a trace has its own load".to_owned()),
        Ok(workload) => Ok(workload),
        Err(error) => Err(rota_service::chain(&error).to_string()),
    }
}

fn parse_mean(text: &str) -> Result<Span, &'static str> {
    let mean = Span::parse(text).ok();
    let good = mean.filter(|mean| (MEAN_MIN..=MEAN_MAX).contains(mean));
    good.ok_or("must be a span from 10ms to 60s, such as 300ms")
}

fn parse_delay(text: &str) -> Result<f64, &'static str> {
    let delay = text.parse().ok();
    let good = delay.filter(|delay| (0.0..=1_000.0).contains(delay));
    good.ok_or("must be milliseconds, 0 to 1000")
}

fn parse_tolerance(text: &str) -> Result<f64, &'static str> {
    let tolerance = text.parse().ok();
    let good = tolerance.filter(|tolerance| (0.0..=1.0).contains(tolerance));
    good.ok_or("must be a share from 0 to 1, such as 0.15")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    pub(super) fn args(flags: &[&str]) -> Result<Args, String> {
        let flags = std::iter::once("test").chain(flags.iter().copied());
        let parsed = Cli::try_parse_from(flags).map(|cli| cli.args);
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_rule() {
        for (flag, bad, rule) in [
            ("--orders", "fifo,lifo", "lifo"),
            ("--load", "1", "less than 1"),
            ("--workload", "trace:/nowhere.csv", "cannot be read"),
            ("--workload", "gauss", "lognormal"),
            ("--mean", "9ms", "10ms to 60s"),
            ("--seconds", "0", "1..=3600"),
            ("--delay", "-1", "0 to 1000"),
            ("--delay", "NaN", "0 to 1000"),
            ("--tolerance", "2", "0 to 1"),
            ("--quantum", "soon", "span"),
        ] {
            let flag = format!("{flag}={bad}");
            let told = args(&[&flag]).unwrap_err();
            assert!(told.contains(rule), "{flag}: {told}");
        }
    }
}
