//! The submitter's intake: durable pull consumers shared by all submitters.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{AckKind, Message as JsMessage};
use bytes::Bytes;
use futures_util::StreamExt;
use rota_wire::{Headers, Micros};

use crate::connect::{Bus, NETWORK_LIMIT};
use crate::streams::StreamName;

/// A submission that its submitter neither passed on nor gave back within this time goes to another.
pub const FEED_ACK_WAIT: Duration = Duration::from_secs(10);
/// Submissions that all submitters together may have in hand.
const IN_HAND_MAX: i64 = 8 * 1024;
/// Submissions that one submitter asks for at a time.
const BATCH: usize = 1_000;
/// Submissions that can wait here to be read: it asks anew when half of them are read.
pub const FEED_WAITING_MAX: usize = 2 * BATCH;
/// And so many bytes, if the server's largest message is not larger: what waits here is memory.
const BATCH_BYTES: usize = 32 * 1024 * 1024;

/// Where a feed reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedSource {
    /// ROTA_INTAKE: what people submitted.
    Submissions,
    /// ROTA_SCHEDULE: what has fallen due.
    Due,
}

/// Why a feed cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Its consumer cannot be made or differs.
    #[error("opening consumer {consumer}")]
    Open {
        /// Which.
        consumer: &'static str,
        /// Why.
        source: async_nats::Error,
    },
    /// The server does not answer.
    #[error("opening consumer {consumer}: no answer within 5s")]
    TimedOut {
        /// Which.
        consumer: &'static str,
    },
    /// A read failed; the feed is to be opened again.
    #[error("reading consumer {consumer}")]
    Read {
        /// Which.
        consumer: &'static str,
        /// Why.
        source: async_nats::Error,
    },
}

/// Messages of a durable consumer, each to be acked once it is passed on.
pub struct Feed {
    consumer: &'static str,
    messages: pull::Stream,
}

/// A message of a feed. Dropped without an answer it comes again after ten seconds.
#[derive(Debug)]
pub struct FeedMessage {
    /// Its subject.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
    /// Its sequence in its stream.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    /// When the stream stored it.
    pub stored: Micros,
    inner: JsMessage,
}

impl Bus {
    /// Opens a feed, and makes its consumer when there is none.
    ///
    /// # Errors
    /// [`FeedError`] when the server refuses or does not answer.
    pub async fn feed(&self, source: FeedSource) -> Result<Feed, FeedError> {
        let (consumer, stream, filter) = match source {
            FeedSource::Submissions => (
                "submitter",
                StreamName::Intake,
                self.subjects().submissions(),
            ),
            FeedSource::Due => ("submitter", StreamName::Schedule, self.subjects().all_due()),
        };
        let config = pull::Config {
            durable_name: Some(consumer.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: FEED_ACK_WAIT,
            max_ack_pending: IN_HAND_MAX,
            filter_subject: filter.to_string(),
            ..pull::Config::default()
        };
        let stream = self.subjects().stream(stream.part());
        // A message over the limit of a pull would never be delivered.
        let bytes_max = BATCH_BYTES.max(2 * self.client.server_info().max_payload);
        let opening = async {
            let consumer = self
                .jetstream
                .create_consumer_on_stream(config, stream)
                .await?;
            let messages = consumer
                .stream()
                .max_messages_per_batch(BATCH)
                .max_bytes_per_batch(bytes_max)
                .expires(Duration::from_secs(10));
            Ok(messages
                .heartbeat(Duration::from_secs(3))
                .messages()
                .await?)
        };
        match tokio::time::timeout(NETWORK_LIMIT, opening).await {
            Ok(Ok(messages)) => Ok(Feed { consumer, messages }),
            Ok(Err(source)) => Err(FeedError::Open { consumer, source }),
            Err(_) => Err(FeedError::TimedOut { consumer }),
        }
    }
}

impl Feed {
    /// The next message. Safe to cancel.
    ///
    /// # Errors
    /// [`FeedError::Read`]: the feed is to be opened again.
    pub async fn next(&mut self) -> Result<FeedMessage, FeedError> {
        let consumer = self.consumer;
        let failed = |source| FeedError::Read { consumer, source };
        let next = self.messages.next().await;
        let message = next.ok_or_else(|| failed("the consumer is gone".into()))?;
        FeedMessage::try_new(message.map_err(|error| failed(error.into()))?).map_err(failed)
    }
}

impl FeedMessage {
    fn try_new(inner: JsMessage) -> Result<Self, async_nats::Error> {
        let (sequence, deliveries, stored) = {
            let info = inner.info()?;
            let micros = u64::try_from(info.published.unix_timestamp_nanos() / 1_000).unwrap_or(0);
            (
                info.stream_sequence,
                u32::try_from(info.delivered).unwrap_or(u32::MAX),
                Micros(micros),
            )
        };
        Ok(Self {
            subject: inner.subject.to_string(),
            headers: crate::headers::from_map(inner.headers.as_ref()),
            payload: inner.payload.clone(),
            sequence,
            deliveries,
            stored,
            inner,
        })
    }

    /// It is passed on: the stream may forget it. Sent, not confirmed; if it gets lost, the message comes
    /// again and is recognised.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub async fn ack(&self) -> Result<(), async_nats::Error> {
        tokio::time::timeout(NETWORK_LIMIT, self.inner.ack()).await?
    }

    /// It is still in hand: the time after which another gets it begins anew. Sent, not confirmed.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub async fn renew(&self) -> Result<(), async_nats::Error> {
        let renewal = self.inner.ack_with(AckKind::Progress);
        tokio::time::timeout(NETWORK_LIMIT, renewal).await?
    }

    /// It cannot be passed on now: it comes again after a pause.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub async fn give_back(&self, pause: Duration) -> Result<(), async_nats::Error> {
        let nak = self.inner.ack_with(AckKind::Nak(Some(pause)));
        tokio::time::timeout(NETWORK_LIMIT, nak).await?
    }
}
