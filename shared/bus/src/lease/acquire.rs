//! Taking a lease, when it is free or its holder is gone for good.
//!
//! ```text
//! create the key ──had──────────────────────────────────────────────► held
//!    └──it is there──► deleted, or our own from before ──────────► compare-and-set ─► held
//!                     another's ──asked twice: nobody there───────►      ┘
//!                     no lease at all ──its last known holder,
//!                                       and any holder, asked twice──►   ┘
//! ```
//!
//! Two asks, so that one who is just connecting again is not succeeded.

use std::time::Duration;

use bytes::Bytes;
use rota_wire::Term;
use tokio::time::{Instant, sleep};

use super::{LeaseError, LeaseName, LeaseText, describe};
use crate::connect::Bus;
use crate::kv::{KeyError, Value};
use crate::lease::Lease;
use crate::subjects::Subject;

/// How long the holder of a lease is given to show that it lives. That nobody is there is said at once.
const ALIVE_LIMIT: Duration = Duration::from_millis(500);
/// The time between the two asks.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Bus {
    /// Takes the lease if it is free, or if its holder is gone for good. `holder` is a name of letters, digits,
    /// `-` and `_`, and no other process has it.
    ///
    /// # Errors
    /// [`LeaseError::NoBucket`], [`LeaseError::Unavailable`] when the server does not answer.
    pub async fn acquire_lease(
        &self,
        name: LeaseName,
        holder: &str,
    ) -> Result<Option<Lease>, LeaseError> {
        let failed = |error: crate::SendError| LeaseError::Unavailable {
            key: name.key(),
            attempted: "subscribing",
            source: error.into(),
        };
        let alive = self.subscribe(&self.subjects().leader(holder)).await;
        let alive = alive.map_err(failed)?;
        let started = Instant::now();
        let value = Value::Put(Bytes::copy_from_slice(holder.as_bytes()));
        let key = name.of(self);
        let revision = match self.write_key(key.as_key(), value.clone(), Some(0)).await {
            Ok(revision) => Some(revision),
            Err(KeyError::WrongRevision) => self.succeed(name, holder, value).await?,
            Err(error) => return Err(describe(name, "creating", error)),
        };
        let Some(revision) = revision else {
            return Ok(None);
        };
        let any = self.subjects().any_leader(name.key());
        let any = self.subscribe(&any).await.map_err(failed)?;
        let writes = self.subscribe(&key.subject()).await.map_err(failed)?;
        let mut lease = Lease::new(self.clone(), name, holder, Term(revision), started);
        lease.listen(alive, any, writes);
        lease.renew().await?;
        Ok(Some(lease))
    }

    /// Takes over what stands in the key, if nobody acts on it any more.
    async fn succeed(
        &self,
        name: LeaseName,
        holder: &str,
        value: Value,
    ) -> Result<Option<u64>, LeaseError> {
        let key = name.of(self);
        let found = self.read_key(key.as_key()).await;
        let found = found.map_err(|error| describe(name, "reading", error))?;
        // Gone in this moment: the next attempt creates it.
        let Some(found) = found else {
            return Ok(None);
        };
        let is_free = match LeaseText::parse(&found.headers, &found.body) {
            _ if crate::kv::is_deleted(&found.headers) => true,
            Some(text) if text.holder == holder => true,
            Some(text) => {
                self.remembered_lease().note(&text);
                self.are_gone(&[self.subjects().leader(&text.holder)]).await
            }
            None => {
                let mut asked = vec![self.subjects().any_leader(name.key())];
                let known = self.remembered_lease().holder();
                asked.extend(known.map(|known| self.subjects().leader(&known)));
                self.are_gone(&asked).await
            }
        };
        if !is_free {
            return Ok(None);
        }
        match self.write_key(key.as_key(), value, Some(found.seq)).await {
            Ok(revision) => Ok(Some(revision)),
            Err(KeyError::WrongRevision) => Ok(None),
            Err(error) => Err(describe(name, "taking over", error)),
        }
    }

    async fn are_gone(&self, subjects: &[Subject]) -> bool {
        for subject in subjects {
            if !self.is_gone(subject, ALIVE_LIMIT).await {
                return false;
            }
        }
        sleep(ASK_AGAIN_AFTER).await;
        for subject in subjects {
            if !self.is_gone(subject, ALIVE_LIMIT).await {
                return false;
            }
        }
        true
    }
}
