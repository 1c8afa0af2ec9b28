//! `rota bench`: how fast, and how soon, on this machine; and, as `against-simulation`, whether it does
//! what the simulator says.
//!
//! Starts a nats-server and every service of its own, with the built-in kind `noop`: everything that a
//! task normally has, and no work. Submissions are stored with the server's confirmation; the clock runs
//! from the first publish to the last result.
//!
//! What must hold: a figure is only good when every task has exactly one result; else the command fails.

mod against;
mod figures;
mod fleet;
mod load;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use rota_bus::Bus;
use rota_service::{Failure, Shutdown};
use rota_wire::Span;

use self::figures::Figures;
use self::fleet::{BenchFleet, FleetPlan};
use self::load::Load;

/// Tasks that run before the clock does, so that lanes, leases and connections are there.
const WARM_UP: u64 = 500;

/// Measures throughput and latency with a server and services of its own
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,

    /// Tasks to submit
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) tasks: u64,

    /// Tasks submitted in a second; 0 means as fast as they are taken
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) rate: u64,

    /// Give each task an id of its own with Nats-Msg-Id, as a client does that may submit it again
    #[arg(long)]
    pub(crate) named: bool,

    /// Workers
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) workers: u32,

    /// Slots of each worker
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) slots: u32,

    /// How long without any result until what is left counts as lost
    #[arg(long, value_name = "SPAN", default_value = "20s", value_parser = Span::parse)]
    pub(crate) patience: Span,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// Where the services write their logs; nowhere by default
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

/// What is measured instead of throughput and latency.
#[derive(Debug, Clone, clap::Subcommand)]
enum Other {
    AgainstSimulation(against::Args),
}

/// Runs the benchmark and prints its figures.
///
/// # Errors
/// When something does not start, or a task is lost or ran twice.
pub(crate) async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    if let Some(Other::AgainstSimulation(args)) = args.other {
        return against::run(args, shutdown).await;
    }
    let log = args.log.as_ref().map(File::create).transpose();
    let mut fleet = BenchFleet::start(FleetPlan {
        workers: args.workers,
        slots: args.slots,
        scheduler: Vec::new(),
        log: log.context("creating the log")?,
    })
    .await?;
    let measured = tokio::select! {
        biased;
        () = shutdown.draining().cancelled() => Err(anyhow!("interrupted")),
        measured = measure(fleet.bus(), &args) => measured,
    };
    fleet.stop().await;
    let figures = measured?;
    print(&figures, &args)?;
    let (lost, doubled) = (figures.lost, figures.doubled);
    if lost + doubled > 0 {
        return Err(anyhow!("{lost} tasks lost, {doubled} ran twice").into());
    }
    Ok(())
}

async fn measure(bus: &Bus, args: &Args) -> anyhow::Result<Figures> {
    let load = Load {
        tasks: args.tasks,
        rate: args.rate,
        named: args.named,
        patience: args.patience.duration(),
    };
    let warm = Load {
        tasks: WARM_UP,
        rate: 0,
        ..load
    };
    let warm = load::run(bus, warm).await.context("warming up")?;
    ensure!(
        warm.missing() == 0,
        "{} tasks of the warm-up have no result",
        warm.missing()
    );
    let trace = load::run(bus, load).await?;
    Ok(Figures::of(&trace, args))
}

fn print(figures: &Figures, args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(figures)?)?;
    } else {
        writeln!(out, "{figures}")?;
    }
    Ok(())
}
