//! The model against what was observed of nats-server: each test is a fact about the real one.

mod consumers;
mod messages;
mod streams;
mod trouble;

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{Client, Server, Subscriber};
use rota_wire::Micros;

const START: Micros = Micros(1_795_420_800_000_000);
const SOON: Duration = Duration::from_secs(5);

/// A server with one client.
struct Rig {
    server: Server,
    client: Client,
}

impl Rig {
    fn new() -> Self {
        Self::from_seed(1)
    }

    fn from_seed(seed: u64) -> Self {
        let server = Server::start(seed, START);
        let (client, _) = server.connect("tester");
        Self { server, client }
    }

    async fn call(&self, call: &str, body: Value) -> Value {
        let subject = format!("$JS.API.{call}");
        let asking = self.client.request(&subject, None, body.to_string().into());
        let answer = timeout(SOON, asking).await.expect("in time");
        serde_json::from_slice(&answer.expect("an answer").payload).expect("an answer in JSON")
    }

    async fn stream(&self, name: &str, config: Value) {
        let answer = self.call(&format!("STREAM.CREATE.{name}"), config).await;
        assert!(answer.get("error").is_none(), "{answer}");
    }

    async fn work_queue(&self) {
        self.stream("W", json!({"subjects": ["w.*"], "retention": "workqueue"}))
            .await;
    }

    async fn consumer(&self, name: &str, config: Value) {
        let call = format!("CONSUMER.CREATE.W.{name}");
        let answer = self
            .call(&call, json!({"stream_name": "W", "config": config}))
            .await;
        assert!(answer.get("error").is_none(), "{answer}");
    }

    async fn publish(&self, subject: &str, headers: &[(&'static str, &str)], body: &str) -> Value {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let asking = self
            .client
            .request(subject, Some(map), body.to_owned().into());
        let answer = timeout(SOON, asking)
            .await
            .expect("in time")
            .expect("an answer");
        serde_json::from_slice(&answer.payload).unwrap_or(Value::Null)
    }

    fn pull(&self, consumer: &str, inbox: &str, body: Value) {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.W.{consumer}");
        let body = body.to_string().into();
        self.client
            .publish(&subject, Some(inbox.to_owned()), None, body);
    }

    fn say(&self, subject: &str, body: &'static str) {
        self.client.publish(subject, None, None, body.into());
    }

    async fn info(&self, consumer: &str) -> Value {
        self.call(&format!("CONSUMER.INFO.W.{consumer}"), Value::Null)
            .await
    }
}

/// The next message, which is there at once.
fn now(messages: &mut Subscriber) -> Message {
    let next = messages.next().now_or_never();
    next.flatten().expect("a message is there")
}

fn nothing(messages: &mut Subscriber) -> bool {
    messages.next().now_or_never().is_none()
}

fn reply(message: &Message) -> String {
    message.reply.as_ref().expect("a reply subject").to_string()
}

/// The count, the stream's sequence and the consumer's in an ack subject.
fn numbers(message: &Message) -> (u64, u64, u64) {
    let reply = reply(message);
    let tokens: Vec<u64> = reply.split('.').filter_map(|t| t.parse().ok()).collect();
    (tokens[0], tokens[1], tokens[2])
}

fn status(message: &Message) -> (u16, &str) {
    let code = message.status.map_or(200, |status| status.as_u16());
    (code, message.description.as_deref().unwrap_or_default())
}

async fn pause(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}
