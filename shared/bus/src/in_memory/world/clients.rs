//! The clients' ends: pipes in both directions, broken connections, clients that stand still.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_nats::Message;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Event, World};
use crate::connect::Link;
use crate::in_memory::interest::SubscriptionId;
use crate::in_memory::packet::Packet;

/// The subscription that every client has for the answers to its requests.
const ANSWERS: u64 = 0;

/// What a client sends.
#[derive(Debug)]
pub(in super::super) enum Op {
    Publish(Packet),
    Subscribe { number: u64, pattern: String },
    Unsubscribe { number: u64 },
}

#[derive(Debug)]
struct ClientSubscription {
    pattern: String,
    queue: mpsc::UnboundedSender<Message>,
}

/// A client, and what the server knows of it.
#[derive(Debug)]
pub(in super::super) struct ClientState {
    pub(in super::super) name: Arc<str>,
    /// Counts its connections. What belongs to an earlier one is lost.
    life: u64,
    is_up: bool,
    is_gone: bool,
    /// Whether it stands still: what comes and goes waits.
    is_still: bool,
    held: Vec<Event>,
    /// What it sent while it was cut off.
    unsent: Vec<Op>,
    /// When the last of what is under way arrives, in each direction.
    up_at: u64,
    down_at: u64,
    link: watch::Sender<Link>,
    next_number: u64,
    subscriptions: BTreeMap<u64, ClientSubscription>,
    requests: HashMap<String, oneshot::Sender<Message>>,
}

impl World {
    pub(in super::super) fn add_client(&mut self, name: &str) -> (usize, watch::Receiver<Link>) {
        let client = self.clients.len();
        let (link, watched) = watch::channel(Link {
            up: true,
            breaks: 0,
        });
        self.clients.push(ClientState {
            name: name.into(),
            life: 0,
            is_up: true,
            is_gone: false,
            is_still: false,
            held: Vec::new(),
            unsent: Vec::new(),
            up_at: 0,
            down_at: 0,
            link,
            next_number: ANSWERS + 1,
            subscriptions: BTreeMap::new(),
            requests: HashMap::new(),
        });
        self.listen_for_answers(client);
        (client, watched)
    }

    fn listen_for_answers(&mut self, client: usize) {
        let number = ANSWERS;
        let id = SubscriptionId { client, number };
        self.interest
            .add(&format!("{}*", answer_prefix(client)), id);
    }

    /// A subscription's number, and what comes in on it.
    pub(in super::super) fn subscribe(
        &mut self,
        client: usize,
        pattern: &str,
    ) -> (u64, mpsc::UnboundedReceiver<Message>) {
        let (queue, messages) = mpsc::unbounded_channel();
        let state = &mut self.clients[client];
        let number = state.next_number;
        state.next_number += 1;
        let pattern = pattern.to_owned();
        let subscription = ClientSubscription {
            pattern: pattern.clone(),
            queue,
        };
        state.subscriptions.insert(number, subscription);
        self.send_up(client, Op::Subscribe { number, pattern });
        (number, messages)
    }

    pub(in super::super) fn unsubscribe(&mut self, client: usize, number: u64) {
        self.clients[client].subscriptions.remove(&number);
        self.send_up(client, Op::Unsubscribe { number });
    }

    /// Where the answer to a request goes, and how it comes.
    pub(in super::super) fn expect_answer(
        &mut self,
        client: usize,
    ) -> (String, oneshot::Receiver<Message>) {
        let (sender, answer) = oneshot::channel();
        let state = &mut self.clients[client];
        let reply = format!("{}{}", answer_prefix(client), state.next_number);
        state.next_number += 1;
        state.requests.insert(reply.clone(), sender);
        (reply, answer)
    }

    /// A number that this client has not used yet.
    pub(in super::super) fn draw_number(&mut self, client: usize) -> u64 {
        let state = &mut self.clients[client];
        state.next_number += 1;
        state.next_number - 1
    }

    pub(in super::super) fn expect_no_answer(&mut self, client: usize, reply: &str) {
        self.clients[client].requests.remove(reply);
    }

    /// Sends something on a client's way to the server.
    pub(in super::super) fn send_up(&mut self, client: usize, op: Op) {
        let delay = self.latency();
        let (now, state) = (self.now, &mut self.clients[client]);
        if state.is_gone {
            return;
        }
        if !state.is_up {
            state.unsent.push(op);
            return;
        }
        let life = state.life;
        if delay == 0 && state.up_at <= now && !state.is_still {
            self.arrive(client, life, op);
            self.settle();
            return;
        }
        let at = state.up_at.max(now + delay);
        state.up_at = at;
        self.plan(at, Event::Arrive { client, life, op });
    }

    pub(super) fn send_down(&mut self, client: usize, number: u64, packet: Packet) {
        let delay = self.latency();
        let (now, state) = (self.now, &mut self.clients[client]);
        let life = state.life;
        if delay == 0 && state.down_at <= now && !state.is_still {
            return self.reach(client, life, number, packet);
        }
        let at = state.down_at.max(now + delay);
        state.down_at = at;
        let event = Event::Reach {
            client,
            life,
            number,
            packet,
        };
        self.plan(at, event);
    }

    /// Most messages take no time that counts; some take their time.
    fn latency(&mut self) -> u64 {
        match self.weather.latency_ms {
            0 => 0,
            most if self.dice.happens(300) => self.dice.below(u64::from(most) + 1) * 1_000,
            _ => 0,
        }
    }

    pub(super) fn arrive(&mut self, client: usize, life: u64, op: Op) {
        let state = &mut self.clients[client];
        if state.life != life || state.is_gone {
            return;
        }
        if state.is_still {
            state.held.push(Event::Arrive { client, life, op });
            return;
        }
        match op {
            Op::Publish(packet) => self.route(client, &packet),
            Op::Subscribe { number, pattern } => {
                if self.clients[client].subscriptions.contains_key(&number) {
                    let id = SubscriptionId { client, number };
                    self.interest.add(&pattern, id);
                }
            }
            Op::Unsubscribe { number } => {
                self.interest.remove(SubscriptionId { client, number });
            }
        }
    }

    pub(super) fn reach(&mut self, client: usize, life: u64, number: u64, packet: Packet) {
        let state = &mut self.clients[client];
        if state.life != life || state.is_gone {
            return;
        }
        if state.is_still {
            let event = Event::Reach {
                client,
                life,
                number,
                packet,
            };
            state.held.push(event);
            return;
        }
        let message = Message::clone(&packet);
        // Those who do not listen any more do not get it.
        if number == ANSWERS {
            if let Some(request) = state.requests.remove(message.subject.as_str()) {
                let _ = request.send(message);
            }
        } else if let Some(subscription) = state.subscriptions.get(&number) {
            let _ = subscription.queue.send(message);
        }
    }

    /// Cuts a client's connection: what is under way is lost, and nobody listens until it is back.
    pub(in super::super) fn cut(&mut self, client: usize, for_micros: u64) {
        let at = self.now + for_micros;
        let state = &mut self.clients[client];
        if !state.is_up || state.is_gone {
            return;
        }
        state.is_up = false;
        state.life += 1;
        state.held.clear();
        let life = state.life;
        self.interest.remove_client(client);
        self.set_link(client, |link| {
            link.up = false;
            link.breaks += 1;
        });
        self.trouble(format!("cut off: {}", self.client_name(client)));
        self.plan(at, Event::Reconnect { client, life });
        self.tend_all();
    }

    pub(super) fn reconnect(&mut self, client: usize, life: u64) {
        let state = &mut self.clients[client];
        if state.life != life || state.is_gone || state.is_up {
            return;
        }
        state.is_up = true;
        let unsent = std::mem::take(&mut state.unsent);
        let mut patterns = Vec::new();
        for (number, subscription) in &state.subscriptions {
            patterns.push((*number, subscription.pattern.clone()));
        }
        self.listen_for_answers(client);
        for (number, pattern) in patterns {
            self.interest
                .add(&pattern, SubscriptionId { client, number });
        }
        self.set_link(client, |link| link.up = true);
        self.trouble(format!("connected again: {}", self.client_name(client)));
        for op in unsent {
            // They were subscribed again already.
            if !matches!(op, Op::Subscribe { .. }) {
                self.send_up(client, op);
            }
        }
    }

    /// The client's process is gone.
    pub(in super::super) fn close(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.is_gone {
            return;
        }
        state.is_gone = true;
        state.life += 1;
        state.subscriptions.clear();
        state.requests.clear();
        self.interest.remove_client(client);
        self.trouble(format!("gone: {}", self.client_name(client)));
        self.tend_all();
    }

    /// The client stands still, as a stopped process: its connection stays, and what comes waits.
    pub(in super::super) fn hold(&mut self, client: usize) {
        self.clients[client].is_still = true;
        self.trouble(format!("stands still: {}", self.client_name(client)));
    }

    pub(in super::super) fn let_go(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.is_still = false;
        let held = std::mem::take(&mut state.held);
        self.trouble(format!("goes on: {}", self.client_name(client)));
        let now = self.now;
        for event in held {
            self.plan(now, event);
        }
        let state = &mut self.clients[client];
        state.up_at = state.up_at.max(now + 1);
        state.down_at = state.down_at.max(now + 1);
    }

    fn set_link(&self, client: usize, change: impl FnOnce(&mut Link)) {
        self.clients[client].link.send_modify(change);
    }

    /// A pull whose sender is gone is void.
    pub(super) fn tend_all(&mut self) {
        let names: Vec<String> = self.streams.keys().cloned().collect();
        for name in names {
            self.tend(&name);
        }
    }
}

fn answer_prefix(client: usize) -> String {
    format!("_INBOX.answers.{client}.")
}
