//! Leases: at most one holder at a time, each with a term that only grows.
//!
//! A lease is a key in the bucket of leases. Whoever creates it holds it; the revision of that write is
//! the term, and the next write tells it to all. The holder renews it; not renewed for five seconds it is free. A holder that is gone for
//! good, because nobody answers on its subject any more, can be succeeded at once.
//!
//! ```text
//! acquire ──► Lease ──due: in time, or written over by what is no lease──► renew ──► Lease
//!                 └──another holds it, or its time is over──► lost
//! ```
//!
//! What must hold: a term is won by one compare-and-set, so no two holders have the same; and whoever
//! acts on a lease sends its term along, so that a holder who does not know yet that it lost is refused.
//! What nobody could have written who holds a lease ends none: it is written over, and the term goes on.

mod acquire;
mod text;
mod validity;
mod watch;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rota_wire::{Dialect, Term};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, warn};

use self::text::LeaseText;
pub use self::validity::LeaseValidity;
use self::validity::MARGIN;
pub use self::watch::LeaseWatch;
use crate::connect::Bus;
use crate::kv::{Key, KeyError, Value};
use crate::limit::Cause;
use crate::send::Subscription;
use crate::streams::LEASE_TTL;
use crate::subjects::{Subject, Subjects};

/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_millis(1_500);
/// How soon after a renewal that failed.
const RENEW_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// The least time between two renewals, however often others write on the key.
const RENEW_PAUSE: Duration = Duration::from_millis(5);
/// How often a lease is written anew, in one renewal, over what keeps coming between.
const REPAIRS_MAX: usize = 16;
/// How often a key is read that has no lease in it, before that is told.
const READS_MAX: usize = 10;
/// The time between two of these: its holder is about to write it anew.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(20);

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

    fn of(self, bus: &Bus) -> LeaseKey {
        LeaseKey {
            bucket: bus.subjects().lease_bucket(),
            key: self.key(),
        }
    }
}

/// Where a lease is written.
struct LeaseKey {
    bucket: String,
    key: &'static str,
}

impl LeaseKey {
    fn as_key(&self) -> Key<'_> {
        Key {
            bucket: &self.bucket,
            key: self.key,
        }
    }

    fn subject(&self) -> Subject {
        Subjects::key(&self.bucket, self.key)
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
    /// There is no bucket of leases: the server has lost its streams, or nobody has made them yet.
    #[error("lease {key}: there is no bucket of leases")]
    NoBucket {
        /// Which.
        key: &'static str,
    },
    /// The server does not answer; whether the lease is kept is not known.
    #[error("lease {key}: {attempted}")]
    Unavailable {
        /// Which.
        key: &'static str,
        /// What was tried.
        attempted: &'static str,
        /// Why.
        source: Cause,
    },
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Its name.
    pub holder: String,
    /// The term that it won; nothing in the moment in which it has not told it yet.
    pub term: Option<Term>,
    /// What it reads and writes.
    pub dialect: Dialect,
}

/// The last holder of which this process has heard. What is no lease does not tell whom to ask.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    holder: Mutex<Option<String>>,
}

impl Remembered {
    fn note(&self, text: &LeaseText) {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        *holder = Some(text.holder.clone());
    }

    fn holder(&self) -> Option<String> {
        let holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        holder.clone()
    }
}

impl Bus {
    /// Who holds a lease now.
    ///
    /// # Errors
    /// [`LeaseError::NoBucket`]; [`LeaseError::Unavailable`] when the server does not answer, or when what is
    /// written there is no lease.
    pub async fn lease_holder(&self, name: LeaseName) -> Result<Option<LeaseHolder>, LeaseError> {
        let key = name.of(self);
        for _ in 0..READS_MAX {
            let found = self.read_key(key.as_key()).await;
            let found = found.map_err(|error| describe(name, "reading", error))?;
            let Some(found) = found.filter(|found| !crate::kv::is_deleted(&found.headers)) else {
                return Ok(None);
            };
            if let Some(text) = LeaseText::parse(&found.headers, &found.body) {
                self.remembered_lease().note(&text);
                let LeaseText {
                    holder,
                    term,
                    dialect,
                } = text;
                return Ok(Some(LeaseHolder {
                    holder,
                    term,
                    dialect,
                }));
            }
            sleep(READ_AGAIN_AFTER).await;
        }
        Err(LeaseError::Unavailable {
            key: name.key(),
            attempted: "reading",
            source: "what is written there is no lease".into(),
        })
    }
}

/// A lease that is held, until its time runs out or [`Lease::renew`] says that it is lost.
pub struct Lease {
    bus: Bus,
    name: LeaseName,
    holder: String,
    term: Term,
    value: Bytes,
    revision: u64,
    renewed: Instant,
    /// When it was last tried to renew it.
    tried: Instant,
    validity: LeaseValidity,
    // Interest on the holder's subjects is how others know that it lives.
    alive: Vec<Subscription>,
    writes: Option<Subscription>,
}

impl Lease {
    fn new(bus: Bus, name: LeaseName, holder: &str, term: Term, started: Instant) -> Self {
        Self {
            bus,
            name,
            holder: holder.to_owned(),
            term,
            value: LeaseText::write(holder, term).into(),
            revision: term.0,
            renewed: started,
            tried: started,
            validity: LeaseValidity::new(started + LEASE_TTL),
            alive: Vec::new(),
            writes: None,
        }
    }

    fn listen(&mut self, alive: Subscription, any: Subscription, writes: Subscription) {
        self.alive = vec![alive, any];
        self.writes = Some(writes);
    }

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

    /// Tells whether it is held, also to those who do not have it in hand.
    #[must_use]
    pub fn validity(&self) -> LeaseValidity {
        self.validity.clone()
    }

    /// Renews it for as long as that is possible, and says why it is not. Safe to cancel, and to call again.
    pub async fn keep(&mut self) -> LeaseError {
        let mut warned = false;
        loop {
            self.due().await;
            let last_moment = self.expires() - MARGIN;
            let error = match timeout_at(last_moment, self.renew()).await {
                Ok(Ok(())) => {
                    warned = false;
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => LeaseError::NotRenewed,
            };
            if !matches!(error, LeaseError::Unavailable { .. }) || Instant::now() >= last_moment {
                self.validity.end();
                return error;
            }
            if !std::mem::replace(&mut warned, true) {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the lease was not renewed, trying again"
                );
            }
        }
    }

    /// Waits until it is to be renewed: its time has come, or another has written on its key. Safe to cancel.
    pub async fn due(&mut self) {
        let at = if self.tried == self.renewed {
            self.renewed + RENEW_EVERY
        } else {
            self.tried + RENEW_AGAIN_AFTER
        };
        let Some(writes) = &mut self.writes else {
            return sleep_until(at).await;
        };
        loop {
            tokio::select! {
                biased;
                () = sleep_until(at) => return,
                Some(message) = writes.next() => {
                    if message.payload != self.value {
                        break;
                    }
                }
            }
        }
        sleep_until(self.tried + RENEW_PAUSE).await;
    }

    /// Renews it, and tells its holder, term and dialect.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when another holds it; [`LeaseError::Unavailable`] when that is not known,
    /// which is as good as lost once [`Lease::expires`] has passed.
    pub async fn renew(&mut self) -> Result<(), LeaseError> {
        for waiting in self.alive.iter_mut().chain(&mut self.writes) {
            waiting.discard_waiting();
        }
        for _ in 0..REPAIRS_MAX {
            self.tried = Instant::now();
            let value = Value::Put(self.value.clone());
            let key = self.name.of(&self.bus);
            match self
                .bus
                .write_key(key.as_key(), value, Some(self.revision))
                .await
            {
                Ok(revision) => {
                    self.revision = revision;
                    self.renewed = self.tried;
                    self.validity.extend(self.expires());
                    return Ok(());
                }
                Err(KeyError::WrongRevision) => self.look_at_change().await?,
                Err(error) => return Err(describe(self.name, "renewing", error)),
            }
        }
        Err(LeaseError::Unavailable {
            key: self.name.key(),
            attempted: "renewing",
            source: "others keep writing over it".into(),
        })
    }

    /// The key has another revision than we gave it. If that is our own write, whose answer we did not hear,
    /// or what is no lease, the next write goes over it.
    async fn look_at_change(&mut self) -> Result<(), LeaseError> {
        let key = self.name.of(&self.bus);
        let found = self.bus.read_key(key.as_key()).await;
        let found = found.map_err(|error| describe(self.name, "reading", error))?;
        let found = found.filter(|found| !crate::kv::is_deleted(&found.headers));
        let is_ours = |text: LeaseText| {
            text.holder == self.holder && text.term.is_none_or(|term| term == self.term)
        };
        match found {
            Some(found) if LeaseText::parse(&found.headers, &found.body).is_none_or(is_ours) => {
                debug!(revision = found.seq, "writing the lease anew");
                self.revision = found.seq;
                Ok(())
            }
            Some(_) | None => {
                self.validity.end();
                let key = self.name.key();
                Err(LeaseError::Lost { key })
            }
        }
    }

    /// Gives it up, so that another can have it at once.
    ///
    /// # Errors
    /// [`LeaseError`] when that is not known to have succeeded; it is free after its time then.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.validity.end();
        let key = self.name.of(&self.bus);
        for _ in 0..REPAIRS_MAX {
            let expected = Some(self.revision);
            match self
                .bus
                .write_key(key.as_key(), Value::Deleted, expected)
                .await
            {
                Ok(_) => return Ok(()),
                Err(KeyError::WrongRevision) => self.look_at_change().await?,
                Err(error) => return Err(describe(self.name, "releasing", error)),
            }
        }
        Err(LeaseError::Unavailable {
            key: self.name.key(),
            attempted: "releasing",
            source: "others keep writing over it".into(),
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.validity.end();
    }
}

fn describe(name: LeaseName, attempted: &'static str, error: KeyError) -> LeaseError {
    let key = name.key();
    match error {
        KeyError::NoBucket => LeaseError::NoBucket { key },
        KeyError::WrongRevision | KeyError::Failed(_) => LeaseError::Unavailable {
            key,
            attempted,
            source: error.into(),
        },
    }
}
