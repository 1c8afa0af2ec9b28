//! The scheduler's side of ROTA_READY: one durable pull consumer for each lane, which is opened at the
//! start of each term; and the answers to what it delivers. The messages come through the [`reader`].
//!
//! What must hold: whoever opens a lane learns of everything that was ever delivered from it, unless
//! somebody deletes its consumer while nobody leads.

mod reader;

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use bytes::Bytes;
use rota_wire::{Delivery, Headers, Lane};

pub use self::reader::{LaneEvent, LaneReader, PULL_LIFETIME};
use crate::connect::{Bus, NETWORK_LIMIT, SendError};
use crate::streams::StreamName;
use crate::subjects::Subject;

/// The backstop: a delivery that no leader answers comes again after this.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// The consumer's own note of the last sequence that it was ever given, kept across resets.
const DELIVERED_TO: &str = "rota_delivered_to";
/// The most messages that may be delivered and not acked in one lane.
const IN_FLIGHT_MAX: i64 = 100_000;

/// Why a lane cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Its consumer cannot be made or reset.
    #[error("opening lane {lane}")]
    Open {
        /// Which.
        lane: Lane,
        /// Why.
        source: async_nats::Error,
    },
    /// The server does not answer.
    #[error("opening lane {lane}: no answer within 5s")]
    TimedOut {
        /// Which.
        lane: Lane,
    },
    /// The server does not tell which lanes there are.
    #[error("listing lanes")]
    List {
        /// Why.
        source: async_nats::Error,
    },
    /// A message cannot be read again.
    #[error("reading message {sequence} of the ready stream")]
    Message {
        /// Its sequence.
        sequence: u64,
        /// Why.
        source: async_nats::Error,
    },
}

/// What a lane was found to hold when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Deliveries of earlier terms that are not acked, at most; each comes again, first of all.
    pub unacked: u32,
    /// The last sequence that earlier terms were given.
    pub delivered_to: u64,
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
    pub payload: Bytes,
    /// How to answer it.
    pub ack: AckHandle,
}

/// A message read once more, by its sequence.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Its headers.
    pub headers: Headers,
    /// The task's input.
    pub payload: Bytes,
}

impl Bus {
    /// The lanes that have messages now.
    ///
    /// # Errors
    /// [`LaneError::List`] when the server does not tell.
    pub async fn lanes(&self) -> Result<Vec<Lane>, LaneError> {
        let found = self
            .ready_subjects()
            .await
            .map_err(|source| LaneError::List { source })?;
        Ok(found
            .into_iter()
            .filter_map(|(name, _)| self.subjects().parse_lane(&name))
            .collect())
    }

    /// Opens a lane: makes its consumer, or resets the one that earlier terms have left, so that all
    /// that is not acked comes again.
    ///
    /// # Errors
    /// [`LaneError`] when the server refuses or does not answer.
    pub async fn open_lane(&self, lane: &Lane) -> Result<Opened, LaneError> {
        match tokio::time::timeout(NETWORK_LIMIT, self.reset_consumer(lane)).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(source)) => Err(LaneError::Open {
                lane: lane.clone(),
                source,
            }),
            Err(_) => Err(LaneError::TimedOut { lane: lane.clone() }),
        }
    }

    /// A reset makes the consumer forget how far it had come. If the one who reset it dies before all has
    /// come again, the next would take the rest for new. So the mark is kept beside it, and written first.
    async fn reset_consumer(&self, lane: &Lane) -> Result<Opened, async_nats::Error> {
        let name = consumer_name(lane);
        let stream = self.subjects().stream(StreamName::Ready.part());
        let mut config = pull::Config {
            durable_name: Some(name.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: IN_FLIGHT_MAX,
            max_waiting: 4_096,
            filter_subject: self.subjects().ready(lane).to_string(),
            ..pull::Config::default()
        };
        let ready = self.jetstream.get_stream_no_info(&stream).await?;
        let found = match ready.consumer_info(&name).await {
            Ok(found) => found,
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
                ready.create_consumer(config).await?;
                return Ok(Opened {
                    unacked: 0,
                    delivered_to: 0,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let came = found.delivered.stream_sequence;
        let mark = found.config.metadata.get(DELIVERED_TO);
        let mark = mark.and_then(|mark| mark.parse().ok()).unwrap_or(0);
        let delivered_to = came.max(mark);
        config
            .metadata
            .insert(DELIVERED_TO.to_owned(), delivered_to.to_string());
        ready.create_consumer(config).await?;
        if came > 0 {
            ready.reset_consumer(&name, None).await?;
        }
        // Below the mark nothing tells which of those that have not come yet are acked or new.
        let not_come = if came < mark { found.num_pending } else { 0 };
        let unacked = u64::try_from(found.num_ack_pending)?.saturating_add(not_come);
        Ok(Opened {
            unacked: u32::try_from(unacked).unwrap_or(u32::MAX),
            delivered_to,
        })
    }

    /// Reads a message of ROTA_READY by its sequence, as long as it is not acked.
    ///
    /// # Errors
    /// [`LaneError::Message`] when it cannot be read.
    pub async fn ready_message(&self, sequence: u64) -> Result<Pulled, LaneError> {
        let reading = async {
            let stream = self.subjects().stream(StreamName::Ready.part());
            let stream = self.jetstream.get_stream_no_info(stream).await?;
            let found = stream.get_raw_message(sequence).await?;
            let headers = crate::headers::from_map(Some(&found.headers));
            Ok(Pulled {
                headers,
                payload: found.payload,
            })
        };
        match tokio::time::timeout(NETWORK_LIMIT, reading).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(source)) => Err(LaneError::Message { sequence, source }),
            Err(elapsed) => Err(LaneError::Message {
                sequence,
                source: elapsed.into(),
            }),
        }
    }

    /// The task of a delivery is settled: the stream may forget it.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn ack(&self, handle: &AckHandle) -> Result<(), SendError> {
        self.answer(handle, Bytes::new()).await
    }

    /// The delivery is to come again at once.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn nak(&self, handle: &AckHandle) -> Result<(), SendError> {
        self.answer(handle, Bytes::from_static(b"-NAK")).await
    }

    async fn answer(&self, handle: &AckHandle, body: Bytes) -> Result<(), SendError> {
        let subject = || Subject::raw(handle.0.to_string());
        match tokio::time::timeout(NETWORK_LIMIT, self.client.publish(handle.0.clone(), body)).await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SendError::Refused {
                subject: subject(),
                source: source.into(),
            }),
            Err(_) => Err(SendError::TimedOut { subject: subject() }),
        }
    }
}

pub(crate) fn consumer_name(lane: &Lane) -> String {
    format!("lane_{}_{}", lane.kind, lane.priority)
}
