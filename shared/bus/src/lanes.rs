//! The scheduler's side of ROTA_READY: one durable pull consumer for each lane, which is opened at the
//! start of each term; and the answers to what it delivers.
//!
//! ```text
//! consumers  which lanes there are; opening and closing them
//! reader     what they deliver, within one budget of bytes
//! messages   reading a message anew, acks and naks
//! ```
//!
//! What must hold: whoever opens a lane learns of everything that was ever delivered from it, unless
//! somebody deletes its consumer while nobody leads.

mod budget;
mod consumers;
mod messages;
mod pulls;
mod reader;
mod sizes;
mod strays;

use rota_wire::{Delivery, Headers, Input, Lane, Micros};

pub(crate) use self::consumers::lane_of_consumer;
pub(crate) use self::messages::parse_ack;
pub use self::reader::{InputPolicy, LaneEvent, LaneReader, PULL_LIFETIME, PullEnd};
pub use self::strays::Stray;
use crate::limit::Cause;

/// Why a lane cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Its consumer cannot be made or reset.
    #[error("opening lane {lane}")]
    Open {
        /// Which.
        lane: Lane,
        /// Why.
        source: Cause,
    },
    /// Its consumer cannot be looked at or deleted.
    #[error("closing lane {lane}")]
    Close {
        /// Which.
        lane: Lane,
        /// Why.
        source: Cause,
    },
    /// Its consumer cannot be looked at or changed.
    #[error("inspecting lane {lane}")]
    Inspect {
        /// Which.
        lane: Lane,
        /// Why.
        source: Cause,
    },
    /// The server does not tell which lanes there are.
    #[error("listing lanes")]
    List {
        /// Why.
        source: Cause,
    },
    /// A message cannot be read again.
    #[error("reading message {sequence} of the ready stream")]
    Message {
        /// Its sequence.
        sequence: u64,
        /// Why.
        source: Cause,
    },
}

/// How the inputs of a lane's tasks come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneInputs {
    /// With the messages.
    Along,
    /// They stay in the stream, and only their size comes: whoever runs a task reads its input there.
    Apart,
}

/// What a lane was found to hold when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Deliveries of earlier terms that are not acked, at most; each comes again, first of all.
    pub unacked: u32,
    /// The last sequence that earlier terms were given.
    pub delivered_to: u64,
    /// How its inputs come.
    pub inputs: LaneInputs,
}

/// Whether a lane was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Its consumer is gone.
    Yes,
    /// Something is delivered and not acked, so it stays open.
    InUse,
}

/// How to answer a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckHandle(async_nats::Subject);

/// A message of a lane.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Which lane.
    pub lane: Lane,
    /// Its sequence, and how often it was handed out.
    pub delivery: Delivery,
    /// Messages of the lane that were not handed out when this one was.
    pub pending: u64,
    /// Its headers.
    pub headers: Headers,
    /// The task's input.
    pub input: Input,
    /// How to answer it.
    pub ack: AckHandle,
}

/// A message read once more, by its sequence.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Its place in the stream: its sequence, and when it was stored. The time tells apart a stream that was made anew.
    pub place: (u64, Micros),
    /// Its headers.
    pub headers: Headers,
    /// The task's input.
    pub payload: bytes::Bytes,
}
