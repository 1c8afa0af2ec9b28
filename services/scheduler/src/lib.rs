//! The scheduler: a thin shell around the pure core that decides.
//!
//! ```text
//! Leadership: stand by ──lease won──► Session (one term) ──lost, cut off──► stand by
//!                                        │
//!          lanes ─┐                      │ turn: gather events ► core ► carry out actions
//!     heartbeats ─┼─► Turn ──► core ──► Actions ──► frames, pulls, acks   at once
//!        reports ─┤                        └──────► look-ups, stores      as Errands, whose
//!        errands ─┘                                                       ends are events
//! ```
//!
//! What must hold: only the leader acts; it acts only within its lease; and a session keeps nothing that
//! the next cannot find again. Whatever breaks the session, a lost connection included, is answered the
//! same way: begin a new term and call the roll.

mod actions;
mod errands;
mod leadership;
mod session;
mod telling;

use std::time::Duration;

use rota_bus::EventSender;
use rota_scheduler_core::Options;
use rota_service::{Failure, Faults, Installation, Lifecycle, Shutdown};
use tracing::info;

use crate::leadership::Leadership;

const SERVICE: &str = "scheduler";
/// How long the parts may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// What a scheduler is told at its start.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the installation is.
    #[command(flatten)]
    pub installation: Installation,

    /// Heartbeats that a worker may miss before its tasks go to others
    #[arg(
        long,
        env = "ROTA_MISSED_HEARTBEATS",
        value_name = "COUNT",
        default_value_t = 3
    )]
    pub missed_heartbeats: u32,

    /// Workers that a task may take down before it becomes a dead letter
    #[arg(long, env = "ROTA_LOSSES", value_name = "COUNT", default_value_t = 3)]
    pub losses: u32,

    /// Tasks read from each lane beyond what free slots could start now
    #[arg(
        long,
        env = "ROTA_LOOK_AHEAD",
        value_name = "COUNT",
        default_value_t = 64
    )]
    pub look_ahead: u32,
}

impl Args {
    fn options(&self) -> Result<Options, Failure> {
        let options = Options {
            missed_heartbeats_max: self.missed_heartbeats,
            losses_max: self.losses,
            look_ahead: self.look_ahead,
            ..Options::default()
        };
        let mut faults = Faults::new();
        for (key, value, rule) in options.faults() {
            faults.push(key, value, rule);
        }
        faults.into_result()?;
        Ok(options)
    }
}

/// Runs a scheduler until it is told to stop: it leads, or stands by until it can.
///
/// # Errors
/// When the server is not there or not fit for Rota, a stream differs from what Rota needs, or a part
/// fails. Once it runs, an interrupted connection is waited out and is no error.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    let options = args.options()?;
    let bus = args.installation.connect(SERVICE).await?;
    info!(version = env!("CARGO_PKG_VERSION"), server = %bus.server(), role = SERVICE, "ready");
    let lifecycle = Lifecycle::new(shutdown);
    let (events, storing_events) = EventSender::new(bus.clone(), SERVICE);
    lifecycle.spawn("events", async move {
        storing_events.await;
        Ok::<(), std::convert::Infallible>(())
    });
    let leadership = Leadership::new(bus, args.installation, options, events);
    let draining = lifecycle.draining().clone();
    lifecycle.spawn_vital("leadership", leadership.run(draining));
    Ok(lifecycle.wait_drained(GRACE).await.into_result()?)
}
