//! The Rota monitor: sees what happens and tells it, in lines that a person likes to watch.
//!
//! One line for each thing worth knowing (a worker joins, drains, leaves or is lost, a leader is
//! elected, a task goes to another worker or ends as a dead letter), and a summary at each interval.
//!
//! ```text
//! rota.events.*            ─┐                        ┌─ shell: subscriptions, clock, tracing
//! rota.worker.*.heartbeat  ─┼─► watcher ─► View ─► Line ─► say
//! stream and lane states   ─┘  (shell)    (pure)
//!        └ reader, each interval
//! ```
//!
//! Two sources, and which one says what: the leading scheduler's events are the lines about workers,
//! so that a loss is told once and by the one who acts on it; heartbeats are the figures. Only while no
//! scheduler leads does the monitor itself say that a worker has fallen silent.
//!
//! What must hold: the monitor changes nothing. It makes the streams when it is the first to start, as
//! every service does, and after that it only reads: no consumer, no ack, no publish. Whatever arrives,
//! its memory and the number of its lines are bounded.

mod args;
mod reader;
mod say;
mod utilisation;
mod view;
mod watcher;

use std::time::Duration;

use rota_bus::Bus;
use rota_service::{Failure, Installation, Lifecycle, LogFormat, Shutdown};
use tokio::sync::mpsc;
use tracing::info;

use crate::watcher::{Subscriptions, Watcher};

pub use args::Args;

/// What it is called in logs and in the server's list of connections.
const SERVICE: &str = "monitor";
/// The parts hold nothing that takes time to put down.
const GRACE: Duration = Duration::from_secs(5);

/// Watches until it is told to stop. The format is that of the process's log: for machines the figures
/// are fields, for people a sentence.
///
/// # Errors
/// When the server is not there or not fit for Rota, a stream differs from what Rota needs, or the
/// connection is closed for good. Once it runs, an interrupted connection is waited out and is no error.
pub async fn run(args: Args, format: LogFormat, shutdown: Shutdown) -> Result<(), Failure> {
    let (bus, subscriptions) = tokio::select! {
        biased;
        () = shutdown.draining().cancelled() => return Ok(()),
        started = start(&args.installation) => started?,
    };
    let every = args.every;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        server = %bus.server(),
        role = SERVICE,
        prefix = bus.subjects().prefix().as_str(),
        every_ms = every.ms(),
        "ready"
    );
    let lifecycle = Lifecycle::new(shutdown);
    let draining = lifecycle.draining();
    // One reading is shown before the next is taken.
    let (readings, read) = mpsc::channel(1);
    let reader = reader::run(bus.clone(), every, readings, draining.clone());
    lifecycle.spawn_vital("reader", reader);
    let watcher = Watcher::new(&bus, subscriptions, read, format);
    lifecycle.spawn_vital("watcher", watcher.run(draining.clone()));
    Ok(lifecycle.wait_drained(GRACE).await.into_result()?)
}

async fn start(installation: &Installation) -> Result<(Bus, Subscriptions), Failure> {
    let bus = installation.connect_only(SERVICE).await?;
    // Before the streams are looked at, so that nothing that happens meanwhile is missed.
    let subscriptions = Subscriptions {
        heartbeats: bus.subscribe(&bus.subjects().heartbeats()).await?,
        events: bus.subscribe(&bus.subjects().all_events()).await?,
    };
    installation.ensure_streams(&bus).await?;
    bus.flush().await?;
    Ok((bus, subscriptions))
}
