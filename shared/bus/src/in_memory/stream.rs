//! A stream: what it keeps, what it refuses, what it remembers of ids, and its schedules.
//!
//! It knows its consumers, for an ack in a work queue deletes the message and a deleted message is nobody's.

mod schedules;
mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;

pub(super) use self::settings::{Retention, StreamSettings};
use super::consumer::Consumer;
use super::interest::{is_wild, matches};
use super::packet::{Fault, header, header_bytes};

const EXPECTED_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
const MSG_ID: &str = "Nats-Msg-Id";
const ROLLUP: &str = "Nats-Rollup";
/// What the server takes for a message beside its bytes.
const MESSAGE_OVERHEAD: u64 = 22;

/// The time: the clock that only goes on, and the server's wall clock, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) steady: u64,
    pub(super) wall: u64,
}

/// A message of a stream.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) seq: u64,
    pub(super) subject: String,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
    /// When it was stored, by both clocks.
    pub(super) stored: Now,
}

impl Kept {
    /// What it takes of a pull's bytes: without its body, perhaps.
    pub(super) fn size(&self, headers_only: bool) -> u64 {
        let headers = header_bytes(self.headers.as_ref());
        let body = if headers_only { 0 } else { self.payload.len() };
        (self.subject.len() + headers + body) as u64
    }

    fn bytes(&self) -> u64 {
        (self.subject.len() + self.payload.len()) as u64 + MESSAGE_OVERHEAD
    }
}

/// The answer to a publish that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) seq: u64,
    pub(super) duplicate: bool,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) settings: StreamSettings,
    pub(super) created: u64,
    pub(super) consumers: BTreeMap<String, Consumer>,
    /// Until when it has no leader, by the steady clock.
    pub(super) leaderless_until: Option<u64>,
    messages: BTreeMap<u64, Arc<Kept>>,
    by_subject: BTreeMap<String, BTreeSet<u64>>,
    last_seq: u64,
    bytes: u64,
    ids: HashMap<String, (u64, u64)>,
    ids_in_order: VecDeque<(u64, String)>,
    /// Schedules by their time on the wall clock.
    due: BTreeSet<(u64, u64)>,
}

impl Stream {
    pub(super) fn new(settings: StreamSettings, now: Now) -> Self {
        Self {
            last_seq: settings.first_seq.saturating_sub(1),
            settings,
            created: now.wall,
            consumers: BTreeMap::new(),
            leaderless_until: None,
            messages: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            bytes: 0,
            ids: HashMap::new(),
            ids_in_order: VecDeque::new(),
            due: BTreeSet::new(),
        }
    }

    pub(super) fn captures(&self, subject: &str) -> bool {
        self.settings.subjects.iter().any(|p| matches(p, subject))
    }

    pub(super) fn has_leader(&self, steady: u64) -> bool {
        self.leaderless_until.is_none_or(|until| until <= steady)
    }

    /// When something happens by itself, by the steady clock.
    pub(super) fn next_deadline(&self, now: Now) -> Option<u64> {
        let due = self.next_due(now).filter(|_| self.has_leader(now.steady));
        let consumers = self.consumers.values();
        let deadlines = consumers.filter_map(|consumer| consumer.next_deadline(now.steady));
        deadlines.chain(due).min()
    }

    /// Stores a message, or says why not.
    pub(super) fn publish(&mut self, message: &Message, now: Now) -> Result<Taken, Fault> {
        self.expire(now);
        let headers = message.headers.as_ref();
        let id = header(headers, MSG_ID).map(str::to_owned);
        if let Some((seq, _)) = id.as_ref().and_then(|id| self.ids.get(id)) {
            let (seq, duplicate) = (*seq, true);
            return Ok(Taken { seq, duplicate });
        }
        self.check_expected(&message.subject, headers)?;
        let schedule = self.read_schedule(&message.subject, headers, now)?;
        if schedule.is_some() || header(headers, ROLLUP) == Some("sub") {
            self.purge(Some(&message.subject), None, 0);
        }
        self.check_room(message)?;
        let seq = self.keep(&message.subject, headers, &message.payload, now);
        if let Some(due) = schedule {
            self.due.insert((due, seq));
        }
        if let Some(id) = id {
            self.ids.insert(id.clone(), (seq, now.steady));
            self.ids_in_order.push_back((now.steady, id));
        }
        self.enforce_limits();
        let duplicate = false;
        Ok(Taken { seq, duplicate })
    }

    fn check_expected(&self, subject: &str, headers: Option<&HeaderMap>) -> Result<(), Fault> {
        let Some(expected) = header(headers, EXPECTED_SUBJECT_SEQUENCE) else {
            return Ok(());
        };
        let last = self.last(subject).map_or(0, |kept| kept.seq);
        if expected.parse() == Ok(last) {
            Ok(())
        } else {
            let text = format!("wrong last sequence: {last}");
            Err(Fault::new(400, 10_071, text))
        }
    }

    fn check_room(&self, message: &Message) -> Result<(), Fault> {
        let settings = &self.settings;
        let size = message.payload.len() as u64;
        if settings.max_msg_size.is_some_and(|most| size > most) {
            let text = "message size exceeds maximum allowed";
            return Err(Fault::new(400, 10_054, text));
        }
        if !settings.discards_new {
            return Ok(());
        }
        let count = self.messages.len() as u64;
        if settings.max_msgs.is_some_and(|most| count >= most) {
            return Err(Fault::new(503, 10_077, "maximum messages exceeded"));
        }
        let bytes = self.bytes + size + message.subject.len() as u64 + MESSAGE_OVERHEAD;
        if settings.max_bytes.is_some_and(|most| bytes > most) {
            return Err(Fault::new(503, 10_077, "maximum bytes exceeded"));
        }
        Ok(())
    }

    fn keep(
        &mut self,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
        now: Now,
    ) -> u64 {
        self.last_seq += 1;
        let seq = self.last_seq;
        let kept = Kept {
            seq,
            subject: subject.to_owned(),
            headers: headers.cloned(),
            payload: payload.clone(),
            stored: now,
        };
        self.bytes += kept.bytes();
        self.messages.insert(seq, Arc::new(kept));
        let sequences = self.by_subject.entry(subject.to_owned()).or_default();
        sequences.insert(seq);
        let most = self.settings.max_msgs_per_subject;
        if let Some(oldest) = sequences.first().copied()
            && most.is_some_and(|most| sequences.len() as u64 > most)
        {
            self.remove(oldest);
        }
        seq
    }

    /// Drops the oldest while there is too much, where that is the rule.
    fn enforce_limits(&mut self) {
        let is_over = |stream: &Self| {
            let settings = &stream.settings;
            let count = stream.messages.len() as u64;
            settings.max_msgs.is_some_and(|most| count > most)
                || settings.max_bytes.is_some_and(|most| stream.bytes > most)
        };
        while is_over(self)
            && let Some(oldest) = self.messages.keys().next().copied()
        {
            self.remove(oldest);
        }
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Now) {
        if let Some(age) = self.settings.max_age {
            while let Some((seq, kept)) = self.messages.first_key_value()
                && kept.stored.steady + age <= now.steady
            {
                let seq = *seq;
                self.remove(seq);
            }
        }
        let window = self.settings.duplicate_window;
        while let Some((at, _)) = self.ids_in_order.front()
            && at + window <= now.steady
            && let Some((at, id)) = self.ids_in_order.pop_front()
        {
            if self.ids.get(&id).is_some_and(|(_, noted)| *noted == at) {
                self.ids.remove(&id);
            }
        }
    }

    /// Takes a message out, and out of all consumers' hands. Whether it was there.
    pub(super) fn remove(&mut self, seq: u64) -> bool {
        let Some(kept) = self.messages.remove(&seq) else {
            return false;
        };
        self.bytes -= kept.bytes();
        if let Some(sequences) = self.by_subject.get_mut(&kept.subject) {
            sequences.remove(&seq);
            if sequences.is_empty() {
                self.by_subject.remove(&kept.subject);
            }
        }
        for consumer in self.consumers.values_mut() {
            consumer.forget(seq);
        }
        true
    }

    /// Deletes messages: those under a pattern, those below a sequence, all but the newest few.
    pub(super) fn purge(&mut self, filter: Option<&str>, below: Option<u64>, keep: u64) -> u64 {
        let mut found: Vec<u64> = match filter {
            Some(filter) => self.sequences(filter),
            None => self.messages.keys().copied().collect(),
        };
        found.retain(|seq| below.is_none_or(|below| *seq < below));
        let kept = usize::try_from(keep).unwrap_or(usize::MAX).min(found.len());
        found.truncate(found.len() - kept);
        let purged = found.len() as u64;
        for seq in found {
            self.remove(seq);
        }
        purged
    }

    /// A restart forgets the ids of messages that are gone.
    pub(super) fn restart(&mut self) {
        let messages = &self.messages;
        self.ids.retain(|_, (seq, _)| messages.contains_key(seq));
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Arc<Kept>> {
        self.messages.get(&seq)
    }

    pub(super) fn last(&self, subject: &str) -> Option<&Arc<Kept>> {
        if is_wild(subject) {
            let kept = |seq: u64| self.messages.get(&seq);
            return self.sequences(subject).last().copied().and_then(kept);
        }
        let seq = self.by_subject.get(subject)?.last()?;
        self.messages.get(seq)
    }

    /// The first message under a pattern that is not before `from`.
    pub(super) fn next(&self, pattern: &str, from: u64) -> Option<&Arc<Kept>> {
        if is_wild(pattern) {
            let mut later = self.messages.range(from..).map(|(_, kept)| kept);
            return later.find(|kept| matches(pattern, &kept.subject));
        }
        let seq = self.by_subject.get(pattern)?.range(from..).next()?;
        self.messages.get(seq)
    }

    /// How many messages under a pattern are not before `from`.
    pub(super) fn count(&self, pattern: &str, from: u64) -> u64 {
        if is_wild(pattern) {
            let later = self.messages.range(from..).map(|(_, kept)| kept);
            return later.filter(|kept| matches(pattern, &kept.subject)).count() as u64;
        }
        let sequences = self.by_subject.get(pattern);
        sequences.map_or(0, |sequences| sequences.range(from..).count() as u64)
    }

    /// The subjects under a pattern, each with its number of messages.
    pub(super) fn subjects(&self, pattern: &str) -> impl Iterator<Item = (&str, u64)> {
        let all = self.by_subject.iter();
        all.filter(move |(subject, _)| matches(pattern, subject))
            .map(|(subject, sequences)| (subject.as_str(), sequences.len() as u64))
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Arc<Kept>> {
        self.messages.values()
    }

    pub(super) fn len(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) fn first_seq(&self) -> u64 {
        let first = self.messages.keys().next().copied();
        first.unwrap_or(self.last_seq + 1)
    }

    pub(super) fn subject_count(&self) -> usize {
        self.by_subject.len()
    }

    fn sequences(&self, pattern: &str) -> Vec<u64> {
        let under = self.by_subject.iter().filter(|(s, _)| matches(pattern, s));
        let mut found: Vec<u64> = under.flat_map(|(_, seqs)| seqs.iter().copied()).collect();
        found.sort_unstable();
        found
    }
}
