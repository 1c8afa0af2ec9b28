//! Death noticed by the way: the server answers a message to a subject on which nobody listens.
//!
//! ```text
//! send_watched(message, tag) ──► somebody listens: nothing comes back
//!                           └──► nobody does: Undelivered tells the tag, at once
//! ```
//!
//! A client whose process ended is off the server's books within a millisecond, so this costs no account of
//! the system and no message more.

use async_nats::StatusCode;
use futures_util::StreamExt;

use crate::client::Subscriber;
use crate::connect::Bus;
use crate::message::Message;
use crate::send::{SendError, arrived};

/// Tells the tags of messages that found nobody.
#[derive(Debug)]
pub struct Undelivered {
    inner: Subscriber,
}

impl Bus {
    /// Sends a message, and has its tag told by [`Bus::undelivered`] when nobody listens.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn send_watched(&self, message: Message, tag: u64) -> Result<(), SendError> {
        let reply = format!("{}.{tag}", self.watched());
        self.send_with_reply(message, reply).await
    }

    /// Hears of all watched messages of this connection that find nobody from now on.
    ///
    /// # Errors
    /// [`SendError`] when the connection is closed.
    pub async fn undelivered(&self) -> Result<Undelivered, SendError> {
        let inner = self.subscribe_raw(&format!("{}.*", self.watched())).await?;
        Ok(Undelivered { inner })
    }
}

impl Undelivered {
    /// The next tag; nothing once the connection is closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<u64> {
        loop {
            let message = self.inner.next().await?;
            if let Some(tag) = tag(&message) {
                return Some(tag);
            }
        }
    }

    /// The next tag if it has arrived already.
    pub fn try_next(&mut self) -> Option<u64> {
        while let Some(message) = arrived(&mut self.inner) {
            if let Some(tag) = tag(&message) {
                return Some(tag);
            }
        }
        None
    }
}

/// Only the server's word counts: whoever received the message may answer it too.
fn tag(message: &async_nats::Message) -> Option<u64> {
    if message.status != Some(StatusCode::NO_RESPONDERS) {
        return None;
    }
    message.subject.rsplit('.').next()?.parse().ok()
}
