//! Reading single messages: from the leader of a stream, or from any copy, which may lag behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rota_wire::Micros;
use serde_json::{Value, json};

use super::super::World;
use super::stream_not_found;
use crate::in_memory::packet::{Fault, Packet, Parcel, header_block, message, parcel, status};
use crate::in_memory::stream::{Kept, Stream};

/// How far a copy lags behind when it does, in microseconds.
const LAG: u64 = 200_000;

impl World {
    pub(super) fn leader_get(
        &mut self,
        stream: &str,
        body: &Value,
    ) -> Option<Result<Value, Fault>> {
        let now = self.now();
        if !self.is_led(stream) {
            return None;
        }
        let Some(stream) = self.streams.get_mut(stream) else {
            return Some(Err(stream_not_found()));
        };
        stream.expire(now);
        let not_found = || Fault::new(404, 10_037, "no message found");
        let kept = find(stream, body).ok_or_else(not_found);
        Some(kept.map(|kept| {
            json!({"message": {
                "subject": kept.subject,
                "seq": kept.seq,
                "hdrs": header_block(kept.headers.as_ref()).map(|block| STANDARD.encode(block)),
                "data": STANDARD.encode(&kept.payload),
                "time": Micros(kept.stored.wall).to_string(),
            }})
        }))
    }

    pub(super) fn delete_message(&mut self, stream: &str, body: &Value) -> Result<Value, Fault> {
        let stream = self.streams.get_mut(stream).ok_or_else(stream_not_found)?;
        if stream.remove(body["seq"].as_u64().unwrap_or(0)) {
            Ok(json!({"success": true}))
        } else {
            Err(Fault::new(404, 10_043, "message not found"))
        }
    }

    /// `DIRECT.GET.<stream>` with a body, or `DIRECT.GET.<stream>.<subject>`.
    pub(super) fn direct_get(&mut self, client: usize, rest: &str, packet: &Packet) {
        let now = self.now();
        let Some(reply) = packet.reply.clone() else {
            return;
        };
        let (name, subject) = match rest.split_once('.') {
            Some((name, subject)) => (name, Some(subject)),
            None => (rest, None),
        };
        let lags = self.dice.happens(self.weather.stale_reads);
        let Some(stream) = self.streams.get_mut(name) else {
            return self.refuse_call(client, &reply);
        };
        stream.expire(now);
        let mut body: Value = serde_json::from_slice(&packet.payload).unwrap_or(Value::Null);
        if let Some(subject) = subject {
            body = json!({"last_by_subj": subject});
        }
        let seen_until = if lags {
            now.steady.saturating_sub(LAG)
        } else {
            now.steady
        };
        let answers = read(stream, &reply, &body, seen_until);
        if self.dice.happens(self.weather.unanswered_calls) {
            return self.trouble(format!("read, the answer lost: {rest}"));
        }
        for answer in answers {
            self.answer(answer);
        }
    }
}

fn find<'a>(stream: &'a Stream, body: &Value) -> Option<&'a Arc<Kept>> {
    let seq = body["seq"].as_u64();
    if let Some(subject) = body["last_by_subj"].as_str() {
        stream.last(subject)
    } else if let Some(subject) = body["next_by_subj"].as_str() {
        stream.next(subject, seq.unwrap_or(0))
    } else {
        stream.get(seq?)
    }
}

fn read(stream: &Stream, reply: &str, body: &Value, seen_until: u64) -> Vec<Parcel> {
    let sees = |kept: &&Arc<Kept>| kept.stored.steady <= seen_until;
    if let Some(subjects) = body["multi_last"].as_array() {
        let subjects: Vec<&str> = subjects.iter().filter_map(Value::as_str).collect();
        return read_many(stream, reply, body, &subjects, seen_until);
    }
    match find(stream, body).filter(sees) {
        Some(kept) => vec![answer(stream, reply, kept, None)],
        None => vec![status(reply, 404, "Message Not Found", &[])],
    }
}

/// The last message on each subject, in the order of their sequences, and a word that there are no more.
fn read_many(
    stream: &Stream,
    reply: &str,
    body: &Value,
    subjects: &[&str],
    seen_until: u64,
) -> Vec<Parcel> {
    let from = body["seq"].as_u64().unwrap_or(0);
    let room = body["max_bytes"]
        .as_u64()
        .filter(|n| *n > 0)
        .unwrap_or(u64::MAX);
    let batch = body["batch"]
        .as_u64()
        .filter(|n| *n > 0)
        .unwrap_or(u64::MAX);
    let last = subjects.iter().filter_map(|subject| stream.last(subject));
    let seen = last.filter(|kept| kept.stored.steady <= seen_until && kept.seq >= from);
    let sequences: BTreeSet<u64> = seen.map(|kept| kept.seq).collect();
    if sequences.is_empty() {
        return vec![status(reply, 404, "No Results", &[])];
    }
    let (mut answers, mut bytes) = (Vec::new(), 0);
    let (mut left, mut last) = (sequences.len() as u64, 0);
    for seq in sequences {
        let Some(kept) = stream.get(seq) else {
            continue;
        };
        if answers.len() as u64 >= batch || bytes >= room {
            break;
        }
        left -= 1;
        answers.push(answer(stream, reply, kept, Some((left, last))));
        bytes += (kept.payload.len() + kept.subject.len()) as u64;
        last = seq;
    }
    let end = [("Nats-Num-Pending", left), ("Nats-Last-Sequence", last)];
    answers.push(status(reply, 204, "EOB", &end));
    answers
}

fn answer(stream: &Stream, reply: &str, kept: &Kept, place: Option<(u64, u64)>) -> Parcel {
    let mut headers = kept.headers.clone().unwrap_or_default();
    headers.insert("Nats-Stream", stream.settings.name.as_str());
    headers.insert("Nats-Subject", kept.subject.as_str());
    headers.insert("Nats-Sequence", kept.seq.to_string().as_str());
    headers.insert(
        "Nats-Time-Stamp",
        Micros(kept.stored.wall).to_string().as_str(),
    );
    if let Some((left, last)) = place {
        headers.insert("Nats-Num-Pending", left.to_string().as_str());
        headers.insert("Nats-Last-Sequence", last.to_string().as_str());
    }
    let answer = message(reply, None, Some(headers), kept.payload.clone());
    parcel(reply, answer)
}
