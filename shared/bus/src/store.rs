//! Publishing into JetStream: a message is stored when the server says so.
//!
//! Sending and waiting are apart, so that many can be under way at once: [`Bus::store`] sends, the
//! [`Storing`] that it returns waits for the answer.

use std::future::IntoFuture;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode, message::PublishMessage};
use rota_wire::headers::MSG_ID;

use crate::client::Client;
use crate::connect::Bus;
use crate::limit::{Cause, limited};
use crate::message::Message;
use crate::subjects::Subject;

const STORE_FAILED: ErrorCode = ErrorCode(10077);
const MESSAGE_TOO_LARGE: ErrorCode = ErrorCode(10054);

/// What must be true of the stream for the message to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Nothing,
    /// No message on the subject yet: the first one wins.
    First,
    /// The last message on the subject has this sequence: what was read there is replaced, and nothing else.
    Last(u64),
    /// No message with this id within the stream's window for duplicates; if there is one, the answer
    /// is [`Stored::Duplicate`].
    NewId(String),
}

/// The server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is in the stream.
    New {
        /// Its sequence there.
        seq: u64,
    },
    /// A message with the same id came before, so this one was thrown away. The other may be gone from the
    /// stream by now.
    Duplicate {
        /// The other's sequence.
        seq: u64,
    },
}

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is another message on the subject than [`Expect`] says. Not to be repeated.
    #[error("storing on {subject}: another was first")]
    NotFirst {
        /// Where.
        subject: Subject,
    },
    /// The stream is full and refuses. To be repeated later.
    #[error("storing on {subject}: the stream is full")]
    Full {
        /// Where.
        subject: Subject,
        /// What the server says.
        source: Cause,
    },
    /// The message is over the server's or the stream's limit. Not to be repeated.
    #[error("storing on {subject}: the message is too large")]
    TooLarge {
        /// Where.
        subject: Subject,
        /// What the server says.
        source: Cause,
    },
    /// No answer: it may have been stored or not. To be repeated.
    #[error("storing on {subject}: no answer")]
    Unanswered {
        /// Where.
        subject: Subject,
        /// What the client says.
        source: Cause,
    },
}

impl Stored {
    /// The sequence of the message, this one or the other.
    #[must_use]
    pub const fn seq(self) -> u64 {
        match self {
            Self::New { seq } | Self::Duplicate { seq } => seq,
        }
    }
}

impl StoreError {
    /// Whether the same message may be stored later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unanswered { .. })
    }
}

/// A message on its way into a stream.
#[derive(Debug)]
#[must_use = "the message is stored only if the answer says so"]
pub struct Storing {
    subject: Subject,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Nats(PublishAckFuture),
    #[cfg(feature = "memory")]
    Memory(crate::in_memory::Storing),
}

impl Storing {
    /// Waits for the server's answer, at most five seconds.
    ///
    /// # Errors
    /// [`StoreError`] when it was not stored, or nobody knows.
    pub async fn done(self) -> Result<Stored, StoreError> {
        let Self { subject, answer } = self;
        match answer {
            Answer::Nats(answer) => match answer.into_future().await {
                Ok(ack) if ack.duplicate => Ok(Stored::Duplicate { seq: ack.sequence }),
                Ok(ack) => Ok(Stored::New { seq: ack.sequence }),
                Err(error) => Err(classify(subject, error)),
            },
            #[cfg(feature = "memory")]
            Answer::Memory(answer) => answer.done(subject).await,
        }
    }
}

impl Bus {
    /// Sends a message into its stream.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot even be sent.
    pub async fn store(&self, message: Message, expect: Expect) -> Result<Storing, StoreError> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let mut publish = PublishMessage::build().payload(payload);
        if !headers.is_empty() {
            publish = publish.headers(crate::headers::to_map(&headers));
        }
        publish = match expect {
            Expect::Nothing => publish,
            Expect::First => publish.expected_last_subject_sequence(0),
            Expect::Last(seq) => publish.expected_last_subject_sequence(seq),
            Expect::NewId(id) => publish.header(MSG_ID, id.as_str()),
        };
        let jetstream = match self.client() {
            Client::Nats { jetstream, .. } => jetstream,
            #[cfg(feature = "memory")]
            Client::Memory(client) => {
                let publish = publish.outbound_message(subject.as_str().to_owned());
                let answer = Answer::Memory(client.store(publish));
                return Ok(Storing { subject, answer });
            }
        };
        let sending = jetstream.send_publish(subject.as_str().to_owned(), publish);
        match limited(sending).await {
            Ok(Ok(answer)) => {
                let answer = Answer::Nats(answer);
                Ok(Storing { subject, answer })
            }
            Ok(Err(error)) => Err(classify(subject, error)),
            Err(error) => Err(StoreError::Unanswered {
                subject,
                source: error.into(),
            }),
        }
    }

    /// Sends a message into its stream and waits for the answer.
    ///
    /// # Errors
    /// [`StoreError`] when it was not stored, or nobody knows.
    pub async fn store_now(&self, message: Message, expect: Expect) -> Result<Stored, StoreError> {
        self.store(message, expect).await?.done().await
    }
}

fn classify(subject: Subject, error: PublishError) -> StoreError {
    let code = std::error::Error::source(&error)
        .and_then(|inner| inner.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code);
    let kind = error.kind();
    let source = error.into();
    match (kind, code) {
        (PublishErrorKind::WrongLastSequence, _) => StoreError::NotFirst { subject },
        (PublishErrorKind::MaxPayloadExceeded, _) | (_, Some(MESSAGE_TOO_LARGE)) => {
            StoreError::TooLarge { subject, source }
        }
        (_, Some(STORE_FAILED)) => StoreError::Full { subject, source },
        _ => StoreError::Unanswered { subject, source },
    }
}
