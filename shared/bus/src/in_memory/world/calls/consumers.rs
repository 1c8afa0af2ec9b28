//! Calls about consumers, and pulls.

use rota_wire::Micros;
use serde_json::{Value, json};

use super::super::World;
use super::{consumer_not_found, stream_not_found};
use crate::in_memory::consumer::{Consumer, ConsumerSettings, End, Pull};
use crate::in_memory::packet::{Fault, Packet};
use crate::in_memory::stream::{Retention, Stream};

impl World {
    /// Makes a consumer, or changes the one that is there.
    pub(super) fn create_consumer(
        &mut self,
        stream_name: &str,
        name: &str,
        body: &Value,
    ) -> Result<Value, Fault> {
        let now = self.now();
        let stream = self.stream(stream_name)?;
        let settings = ConsumerSettings::read(body["config"].clone());
        check_work_queue(stream, name, &settings)?;
        let found = stream.consumers.remove(name);
        let consumer = match (found, body["action"].as_str()) {
            (Some(found), Some("create")) if found.settings.told != settings.told => {
                stream.consumers.insert(name.to_owned(), found);
                return Err(Fault::new(400, 10_148, "consumer already exists"));
            }
            (None, Some("update")) => {
                return Err(Fault::new(400, 10_149, "consumer does not exist"));
            }
            (Some(mut found), _) => {
                found.settings = settings;
                found
            }
            (None, _) => Consumer::new(stream_name, name, settings, now),
        };
        let answer = consumer.info(stream);
        stream.consumers.insert(name.to_owned(), consumer);
        self.tend(stream_name);
        Ok(answer)
    }

    pub(super) fn consumer_info(&mut self, stream: &str, name: &str) -> Result<Value, Fault> {
        let stream = self.stream(stream)?;
        let consumer = stream.consumers.get(name).ok_or_else(consumer_not_found)?;
        Ok(consumer.info(stream))
    }

    pub(super) fn consumer_names(&mut self, stream: &str) -> Result<Value, Fault> {
        let stream = self.stream(stream)?;
        let names: Vec<&String> = stream.consumers.keys().collect();
        Ok(json!({"total": names.len(), "offset": 0, "limit": 1_024, "consumers": names}))
    }

    pub(super) fn consumer_list(&mut self, stream: &str) -> Result<Value, Fault> {
        let stream = self.stream(stream)?;
        let infos: Vec<Value> = stream.consumers.values().map(|c| c.info(stream)).collect();
        Ok(json!({"total": infos.len(), "offset": 0, "limit": 256, "consumers": infos}))
    }

    pub(super) fn delete_consumer(&mut self, stream: &str, name: &str) -> Result<Value, Fault> {
        let stream = self.stream(stream)?;
        let mut consumer = stream
            .consumers
            .remove(name)
            .ok_or_else(consumer_not_found)?;
        let mut out = Vec::new();
        consumer.end_pulls(End::ConsumerDeleted, &mut out);
        self.deliver(out);
        Ok(json!({"success": true}))
    }

    pub(super) fn pause_consumer(
        &mut self,
        stream_name: &str,
        name: &str,
        body: &Value,
    ) -> Result<Value, Fault> {
        let now = self.now();
        let until = body["pause_until"].as_str().and_then(Micros::parse);
        let left = until.and_then(|until| until.0.checked_sub(now.wall));
        let stream = self.stream(stream_name)?;
        let consumer = stream
            .consumers
            .get_mut(name)
            .ok_or_else(consumer_not_found)?;
        consumer.pause(left.map(|left| now.steady + left));
        self.tend(stream_name);
        Ok(json!({"paused": left.is_some(), "pause_remaining": left.unwrap_or(0) * 1_000}))
    }

    pub(super) fn reset_consumer(&mut self, stream_name: &str, name: &str) -> Result<Value, Fault> {
        let stream = self.stream(stream_name)?;
        let mut consumer = stream
            .consumers
            .remove(name)
            .ok_or_else(consumer_not_found)?;
        let reset_seq = consumer.reset();
        let mut answer = consumer.info(stream);
        answer["reset_seq"] = reset_seq.into();
        stream.consumers.insert(name.to_owned(), consumer);
        self.tend(stream_name);
        Ok(answer)
    }

    /// `CONSUMER.MSG.NEXT.<stream>.<consumer>`: nobody takes it where there is no such consumer, or no leader.
    pub(super) fn take_pull(&mut self, client: usize, rest: &str, packet: &Packet) {
        let now = self.now();
        let Some(reply) = packet.reply.clone() else {
            return;
        };
        let mut out = Vec::new();
        let found = rest.split_once('.').and_then(|(stream, name)| {
            let found = self.streams.get_mut(stream)?;
            let consumer = found.consumers.get_mut(name)?;
            let is_led = consumer.has_leader(now.steady);
            is_led.then_some((stream, consumer))
        });
        let Some((stream, consumer)) = found else {
            return self.refuse_call(client, &reply);
        };
        let stream = stream.to_owned();
        consumer.pull(Pull::read(&reply, &packet.payload, now.steady), &mut out);
        self.deliver(out);
        self.tend(&stream);
    }

    fn stream(&mut self, name: &str) -> Result<&mut Stream, Fault> {
        self.streams.get_mut(name).ok_or_else(stream_not_found)
    }
}

/// Consumers of a work queue may not share a message.
fn check_work_queue(stream: &Stream, name: &str, new: &ConsumerSettings) -> Result<(), Fault> {
    let mut others = stream.consumers.iter().filter(|(other, _)| *other != name);
    let shares = others.any(|(_, other)| other.settings.filter == new.filter);
    if shares && stream.settings.retention == Retention::WorkQueue {
        let text = "filtered consumer not unique on workqueue stream";
        return Err(Fault::new(400, 10_100, text));
    }
    Ok(())
}
