//! Reading results and dead letters.

use bytes::Bytes;
use rota_wire::result::TaskResult;
use rota_wire::{Headers, TaskId};

use crate::connect::{Bus, NETWORK_LIMIT};
use crate::streams::StreamName;

/// Why results cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the result of task {task}")]
pub struct ResultError {
    /// Which.
    pub task: TaskId,
    /// Why.
    pub source: async_nats::Error,
}

/// A result as it is stored.
#[derive(Debug, Clone)]
pub struct StoredResult {
    /// All its headers.
    pub headers: Headers,
    /// What they say; nothing when somebody else wrote it.
    pub result: Option<TaskResult>,
    /// The output.
    pub body: Bytes,
}

impl Bus {
    /// The result of a task, if it has one.
    ///
    /// # Errors
    /// [`ResultError`] when the server does not answer.
    pub async fn result(&self, id: &TaskId) -> Result<Option<StoredResult>, ResultError> {
        let failed = |source| ResultError {
            task: id.clone(),
            source,
        };
        let reading = async {
            let stream = self.subjects().stream(StreamName::Results.part());
            let stream = self.jetstream.get_stream_no_info(stream).await?;
            let subject = self.subjects().result(id).to_string();
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some((message.headers, message.payload))),
                Err(error) if is_not_found(&error) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        let found = match tokio::time::timeout(NETWORK_LIMIT, reading).await {
            Ok(found) => found.map_err(failed)?,
            Err(elapsed) => return Err(failed(elapsed.into())),
        };
        Ok(found.map(|(map, body)| {
            let headers = crate::headers::from_map(Some(&map));
            StoredResult {
                result: TaskResult::from_headers(&headers),
                headers,
                body,
            }
        }))
    }
}

fn is_not_found(error: &async_nats::jetstream::stream::LastRawMessageError) -> bool {
    use async_nats::jetstream::stream::LastRawMessageErrorKind as Kind;
    matches!(error.kind(), Kind::NoMessageFound)
}
