//! Requests to JetStream's own interface that the client has no call for, or not one of the right kind.

use async_nats::jetstream::stream::RawMessage;
use bytes::Bytes;
use rota_wire::{Headers, Micros};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::connect::Bus;
use crate::limit::{Cause, NETWORK_LIMIT, within};

/// The server's code for a stream that is not there.
pub(crate) const STREAM_NOT_FOUND: u64 = 10_059;
/// And for a message.
pub(crate) const NO_MESSAGE_FOUND: u64 = 10_037;

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// It says no.
    #[error("nats-server says: {description} ({code})")]
    Refused { code: u64, description: String },
    /// It does not answer, or not so that it can be read.
    #[error(transparent)]
    Failed(Cause),
}

#[derive(Deserialize)]
struct Fault {
    error: Option<FaultText>,
}

#[derive(Deserialize)]
struct FaultText {
    #[serde(rename = "err_code", default)]
    code: u64,
    #[serde(default)]
    description: String,
}

/// A message as a stream has it.
#[derive(Debug, Clone)]
pub(crate) struct StoredMessage {
    pub(crate) seq: u64,
    pub(crate) stored: Micros,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

/// Which message of a stream is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// The one with this sequence.
    Sequence(u64),
    /// The last on this subject.
    Last(&'a str),
    /// The first on this subject from a sequence on.
    Next(u64, &'a str),
}

impl Bus {
    /// Reads a message from the leader of its stream; nothing when it is not there.
    pub(crate) async fn leader_read(
        &self,
        stream: &str,
        which: Which<'_>,
    ) -> Result<Option<StoredMessage>, ApiError> {
        let request = match which {
            Which::Sequence(seq) => format!(r#"{{"seq":{seq}}}"#),
            Which::Last(subject) => format!(r#"{{"last_by_subj":"{subject}"}}"#),
            Which::Next(from, subject) => {
                format!(r#"{{"seq":{from},"next_by_subj":"{subject}"}}"#)
            }
        };
        let call = format!("STREAM.MSG.GET.{stream}");
        match self.api::<Got>(&call, request).await {
            Ok(Got { message }) => StoredMessage::try_new(message).map(Some),
            Err(ApiError::Refused { code, .. }) if code == NO_MESSAGE_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks JetStream; `call` follows `$JS.API.`.
    pub(crate) async fn api<A: DeserializeOwned>(
        &self,
        call: &str,
        body: String,
    ) -> Result<A, ApiError> {
        let request = async_nats::Request::new()
            .payload(body.into())
            .timeout(Some(NETWORK_LIMIT));
        let subject = format!("$JS.API.{call}");
        let answer = self.client().send_request(subject, request);
        let answer = within(answer).await.map_err(ApiError::Failed)?;
        read(&answer.payload)
    }
}

impl StoredMessage {
    fn try_new(message: RawMessage) -> Result<Self, ApiError> {
        let message = async_nats::jetstream::message::StreamMessage::try_from(message);
        let message = message.map_err(ApiError::Failed)?;
        Ok(Self {
            seq: message.sequence,
            stored: Micros(u64::try_from(message.time.unix_timestamp_nanos() / 1_000).unwrap_or(0)),
            headers: crate::headers::from_map(Some(&message.headers)),
            body: message.payload,
        })
    }
}

/// Reads an answer of JetStream: what was asked for, or a fault.
pub(crate) fn read<A: DeserializeOwned>(payload: &[u8]) -> Result<A, ApiError> {
    let failed = |error: serde_json::Error| ApiError::Failed(error.into());
    let fault: Fault = serde_json::from_slice(payload).map_err(failed)?;
    match fault.error {
        Some(FaultText { code, description }) => Err(ApiError::Refused { code, description }),
        None => serde_json::from_slice(payload).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sequence {
        seq: u64,
    }

    #[test]
    fn an_answer_is_what_was_asked_for_or_a_fault() {
        let good = read::<Sequence>(br#"{"stream":"A","seq":7}"#).expect("good");
        assert_eq!(good.seq, 7);
        let fault = br#"{"error":{"code":400,"err_code":10071,"description":"wrong"}}"#;
        let error = read::<Sequence>(fault).expect_err("a fault");
        assert!(
            matches!(error, ApiError::Refused { code: 10_071, .. }),
            "{error}"
        );
        assert!(matches!(read::<Sequence>(b"no"), Err(ApiError::Failed(_))));
    }
}
