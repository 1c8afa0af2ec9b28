//! Core messages: sending, asking, subscribing.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use crate::client::Subscriber;
use crate::connect::Bus;
use crate::limit::{Cause, NETWORK_LIMIT, limited};
use crate::message::{Message, Received};
use crate::subjects::Subject;

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The connection has no room and took none for five seconds.
    #[error("sending to {subject}: no room within 5s")]
    TimedOut {
        /// Where to.
        subject: Subject,
    },
    /// The client refuses it.
    #[error("sending to {subject}")]
    Refused {
        /// Where to.
        subject: Subject,
        /// Why.
        source: Cause,
    },
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody is subscribed.
    #[error("asking {subject}: nobody is there")]
    NobodyThere {
        /// Where to.
        subject: Subject,
    },
    /// No answer in time.
    #[error("asking {subject}: no answer in time")]
    TimedOut {
        /// Where to.
        subject: Subject,
    },
    /// The connection failed.
    #[error("asking {subject}")]
    Failed {
        /// Where to.
        subject: Subject,
        /// Why.
        source: Cause,
    },
}

impl Bus {
    /// Sends a message. It is on its way, not received.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let to = subject.as_str().to_owned();
        if headers.is_empty() {
            sending(subject, self.client().publish(to, payload)).await
        } else {
            let headers = crate::headers::to_map(&headers);
            let publishing = self.client().publish_with_headers(to, headers, payload);
            sending(subject, publishing).await
        }
    }

    /// Sends a message to which the server is to say when nobody listens: `reply` is where.
    pub(crate) async fn send_with_reply(
        &self,
        message: Message,
        reply: String,
    ) -> Result<(), SendError> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let (client, to) = (self.client(), subject.as_str().to_owned());
        if headers.is_empty() {
            sending(subject, client.publish_with_reply(to, reply, payload)).await
        } else {
            let headers = crate::headers::to_map(&headers);
            let publishing = client.publish_with_reply_and_headers(to, reply, headers, payload);
            sending(subject, publishing).await
        }
    }

    /// Waits until the server has all that was sent: it takes a client's messages in their order, and answers
    /// one to a subject on which nobody listens.
    ///
    /// # Errors
    /// [`SendError`] when it does not answer in time.
    pub async fn flush(&self) -> Result<(), SendError> {
        let nobody = Subject::raw(self.client().new_inbox());
        let ask = Message::new(nobody, Bytes::new());
        match self.request(ask, NETWORK_LIMIT).await {
            Ok(_) | Err(RequestError::NobodyThere { .. }) => Ok(()),
            Err(RequestError::TimedOut { subject }) => Err(SendError::TimedOut { subject }),
            Err(RequestError::Failed { subject, source }) => {
                Err(SendError::Refused { subject, source })
            }
        }
    }

    /// Subscribes; the subscription survives reconnects.
    ///
    /// # Errors
    /// [`SendError`] when the connection is closed.
    pub async fn subscribe(&self, subject: &Subject) -> Result<Subscription, SendError> {
        let inner = self.subscribe_raw(subject.as_str()).await?;
        Ok(Subscription { inner })
    }

    pub(crate) async fn subscribe_raw(&self, subject: &str) -> Result<Subscriber, SendError> {
        let subscribing = self.client().subscribe(subject.to_owned());
        sending(Subject::raw(subject.to_owned()), subscribing).await
    }

    /// Asks and waits for one answer, at most `limit`.
    ///
    /// # Errors
    /// [`RequestError`]; that nobody is there is known at once.
    pub async fn request(
        &self,
        message: Message,
        limit: Duration,
    ) -> Result<Received, RequestError> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let request = async_nats::Request::new()
            .headers(crate::headers::to_map(&headers))
            .payload(payload)
            .timeout(Some(limit));
        let asking = self
            .client()
            .send_request(subject.as_str().to_owned(), request);
        match tokio::time::timeout(limit + NETWORK_LIMIT, asking).await {
            Ok(Ok(message)) => Ok(Received::from_client(message)),
            Err(_) => Err(RequestError::TimedOut { subject }),
            Ok(Err(source)) => Err(match source.kind() {
                async_nats::RequestErrorKind::NoResponders => RequestError::NobodyThere { subject },
                async_nats::RequestErrorKind::TimedOut => RequestError::TimedOut { subject },
                _ => RequestError::Failed {
                    subject,
                    source: source.into(),
                },
            }),
        }
    }

    /// Whether it is certain that nobody listens on a subject. The server says so at once; silence for
    /// `limit` means that somebody does.
    pub async fn is_gone(&self, subject: &Subject, limit: Duration) -> bool {
        let ask = Message::new(subject.clone(), Bytes::new());
        matches!(
            self.request(ask, limit).await,
            Err(RequestError::NobodyThere { .. })
        )
    }
}

/// Waits until the connection has taken something.
pub(crate) async fn sending<T, E: Into<Cause>>(
    subject: Subject,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, SendError> {
    match limited(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let source = error.into();
            Err(SendError::Refused { subject, source })
        }
        Err(_) => Err(SendError::TimedOut { subject }),
    }
}

/// A stream of messages on a subject.
#[derive(Debug)]
pub struct Subscription {
    inner: Subscriber,
}

impl Subscription {
    /// The next message; nothing once the connection is closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<Received> {
        self.inner.next().await.map(Received::from_client)
    }

    /// The next message if it has arrived already.
    pub fn try_next(&mut self) -> Option<Received> {
        arrived(&mut self.inner).map(Received::from_client)
    }

    /// Throws away what has arrived and nobody reads.
    pub(crate) fn discard_waiting(&mut self) {
        while arrived(&mut self.inner).is_some() {}
    }
}

/// What has arrived already. Not subject to tokio's turn-taking, which would hide some of it: callers
/// bound their own turns.
pub(crate) fn arrived(messages: &mut Subscriber) -> Option<async_nats::Message> {
    tokio::task::unconstrained(messages.next())
        .now_or_never()
        .flatten()
}
