//! A service that does nothing, in the several ways in which one can end. Started by
//! `tests/process.rs` only.

use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rota_service::{
    ConnectOptions, Failure, Lifecycle, LogOptions, Shutdown, load_optional_toml, main_with,
};
use tracing::{debug, info, warn};

/// Longer than any test waits: a test that depends on it fails.
const GRACE: Duration = Duration::from_secs(600);

/// More than the log keeps for a reader that does not read.
const LINES: u32 = 50_000;

/// A service that does nothing
#[derive(Debug, Parser)]
struct Args {
    role: Role,
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    connect: ConnectOptions,
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Ends when told to.
    Drains,
    /// Never ends by itself.
    Stuck,
    /// A part panics.
    PartPanics,
    /// The service itself panics.
    Panics,
    /// Logs more than a pipe and the queue hold, and then works until it is told to stop.
    Chatty,
    /// Says the same again and again.
    Repetitive,
    /// Something that it needs is not there.
    Unavailable,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

fn main() -> ExitCode {
    main_with("sample", |args: &Args| &args.log, run)
}

async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    let Config {} = load_optional_toml(args.config.as_deref())?;
    let lifecycle = Lifecycle::new(shutdown);
    let draining = lifecycle.draining().clone();
    match args.role {
        Role::Panics => panic!("nothing works"),
        Role::Unavailable => return Err(Failure::unavailable(io::Error::other("no server"))),
        Role::Stuck => lifecycle.spawn_vital("stuck", pending::<Result<(), io::Error>>()),
        Role::PartPanics => lifecycle.spawn::<_, io::Error>("broken", async { panic!("slot 3") }),
        Role::Chatty => lifecycle.spawn_vital("chatty", async move {
            for number in 0..LINES {
                debug!(number, "one of many lines");
            }
            eprintln!("all said");
            draining.cancelled().await;
            Ok::<(), io::Error>(())
        }),
        Role::Repetitive => lifecycle.spawn_vital("repetitive", async move {
            (0..100).for_each(|times| warn!(times, "nothing works"));
            draining.cancelled().await;
            Ok::<(), io::Error>(())
        }),
        Role::Drains => lifecycle.spawn_vital("loop", async move {
            draining.cancelled().await;
            Ok::<(), io::Error>(())
        }),
    }
    info!(servers = ?args.connect.nats, "ready");
    Ok(lifecycle.wait_drained(GRACE).await.into_result()?)
}
