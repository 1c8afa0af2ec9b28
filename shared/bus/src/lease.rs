//! Leases: at most one holder at a time, each with a term that only grows.
//!
//! A lease is a key in the bucket of leases. Whoever creates it holds it; the revision of that write is
//! the term, and the next write tells it to all. The holder renews it; not renewed for five seconds it is free. A holder that is gone for
//! good, because nobody answers on its subject any more, can be succeeded at once.
//!
//! What must hold: a term is won by one compare-and-set, so no two holders have the same; and whoever
//! acts on a lease sends its term along, so that a holder who does not know yet that it lost is refused.

use std::time::Duration;

use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use bytes::Bytes;
use rota_wire::Term;
use tokio::time::Instant;

use crate::connect::{Bus, NETWORK_LIMIT, RequestError, Subscription};
use crate::message::Message;
use crate::streams::LEASE_TTL;

/// How long the holder of a lease is given to answer that it lives.
const ALIVE_LIMIT: Duration = Duration::from_secs(1);

/// The leases that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseName {
    /// Leadership among the schedulers.
    Scheduler,
}

impl LeaseName {
    const fn key(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
        }
    }
}

/// Why a lease cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another holds it now: whoever held it must stop acting on it.
    #[error("lease {key} is another's now")]
    Lost {
        /// Which.
        key: &'static str,
    },
    /// It was not renewed in time, and is about to be free for others.
    #[error("the lease was not renewed in time")]
    NotRenewed,
    /// The server does not answer; whether the lease is kept is not known.
    #[error("lease {key}: {attempted}")]
    Unavailable {
        /// Which.
        key: &'static str,
        /// What was tried.
        attempted: &'static str,
        /// Why.
        source: async_nats::Error,
    },
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Its name.
    pub holder: String,
    /// The term that it won; nothing in the moment in which it has not told it yet.
    pub term: Option<Term>,
    revision: u64,
}

/// A lease that is held, until its time runs out or [`Lease::renew`] says that it is lost.
pub struct Lease {
    name: LeaseName,
    store: kv::Store,
    holder: String,
    term: Term,
    revision: u64,
    renewed: Instant,
    // Its interest on the holder's subject is how others know that it lives.
    alive: Subscription,
}

impl Bus {
    /// Takes the lease if it is free, or if its holder is gone for good.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] when the server does not answer.
    pub async fn acquire_lease(
        &self,
        name: LeaseName,
        holder: &str,
    ) -> Result<Option<Lease>, LeaseError> {
        let key = name.key();
        let store = self.lease_store(key).await?;
        let alive = self
            .subscribe(&self.subjects().leader(holder))
            .await
            .map_err(|error| unavailable(key, "subscribing")(error.into()))?;
        let started = Instant::now();
        let value = Bytes::from(holder.to_owned());
        let revision = match limited(store.create(key, value.clone())).await {
            Ok(Ok(revision)) => Some(revision),
            Ok(Err(error)) if error.kind() == CreateErrorKind::AlreadyExists => {
                self.succeed(&store, key, value).await?
            }
            Ok(Err(error)) => return Err(unavailable(key, "creating")(error.into())),
            Err(error) => return Err(unavailable(key, "creating")(error)),
        };
        let Some(revision) = revision else {
            return Ok(None);
        };
        let mut lease = Lease {
            name,
            store,
            holder: holder.to_owned(),
            term: Term(revision),
            revision,
            renewed: started,
            alive,
        };
        lease.renew().await?;
        Ok(Some(lease))
    }

    /// Who holds a lease now.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] when the server does not answer.
    pub async fn lease_holder(&self, name: LeaseName) -> Result<Option<LeaseHolder>, LeaseError> {
        let store = self.lease_store(name.key()).await?;
        read_holder(&store, name.key()).await
    }

    /// Takes the lease over from a holder that nobody answers for, or that is this process before its
    /// connection broke. Two asks, so that one who is just connecting again is not succeeded.
    async fn succeed(
        &self,
        store: &kv::Store,
        key: &'static str,
        value: Bytes,
    ) -> Result<Option<u64>, LeaseError> {
        let Some(found) = read_holder(store, key).await? else {
            return Ok(None);
        };
        let ours = found.holder.as_bytes() == value.as_ref();
        for _ in 0..if ours { 0 } else { 2 } {
            let ask = Message::new(self.subjects().leader(&found.holder), Bytes::new());
            match self.request(ask, ALIVE_LIMIT).await {
                Err(RequestError::NobodyThere { .. }) => {}
                // Nobody answers such a request: that it was not refused at once shows a subscriber.
                Ok(_) | Err(_) => return Ok(None),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        match limited(store.update(key, value, found.revision)).await {
            Ok(Ok(revision)) => Ok(Some(revision)),
            Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Ok(Err(error)) => Err(unavailable(key, "taking over")(error.into())),
            Err(error) => Err(unavailable(key, "taking over")(error)),
        }
    }

    async fn lease_store(&self, key: &'static str) -> Result<kv::Store, LeaseError> {
        let bucket = self.subjects().lease_bucket();
        match limited(self.jetstream.get_key_value(bucket)).await {
            Ok(Ok(store)) => Ok(store),
            Ok(Err(error)) => Err(unavailable(key, "opening the bucket")(error.into())),
            Err(error) => Err(unavailable(key, "opening the bucket")(error)),
        }
    }
}

impl Lease {
    /// The term that was won with it.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// When the lease is free for others unless it is renewed.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.renewed + LEASE_TTL
    }

    /// How often to renew it.
    #[must_use]
    pub const fn renew_every() -> Duration {
        Duration::from_millis(1_500)
    }

    /// Renews it, and tells its holder and term.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when another holds it; [`LeaseError::Unavailable`] when that is not known,
    /// which is as good as lost once [`Lease::expires`] has passed.
    pub async fn renew(&mut self) -> Result<(), LeaseError> {
        let key = self.name.key();
        self.alive.discard_waiting();
        let started = Instant::now();
        let value = Bytes::from(format!("{} {}", self.holder, self.term));
        match limited(self.store.update(key, value, self.revision)).await {
            Ok(Ok(revision)) => {
                self.revision = revision;
                self.renewed = started;
                Ok(())
            }
            Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                Err(LeaseError::Lost { key })
            }
            Ok(Err(error)) => Err(unavailable(key, "renewing")(error.into())),
            Err(error) => Err(unavailable(key, "renewing")(error)),
        }
    }

    /// Gives it up, so that another can have it at once.
    ///
    /// # Errors
    /// [`LeaseError`] when that is not known to have succeeded; it is free after its time then.
    pub async fn release(self) -> Result<(), LeaseError> {
        let key = self.name.key();
        match limited(self.store.delete_expect_revision(key, Some(self.revision))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(unavailable(key, "releasing")(error.into())),
            Err(error) => Err(unavailable(key, "releasing")(error)),
        }
    }
}

async fn read_holder(
    store: &kv::Store,
    key: &'static str,
) -> Result<Option<LeaseHolder>, LeaseError> {
    match limited(store.entry(key)).await {
        Ok(Ok(Some(entry))) if entry.operation == kv::Operation::Put => {
            let text = String::from_utf8_lossy(&entry.value);
            let mut words = text.split(' ');
            Ok(Some(LeaseHolder {
                holder: words.next().unwrap_or_default().to_owned(),
                term: words.next().and_then(|term| term.parse().ok()).map(Term),
                revision: entry.revision,
            }))
        }
        Ok(Ok(_)) => Ok(None),
        Ok(Err(error)) => Err(unavailable(key, "reading")(error.into())),
        Err(error) => Err(unavailable(key, "reading")(error)),
    }
}

async fn limited<F: Future>(work: F) -> Result<F::Output, async_nats::Error> {
    tokio::time::timeout(NETWORK_LIMIT, work)
        .await
        .map_err(Into::into)
}

fn unavailable(
    key: &'static str,
    attempted: &'static str,
) -> impl FnOnce(async_nats::Error) -> LeaseError {
    move |source| LeaseError::Unavailable {
        key,
        attempted,
        source,
    }
}
