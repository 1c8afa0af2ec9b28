//! Leading and standing by: at most one scheduler acts, and another takes over when it is gone.
//!
//! ```text
//! asking for the lease ──had──► leading ──lost, cut off──┐
//!   ▲    └──another's──► standing by                      ▼
//!   └───────────────────────────────────── making sure of the streams
//! ```
//!
//! What must hold: whatever was in the way, also a server that lost all it had, this scheduler leads again
//! by itself once it can.

use std::collections::BTreeSet;
use std::time::Duration;

use rota_bus::{Bus, Lease, LeaseError, LeaseName};
use rota_scheduler_core::Options;
use rota_service::Installation;
use rota_wire::{Micros, WorkerId};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::session::{Ended, Session, SessionError};
use crate::telling::Outlets;

/// How often one who stands by looks whether it can lead.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The lease is given up this long before it runs out, so that no action of ours can come after it.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

pub(crate) struct Leadership {
    bus: Bus,
    installation: Installation,
    options: Options,
    outlets: Outlets,
    /// Names this process among the schedulers.
    holder: String,
    /// Workers of our last term, whose answer to the roll call is awaited.
    known: BTreeSet<WorkerId>,
}

/// What is known before the lease is asked for.
enum Standing {
    /// The streams are there.
    Ready,
    /// Another leads.
    By,
    /// Something was in the way; what was last said of it, so that it is not said every time.
    Hindered(String),
}

impl Leadership {
    pub(crate) fn new(
        bus: Bus,
        installation: Installation,
        options: Options,
        outlets: Outlets,
    ) -> Self {
        let holder = format!("{}-{}", std::process::id(), Micros::now().0);
        Self {
            bus,
            installation,
            options,
            outlets,
            holder,
            known: BTreeSet::new(),
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
            let _ = timeout(LOOK_EVERY, draining.cancelled()).await;
        }
        Ok(())
    }

    async fn step(&mut self, standing: Standing, draining: &CancellationToken) -> Standing {
        if let Standing::Hindered(said) = &standing
            && let Err(error) = self.installation.ensure_streams(&self.bus).await
        {
            return Standing::hindered("cannot make sure of the streams", &error, said);
        }
        let asking = self.bus.acquire_lease(LeaseName::Scheduler, &self.holder);
        match asking.await {
            Ok(Some(lease)) => {
                self.lead(lease, draining).await;
                // The server may have lost its streams in the meantime.
                Standing::Hindered(String::new())
            }
            Ok(None) => {
                if !matches!(standing, Standing::By) {
                    info!("standing by: another scheduler leads");
                }
                Standing::By
            }
            Err(error) => Standing::hindered("cannot ask for the lease", &error, standing.said()),
        }
    }

    async fn lead(&mut self, mut lease: Lease, draining: &CancellationToken) {
        let term = lease.term();
        info!(%term, "leading");
        let known = std::mem::take(&mut self.known);
        let mut session = Session::new(&self.bus, self.options.clone(), &self.outlets, term);
        let ended = tokio::select! {
            biased;
            () = draining.cancelled() => Ok(Ended::Draining),
            error = keep(&mut lease) => Err(SessionError::Lease(error)),
            ended = session.run(known) => ended,
        };
        self.known = session.into_workers();
        match ended {
            Ok(Ended::Draining) => {
                info!(%term, "leading no longer: stopping");
                if let Err(error) = lease.release().await {
                    warn!(%term, error = %rota_service::chain(&error), "the lease runs out by itself");
                }
            }
            Ok(Ended::CutOff) => info!(%term, "leading no longer: the connection was interrupted"),
            Err(error) => {
                warn!(%term, error = %rota_service::chain(&error), "leading no longer");
            }
        }
    }
}

impl Standing {
    fn said(&self) -> &str {
        match self {
            Self::Ready | Self::By => "",
            Self::Hindered(said) => said,
        }
    }

    fn hindered(attempted: &str, error: &dyn std::error::Error, said: &str) -> Self {
        let told = format!("{attempted}: {}", rota_service::chain(error));
        if told != said {
            warn!(error = told, "cannot lead, trying again until it works");
        }
        Self::Hindered(told)
    }
}

/// Renews the lease as long as that is possible, and says why it is not.
async fn keep(lease: &mut Lease) -> LeaseError {
    loop {
        sleep(Lease::renew_every()).await;
        let last_moment = lease.expires() - LEASE_MARGIN;
        let error = match timeout(last_moment - Instant::now(), lease.renew()).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(_) => return LeaseError::NotRenewed,
        };
        if matches!(error, LeaseError::Lost { .. }) || Instant::now() >= last_moment {
            return error;
        }
        warn!(error = %rota_service::chain(&error), "the lease was not renewed, trying again");
    }
}
