//! The bus: everything that Rota does on NATS, and the only crate that names the NATS client.
//!
//! Services say what they mean (submit, pull a lane, store a result, hold a lease) in typed ids; this
//! crate knows the subjects, streams and acks behind it.
//!
//! ```text
//! connect   one connection, its server checked, its ups and downs watched
//! subjects  every subject, built and parsed in one place
//! streams   the streams with their exact settings, created or compared
//! store     publishing into JetStream, with the server's answer
//! feed      the submitter's durable intake
//! lanes     the scheduler's queues: pull, ack, nak, reset
//! lease     leadership and its term
//! tasks     storing retries, dead letters and results
//! results   reading results
//! inspect   sizes and ages, for those who watch
//! census    how many kinds wait, for who lets them in
//! events    telling what happened, in batches
//! ```
//!
//! What must hold: every wait on the network has a limit.

mod census;
mod connect;
mod events;
mod feed;
mod headers;
mod inspect;
mod lanes;
mod lease;
mod message;
mod results;
mod store;
mod streams;
mod subjects;
mod tasks;

pub use connect::{Bus, BusOptions, ConnectError, Link, RequestError, SendError, Subscription};
pub use events::EventSender;
pub use feed::{FEED_ACK_WAIT, FEED_WAITING_MAX, Feed, FeedError, FeedMessage, FeedSource};
pub use inspect::{InspectError, LaneState, StreamState};
pub use lanes::{
    AckHandle, Delivered, LaneError, LaneEvent, LaneReader, Opened, PULL_LIFETIME, Pulled,
};
pub use lease::{Lease, LeaseError, LeaseHolder, LeaseName};
pub use message::{Message, Received};
pub use results::{ResultError, StoredResult};
pub use store::{Expect, StoreError, Stored, Storing};
pub use streams::{StreamError, StreamName, StreamOptions};
pub use subjects::{InvalidPrefix, Prefix, Subject, Subjects};
