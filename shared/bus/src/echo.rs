//! A message to ourselves through the server: as long as it comes back, we hear what others say.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::client::Subscriber;
use crate::connect::Bus;
use crate::message::Message;
use crate::send::{SendError, arrived};
use crate::subjects::Subject;

/// Sends numbers to itself.
#[derive(Debug)]
pub struct Echo {
    bus: Bus,
    subject: Subject,
    inner: Subscriber,
}

impl Bus {
    /// An echo on a subject of its own.
    ///
    /// # Errors
    /// [`SendError`] when the connection is closed.
    pub async fn echo(&self) -> Result<Echo, SendError> {
        let subject = Subject::raw(self.client().new_inbox());
        let inner = self.subscribe_raw(subject.as_str()).await?;
        Ok(Echo {
            bus: self.clone(),
            subject,
            inner,
        })
    }
}

impl Echo {
    /// Sends a number.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn send(&self, number: u64) -> Result<(), SendError> {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        let message = Message::new(self.subject.clone(), payload);
        self.bus.send(message).await
    }

    /// The next number that came back; nothing once the connection is closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<u64> {
        loop {
            let message = self.inner.next().await?;
            if let Some(number) = number(&message) {
                return Some(number);
            }
        }
    }

    /// The next number if it has come back already.
    pub fn try_next(&mut self) -> Option<u64> {
        while let Some(message) = arrived(&mut self.inner) {
            if let Some(number) = number(&message) {
                return Some(number);
            }
        }
        None
    }
}

fn number(message: &async_nats::Message) -> Option<u64> {
    let bytes = message.payload.as_ref().try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}
