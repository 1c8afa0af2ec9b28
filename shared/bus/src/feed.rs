//! The submitter's intake: durable pull consumers shared by all submitters.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures_util::StreamExt;
use rota_wire::{Headers, Micros};

use crate::connect::Bus;
use crate::lanes::parse_ack;
use crate::limit::{Cause, within};
use crate::streams::StreamName;
use crate::subjects::{Subject, Subjects};

/// A submission that its submitter neither passed on nor gave back within this time goes to another.
pub const FEED_ACK_WAIT: Duration = Duration::from_secs(10);
/// No limit to what is in hand of all submitters together: each bounds its own. Messages that were given back for
/// a while count too, and with a limit those that only a newer Rota can read would hold up all others.
const IN_HAND_MAX: i64 = -1;
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
        source: Cause,
    },
    /// A read failed; the feed is to be opened again.
    #[error("reading consumer {consumer}")]
    Read {
        /// Which.
        consumer: &'static str,
        /// Why.
        source: Cause,
    },
}

/// Messages of a durable consumer, each to be acked once it is passed on.
pub struct Feed {
    bus: Bus,
    consumer: &'static str,
    messages: Messages,
}

enum Messages {
    Nats(Box<pull::Stream>),
    #[cfg(feature = "memory")]
    Memory(crate::in_memory::Puller),
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
    bus: Bus,
    origin: Origin,
}

/// How a message came here, and so how it is answered.
#[derive(Debug)]
enum Origin {
    /// A consumer delivered it, and is answered there.
    Delivered(async_nats::Subject),
    /// It was read from its stream, of this name. Nobody waits for an answer.
    Found(String),
}

impl FeedSource {
    pub(crate) const fn consumer(self) -> &'static str {
        "submitter"
    }

    pub(crate) const fn stream(self) -> StreamName {
        match self {
            Self::Submissions => StreamName::Intake,
            Self::Due => StreamName::Schedule,
        }
    }

    pub(crate) fn subject(self, subjects: &Subjects) -> Subject {
        match self {
            Self::Submissions => subjects.submissions(),
            Self::Due => subjects.all_due(),
        }
    }
}

impl Bus {
    /// Opens a feed, and makes its consumer when there is none.
    ///
    /// # Errors
    /// [`FeedError`] when the server refuses or does not answer.
    pub async fn feed(&self, source: FeedSource) -> Result<Feed, FeedError> {
        let consumer = source.consumer();
        let config = pull::Config {
            durable_name: Some(consumer.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: FEED_ACK_WAIT,
            max_ack_pending: IN_HAND_MAX,
            filter_subject: source.subject(self.subjects()).to_string(),
            ..pull::Config::default()
        };
        let stream = self.subjects().stream(source.stream().part());
        // A message over the limit of a pull would never be delivered.
        let bytes_max = BATCH_BYTES.max(2 * self.payload_max());
        let opening = async {
            #[cfg(feature = "memory")]
            if let crate::client::Client::Memory(client) = self.client() {
                self.make_consumer(&stream, config).await?;
                let puller = client.puller(&stream, consumer, BATCH);
                return Ok(Messages::Memory(puller));
            }
            let creating = self.jetstream()?.create_consumer_on_stream(config, stream);
            let consumer = creating.await?;
            let messages = consumer
                .stream()
                .max_messages_per_batch(BATCH)
                .max_bytes_per_batch(bytes_max)
                .expires(Duration::from_secs(10));
            let messages = messages.heartbeat(Duration::from_secs(3)).messages();
            Ok::<_, Cause>(Messages::Nats(Box::new(messages.await?)))
        };
        match within(Box::pin(opening)).await {
            Ok(messages) => Ok(Feed {
                bus: self.clone(),
                consumer,
                messages,
            }),
            Err(source) => Err(FeedError::Open { consumer, source }),
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
        let next = match &mut self.messages {
            Messages::Nats(messages) => messages.next().await.map(|next| match next {
                Ok(message) => Ok(message.message),
                Err(error) => Err(error.into()),
            }),
            #[cfg(feature = "memory")]
            Messages::Memory(messages) => Some(messages.next().await),
        };
        let message = next.ok_or_else(|| failed("the consumer is gone".into()))?;
        FeedMessage::try_new(&self.bus, message.map_err(failed)?).map_err(failed)
    }
}

impl FeedMessage {
    fn try_new(bus: &Bus, message: async_nats::Message) -> Result<Self, Cause> {
        let reply = message.reply.ok_or("a message without an ack subject")?;
        let read = parse_ack(&reply).ok_or("a message with another ack subject")?;
        Ok(Self {
            subject: message.subject.to_string(),
            headers: crate::headers::from_map(message.headers.as_ref()),
            payload: message.payload,
            sequence: read.delivery.seq,
            deliveries: read.delivery.count,
            stored: read.stored,
            bus: bus.clone(),
            origin: Origin::Delivered(reply),
        })
    }

    pub(crate) fn found(bus: Bus, stream: String, message: StreamMessage, stored: Micros) -> Self {
        Self {
            subject: message.subject.to_string(),
            headers: crate::headers::from_map(Some(&message.headers)),
            payload: message.payload,
            sequence: message.sequence,
            // How often, nobody knows any more; but it may have been.
            deliveries: 2,
            stored,
            bus,
            origin: Origin::Found(stream),
        }
    }

    /// It is passed on: the stream may forget it. Sent, not confirmed; if it gets lost, the message comes
    /// again and is recognised.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub async fn ack(&self) -> Result<(), Cause> {
        match &self.origin {
            Origin::Delivered(_) => self.answer(Bytes::from_static(b"+ACK")).await,
            Origin::Found(stream) => Ok(self.bus.delete_message(stream, self.sequence).await?),
        }
    }

    /// It is still in hand: the time after which another gets it begins anew. Sent, not confirmed.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub async fn renew(&self) -> Result<(), Cause> {
        self.answer(Bytes::from_static(b"+WPI")).await
    }

    /// It cannot be passed on now: it comes again after a pause.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub async fn give_back(&self, pause: Duration) -> Result<(), Cause> {
        let nak = format!(r#"-NAK {{"delay":{}}}"#, pause.as_nanos());
        self.answer(nak.into()).await
    }

    async fn answer(&self, body: Bytes) -> Result<(), Cause> {
        match &self.origin {
            Origin::Delivered(reply) => {
                within(self.bus.client().publish(reply.clone(), body)).await
            }
            Origin::Found(_) => Ok(()),
        }
    }
}
