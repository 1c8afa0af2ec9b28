//! The scheduler: a thin shell around the pure core that decides.
//!
//! ```text
//! Leadership: stand by ──lease won──► Session (one term) ──lost, cut off──► stand by
//!                                        │
//!          lanes ─┐                      │ turn: gather events ► core ► Executor
//!     heartbeats ─┼─► Turn ──► core ──► Actions ──► frames, pulls, acks   at once
//!        reports ─┤                        └──────► look-ups, stores      as Requests, whose
//!        answers ─┘                                                       answers are events
//! ```
//!
//! What must hold: only the leader acts; it acts only within its lease; and a session keeps nothing that
//! the next cannot find again. Whatever breaks the session, a lost connection included, is answered the
//! same way: begin a new term and call the roll.

mod audit;
mod clock;
mod executor;
mod flow;
mod frames;
mod hearing;
mod inputs;
mod leadership;
mod messages;
mod obituaries;
mod policy;
mod recorder;
mod reporting;
mod requests;
mod session;
mod standby;

use std::path::PathBuf;
use std::time::Duration;

use rota_bus::{Bus, EventSender};
use rota_scheduler_core::{Options, Recording};
use rota_service::{Failure, Faults, Installation, Lifecycle, Shutdown};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::leadership::{Identity, Leadership};
pub use crate::policy::{Ageing, PolicyArgs};

use crate::recorder::Recorder;
use crate::reporting::Outlets;

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

    /// Tasks read from each lane beyond what free slots could start now, 1 to 10000
    ///
    /// By default 64, and 10000 where more must be known than the head of a lane: sjf, srtf, time-slice and
    /// las choose among the tasks that were read, and early binding binds them.
    #[arg(long, env = "ROTA_LOOK_AHEAD", value_name = "COUNT")]
    pub look_ahead: Option<u32>,

    /// File to which each completed task is written, as a trace for `rota simulate`
    #[arg(long, env = "ROTA_RECORD", value_name = "FILE.csv")]
    pub record: Option<PathBuf>,

    /// How tasks are scheduled.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

impl Args {
    fn options(&self) -> Result<Options, Failure> {
        let mut options = Options {
            missed_heartbeats_max: self.missed_heartbeats,
            losses_max: self.losses,
            ..Options::default()
        };
        let mut faults = Faults::new();
        self.policy.apply(&mut options, &mut faults)?;
        let look_ahead = self.look_ahead;
        options.look_ahead = look_ahead.unwrap_or_else(|| policy::look_ahead(&options));
        if self.record.is_some() {
            options.recording = Recording::On;
        }
        policy::push_broken(&options, faults).into_result()?;
        Ok(options)
    }
}

/// Runs a scheduler over a connection that is there already and within this future alone: dropped, it is gone.
/// `name` tells it from other schedulers, and `seed` decides where it has a choice. For tests of the whole
/// system in one runtime.
///
/// # Errors
/// When the arguments are wrong.
#[doc(hidden)]
pub async fn run_on(
    bus: Bus,
    name: String,
    seed: u64,
    args: Args,
    draining: CancellationToken,
) -> Result<(), Failure> {
    let options = args.options()?;
    let (events, storing_events) = EventSender::new(bus.clone(), SERVICE);
    let outlets = Outlets::new(events, None);
    let identity = Identity {
        holder: name,
        seed: Some(seed),
    };
    let leadership = Leadership::new(bus, identity, args.installation, options, outlets);
    let (led, ()) = tokio::join!(leadership.run(draining), storing_events);
    let Ok(()) = led;
    Ok(())
}

/// Runs a scheduler until it is told to stop: it leads, or stands by until it can.
///
/// # Errors
/// When the server is not there or not fit for Rota, a stream differs from what Rota needs, or a part
/// fails. Once it runs, an interrupted connection is waited out and is no error.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    let options = args.options()?;
    let record = match &args.record {
        Some(path) => Some(Recorder::open(path).await.map_err(Failure::usage)?),
        None => None,
    };
    let bus = args.installation.connect(SERVICE).await?;
    info!(version = env!("CARGO_PKG_VERSION"), server = %bus.server(), role = SERVICE, "ready");
    policy::announce(&options);
    let lifecycle = Lifecycle::new(shutdown);
    let (events, storing_events) = EventSender::new(bus.clone(), SERVICE);
    lifecycle.spawn("events", async move {
        storing_events.await;
        Ok::<(), std::convert::Infallible>(())
    });
    let recorder = match record {
        Some((recorder, record)) => {
            lifecycle.spawn("record", async move {
                record.run().await;
                Ok::<(), std::convert::Infallible>(())
            });
            Some(recorder)
        }
        None => None,
    };
    let outlets = Outlets::new(events, recorder);
    let identity = Identity::of_process();
    let leadership = Leadership::new(bus, identity, args.installation, options, outlets);
    let draining = lifecycle.draining().clone();
    lifecycle.spawn_vital("leadership", leadership.run(draining));
    Ok(lifecycle.wait_drained(GRACE).await.into_result()?)
}
