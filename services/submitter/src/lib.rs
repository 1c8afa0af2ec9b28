//! The submitter: Rota's front door. It checks each submission, gives it its id and defaults and puts it
//! into its lane; what has fallen due in the schedule goes the same way.
//!
//! ```text
//! ROTA_INTAKE ───────► Intake ─ decision ─ settle ──► ROTA_READY, then ack
//! ROTA_SCHEDULE due ─► Intake ─────┘         └──────► ROTA_RESULTS when refused, then ack
//! ```
//!
//! In reading order: [`run`] starts the parts, `intake` is the loop over one feed, `decision` says what
//! becomes of a message and does no I/O, `kinds` how many kinds may wait, `schedule` whether anything new is
//! taken, `settle` carries it out, `window` bounds what is under way, `stragglers` looks for what no feed brings.
//!
//! What must hold: a message is acked only when the server has confirmed what stands for it, so nothing is
//! lost when the process dies at any point; messages reach their lanes in the order of the intake; and any
//! number of submitters can run side by side, because they share durable consumers and nothing else.

mod decision;
mod hints;
mod intake;
mod kinds;
mod schedule;
mod settle;
mod stragglers;
mod window;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rota_bus::{Bus, EventSender};
use rota_service::{Failure, Installation, Lifecycle, Shutdown};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::intake::Intake;
use crate::settle::Settler;

/// What it is called in logs, subjects and the server's list of connections.
const SERVICE: &str = "submitter";
/// How long the parts may take to end; each bounds its own drain below this.
const GRACE: Duration = Duration::from_secs(10);

/// What a submitter is told at its start.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the installation is.
    #[command(flatten)]
    pub installation: Installation,

    /// Largest body of a submission in bytes, below what the server itself takes
    #[arg(long, env = "ROTA_BODY_MAX", value_name = "BYTES")]
    pub body_max: Option<usize>,

    /// How many kinds may wait, each priority counted: a kind beyond is rejected
    ///
    /// Kinds that wait already are always taken. Each one that waits costs the servers and the scheduler a
    /// consumer, so that a client which makes up kinds would harm all others.
    #[arg(long, env = "ROTA_KINDS_MAX", value_name = "COUNT", default_value_t = KINDS_MAX, value_parser = parse_kinds_max)]
    pub kinds_max: usize,

    /// How much may wait in ROTA_SCHEDULE: beyond it no new submissions are taken
    ///
    /// They wait in ROTA_INTAKE meanwhile; what falls due is taken all the same. The server itself cannot bound
    /// this stream, so that tasks which fail and wait for their retry would fill its disk.
    #[arg(long, env = "ROTA_SCHEDULE_MAX", value_name = "COUNT", default_value_t = SCHEDULE_MAX, value_parser = parse_schedule_max)]
    pub schedule_max: u64,
}

/// With inputs of a kilobyte, some two gigabytes: as much as ROTA_READY takes.
const SCHEDULE_MAX: u64 = 1_000_000;
/// As many as ROTA_READY may have consumers.
const KINDS_MAX: usize = 10_000;

fn parse_kinds_max(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        Ok(_) | Err(_) => Err("must be a whole number from 1 to 1000000".to_owned()),
    }
}

fn parse_schedule_max(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        Ok(0) | Err(_) => Err("must be a whole number, at least 1".to_owned()),
    }
}

/// Runs a submitter over a connection that is there already and within this future alone: dropped, it is gone.
/// For tests of the whole system in one runtime.
#[doc(hidden)]
pub async fn run_on(bus: Bus, kinds_max: usize, draining: CancellationToken) {
    let (events, storing_events) = EventSender::new(bus.clone(), SERVICE);
    let settler = Arc::new(Settler::new(bus, events, kinds_max));
    let submissions = Intake::of_submissions(settler.clone(), None, SCHEDULE_MAX);
    let due = Intake::of_due(settler);
    tokio::join!(
        Box::pin(submissions.run(draining.clone())),
        Box::pin(due.run(draining)),
        storing_events
    );
}

/// Runs a submitter until it is told to stop.
///
/// # Errors
/// When the server is not there or not fit for Rota, a stream differs from what Rota needs, or a part
/// fails. Once it runs, an interrupted connection is waited out and is no error.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    let bus = args.installation.connect(SERVICE).await?;
    info!(version = env!("CARGO_PKG_VERSION"), server = %bus.server(), role = SERVICE, "ready");
    let lifecycle = Lifecycle::new(shutdown);
    let (events, storing_events) = EventSender::new(bus.clone(), SERVICE);
    lifecycle.spawn("events", async move {
        storing_events.await;
        Ok::<(), Infallible>(())
    });
    let settler = Arc::new(Settler::new(bus.clone(), events, args.kinds_max));
    let (body_max, schedule_max) = (args.body_max, args.schedule_max);
    // The events end when the last sender is gone, so the settler is theirs alone.
    for intake in [
        Intake::of_submissions(settler.clone(), body_max, schedule_max),
        Intake::of_due(settler),
    ] {
        let draining = lifecycle.draining().clone();
        lifecycle.spawn_vital(intake.part(), async move {
            intake.run(draining).await;
            Ok::<(), Infallible>(())
        });
    }
    let outcome = lifecycle.wait_drained(GRACE).await;
    // What is settled must not come again: its acks leave before the connection is closed.
    if let Err(error) = bus.flush().await {
        warn!(%error, "the last acks may be lost, their messages then come again");
    }
    Ok(outcome.into_result()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
        Flags::try_parse_from(std::iter::once("test").chain(flags.iter().copied()))
            .map(|flags| flags.args)
    }

    #[test]
    fn without_flags_only_the_server_limits_a_body() {
        assert_eq!(parse(&[]).expect("the defaults are good").body_max, None);
    }

    #[test]
    fn the_limit_of_kinds_is_that_of_the_lanes_unless_said_otherwise() {
        assert_eq!(parse(&[]).expect("the defaults are good").kinds_max, 10_000);
        let args = parse(&["--kinds-max", "5"]).expect("a number");
        assert_eq!(args.kinds_max, 5);
        for bad in ["0", "many", "1000001"] {
            let told = parse(&["--kinds-max", bad]).unwrap_err().to_string();
            assert!(told.contains("from 1 to 1000000"), "{told}");
        }
    }

    #[test]
    fn a_million_may_wait_in_the_schedule_unless_said_otherwise() {
        let args = parse(&[]).expect("the defaults are good");
        assert_eq!(args.schedule_max, 1_000_000);
        let args = parse(&["--schedule-max", "3"]).expect("a number");
        assert_eq!(args.schedule_max, 3);
        for bad in ["0", "much"] {
            let told = parse(&["--schedule-max", bad]).unwrap_err().to_string();
            assert!(told.contains("at least 1"), "{told}");
        }
    }

    #[test]
    fn the_limit_of_a_body_is_a_whole_number() {
        let args = parse(&["--body-max", "65536"]).expect("a number");
        assert_eq!(args.body_max, Some(65_536));
        assert!(parse(&["--body-max", "64KiB"]).is_err());
    }
}
