//! Calls of JetStream's interface: `$JS.API.…`, as far as Rota makes them.

mod consumers;
mod reads;
mod streams;

use serde_json::{Value, json};

use super::World;
use crate::in_memory::packet::{Fault, Packet, json as json_parcel, status};

/// What a call's subject says, in parts.
type Words<'a> = &'a [&'a str];

impl World {
    /// Takes a call: it may be lost, or its answer may.
    pub(super) fn take_call(&mut self, client: usize, call: &str, packet: &Packet) {
        let weather = self.weather;
        if self.dice.happens(weather.lost_calls) {
            return self.trouble(format!("lost: $JS.API.{call}"));
        }
        if let Some(rest) = call.strip_prefix("CONSUMER.MSG.NEXT.") {
            return self.take_pull(client, rest, packet);
        }
        if let Some(rest) = call.strip_prefix("DIRECT.GET.") {
            return self.direct_get(client, rest, packet);
        }
        let words: Vec<&str> = call.split('.').collect();
        let body: Value = serde_json::from_slice(&packet.payload).unwrap_or(Value::Null);
        // A stream without a leader does not answer.
        let Some(done) = self.call(&words, body) else {
            return self.trouble(format!("nobody answers: $JS.API.{call}"));
        };
        let Some(reply) = packet.reply.clone() else {
            return;
        };
        if self.dice.happens(weather.unanswered_calls) {
            return self.trouble(format!("done, the answer lost: $JS.API.{call}"));
        }
        let done = if self.dice.happens(weather.failed_calls) {
            self.trouble(format!("done, the answer an error: $JS.API.{call}"));
            Err(Fault::unavailable())
        } else {
            done
        };
        let kind = call_type(&words);
        let answer = match done {
            Ok(mut answer) => {
                answer["type"] = kind.into();
                answer
            }
            Err(fault) => json!({"type": kind, "error": fault.to_json()}),
        };
        self.answer(json_parcel(&reply, &answer));
    }

    fn call(&mut self, words: Words<'_>, body: Value) -> Option<Result<Value, Fault>> {
        Some(match words {
            ["INFO"] => Ok(account()),
            ["STREAM", "NAMES"] => Ok(self.stream_names()),
            ["STREAM", "CREATE", stream] => self.create_stream(stream, body),
            ["STREAM", "MSG", "GET", stream] => return self.leader_get(stream, &body),
            ["STREAM", "MSG", "DELETE", stream] => self.delete_message(stream, &body),
            ["STREAM", verb, stream] => {
                if !self.is_led(stream) {
                    return None;
                }
                match *verb {
                    "INFO" => self.stream_info(stream, &body),
                    "UPDATE" => self.update_stream(stream, body),
                    "DELETE" => self.delete_stream(stream),
                    "PURGE" => self.purge_stream(stream, &body),
                    _ => Err(unknown(words)),
                }
            }
            ["CONSUMER", "CREATE", stream, name, ..]
            | ["CONSUMER", "DURABLE", "CREATE", stream, name] => {
                self.create_consumer(stream, name, &body)
            }
            ["CONSUMER", "NAMES", stream] => self.consumer_names(stream),
            ["CONSUMER", "LIST", stream] => self.consumer_list(stream),
            ["CONSUMER", verb, stream, name] => {
                if !self.is_consumer_led(stream, name) {
                    return None;
                }
                match *verb {
                    "INFO" => self.consumer_info(stream, name),
                    "DELETE" => self.delete_consumer(stream, name),
                    "PAUSE" => self.pause_consumer(stream, name, &body),
                    "RESET" => self.reset_consumer(stream, name),
                    _ => Err(unknown(words)),
                }
            }
            _ => Err(unknown(words)),
        })
    }

    fn is_led(&self, stream: &str) -> bool {
        let found = self.streams.get(stream);
        found.is_none_or(|stream| stream.has_leader(self.now))
    }

    fn is_consumer_led(&self, stream: &str, consumer: &str) -> bool {
        let stream = self.streams.get(stream);
        let consumer = stream.and_then(|stream| stream.consumers.get(consumer));
        consumer.is_none_or(|consumer| consumer.has_leader(self.now))
    }

    /// Says to one client that nobody is there to do it.
    fn refuse_call(&mut self, client: usize, reply: &str) {
        let parcel = status(reply, super::NO_RESPONDERS, "No Responders", &[]);
        for id in self.interest.listeners(reply) {
            if id.client == client {
                self.send_down(id.client, id.number, parcel.packet.clone());
            }
        }
    }
}

fn call_type(words: Words<'_>) -> String {
    let named = words
        .iter()
        .take_while(|w| w.chars().all(|c| c.is_ascii_uppercase()));
    let name: Vec<String> = named.map(|word| word.to_ascii_lowercase()).collect();
    format!("io.nats.jetstream.api.v1.{}_response", name.join("_"))
}

fn unknown(words: Words<'_>) -> Fault {
    Fault::new(
        404,
        10_000,
        format!("the model does not know this call: {}", words.join(".")),
    )
}

fn stream_not_found() -> Fault {
    Fault::new(404, 10_059, "stream not found")
}

fn consumer_not_found() -> Fault {
    Fault::new(404, 10_014, "consumer not found")
}

fn account() -> Value {
    json!({
        "memory": 0, "storage": 0, "streams": 0, "consumers": 0,
        "limits": {"max_memory": -1, "max_storage": -1, "max_streams": -1, "max_consumers": -1},
        "api": {"total": 0, "errors": 0},
    })
}
