//! A model of nats-server that lives in this process, for tests in virtual time.
//!
//! It does what Rota needs of the server, as the server does it: core messages with "no responders", streams with
//! their limits and their memory of ids, schedules, pull consumers with acks, resets and redelivery, reads from
//! the leader and from copies. Everything runs on tokio's clock and follows from a seed, so that a minute
//! takes milliseconds and a failure can be had again. And it can be told to behave badly: see [`Weather`] and
//! the disasters of [`Server`].
//!
//! ```text
//! Server ── bus(name) ──► Bus, as from Bus::connect      the services run unchanged
//!    ├───── set_weather, cut, hold, restart, step_down   what goes wrong
//!    └───── messages, unacked, journal                   what a test judges by
//! ```
//!
//! What must hold: nothing here is reached unless a test starts a [`Server`].

mod client;
mod consumer;
mod install;
mod interest;
mod journal;
mod packet;
mod puller;
mod storing;
mod stream;
mod weather;
mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rota_wire::{Headers, Micros};
use tokio::task::JoinHandle;

use self::client::Shared;
pub(crate) use self::client::{Client, MAX_PAYLOAD, Subscriber};
pub use self::journal::{Deed, Entry};
pub(crate) use self::puller::Puller;
pub(crate) use self::storing::Storing;
pub use self::weather::{Dice, Weather};
use self::world::World;
use crate::{Bus, Prefix};

/// The server. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

/// One client of the server, to be troubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId(usize);

/// A message of a stream.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
}

/// A consumer of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerState {
    /// Its name.
    pub name: String,
    /// The sequences that were delivered and are not acked.
    pub unacked: Vec<u64>,
    /// Messages that were not delivered yet.
    pub waiting: u64,
}

impl Server {
    /// Starts a server on the runtime that runs now.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(seed: u64, wall_clock: Micros) -> Self {
        let shared = Arc::new(Shared::new(World::new(seed, wall_clock.0)));
        let running = tokio::spawn(Arc::clone(&shared).run());
        Self { shared, running }
    }

    pub(crate) fn connect(
        &self,
        name: &str,
    ) -> (Client, tokio::sync::watch::Receiver<crate::Link>) {
        Client::connect(&self.shared, name)
    }

    /// A connection of that name, as [`Bus::connect`] makes one.
    #[must_use]
    pub fn bus(&self, name: &str, prefix: Prefix) -> Bus {
        let (client, link) = self.connect(name);
        let client = crate::client::Client::Memory(client);
        Bus::over(client, link, prefix, "this process".to_owned())
    }

    /// From now on, such trouble.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.with(|world| world.weather = weather);
    }

    /// The client of that name that was connected last.
    #[must_use]
    pub fn client(&self, name: &str) -> Option<ClientId> {
        let find = |world: &mut World| world.clients.iter().rposition(|c| &*c.name == name);
        self.shared.with(find).map(ClientId)
    }

    /// Cuts a client's connection for a time.
    pub fn cut(&self, client: ClientId, pause: Duration) {
        self.shared.with(|world| world.cut(client.0, micros(pause)));
    }

    /// The client's process is gone, and its connection with it.
    pub fn close(&self, client: ClientId) {
        self.shared.with(|world| world.close(client.0));
    }

    /// The client's process stands still: what comes for it waits.
    pub fn hold(&self, client: ClientId) {
        self.shared.with(|world| world.hold(client.0));
    }

    /// It goes on.
    pub fn let_go(&self, client: ClientId) {
        self.shared.with(|world| world.let_go(client.0));
    }

    /// The server stops, and is back after a time.
    pub fn restart(&self, pause: Duration) {
        self.shared.with(|world| world.restart(micros(pause)));
    }

    /// A stream is without a leader for a time.
    pub fn step_down_stream(&self, stream: &str, pause: Duration) {
        self.shared
            .with(|world| world.step_down_stream(stream, micros(pause)));
    }

    /// A consumer is without a leader for a time.
    pub fn step_down_consumer(&self, stream: &str, consumer: &str, pause: Duration) {
        let step = |world: &mut World| world.step_down_consumer(stream, consumer, micros(pause));
        self.shared.with(step);
    }

    /// How long a stream remembers ids.
    pub fn set_duplicate_window(&self, stream: &str, window: Duration) {
        self.shared.with(|world| {
            if let Some(stream) = world.streams.get_mut(stream) {
                stream.settings.duplicate_window = micros(window);
            }
        });
    }

    /// A stranger has the server write on a subject, by naming it for the answer to a message of its own.
    pub fn forge(&self, subject: &str, by: ClientId, message: &str) {
        let reply = Some(subject.to_owned());
        let forged = packet::message(message, reply, None, Bytes::new());
        let op = world::Op::Publish(Arc::new(forged));
        self.shared.with(|world| world.send_up(by.0, op));
    }

    /// A stranger resets a consumer.
    pub fn reset_consumer(&self, stream: &str, consumer: &str) {
        self.shared.with(|world| world.reset(stream, consumer));
    }

    /// The server's wall clock steps, forwards or backwards.
    pub fn step_clock(&self, by_micros: i64) {
        self.shared.with(|world| world.step_clock(by_micros));
    }

    /// The server's wall clock.
    #[must_use]
    pub fn wall_clock(&self) -> Micros {
        Micros(self.shared.with(|world| world.now().wall))
    }

    /// The streams that there are.
    #[must_use]
    pub fn streams(&self) -> Vec<String> {
        self.shared
            .with(|world| world.streams.keys().cloned().collect())
    }

    /// The messages of a stream.
    #[must_use]
    pub fn messages(&self, stream: &str) -> Vec<StoredMessage> {
        self.shared.with(|world| {
            let messages = world
                .streams
                .get(stream)
                .into_iter()
                .flat_map(|s| s.messages());
            let plain = messages.map(|kept| StoredMessage {
                seq: kept.seq,
                subject: kept.subject.clone(),
                headers: crate::headers::from_map(kept.headers.as_ref()),
                payload: kept.payload.clone(),
            });
            plain.collect()
        })
    }

    /// The consumers of a stream.
    #[must_use]
    pub fn consumers(&self, stream: &str) -> Vec<ConsumerState> {
        self.shared.with(|world| {
            let Some(stream) = world.streams.get(stream) else {
                return Vec::new();
            };
            let state = |consumer: &consumer::Consumer| ConsumerState {
                name: consumer.name.clone(),
                unacked: consumer.unacked_sequences().collect(),
                waiting: consumer.waiting(stream),
            };
            stream.consumers.values().map(state).collect()
        })
    }

    /// Notes something in the journal, among what happens on the bus.
    pub fn note(&self, text: String) {
        self.shared.with(|world| world.trouble(text));
    }

    /// Goes through all that happened.
    pub fn read_journal(&self, read: impl FnMut(&Entry)) {
        self.shared
            .with(|world| world.journal.entries().iter().for_each(read));
    }

    /// How much the journal had no room for.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.shared.with(|world| world.journal.left_out())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
