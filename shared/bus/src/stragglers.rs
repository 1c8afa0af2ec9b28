//! Messages that lie in a feed's stream and are not brought by its consumer.
//!
//! It should not be: a work queue keeps a message until its consumer has it acked. But stream and consumer are
//! two states, and after a crash or a change of leaders the one may have forgotten what the other knows. Then a
//! message lies there that counts as acked, or is never delivered again. So whoever reads a feed looks, now
//! and then, whether anything is left.

use async_nats::jetstream::stream::RawMessage;
use rota_wire::{Micros, Span};
use serde::Deserialize;

use crate::api::{ApiError, NO_MESSAGE_FOUND};
use crate::connect::Bus;
use crate::feed::{FeedError, FeedMessage, FeedSource};
use crate::limit::Cause;

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

#[derive(Deserialize)]
struct Progress {
    num_pending: u64,
}

impl Bus {
    /// The first message of a source from a sequence on that was stored longer ago than `age`, although the
    /// consumer has nothing left that it has not delivered yet. To be answered as one of a feed: acked, it is
    /// deleted from the stream. It counts as delivered before.
    ///
    /// # Errors
    /// [`FeedError::Read`] when the server does not tell.
    pub async fn straggler(
        &self,
        source: FeedSource,
        from: u64,
        age: Span,
    ) -> Result<Option<FeedMessage>, FeedError> {
        let consumer = source.consumer();
        let found = self.look_for_straggler(source, from, age).await;
        found.map_err(|source| FeedError::Read { consumer, source })
    }

    async fn look_for_straggler(
        &self,
        source: FeedSource,
        from: u64,
        age: Span,
    ) -> Result<Option<FeedMessage>, Cause> {
        let stream = self.subjects().stream(source.stream().part());
        let call = format!("CONSUMER.INFO.{stream}.{}", source.consumer());
        let progress: Progress = self.api(&call, String::new()).await?;
        if progress.num_pending > 0 {
            return Ok(None);
        }
        let call = format!("STREAM.MSG.GET.{stream}");
        let subject = source.subject(self.subjects());
        let request = format!(r#"{{"seq":{from},"next_by_subj":"{subject}"}}"#);
        let raw = match self.api::<Got>(&call, request).await {
            Ok(Got { message }) => message,
            Err(ApiError::Refused { code, .. }) if code == NO_MESSAGE_FOUND => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let message = async_nats::jetstream::message::StreamMessage::try_from(raw)?;
        let nanos = message.time.unix_timestamp_nanos();
        let stored = Micros(u64::try_from(nanos / 1_000).unwrap_or(0));
        if self.server_now().await.since(stored) < age {
            return Ok(None);
        }
        Ok(Some(FeedMessage::found(
            self.clone(),
            stream,
            message,
            stored,
        )))
    }

    /// Deletes a message from its stream.
    pub(crate) async fn delete_message(&self, stream: &str, seq: u64) -> Result<(), ApiError> {
        let call = format!("STREAM.MSG.DELETE.{stream}");
        // Its bytes are not to be overwritten, which costs time.
        let request = format!(r#"{{"seq":{seq},"no_erase":true}}"#);
        match self.api::<serde::de::IgnoredAny>(&call, request).await {
            Ok(_) => Ok(()),
            // Deleting says in words only that there was none.
            Err(ApiError::Refused { code, description })
                if code == NO_MESSAGE_FOUND || description.contains("no message found") =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
