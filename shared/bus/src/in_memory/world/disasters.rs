//! What breaks as a whole: leaders, consumers, the server.

use serde_json::json;

use super::{Event, World};
use crate::in_memory::consumer::End;
use crate::in_memory::packet;

/// Deliveries of so many microseconds before a change of leader may be unknown to the next one.
const UNREPLICATED: u64 = 5_000;

impl World {
    /// The stream has no leader for a time.
    pub(in super::super) fn step_down_stream(&mut self, name: &str, for_micros: u64) {
        let until = self.now + for_micros;
        if let Some(stream) = self.streams.get_mut(name) {
            stream.leaderless_until = Some(until);
            self.trouble(format!("no leader: stream {name}"));
            let name = name.to_owned();
            self.plan(until, Event::Stream { name });
        }
    }

    /// The consumer has no leader for a time; waiting pulls end.
    pub(in super::super) fn step_down_consumer(
        &mut self,
        name: &str,
        consumer: &str,
        for_micros: u64,
    ) {
        let until = self.now + for_micros;
        let since = self.now.saturating_sub(UNREPLICATED);
        let mut out = Vec::new();
        let Some(stream) = self.streams.get_mut(name) else {
            return;
        };
        let Some(found) = stream.consumers.get_mut(consumer) else {
            return;
        };
        found.step_down(until, since, &mut out);
        self.trouble(format!("no leader: consumer {consumer} of {name}"));
        self.deliver(out);
        let (stream, consumer) = (name.to_owned(), consumer.to_owned());
        self.plan(until, Event::Elected { stream, consumer });
        self.settle();
    }

    /// The servers of a cluster tell it to whoever wants to know.
    pub(super) fn elected(&mut self, stream: &str, consumer: &str) {
        let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.{stream}.{consumer}");
        let text = json!({"stream": stream, "consumer": consumer});
        self.parcels.push_back(packet::json(&subject, &text));
        self.settle();
        self.tend(stream);
    }

    /// Somebody else resets a consumer.
    pub(in super::super) fn reset(&mut self, name: &str, consumer: &str) {
        if let Some(stream) = self.streams.get_mut(name)
            && let Some(found) = stream.consumers.get_mut(consumer)
        {
            found.reset();
            self.trouble(format!("reset: consumer {consumer} of {name}"));
            self.tend(name);
            self.settle();
        }
    }

    /// The server stops and is back after a time: all are cut off, pulls are forgotten, and so are the ids of
    /// messages that are gone.
    pub(in super::super) fn restart(&mut self, for_micros: u64) {
        self.trouble("the server restarts".to_owned());
        let mut out = Vec::new();
        for stream in self.streams.values_mut() {
            stream.restart();
            for consumer in stream.consumers.values_mut() {
                consumer.end_pulls(End::ServerShutdown, &mut out);
            }
        }
        drop(out);
        for client in 0..self.clients.len() {
            let pause = for_micros + self.dice.below(200) * 1_000;
            self.cut(client, pause);
        }
    }

    /// The server's wall clock steps.
    pub(in super::super) fn step_clock(&mut self, by_micros: i64) {
        self.wall_offset = self.wall_offset.saturating_add_signed(by_micros);
        self.trouble(format!("the wall clock steps by {by_micros} µs"));
        self.tend_all();
        self.settle();
    }
}
