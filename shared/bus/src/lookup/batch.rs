//! The last message on each of many subjects, by one request to any copy of a stream.
//!
//! ```text
//! {"multi_last": [subjects]} ──► a message for each subject that has one ... 204: the end, perhaps not of all
//!                           └──► 404: none has one
//! ```
//!
//! The bodies come along and are dropped at once; a limit keeps them from filling the connection.

use std::collections::HashMap;

use async_nats::{HeaderMap, Message as ClientMessage};
use futures_util::StreamExt;
use rota_wire::{Headers, TaskId};

use crate::client::Subscriber;
use crate::connect::Bus;
use crate::limit::{Cause, within};
use crate::streams::StreamName;

/// The most bytes of one answer. More is asked for anew.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Answers to one read at most: each brings at least one message, unless it had to be begun anew.
const ANSWERS_MAX: usize = super::BATCH_MAX + 16;

/// How an answer ended.
enum End {
    /// There is no more.
    All,
    /// There is more after this sequence.
    After(u64),
    /// A message went away while it was read.
    Again,
}

impl Bus {
    /// Reads the last message on `start` + id for each id, and keeps what `read` makes of its headers.
    pub(super) async fn last_of_each<T>(
        &self,
        stream: StreamName,
        start: &str,
        ids: &[TaskId],
        read: impl Fn(&TaskId, &Headers) -> Option<T>,
    ) -> Result<HashMap<TaskId, T>, Cause> {
        let subjects: Vec<String> = ids.iter().map(|id| format!("{start}{id}")).collect();
        let subjects = serde_json::to_string(&subjects)?;
        let stream = self.subjects().stream(stream.part());
        let mut found = HashMap::new();
        let mut from = 1;
        for _ in 0..ANSWERS_MAX {
            let request = format!(
                r#"{{"multi_last":{subjects},"seq":{from},"max_bytes":{ANSWER_BYTES_MAX}}}"#
            );
            let mut note = |message: &ClientMessage| {
                let map = message.headers.as_ref()?;
                let id = map.get("Nats-Subject")?.as_str().strip_prefix(start)?;
                let id = TaskId::parse(id).ok()?;
                let value = read(&id, &crate::headers::from_map(Some(map)))?;
                found.insert(id, value)
            };
            match within(self.answer(&stream, request, &mut note)).await? {
                End::All => return Ok(found),
                End::After(last) => from = last + 1,
                End::Again => {}
            }
        }
        Err("the read does not come to an end".into())
    }

    async fn answer<R>(
        &self,
        stream: &str,
        request: String,
        note: &mut impl FnMut(&ClientMessage) -> R,
    ) -> Result<End, Cause> {
        let inbox = self.client().new_inbox();
        let mut answers = self.client().subscribe(inbox.clone()).await?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        self.client()
            .publish_with_reply(subject, inbox, request.into())
            .await?;
        loop {
            let message = next(&mut answers).await?;
            let Some(status) = message.status.map(|status| status.as_u16()) else {
                note(&message);
                continue;
            };
            let description = message.description.as_deref().unwrap_or_default();
            return match status {
                204 => Ok(message.headers.as_ref().map_or(End::All, end)),
                404 if description.contains("Message Not Found") => Ok(End::Again),
                404 => Ok(End::All),
                _ => Err(format!("a batched read ended with {status} {description}").into()),
            };
        }
    }
}

async fn next(answers: &mut Subscriber) -> Result<ClientMessage, Cause> {
    let next = answers.next().await;
    next.ok_or_else(|| "the connection is closed".into())
}

fn end(headers: &HeaderMap) -> End {
    let number = |name| -> Option<u64> { headers.get(name)?.as_str().parse().ok() };
    match (number("Nats-Num-Pending"), number("Nats-Last-Sequence")) {
        (Some(1..), Some(last)) => End::After(last),
        _ => End::All,
    }
}
