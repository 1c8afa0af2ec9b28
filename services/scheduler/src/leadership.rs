//! Leading and standing by: at most one scheduler acts, and another takes over when it is gone.
//!
//! ```text
//! asking for the lease ──had──► leading ──lost, cut off──┐
//!   ▲    └──another's──► standing by                      ▼
//!   └──────────────────────── making sure of the streams, if one was not found
//! ```
//!
//! Who stands by hears the workers, so that it knows whose answer to its roll call to wait for.
//!
//! What must hold: whatever was in the way, also a server that lost all it had, this scheduler leads again
//! by itself once it can.

use std::collections::BTreeSet;
use std::time::Duration;

use rota_bus::{Bus, Lease, LeaseError, LeaseName};
use rota_scheduler_core::Options;
use rota_service::Installation;
use rota_wire::{LeaderMemory, Micros, WorkerId};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::reporting::Outlets;
use crate::requests::store_memory;
use crate::session::{Ended, Session, SessionError, Start};
use crate::standby::Standby;

/// Between two attempts to lead when something was in the way.
const HINDERED_PAUSE: Duration = Duration::from_millis(250);
/// How long what earlier leaders learned is waited for.
const MEMORY_LIMIT: Duration = Duration::from_millis(500);

/// What a scheduler has of its own.
pub(crate) struct Identity {
    /// Names it among the schedulers.
    pub(crate) holder: String,
    /// Decides where there is a choice; a new one for each term when nothing is given.
    pub(crate) seed: Option<u64>,
}

impl Identity {
    /// No other process has it.
    pub(crate) fn of_process() -> Self {
        let holder = format!("{}-{}", std::process::id(), Micros::now().0);
        Self { holder, seed: None }
    }
}

pub(crate) struct Leadership {
    bus: Bus,
    clock: Clock,
    installation: Installation,
    options: Options,
    outlets: Outlets,
    identity: Identity,
    /// Workers whose answer to the next roll call is awaited.
    known: BTreeSet<WorkerId>,
    /// What our last term had learned.
    memory: Option<LeaderMemory>,
}

/// What is known before the lease is asked for.
enum Standing {
    Ready,
    /// Something was in the way; what was last said of it, so that it is not said every time.
    Hindered {
        said: String,
        streams: Streams,
    },
}

/// Whether the streams have to be made sure of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Streams {
    There,
    Missing,
}

impl Leadership {
    pub(crate) fn new(
        bus: Bus,
        identity: Identity,
        installation: Installation,
        options: Options,
        outlets: Outlets,
    ) -> Self {
        Self {
            bus,
            identity,
            clock: Clock::start(),
            installation,
            options,
            outlets,
            known: BTreeSet::new(),
            memory: None,
        }
    }

    /// Leads whenever it can, until it is told to stop. Trouble with the connection is waited out.
    pub(crate) async fn run(
        mut self,
        draining: CancellationToken,
    ) -> Result<(), std::convert::Infallible> {
        let mut standing = Standing::Ready;
        while !draining.is_cancelled() {
            standing = self.step(standing, &draining).await;
            if matches!(standing, Standing::Hindered { .. }) {
                let _ = timeout(HINDERED_PAUSE, draining.cancelled()).await;
            }
        }
        Ok(())
    }

    async fn step(&mut self, standing: Standing, draining: &CancellationToken) -> Standing {
        if let Standing::Hindered {
            said,
            streams: Streams::Missing,
        } = &standing
            && let Err(error) = self.installation.ensure_streams(&self.bus).await
        {
            let attempted = "cannot make sure of the streams";
            return Standing::hindered(attempted, &error, said, Streams::Missing);
        }
        let asking = self
            .bus
            .acquire_lease(LeaseName::Scheduler, &self.identity.holder);
        let error = match asking.await {
            Ok(Some(lease)) => match self.lead(lease, draining).await {
                Ok(()) => return Standing::Ready,
                Err(streams) => {
                    let said = String::new();
                    return Standing::Hindered { said, streams };
                }
            },
            Ok(None) => match self.stand_by(draining).await {
                Ok(()) => return Standing::Ready,
                Err(error) => error,
            },
            Err(error) => error,
        };
        let streams = if matches!(error, LeaseError::NoBucket { .. }) {
            Streams::Missing
        } else {
            Streams::There
        };
        let attempted = "cannot ask for the lease";
        Standing::hindered(attempted, &error, standing.said(), streams)
    }

    /// Waits until the lease can be had, or the process is told to stop.
    async fn stand_by(&mut self, draining: &CancellationToken) -> Result<(), LeaseError> {
        info!("standing by: another scheduler leads");
        let mut watch = self.bus.watch_lease(LeaseName::Scheduler).await?;
        let mut standby = Standby::begin(&self.bus, self.known.iter().cloned()).await;
        tokio::select! {
            biased;
            () = draining.cancelled() => {}
            () = watch.vacant() => {}
            () = standby.listen() => {}
        }
        self.known = standby.workers();
        Ok(())
    }

    async fn lead(
        &mut self,
        mut lease: Lease,
        draining: &CancellationToken,
    ) -> Result<(), Streams> {
        let term = lease.term();
        info!(%term, "leading");
        let start = Start {
            term,
            validity: lease.validity(),
            seed: self.identity.seed,
            known: std::mem::take(&mut self.known),
            memory: self.recall().await,
        };
        let options = self.options.clone();
        let mut session = Session::new(&self.bus, self.clock, options, &self.outlets, start);
        let ended = tokio::select! {
            biased;
            () = draining.cancelled() => Ok(Ended::Draining),
            error = lease.keep() => Err(SessionError::Lease(error)),
            ended = session.run() => ended,
        };
        let (known, memory) = session.into_known();
        self.known = known;
        match ended {
            Ok(Ended::Draining) => {
                info!(%term, "leading no longer: stopping");
                let _ = timeout(MEMORY_LIMIT, store_memory(&self.bus, &memory)).await;
                if let Err(error) = lease.release().await {
                    warn!(%term, error = %rota_service::chain(&error), "the lease runs out by itself");
                }
            }
            Ok(Ended::CutOff) => info!(%term, "leading no longer: the connection was interrupted"),
            Err(error) => {
                warn!(%term, error = %rota_service::chain(&error), "leading no longer");
                self.memory = Some(memory);
                return Err(match error {
                    SessionError::Lease(LeaseError::NoBucket { .. }) => Streams::Missing,
                    // Whether they are there is asked only then: it takes its time while servers change.
                    SessionError::Lease(_) | SessionError::Act(_) => Streams::There,
                });
            }
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// What the last leader has learned: as it was stored, or as this process remembers.
    async fn recall(&mut self) -> Option<LeaderMemory> {
        let stored = timeout(MEMORY_LIMIT, self.bus.load_memory()).await;
        match stored {
            Ok(Ok(Some(stored))) => Some(stored),
            Ok(Ok(None)) | Err(_) => self.memory.take(),
            Ok(Err(error)) => {
                warn!(error = %rota_service::chain(&error), "what earlier leaders learned cannot be read");
                self.memory.take()
            }
        }
    }
}

impl Standing {
    fn said(&self) -> &str {
        match self {
            Self::Ready => "",
            Self::Hindered { said, .. } => said,
        }
    }

    fn hindered(
        attempted: &str,
        error: &dyn std::error::Error,
        said: &str,
        streams: Streams,
    ) -> Self {
        let told = format!("{attempted}: {}", rota_service::chain(error));
        if told != said {
            warn!(error = told, "cannot lead, trying again until it works");
        }
        Self::Hindered {
            said: told,
            streams,
        }
    }
}
