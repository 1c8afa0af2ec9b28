//! Standing by: noticing at once that a lease may be had.
//!
//! ```text
//! each 100 ms: is anybody at the holder's subject? ──nobody──────► vacant
//! the key's own subject ──a write: read anew──given up────────────► vacant
//!                     └──no write for as long as a lease lasts─────► vacant
//! ```
//!
//! A hint, not a verdict: whoever is told so asks for the lease, and gets it or not.

use std::time::Duration;

use async_nats::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::{LeaseError, LeaseName, LeaseText};
use crate::client::Subscriber;
use crate::connect::Bus;
use crate::message::Message;
use crate::send::{SendError, Subscription};
use crate::streams::LEASE_TTL;

/// How often the holder's subject is tried.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// Watches a lease that another holds.
pub struct LeaseWatch {
    bus: Bus,
    name: LeaseName,
    writes: Subscription,
    inbox: String,
    answers: Subscriber,
    next_probe: Instant,
    /// When the key was last seen to be written.
    written: Instant,
    /// Whether it was written since it was last read.
    stale: bool,
    holder: Option<String>,
}

/// What a look at the key shows.
enum Look {
    Held,
    Free,
}

impl Bus {
    /// Watches a lease.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] when the connection is closed.
    pub async fn watch_lease(&self, name: LeaseName) -> Result<LeaseWatch, LeaseError> {
        let failed = |error: SendError| LeaseError::Unavailable {
            key: name.key(),
            attempted: "watching",
            source: error.into(),
        };
        let key = name.of(self).subject();
        let writes = self.subscribe(&key).await.map_err(failed)?;
        let inbox = self.client().new_inbox();
        let answers = self.subscribe_raw(&inbox).await.map_err(failed)?;
        Ok(LeaseWatch {
            bus: self.clone(),
            name,
            writes,
            inbox,
            answers,
            next_probe: Instant::now(),
            written: Instant::now(),
            stale: true,
            holder: None,
        })
    }
}

impl LeaseWatch {
    /// Waits until the lease may be had. Safe to cancel.
    pub async fn vacant(&mut self) {
        loop {
            tokio::select! {
                biased;
                Some(message) = self.writes.next() => {
                    self.written = Instant::now();
                    self.stale = true;
                    if crate::kv::is_deleted(&message.headers) {
                        return;
                    }
                }
                Some(message) = self.answers.next() => {
                    if message.status == Some(StatusCode::NO_RESPONDERS) {
                        self.stale = true;
                        return;
                    }
                }
                () = sleep_until(self.next_probe) => {
                    self.next_probe = Instant::now() + PROBE_EVERY;
                    if matches!(self.look().await, Look::Free) {
                        return;
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Look {
        if self.written.elapsed() > LEASE_TTL {
            self.written = Instant::now();
            self.stale = true;
            return Look::Free;
        }
        if self.stale && matches!(self.read().await, Look::Free) {
            return Look::Free;
        }
        if let Some(holder) = &self.holder {
            let probe = Message::new(self.bus.subjects().leader(holder), Bytes::new());
            let sent = self.bus.send_with_reply(probe, self.inbox.clone()).await;
            if let Err(error) = sent {
                debug!(%error, "the lease's holder is not probed");
            }
        }
        Look::Held
    }

    /// Learns who holds it. What is no lease changes nothing: whoever held it writes it anew.
    async fn read(&mut self) -> Look {
        let key = self.name.of(&self.bus);
        match self.bus.read_key(key.as_key()).await {
            Ok(None) => Look::Free,
            Ok(Some(found)) if crate::kv::is_deleted(&found.headers) => Look::Free,
            Ok(Some(found)) => {
                if let Some(text) = LeaseText::parse(&found.headers, &found.body) {
                    self.bus.remembered_lease().note(&text);
                    self.holder = Some(text.holder);
                    self.stale = false;
                }
                Look::Held
            }
            Err(error) => {
                debug!(%error, "the lease cannot be read");
                Look::Held
            }
        }
    }
}
