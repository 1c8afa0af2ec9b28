//! `rota-chaos`: a storm of faults over a whole installation, and what came of it; or a measurement of deaths alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rota_chaos::deaths;
use rota_chaos::fault::Family;
use rota_chaos::judge::{Rules, Severity, judge};
use rota_chaos::plan::Crew;
use rota_chaos::report::report;
use rota_chaos::storm::{Options, blow};
use tokio::signal::unix::{SignalKind, signal};

const MIB: u64 = 1 << 20;

/// Storms over a whole installation: faults on everything, then a judgement
#[derive(Debug, Parser)]
#[command(name = "rota-chaos", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    storm: StormArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How soon tasks begin elsewhere when their worker is killed, and when the leader is
    Deaths(DeathsArgs),
}

#[derive(Debug, Args)]
struct DeathsArgs {
    /// Workers
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(2..=500))]
    workers: u64,
    /// Tasks that run on each worker, on average
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=4))]
    tasks: u64,
    /// How many workers are killed, one after the other
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// How many leading schedulers are killed after that
    #[arg(long, default_value_t = 15)]
    leader_rounds: usize,
    /// Says who is killed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the services' programs; built from here by default
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Keeps logs and the ledger in this folder, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct StormArgs {
    /// How many faults
    #[arg(long, default_value_t = 200)]
    faults: usize,
    /// nats-servers: 1, or 3 that keep each stream together
    #[arg(long, default_value_t = 1, value_parser = parse_servers)]
    servers: usize,
    /// Seed of the faults and of the load
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults in a second, on average
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    /// Tasks in a second, on average
    #[arg(long, default_value_t = 60.0)]
    load: f64,
    /// Only these sorts of faults
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Family>,
    /// Workers
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=50))]
    workers: u64,
    /// Folder of the services' programs; built from here by default
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Folder of an older release: each process is now old, now new, as in a rolling upgrade
    #[arg(long, value_name = "DIR")]
    old_binaries: Option<PathBuf>,
    /// Seconds in which all must be done once the faults are over
    #[arg(long, default_value_t = 120)]
    calm: u64,
    /// Keeps stores, logs and the ledger in this folder, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The most memory of a scheduler, in MiB: 150 in a release build
    #[arg(long, default_value_t = if cfg!(debug_assertions) { 300 } else { 150 })]
    scheduler_memory: u64,
    /// Takes what is only a warning for a violation: lines that a monitor repeats, running attempts that are
    /// run again because of a server or a scheduler
    #[arg(long)]
    strict: bool,
}

fn parse_servers(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("must be 1 or 3".to_owned()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let mut told_to_end = signal(SignalKind::terminate())?;
    let work = async {
        match cli.command {
            Some(Command::Deaths(args)) => measure_deaths(args).await,
            None => make_storm(cli.storm).await,
        }
    };
    let is_good = tokio::select! {
        is_good = work => is_good?,
        // What runs is ended on the way out.
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = told_to_end.recv() => anyhow::bail!("told to end"),
    };
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether the promise is kept.
async fn measure_deaths(args: DeathsArgs) -> anyhow::Result<bool> {
    let options = deaths::Options {
        workers: usize::try_from(args.workers)?,
        tasks: usize::try_from(args.tasks)?,
        rounds: args.rounds,
        leader_rounds: args.leader_rounds,
        seed: args.seed,
        binaries: args.binaries,
        folder: args.folder,
    };
    let measured = deaths::measure(&options).await?;
    println!("{measured}");
    Ok(measured.is_kept())
}

/// Whether nothing happened that must not happen.
async fn make_storm(args: StormArgs) -> anyhow::Result<bool> {
    let severity = if args.strict {
        Severity::Violation
    } else {
        Severity::Warning
    };
    let rules = Rules {
        scheduler_bytes_max: args.scheduler_memory * MIB,
        disturbed: severity,
        monitor_repeats: severity,
        ..Rules::default()
    };
    let families = match args.only {
        none if none.is_empty() => Family::value_variants().to_vec(),
        only => only,
    };
    let options = Options {
        families,
        seed: args.seed,
        faults: args.faults,
        rate: args.rate,
        load: args.load,
        servers: args.servers,
        crew: Crew {
            workers: usize::try_from(args.workers)?,
            ..Crew::default()
        },
        binaries: args.binaries,
        old_binaries: args.old_binaries,
        calm_limit: Duration::from_secs(args.calm),
        folder: args.folder,
    };
    let storm = blow(&options).await?;
    let verdict = judge(&storm.history, &rules);
    print!("{}", report(&options, &storm, &verdict));
    Ok(verdict.violations.is_empty())
}
