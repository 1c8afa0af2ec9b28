//! A server of one's own, the bus on it, and a client that is not Rota's.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use rota_bus::{
    Bus, BusOptions, Expect, LaneEvent, LaneReader, Message, Prefix, StoreError, StreamOptions,
};
use rota_local::{NatsServer, ServerOptions};
use rota_wire::task::Recheck;
use rota_wire::{Kind, Lane, Micros, Priority, TaskId, TaskOptions, TaskSpec};
use tokio::time::timeout;

/// Whatever is waited for comes within this.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(ServerOptions::default()).await
    }

    pub(crate) async fn start_with(options: ServerOptions) -> Self {
        let server = NatsServer::start(options).await.expect("a server");
        let bus = connect(&server, None).await;
        bus.ensure_streams(StreamOptions::default())
            .await
            .expect("streams");
        Self { server, bus }
    }

    /// Another connection.
    pub(crate) async fn connect(&self) -> Bus {
        connect(&self.server, None).await
    }

    /// A client that is not Rota's.
    pub(crate) async fn stranger(&self) -> async_nats::Client {
        async_nats::connect(self.server.url())
            .await
            .expect("a connection")
    }

    /// Puts a task into its lane; gives its sequence.
    pub(crate) async fn put(&self, lane: &Lane, id: &str, input: Bytes) -> u64 {
        put(&self.bus, lane, id, input).await.expect("it is stored")
    }

    /// Opens a lane and has a reader read it.
    pub(crate) async fn open(&self, reader: &mut LaneReader, lane: &Lane) {
        let opened = self.bus.open_lane(lane).await.expect("it is opened");
        reader.add(lane.clone(), &opened);
    }
}

/// Puts a task into its lane; gives its sequence.
pub(crate) async fn put(bus: &Bus, lane: &Lane, id: &str, input: Bytes) -> Result<u64, StoreError> {
    let message = Message {
        subject: bus.subjects().ready(lane),
        headers: task(lane, id).to_headers(),
        payload: input,
    };
    let stored = bus.store_now(message, Expect::Nothing).await?;
    Ok(stored.seq())
}

pub(crate) async fn connect(server: &NatsServer, inbox_prefix: Option<&str>) -> Bus {
    let connected = Bus::connect(options(server, inbox_prefix)).await;
    connected.expect("a connection")
}

pub(crate) fn options(server: &NatsServer, inbox_prefix: Option<&str>) -> BusOptions {
    BusOptions {
        servers: server.url(),
        credentials: None,
        name: "test".to_owned(),
        prefix: Prefix::default(),
        inbox_prefix: inbox_prefix.map(str::to_owned),
    }
}

pub(crate) fn lane(kind: &str) -> Lane {
    Lane {
        kind: Kind::parse(kind).expect("a kind"),
        priority: Priority::default(),
    }
}

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("an id")
}

pub(crate) fn task(lane: &Lane, text: &str) -> TaskSpec {
    TaskSpec {
        id: id(text),
        kind: lane.kind.clone(),
        submitted: Micros::now(),
        attempt: 1,
        recheck: Recheck::Fresh,
        options: TaskOptions {
            priority: lane.priority,
            ..TaskOptions::default()
        },
    }
}

/// The next event of a reader.
pub(crate) async fn event(reader: &mut LaneReader) -> LaneEvent {
    let next = timeout(LIMIT, reader.next()).await;
    next.expect("an event in time").expect("a connection")
}

/// Sends a message whose reply is to go to a subject of Rota's, as a client can that may only submit: the
/// server's answer is written there.
pub(crate) async fn forge(stranger: &async_nats::Client, reply: &str) {
    let subject = "rota.submit.anything";
    stranger
        .publish_with_reply(subject, reply.to_owned(), "x".into())
        .await
        .expect("sent");
    stranger.flush().await.expect("received");
}

/// Waits until something is on a subject's stream.
pub(crate) async fn until_last(
    stranger: &async_nats::Client,
    stream: &str,
    subject: &str,
) -> Bytes {
    let get = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
    let reading = async {
        loop {
            let answer = stranger.request(get.clone(), Bytes::new()).await;
            let answer = answer.expect("an answer");
            if answer.status.is_none() {
                return answer.payload;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, reading).await.expect("it is stored")
}

/// All headers that a subscription brings next.
pub(crate) async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    let next = timeout(LIMIT, subscriber.next()).await;
    next.expect("a message in time").expect("a connection")
}
