//! The bus: everything that Rota does on NATS, and the only crate that names the NATS client.
//!
//! Services say what they mean (submit, pull a lane, store a result, hold a lease) in typed ids; this
//! crate knows the subjects, streams and acks behind it.
//!
//! ```text
//! connect   one connection, its server checked, its ups and downs watched
//! subjects  every subject, built and parsed in one place
//! streams   the streams with their exact settings, created or compared
//! send      core messages; watched: who is not there; echo: whether we hear at all
//! store     publishing into JetStream, with the server's answer
//! clock     the server's time
//! feed      the submitter's durable intake
//! stragglers  what lies at the door and is not brought
//! lanes     the scheduler's queues: open, pull, ack, nak, close
//! lease     leadership and its term, and standing by
//! memory    what a leader leaves to the next
//! retries   a failed task's next attempt, into the schedule
//! tasks     storing dead letters and results
//! results   reading results, and settling one
//! lookup    whether tasks have ended or wait, many at a time
//! inspect   sizes and ages, for those who watch
//! census    how many lanes have tasks and how much is in the schedule, for who lets tasks in
//! events    telling what happened, in batches
//! ```
//!
//! What must hold: every wait on the network has a limit; and nothing of the NATS client is seen from outside.

mod api;
mod census;
mod client;
mod clock;
mod connect;
mod echo;
mod events;
mod feed;
mod headers;
#[cfg(feature = "memory")]
pub mod in_memory;
mod inspect;
mod jetstream;
mod kv;
mod lanes;
mod lease;
mod limit;
mod lookup;
mod memory;
mod message;
mod results;
mod retries;
mod send;
mod store;
mod stragglers;
mod streams;
mod subjects;
mod tasks;
mod watched;

pub use connect::{Bus, BusOptions, ConnectError, Link};
pub use echo::Echo;
pub use events::EventSender;
pub use feed::{FEED_ACK_WAIT, FEED_WAITING_MAX, Feed, FeedError, FeedMessage, FeedSource};
pub use inspect::{InspectError, LaneState, StreamState};
pub use lanes::{
    AckHandle, Closed, Delivered, InputPolicy, LaneError, LaneEvent, LaneInputs, LaneReader,
    Opened, PULL_LIFETIME, PullEnd, Pulled, Stray,
};
pub use lease::{Lease, LeaseError, LeaseHolder, LeaseName, LeaseValidity, LeaseWatch};
pub use limit::Cause;
pub use lookup::{Found, Freshness, LookUpError};
pub use memory::MemoryError;
pub use message::{Message, Received};
pub use results::{ResultError, Settlement, StoredResult};
pub use retries::StoredRetry;
pub use send::{RequestError, SendError, Subscription};
pub use store::{Expect, StoreError, Stored, Storing};
pub use streams::{StreamError, StreamName, StreamOptions};
pub use subjects::{InvalidPrefix, Prefix, Subject, Subjects};
pub use watched::Undelivered;
