//! `rota-chaos`: a storm of faults over a whole installation, and what came of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rota_chaos::fault::Family;
use rota_chaos::judge::{Rules, Severity, judge};
use rota_chaos::plan::Crew;
use rota_chaos::report::report;
use rota_chaos::storm::{Options, blow};
use tokio::signal::unix::{SignalKind, signal};

const MIB: u64 = 1 << 20;

/// Storms over a whole installation: faults on everything, then a judgement
#[derive(Debug, Parser)]
#[command(name = "rota-chaos", version)]
struct Cli {
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
    /// Takes what is only a warning for a violation: lines that are repeated, running attempts that are
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
    let severity = if cli.strict {
        Severity::Violation
    } else {
        Severity::Warning
    };
    let rules = Rules {
        scheduler_bytes_max: cli.scheduler_memory * MIB,
        disturbed: severity,
        repeats: severity,
        ..Rules::default()
    };
    let families = match cli.only {
        none if none.is_empty() => Family::value_variants().to_vec(),
        only => only,
    };
    let options = Options {
        families,
        seed: cli.seed,
        faults: cli.faults,
        rate: cli.rate,
        load: cli.load,
        servers: cli.servers,
        crew: Crew {
            workers: usize::try_from(cli.workers)?,
            ..Crew::default()
        },
        binaries: cli.binaries,
        old_binaries: cli.old_binaries,
        calm_limit: Duration::from_secs(cli.calm),
        folder: cli.folder,
    };
    let mut told_to_end = signal(SignalKind::terminate())?;
    let storm = tokio::select! {
        storm = blow(&options) => storm?,
        // What runs is ended on the way out.
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = told_to_end.recv() => anyhow::bail!("told to end"),
    };
    let verdict = judge(&storm.history, &rules);
    print!("{}", report(&options, &storm, &verdict));
    Ok(if verdict.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
