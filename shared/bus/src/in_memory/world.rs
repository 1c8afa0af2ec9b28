//! The server's state, and how a message goes through it.
//!
//! ```text
//! client ──pipe──► arrive ──► route ──► listeners ──pipe──► client
//!                               ├─────► streams that capture it ──► answer
//!                               ├─────► $JS.API: a call ──────────► answer
//!                               └─────► $JS.ACK: an answer to a delivery
//! ```
//!
//! What must hold: everything happens at a point of the agenda, in its order, so that the same seed and the
//! same deeds of the clients give the same history.

mod calls;
mod clients;
mod disasters;
mod publish;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_nats::Message;

pub(super) use self::clients::{ClientState, Op};
use super::consumer::{AckKind, Verdict};
use super::interest::Interest;
use super::journal::{Deed, Journal};
use super::packet::{Packet, Parcel, status};
use super::stream::{Now, Retention, Stream};
use super::weather::{Dice, Weather};

/// So many deeds at one moment are a loop without an end.
const DEEDS_AT_ONCE_MAX: u64 = 200_000;
const NO_RESPONDERS: u16 = 503;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// What a client sent arrives.
    Arrive { client: usize, life: u64, op: Op },
    /// What is sent to a client arrives there.
    Reach {
        client: usize,
        life: u64,
        number: u64,
        packet: Packet,
    },
    /// An ack arrives out of turn.
    LateAck { packet: Packet },
    /// An answer of the server is sent late.
    LateAnswer { parcel: Parcel },
    /// A stream has something to do.
    Stream { name: String },
    /// A consumer loses its leader.
    StepDown {
        stream: String,
        consumer: String,
        until: u64,
    },
    /// A consumer has a leader again.
    Elected { stream: String, consumer: String },
    /// A client's connection is up again.
    Reconnect { client: usize, life: u64 },
}

/// The server.
#[derive(Debug)]
pub(super) struct World {
    now: u64,
    /// What the wall clock is ahead of the steady one.
    wall_offset: u64,
    order: u64,
    agenda: BTreeMap<(u64, u64), Event>,
    deeds_now: u64,
    pub(super) clients: Vec<ClientState>,
    interest: Interest,
    pub(super) streams: BTreeMap<String, Stream>,
    /// The next thing that each stream does by itself.
    alarms: BTreeMap<String, u64>,
    pub(super) weather: Weather,
    dice: Dice,
    pub(super) journal: Journal,
    parcels: VecDeque<Parcel>,
}

impl World {
    pub(super) fn new(seed: u64, wall_at_start: u64) -> Self {
        Self {
            now: 0,
            wall_offset: wall_at_start,
            order: 0,
            agenda: BTreeMap::new(),
            deeds_now: 0,
            clients: Vec::new(),
            interest: Interest::default(),
            streams: BTreeMap::new(),
            alarms: BTreeMap::new(),
            weather: Weather::default(),
            dice: Dice::new(seed),
            journal: Journal::default(),
            parcels: VecDeque::new(),
        }
    }

    pub(super) const fn now(&self) -> Now {
        let (steady, wall) = (self.now, self.now + self.wall_offset);
        Now { steady, wall }
    }

    /// Goes on to a moment, with all that happens until then.
    ///
    /// # Panics
    /// When there is no end to what happens at one moment.
    pub(super) fn go_on(&mut self, until: u64) {
        while let Some((at, order)) = self.agenda.keys().next().copied()
            && at <= until
        {
            self.set_now(at);
            self.deeds_now += 1;
            assert!(
                self.deeds_now < DEEDS_AT_ONCE_MAX,
                "the bus turns in a circle at {at} µs"
            );
            if let Some(event) = self.agenda.remove(&(at, order)) {
                self.happen(event);
            }
        }
        self.set_now(until);
    }

    /// When something happens next by itself.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    fn set_now(&mut self, at: u64) {
        if at > self.now {
            self.now = at;
            self.deeds_now = 0;
        }
    }

    fn plan(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.agenda.insert((at.max(self.now), self.order), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { client, life, op } => self.arrive(client, life, op),
            Event::Reach {
                client,
                life,
                number,
                packet,
            } => self.reach(client, life, number, packet),
            Event::LateAck { packet } => self.ack(&packet),
            Event::LateAnswer { parcel } => self.parcels.push_back(parcel),
            Event::Stream { name } => {
                self.alarms.remove(&name);
                self.tend(&name);
            }
            Event::StepDown {
                stream,
                consumer,
                until,
            } => self.consumer_steps_down(&stream, &consumer, until),
            Event::Elected { stream, consumer } => self.elected(&stream, &consumer),
            Event::Reconnect { client, life } => self.reconnect(client, life),
        }
        self.settle();
    }

    /// Sends what has gathered to those who listen.
    pub(super) fn settle(&mut self) {
        while let Some(parcel) = self.parcels.pop_front() {
            self.spread(&parcel);
        }
    }

    /// Takes a client's message.
    fn route(&mut self, client: usize, packet: &Packet) {
        let name = self.clients[client].name.clone();
        let deed = Deed::Published(packet.clone());
        self.journal.note(self.now, Some(name), deed);
        let subject = packet.subject.as_str();
        if let Some(call) = subject.strip_prefix("$JS.API.") {
            return self.take_call(client, call, packet);
        }
        if subject.starts_with("$JS.ACK.") {
            return self.take_ack(packet);
        }
        let is_stored = self.store(packet);
        let listeners = self.interest.listeners(subject);
        if listeners.is_empty() && !is_stored {
            return self.find_nobody(client, packet);
        }
        if !is_stored && self.dice.happens(self.weather.lost_messages) {
            return self.trouble(format!("lost: {subject}"));
        }
        for id in listeners {
            self.send_down(id.client, id.number, packet.clone());
        }
    }

    /// Says to the sender alone that nobody listens, if it wants an answer.
    fn find_nobody(&mut self, client: usize, packet: &Packet) {
        let Some(reply) = &packet.reply else {
            return;
        };
        let parcel = status(reply, NO_RESPONDERS, "No Responders", &[]);
        for id in self.interest.listeners(reply) {
            if id.client == client {
                self.send_down(id.client, id.number, parcel.packet.clone());
            }
        }
    }

    /// What the server says goes to whom it was asked to tell it, be that a stream.
    fn spread(&mut self, parcel: &Parcel) {
        // What a consumer delivers keeps its own subject, and lies in a stream already.
        if parcel.packet.subject.as_str() == parcel.to {
            self.store(&parcel.packet);
        }
        for id in self.interest.listeners(&parcel.to) {
            self.send_down(id.client, id.number, parcel.packet.clone());
        }
    }

    fn take_ack(&mut self, packet: &Packet) {
        let weather = self.weather;
        let subject = &packet.subject;
        if self.dice.happens(weather.lost_acks) {
            return self.trouble(format!("lost: {subject}"));
        }
        if self.dice.happens(weather.late_acks) {
            self.trouble(format!("late: {subject}"));
            return self.ack_later(packet);
        }
        if self.dice.happens(weather.doubled_acks) {
            self.trouble(format!("twice: {subject}"));
            self.ack_later(packet);
        }
        self.ack(packet);
    }

    fn ack_later(&mut self, packet: &Packet) {
        let at = self.now + self.dice.between(1_000, 2_000_000);
        let packet = packet.clone();
        self.plan(at, Event::LateAck { packet });
    }

    /// `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>`
    fn ack(&mut self, packet: &Packet) {
        let now = self.now();
        let subject = packet.subject.to_string();
        let tokens: Vec<&str> = subject.split('.').collect();
        let number = |at: usize| tokens.get(at).and_then(|token| token.parse::<u64>().ok());
        let (Some(name), Some(consumer_name)) = (tokens.get(2), tokens.get(3)) else {
            return;
        };
        let (Some(seq), Some(consumer_seq)) = (number(5), number(6)) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(*name) else {
            return;
        };
        let Some(consumer) = stream.consumers.get_mut(*consumer_name) else {
            return;
        };
        let Some(kind) = AckKind::read(&packet.payload).filter(|_| consumer.has_leader(now.steady))
        else {
            return self.trouble(format!("nobody takes: {subject}"));
        };
        let verdict = consumer.answer(kind, seq, consumer_seq, now.steady);
        if verdict == Verdict::Settled && stream.settings.retention == Retention::WorkQueue {
            stream.remove(seq);
        }
        if verdict == Verdict::Dropped {
            return self.trouble(format!("dropped, not delivered yet: {subject}"));
        }
        if let Some(reply) = &packet.reply {
            let empty = super::packet::message(reply, None, None, bytes::Bytes::new());
            let parcel = super::packet::parcel(reply, empty);
            self.parcels.push_back(parcel);
        }
        self.tend(name);
    }

    /// Lets a stream do what it can: publish what is due, forget what is old, deliver.
    fn tend(&mut self, name: &str) {
        let now = self.now();
        let Some(stream) = self.streams.get_mut(name) else {
            return;
        };
        stream.expire(now);
        let mut out = Vec::new();
        if stream.has_leader(now.steady) {
            stream.publish_due(now);
        }
        let mut consumers = std::mem::take(&mut stream.consumers);
        let mut unsent = Vec::new();
        for consumer in consumers.values_mut() {
            let sent = if consumer.falters() {
                &mut unsent
            } else {
                &mut out
            };
            consumer.deliver(stream, &self.interest, now, sent);
        }
        stream.consumers = consumers;
        let next = stream.next_deadline(now);
        for parcel in unsent {
            let message = describe(&parcel.packet);
            self.trouble(format!("recorded and not sent: {message}"));
        }
        self.deliver(out);
        self.set_alarm(name, next);
    }

    fn deliver(&mut self, out: Vec<Parcel>) {
        for parcel in out {
            let (to, message) = (parcel.to.clone(), parcel.packet.clone());
            if parcel.packet.status.is_none() && self.dice.happens(self.weather.lost_deliveries) {
                self.trouble(format!("lost on its way: {}", describe(&message)));
                continue;
            }
            let deed = Deed::Delivered { to, message };
            self.journal.note(self.now, None, deed);
            self.parcels.push_back(parcel);
        }
    }

    fn set_alarm(&mut self, name: &str, next: Option<u64>) {
        let Some(next) = next else {
            return;
        };
        let next = next.max(self.now + 1);
        if self.alarms.get(name).is_none_or(|set| next < *set) {
            self.alarms.insert(name.to_owned(), next);
            let name = name.to_owned();
            self.plan(next, Event::Stream { name });
        }
    }

    pub(super) fn trouble(&mut self, text: String) {
        self.journal.note(self.now, None, Deed::Trouble(text));
    }

    fn client_name(&self, client: usize) -> Arc<str> {
        self.clients[client].name.clone()
    }
}

fn describe(message: &Message) -> String {
    let reply = message.reply.as_deref().unwrap_or_default();
    format!("{} {reply}", message.subject)
}
