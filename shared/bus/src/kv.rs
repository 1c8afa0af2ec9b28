//! Keys of buckets, read from the leader and written by compare-and-set.
//!
//! Not the client's own store: that one reads any copy, which may lag behind, and it waits in one line with all
//! that is being stored, in which a lease must not wait.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use bytes::Bytes;
use rota_wire::Headers;
use serde::Deserialize;

use crate::api::{self, ApiError, STREAM_NOT_FOUND, StoredMessage, Which};
use crate::connect::Bus;
use crate::limit::{Cause, NoAnswer, within_limit};
use crate::subjects::Subjects;

const WRONG_LAST_SEQUENCE: u64 = 10_071;
/// Longer than that a key is not waited for: while its stream has no leader, nobody answers, and what was
/// written is gone. Who holds a lease must have time to try again.
const KEY_LIMIT: Duration = Duration::from_secs(1);
/// How a bucket marks that a key was deleted.
const OPERATION: &str = "KV-Operation";
const DELETED: &str = "DEL";

/// A key of a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
}

/// What is written.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Put(Bytes),
    /// The key is as good as not there.
    Deleted,
}

/// Why a key was not written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// It has another revision than was expected.
    #[error("the key was written by another")]
    WrongRevision,
    /// The bucket is not there.
    #[error("the bucket is not there")]
    NoBucket,
    #[error(transparent)]
    Failed(Cause),
}

#[derive(Deserialize)]
struct PubAck {
    seq: u64,
}

/// Whether a message of a bucket says that its key is deleted.
pub(crate) fn is_deleted(headers: &Headers) -> bool {
    headers.value(OPERATION).is_some()
}

impl Bus {
    /// Writes a key whose last revision is `expected`; zero, that there is none; nothing, that it does not
    /// matter. Gives its revision.
    pub(crate) async fn write_key(
        &self,
        key: Key<'_>,
        value: Value,
        expected: Option<u64>,
    ) -> Result<u64, KeyError> {
        let mut headers = HeaderMap::new();
        if let Some(revision) = expected {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        }
        let payload = match value {
            Value::Put(payload) => payload,
            Value::Deleted => {
                headers.insert(OPERATION, DELETED);
                Bytes::new()
            }
        };
        let request = async_nats::Request::new().headers(headers).payload(payload);
        let subject = Subjects::key(key.bucket, key.key).to_string();
        let asking = self.client().send_request(subject, request);
        let answer = match within_limit(KEY_LIMIT, asking).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.why(key.bucket, error).await),
        };
        match api::read::<PubAck>(&answer.payload) {
            Ok(PubAck { seq }) => Ok(seq),
            Err(ApiError::Refused { code, .. }) if code == WRONG_LAST_SEQUENCE => {
                Err(KeyError::WrongRevision)
            }
            Err(error) => Err(KeyError::Failed(error.into())),
        }
    }

    /// Nobody listens on a bucket's subjects while its stream has no leader, and when there is none.
    async fn why(&self, bucket: &str, error: Cause) -> KeyError {
        let stream = Subjects::bucket_stream(bucket);
        let call = format!("STREAM.INFO.{stream}");
        let info = self.api::<serde::de::IgnoredAny>(&call, String::new());
        match tokio::time::timeout(KEY_LIMIT, info).await {
            Ok(Err(ApiError::Refused { code, .. })) if code == STREAM_NOT_FOUND => {
                KeyError::NoBucket
            }
            Ok(_) | Err(_) => KeyError::Failed(error),
        }
    }

    /// Reads a key; its revision is the message's sequence.
    pub(crate) async fn read_key(&self, key: Key<'_>) -> Result<Option<StoredMessage>, KeyError> {
        let stream = Subjects::bucket_stream(key.bucket);
        let subject = Subjects::key(key.bucket, key.key);
        let reading = self.leader_read(&stream, Which::Last(subject.as_str()));
        match tokio::time::timeout(KEY_LIMIT, reading).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(ApiError::Refused { code, .. })) if code == STREAM_NOT_FOUND => {
                Err(KeyError::NoBucket)
            }
            Ok(Err(error)) => Err(KeyError::Failed(error.into())),
            Err(_) => Err(KeyError::Failed(NoAnswer(KEY_LIMIT).into())),
        }
    }
}
