//! The connection as this crate uses it: NATS, or in tests a server in memory.
//!
//! Without the feature `memory` there is one variant, and nothing is decided while the program runs.

use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(feature = "memory")]
use async_nats::RequestErrorKind;
use async_nats::{HeaderMap, Message, Request, RequestError, Subject, jetstream};
use bytes::Bytes;
use futures_util::Stream;

#[cfg(feature = "memory")]
use crate::in_memory;
use crate::limit::Cause;

/// A connection.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each connection, and the first is the usual"
)]
pub(crate) enum Client {
    /// To a server, or a cluster of them.
    Nats {
        client: async_nats::Client,
        jetstream: jetstream::Context,
    },
    /// To a server in this process.
    #[cfg(feature = "memory")]
    Memory(in_memory::Client),
}

/// What comes in on a subscription.
#[derive(Debug)]
pub(crate) enum Subscriber {
    Nats(async_nats::Subscriber),
    #[cfg(feature = "memory")]
    Memory(in_memory::Subscriber),
}

impl Client {
    pub(crate) async fn publish(
        &self,
        to: impl Into<Subject>,
        payload: Bytes,
    ) -> Result<(), Cause> {
        match self {
            Self::Nats { client, .. } => Ok(client.publish(to.into(), payload).await?),
            #[cfg(feature = "memory")]
            Self::Memory(client) => {
                client.publish(&to.into(), None, None, payload);
                Ok(())
            }
        }
    }

    pub(crate) async fn publish_with_headers(
        &self,
        to: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), Cause> {
        match self {
            Self::Nats { client, .. } => {
                Ok(client.publish_with_headers(to, headers, payload).await?)
            }
            #[cfg(feature = "memory")]
            Self::Memory(client) => {
                client.publish(&to, None, Some(headers), payload);
                Ok(())
            }
        }
    }

    pub(crate) async fn publish_with_reply(
        &self,
        to: String,
        reply: String,
        payload: Bytes,
    ) -> Result<(), Cause> {
        match self {
            Self::Nats { client, .. } => Ok(client.publish_with_reply(to, reply, payload).await?),
            #[cfg(feature = "memory")]
            Self::Memory(client) => {
                client.publish(&to, Some(reply), None, payload);
                Ok(())
            }
        }
    }

    pub(crate) async fn publish_with_reply_and_headers(
        &self,
        to: String,
        reply: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), Cause> {
        match self {
            Self::Nats { client, .. } => Ok(client
                .publish_with_reply_and_headers(to, reply, headers, payload)
                .await?),
            #[cfg(feature = "memory")]
            Self::Memory(client) => {
                client.publish(&to, Some(reply), Some(headers), payload);
                Ok(())
            }
        }
    }

    /// Asks; how long the answer is waited for stands in the request.
    pub(crate) async fn send_request(
        &self,
        to: String,
        request: Request,
    ) -> Result<Message, RequestError> {
        match self {
            // Boxed: it is large, and each of its callers would be.
            Self::Nats { client, .. } => Box::pin(client.send_request(to, request)).await,
            #[cfg(feature = "memory")]
            Self::Memory(client) => {
                let limit = request.timeout.flatten();
                let limit = limit.unwrap_or(crate::limit::NETWORK_LIMIT);
                let payload = request.payload.unwrap_or_default();
                let asking = client.request(&to, request.headers, payload);
                answered(tokio::time::timeout(limit, asking).await)
            }
        }
    }

    pub(crate) async fn subscribe(&self, to: String) -> Result<Subscriber, Cause> {
        match self {
            Self::Nats { client, .. } => Ok(Subscriber::Nats(client.subscribe(to).await?)),
            #[cfg(feature = "memory")]
            Self::Memory(client) => Ok(Subscriber::Memory(client.subscribe(&to))),
        }
    }

    pub(crate) fn new_inbox(&self) -> String {
        match self {
            Self::Nats { client, .. } => client.new_inbox(),
            #[cfg(feature = "memory")]
            Self::Memory(client) => client.new_inbox(),
        }
    }

    pub(crate) fn max_payload(&self) -> usize {
        match self {
            Self::Nats { client, .. } => client.max_payload(),
            #[cfg(feature = "memory")]
            Self::Memory(_) => in_memory::MAX_PAYLOAD,
        }
    }

    /// The server's version.
    pub(crate) fn version(&self) -> String {
        match self {
            Self::Nats { client, .. } => client.server_info().version,
            #[cfg(feature = "memory")]
            Self::Memory(_) => "in memory".to_owned(),
        }
    }
}

/// The server in memory answers a request as NATS does; only the client's words are missing.
#[cfg(feature = "memory")]
pub(crate) fn answered(
    answer: Result<Option<Message>, tokio::time::error::Elapsed>,
) -> Result<Message, RequestError> {
    match answer {
        Ok(Some(answer)) if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) => {
            Err(RequestError::new(RequestErrorKind::NoResponders))
        }
        Ok(Some(answer)) => Ok(answer),
        Ok(None) | Err(_) => Err(RequestError::new(RequestErrorKind::TimedOut)),
    }
}

impl Stream for Subscriber {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        match self.get_mut() {
            Self::Nats(inner) => Pin::new(inner).poll_next(cx),
            #[cfg(feature = "memory")]
            Self::Memory(inner) => Pin::new(inner).poll_next(cx),
        }
    }
}
