//! Reads what Rota stores, as it is stored: all results, also those that are replaced later, and in the end the
//! dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, Reply};
use crate::clock::{Moment, wall_lead};
use crate::facts::{Genuine, StoredResult};
use crate::load::job_of;

const BATCH: usize = 256;
const LIMIT: Duration = Duration::from_secs(3);
const NOT_FOUND: u16 = 404;
const END_OF_BATCH: u16 = 204;
/// The body of a result is only compared.
const OUTPUT_MAX: usize = 200;

/// Results so far.
#[derive(Debug, Default)]
pub struct Harvest {
    next: u64,
    results: BTreeMap<u64, StoredResult>,
}

impl Harvest {
    /// Reads what has come since the last time. False when the server did not answer to the end.
    pub async fn read_on(&mut self, client: &Client) -> bool {
        let next = self.next.max(1);
        let Some((messages, last)) = read_from(client, "ROTA_RESULTS", next).await else {
            return false;
        };
        self.next = last;
        for message in messages {
            if let Some(result) = stored_result(&message) {
                self.results.insert(result.seq, result);
            }
        }
        true
    }

    /// Reads everything again, for what a server that was behind has not told.
    pub async fn read_all(&mut self, client: &Client) -> bool {
        self.next = 1;
        self.read_on(client).await
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.results.len()
    }

    /// Whether a task has a genuine one.
    pub fn genuine_ids(&self) -> impl Iterator<Item = &str> {
        let genuine = self
            .results
            .values()
            .filter(|result| result.genuine.is_some());
        genuine.map(|result| result.id.as_str())
    }

    /// All of them.
    #[must_use]
    pub fn into_results(self) -> Vec<StoredResult> {
        self.results.into_values().collect()
    }
}

/// The ids of all dead letters.
pub async fn dead_letters(client: &Client) -> Option<Vec<String>> {
    let (messages, _) = read_from(client, "ROTA_DEAD", 1).await?;
    let ids = messages
        .iter()
        .filter_map(|message| message.header("Rota-Id"));
    Some(ids.map(str::to_owned).collect())
}

/// The ids of the tasks that lie in a stream.
pub async fn ids_in(client: &Client, stream: &str) -> Option<Vec<String>> {
    let (messages, _) = read_from(client, stream, 1).await?;
    let id = |message: &Reply| {
        // At the door the id is the submitter's own, or the sequence.
        let names = ["Rota-Id", "Nats-Msg-Id", "nats-msg-id", "Nats-Sequence"];
        let mut found = names.iter().filter_map(|name| message.header(name));
        found.next().map(str::to_owned)
    };
    Some(messages.iter().filter_map(id).collect())
}

/// All messages of a stream from a sequence on, and the sequence after the last.
async fn read_from(client: &Client, stream: &str, from: u64) -> Option<(Vec<Reply>, u64)> {
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let (mut all, mut next) = (Vec::new(), from);
    loop {
        let body = json!({ "seq": next, "batch": BATCH }).to_string();
        let is_last = |reply: &Reply| reply.status != 0;
        let batch = client
            .request_many(&subject, body.as_bytes(), LIMIT, is_last)
            .await?;
        match batch.last().map(|reply| reply.status) {
            Some(NOT_FOUND | END_OF_BATCH) => {}
            Some(_) | None => return None,
        }
        let messages = batch.into_iter().filter(|reply| reply.status == 0);
        let before = all.len();
        all.extend(messages);
        let Some(last) = all[before..].last().and_then(sequence) else {
            return Some((all, next));
        };
        next = last + 1;
    }
}

fn sequence(message: &Reply) -> Option<u64> {
    message.header("Nats-Sequence")?.parse().ok()
}

fn stored_result(message: &Reply) -> Option<StoredResult> {
    let id = message
        .header("Nats-Subject")?
        .strip_prefix("rota.result.")?;
    let stamp: jiff::Timestamp = message.header("Nats-Time-Stamp")?.parse().ok()?;
    let wall = u64::try_from(stamp.as_microsecond()).ok()?;
    Some(StoredResult {
        id: id.to_owned(),
        seq: sequence(message)?,
        at: Moment(wall.saturating_sub(wall_lead())),
        genuine: genuine(id, message),
    })
}

fn genuine(id: &str, message: &Reply) -> Option<Genuine> {
    let state = message.header("Rota-State")?;
    if message.header("Rota-Id") != Some(id) {
        return None;
    }
    let attempts = message
        .header("Rota-Attempts")
        .and_then(|text| text.parse().ok());
    let body = &message.body[..message.body.len().min(OUTPUT_MAX)];
    Some(Genuine {
        state: state.to_owned(),
        attempts: attempts.unwrap_or(0),
        reason: message.header("Rota-Reason").unwrap_or_default().to_owned(),
        job: message.header("traceparent").and_then(job_of),
        output: String::from_utf8_lossy(body).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::parse_head;

    fn message(head: &str) -> Reply {
        let (status, headers) = parse_head(&head.replace('\n', "\r\n"));
        Reply {
            status,
            headers,
            body: "done 7".into(),
        }
    }

    const STORED: &str = "NATS/1.0\nNats-Subject: rota.result.17\nNats-Sequence: 5\n\
        Nats-Time-Stamp: 2026-11-24T12:00:00.5Z\n";

    #[test]
    fn a_result_of_rota_is_genuine() {
        let own = "Rota-Id: 17\nRota-State: completed\nRota-Attempts: 2\n\n";
        let result = stored_result(&message(&format!("{STORED}{own}"))).unwrap();
        assert_eq!((result.id.as_str(), result.seq), ("17", 5));
        let genuine = result.genuine.unwrap();
        assert_eq!((genuine.attempts, genuine.output.as_str()), (2, "done 7"));
    }

    #[test]
    fn what_names_another_id_or_no_state_is_not() {
        for other in [
            "Rota-Id: 18\nRota-State: completed\n\n",
            "Rota-Id: 17\n\n",
            "\n",
        ] {
            let result = stored_result(&message(&format!("{STORED}{other}"))).unwrap();
            assert_eq!(result.genuine, None, "{other}");
        }
    }
}
