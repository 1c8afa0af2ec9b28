//! Leading and standing by: at most one scheduler acts, and another takes over when it is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use rota_bus::{Bus, Lease, LeaseError, LeaseName};
use rota_scheduler_core::Options;
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
    options: Options,
    outlets: Outlets,
    /// Names this process among the schedulers.
    holder: String,
    /// Workers of our last term, whose answer to the roll call is awaited.
    known: BTreeSet<WorkerId>,
}

impl Leadership {
    pub(crate) fn new(bus: Bus, options: Options, outlets: Outlets) -> Self {
        let holder = format!("{}-{}", std::process::id(), Micros::now().0);
        Self {
            bus,
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
        let mut standing_by = false;
        while !draining.is_cancelled() {
            match self
                .bus
                .acquire_lease(LeaseName::Scheduler, &self.holder)
                .await
            {
                Ok(Some(lease)) => {
                    standing_by = false;
                    self.lead(lease, &draining).await;
                }
                Ok(None) if !standing_by => {
                    info!("standing by: another scheduler leads");
                    standing_by = true;
                }
                Ok(None) => {}
                Err(error) => {
                    warn!(error = %rota_service::chain(&error), "cannot ask for the lease")
                }
            }
            let _ = timeout(LOOK_EVERY, draining.cancelled()).await;
        }
        Ok(())
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
