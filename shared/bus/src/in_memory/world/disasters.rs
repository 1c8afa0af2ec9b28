//! What breaks as a whole: leaders, consumers, the server.

use serde_json::json;

use super::{Event, World};
use crate::in_memory::consumer::{Consumer, End};
use crate::in_memory::packet;

/// So long before a change of leader deliveries are recorded and not sent, in microseconds.
const FALTERING: u64 = 5_000;
/// A crash may lose what consumers did for so long before it.
const UNWRITTEN: u64 = 100_000;

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

    /// The consumer has no leader for a time. Its last deliveries before that are recorded and not sent.
    pub(in super::super) fn step_down_consumer(
        &mut self,
        stream: &str,
        name: &str,
        for_micros: u64,
    ) {
        let Some(consumer) = self.consumer(stream, name) else {
            return;
        };
        consumer.falter();
        let event = Event::StepDown {
            stream: stream.to_owned(),
            consumer: name.to_owned(),
            until: self.now + FALTERING + for_micros,
        };
        self.plan(self.now + FALTERING, event);
    }

    /// Waiting pulls end.
    pub(super) fn consumer_steps_down(&mut self, stream: &str, name: &str, until: u64) {
        let mut out = Vec::new();
        let Some(consumer) = self.consumer(stream, name) else {
            return;
        };
        consumer.step_down(until, &mut out);
        self.trouble(format!("no leader: consumer {name} of {stream}"));
        self.deliver(out);
        let (stream, consumer) = (stream.to_owned(), name.to_owned());
        self.plan(until, Event::Elected { stream, consumer });
    }

    fn consumer(&mut self, stream: &str, name: &str) -> Option<&mut Consumer> {
        self.streams.get_mut(stream)?.consumers.get_mut(name)
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

    /// The server crashes and is back after a time: all are cut off, pulls are forgotten, and so are the ids of
    /// messages that are gone, and perhaps what consumers did last.
    pub(in super::super) fn restart(&mut self, for_micros: u64) {
        self.trouble("the server restarts".to_owned());
        let mut out = Vec::new();
        let since = self.now.saturating_sub(UNWRITTEN);
        for stream in self.streams.values_mut() {
            stream.restart();
            for consumer in stream.consumers.values_mut() {
                consumer.end_pulls(End::ServerShutdown, &mut out);
                if self.dice.happens(500) {
                    consumer.forget_since(since);
                }
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
