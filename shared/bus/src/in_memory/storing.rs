//! A message on its way into a stream, and the server's answer.

use async_nats::jetstream::message::OutboundMessage;
use serde::Deserialize;

use super::Client;
use super::client::Asking;
use crate::api::{self, ApiError};
use crate::client::answered;
use crate::limit::NETWORK_LIMIT;
use crate::store::{StoreError, Stored};
use crate::subjects::Subject;

/// A message whose answer is awaited.
#[derive(Debug)]
pub(crate) struct Storing {
    answer: Asking,
}

#[derive(Deserialize)]
struct PubAck {
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

impl Client {
    /// Sends a message into its stream, at once.
    pub(crate) fn store(&self, message: OutboundMessage) -> Storing {
        let answer = self.request(&message.subject, message.headers, message.payload);
        Storing { answer }
    }
}

impl Storing {
    /// What the NATS client makes of the answer.
    pub(crate) async fn done(self, subject: Subject) -> Result<Stored, StoreError> {
        let waiting = tokio::time::timeout(NETWORK_LIMIT, self.answer).await;
        let answer = match answered(waiting) {
            Ok(answer) => answer,
            Err(error) => {
                let source = error.into();
                return Err(StoreError::Unanswered { subject, source });
            }
        };
        match api::read::<PubAck>(&answer.payload) {
            Ok(PubAck {
                seq,
                duplicate: true,
            }) => Ok(Stored::Duplicate { seq }),
            Ok(PubAck { seq, .. }) => Ok(Stored::New { seq }),
            Err(ApiError::Refused { code: 10_071, .. }) => Err(StoreError::NotFirst { subject }),
            Err(error) => {
                let code = match &error {
                    ApiError::Refused { code, .. } => *code,
                    ApiError::Failed(_) => 0,
                };
                let source = error.into();
                Err(match code {
                    10_054 => StoreError::TooLarge { subject, source },
                    10_077 => StoreError::Full { subject, source },
                    _ => StoreError::Unanswered { subject, source },
                })
            }
        }
    }
}
