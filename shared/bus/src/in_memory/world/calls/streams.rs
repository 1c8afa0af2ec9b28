//! Calls about streams.

use rota_wire::Micros;
use serde_json::{Map, Value, json};

use super::super::World;
use super::stream_not_found;
use crate::in_memory::packet::Fault;
use crate::in_memory::stream::{Now, Stream, StreamSettings};

impl World {
    pub(super) fn create_stream(&mut self, name: &str, told: Value) -> Result<Value, Fault> {
        let now = self.now();
        if let Some(found) = self.streams.get(name) {
            if found.settings.told == told {
                return Ok(info(found, now, &Value::Null));
            }
            let text = "stream name already in use with a different configuration";
            return Err(Fault::new(400, 10_058, text));
        }
        let settings = StreamSettings::read(name, told)?;
        let stream = Stream::new(settings, now);
        let answer = info(&stream, now, &Value::Null);
        self.streams.insert(name.to_owned(), stream);
        Ok(answer)
    }

    pub(super) fn update_stream(&mut self, name: &str, told: Value) -> Result<Value, Fault> {
        let now = self.now();
        let stream = self.streams.get_mut(name).ok_or_else(stream_not_found)?;
        stream.settings = StreamSettings::read(name, told)?;
        Ok(info(stream, now, &Value::Null))
    }

    pub(super) fn delete_stream(&mut self, name: &str) -> Result<Value, Fault> {
        self.streams.remove(name).ok_or_else(stream_not_found)?;
        Ok(json!({"success": true}))
    }

    pub(super) fn purge_stream(&mut self, name: &str, body: &Value) -> Result<Value, Fault> {
        let stream = self.streams.get_mut(name).ok_or_else(stream_not_found)?;
        let keep = body["keep"].as_u64().unwrap_or(0);
        let purged = stream.purge(body["filter"].as_str(), body["seq"].as_u64(), keep);
        Ok(json!({"success": true, "purged": purged}))
    }

    pub(super) fn stream_info(&mut self, name: &str, body: &Value) -> Result<Value, Fault> {
        let now = self.now();
        let stream = self.streams.get_mut(name).ok_or_else(stream_not_found)?;
        stream.expire(now);
        Ok(info(stream, now, body))
    }

    pub(super) fn stream_names(&self) -> Value {
        let names: Vec<&String> = self.streams.keys().collect();
        json!({"total": names.len(), "offset": 0, "limit": 1_024, "streams": names})
    }
}

fn info(stream: &Stream, now: Now, body: &Value) -> Value {
    let time = |wall: u64| Micros(wall).to_string();
    let first = stream.messages().next().map_or(0, |kept| kept.stored.wall);
    let last = stream.messages().last().map_or(0, |kept| kept.stored.wall);
    let mut state = json!({
        "messages": stream.len(),
        "bytes": stream.bytes(),
        "first_seq": stream.first_seq(),
        "first_ts": time(first),
        "last_seq": stream.last_seq(),
        "last_ts": time(last),
        "num_subjects": stream.subject_count(),
        "consumer_count": stream.consumers.len(),
    });
    let mut total = 0;
    if let Some(filter) = body["subjects_filter"].as_str() {
        let offset = body["offset"].as_u64().unwrap_or(0);
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = stream.subjects(filter);
        let found: Vec<_> = found
            .map(|(s, count)| (s.to_owned(), count.into()))
            .collect();
        total = found.len();
        let page: Map<String, Value> = found.into_iter().skip(skipped).collect();
        if !page.is_empty() {
            state["subjects"] = page.into();
        }
    }
    json!({
        "config": stream.settings.told,
        "created": time(stream.created),
        "state": state,
        "ts": time(now.wall),
        "total": total,
        "offset": body["offset"].as_u64().unwrap_or(0),
        "limit": 100_000,
    })
}
