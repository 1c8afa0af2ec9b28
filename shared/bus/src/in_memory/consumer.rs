//! A durable pull consumer with explicit acks.
//!
//! ```text
//! not delivered ──pull──► pending ──ack──► gone (and deleted, in a work queue)
//!                           │  ▲
//!       nak, ack wait over  ▼  │ pull, counted once more
//!                         to come again
//! ```
//!
//! Acks are known by the stream's sequence alone; naks also look at the consumer's, but a stale one of the same
//! message is good enough. A reset forgets what was delivered: counts begin at 1, and an ack for what has not
//! come again yet is dropped without a word.

mod acks;
mod deliver;
mod pulls;

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

pub(super) use self::acks::{AckKind, Verdict};
pub(super) use self::pulls::{End, Pull};
use super::packet::Parcel;
use super::stream::{Now, Stream};

/// How long a delivery may go unanswered when nothing is set: 30 seconds.
const ACK_WAIT: u64 = 30_000_000;
/// Pulls that may wait when nothing is set.
const MAX_WAITING: usize = 512;
/// Deliveries that may be pending when nothing is set.
const MAX_ACK_PENDING: usize = 1_000;

#[derive(Debug, Clone)]
pub(super) struct ConsumerSettings {
    pub(super) filter: String,
    /// In microseconds.
    ack_wait: u64,
    /// The most that is pending; nothing for any number.
    max_ack_pending: Option<usize>,
    max_waiting: usize,
    headers_only: bool,
    pub(super) told: Value,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    consumer_seq: u64,
    /// When it comes again, by the steady clock.
    deadline: u64,
}

/// The last delivery: the consumer's own number for it, and the stream's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) consumer_seq: u64,
    pub(super) stream_seq: u64,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) stream: String,
    pub(super) name: String,
    pub(super) settings: ConsumerSettings,
    created: u64,
    /// Until when it has no leader, by the steady clock.
    pub(super) leaderless_until: Option<u64>,
    /// Whether its leader is on its way out.
    falters: bool,
    /// Until when it hands out nothing, by the steady clock.
    paused_until: Option<u64>,
    /// The first sequence of the stream that was not looked at yet.
    next: u64,
    delivered: Mark,
    pending: BTreeMap<u64, Pending>,
    again: VecDeque<u64>,
    /// How often each pending message was delivered.
    counts: BTreeMap<u64, u32>,
    pulls: VecDeque<Pull>,
    /// The newest deliveries, with their time: what a crash may lose.
    recent: VecDeque<(u64, u64)>,
}

impl ConsumerSettings {
    pub(super) fn read(told: Value) -> Self {
        let positive = |field: &str| told[field].as_u64().filter(|n| *n > 0);
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let filters = told["filter_subjects"].as_array().into_iter().flatten();
        let filter = told["filter_subject"]
            .as_str()
            .or_else(|| filters.filter_map(Value::as_str).next());
        Self {
            filter: filter.filter(|f| !f.is_empty()).unwrap_or(">").to_owned(),
            ack_wait: positive("ack_wait").map_or(ACK_WAIT, |nanos| nanos / 1_000),
            max_ack_pending: match told["max_ack_pending"].as_i64() {
                Some(..0) => None,
                Some(0) | None => Some(MAX_ACK_PENDING),
                Some(most) => Some(usize::try_from(most).unwrap_or(usize::MAX)),
            },
            max_waiting: positive("max_waiting").map_or(MAX_WAITING, size),
            headers_only: told["headers_only"] == true,
            told,
        }
    }
}

impl Consumer {
    pub(super) fn new(stream: &str, name: &str, settings: ConsumerSettings, now: Now) -> Self {
        Self {
            stream: stream.to_owned(),
            name: name.to_owned(),
            settings,
            created: now.wall,
            leaderless_until: None,
            falters: false,
            paused_until: None,
            next: 1,
            delivered: Mark::default(),
            pending: BTreeMap::new(),
            again: VecDeque::new(),
            counts: BTreeMap::new(),
            pulls: VecDeque::new(),
            recent: VecDeque::new(),
        }
    }

    pub(super) fn has_leader(&self, steady: u64) -> bool {
        self.leaderless_until.is_none_or(|until| until <= steady)
    }

    fn is_paused(&self, steady: u64) -> bool {
        self.paused_until.is_some_and(|until| until > steady)
    }

    /// Hands out nothing until then, or goes on.
    pub(super) fn pause(&mut self, until: Option<u64>) {
        self.paused_until = until;
    }

    /// The message is not in the stream any more.
    pub(super) fn forget(&mut self, seq: u64) {
        if self.pending.remove(&seq).is_some() {
            self.again.retain(|other| *other != seq);
            self.counts.remove(&seq);
        }
    }

    /// Back to the ack floor: what is not acked comes again, as if for the first time. Pulls that wait go on
    /// waiting, whosever they are.
    pub(super) fn reset(&mut self) -> u64 {
        let floor = self.ack_floor();
        self.next = floor.stream_seq + 1;
        self.delivered = Mark {
            consumer_seq: 0,
            stream_seq: floor.stream_seq,
        };
        self.pending.clear();
        self.again.clear();
        self.counts.clear();
        self.recent.clear();
        self.next
    }

    /// Another copy is about to lead. What is delivered now is known to it as delivered, and is not sent any more.
    pub(super) fn falter(&mut self) {
        self.falters = true;
    }

    /// Whether what it delivers is not sent.
    pub(super) const fn falters(&self) -> bool {
        self.falters
    }

    /// Another copy leads: waiting pulls end.
    pub(super) fn step_down(&mut self, until: u64, out: &mut Vec<Parcel>) {
        self.falters = false;
        self.leaderless_until = Some(until);
        self.end_pulls(End::LeadershipChange, out);
    }

    /// A crash has lost what was delivered since then: it is delivered again, as if for the first time.
    pub(super) fn forget_since(&mut self, since: u64) {
        let forgotten = self.recent.iter().filter(|(at, _)| *at >= since);
        let first = forgotten.map(|(_, seq)| *seq).min();
        self.recent.clear();
        let Some(first) = first else {
            return;
        };
        let forgotten = self.pending.split_off(&first);
        self.again.retain(|seq| !forgotten.contains_key(seq));
        self.counts.retain(|seq, _| !forgotten.contains_key(seq));
        if let Some(lowest) = forgotten.values().map(|p| p.consumer_seq).min() {
            self.next = first;
            self.delivered = Mark {
                consumer_seq: lowest - 1,
                stream_seq: first - 1,
            };
        }
    }

    pub(super) fn ack_floor(&self) -> Mark {
        let Some(lowest) = self.pending.keys().next() else {
            return self.delivered;
        };
        let consumer_seq = self.pending.values().map(|p| p.consumer_seq).min();
        Mark {
            consumer_seq: consumer_seq.unwrap_or(1) - 1,
            stream_seq: lowest - 1,
        }
    }

    /// When something happens by itself: a delivery comes again, or a pull ends.
    pub(super) fn next_deadline(&self, steady: u64) -> Option<u64> {
        if !self.has_leader(steady) {
            return None;
        }
        let waits = self
            .pending
            .iter()
            .filter(|(seq, _)| !self.again.contains(seq));
        let waits = waits.map(|(_, pending)| pending.deadline);
        let paused = self.paused_until.filter(|until| *until > steady);
        let pulls = self.pulls.iter().filter_map(|pull| pull.expires);
        waits.chain(pulls).chain(paused).min()
    }

    pub(super) fn unacked_sequences(&self) -> impl Iterator<Item = u64> {
        self.pending.keys().copied()
    }

    pub(super) fn waiting(&self, stream: &Stream) -> u64 {
        stream.count(&self.settings.filter, self.next)
    }

    pub(super) fn info(&self, stream: &Stream) -> Value {
        let mark =
            |mark: Mark| json!({"consumer_seq": mark.consumer_seq, "stream_seq": mark.stream_seq});
        let repeated = self.counts.values().filter(|count| **count > 1).count();
        json!({
            "stream_name": self.stream,
            "name": self.name,
            "created": rota_wire::Micros(self.created).to_string(),
            "config": self.settings.told,
            "delivered": mark(self.delivered),
            "ack_floor": mark(self.ack_floor()),
            "num_ack_pending": self.pending.len(),
            "num_redelivered": repeated,
            "num_waiting": self.pulls.len(),
            "num_pending": self.waiting(stream),
        })
    }
}
