//! A server with its streams, a submitter, and a connection to look at what they do.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rota_bus::{
    Bus, BusOptions, Expect, Message, Prefix, Pulled, StreamName, StreamOptions, StreamState,
};
use rota_local::{NatsServer, ServerOptions};
use rota_service::{ConnectOptions, Installation, Shutdown};
use rota_submitter::Args;
use rota_wire::{Headers, Kind};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::raw::RawClient;

/// Longer than anything here takes: a message that was not acked comes again after ten seconds.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

pub(crate) struct World {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
}

pub(crate) struct Submitter {
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<Result<()>>,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let server = NatsServer::start(ServerOptions::default()).await?;
        let bus = Bus::connect(BusOptions {
            servers: server.url(),
            credentials: None,
            name: "test".to_owned(),
            prefix: Prefix::default(),
            inbox_prefix: None,
        });
        let bus = bus.await?;
        bus.ensure_streams(StreamOptions::default()).await?;
        Ok(Self { server, bus })
    }

    pub(crate) fn raw(&self) -> Result<RawClient> {
        RawClient::connect(self.server.port())
    }

    pub(crate) fn submitter(&self, body_max: Option<usize>) -> Submitter {
        self.submitter_of(body_max, 10_000)
    }

    /// One that lets so many kinds wait.
    pub(crate) fn submitter_of(&self, body_max: Option<usize>, kinds_max: usize) -> Submitter {
        let connect = ConnectOptions {
            nats: vec![self.server.url().parse().expect("an address")],
            ..ConnectOptions::default()
        };
        let installation = Installation {
            connect,
            ..Installation::default()
        };
        let args = Args {
            installation,
            body_max,
            kinds_max,
            schedule_max: 1_000_000,
        };
        let shutdown = Shutdown::new();
        let run = rota_submitter::run(args, shutdown.clone());
        let running = tokio::spawn(async { run.await.map_err(|failure| anyhow!("{failure}")) });
        Submitter { shutdown, running }
    }

    /// Submits, without waiting until it is passed on.
    pub(crate) async fn submit(
        &self,
        kind: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<u64> {
        let message = Message {
            subject: self.bus.subjects().submit(&Kind::parse(kind)?),
            headers: headers.iter().copied().collect::<Headers>(),
            payload: body.into(),
        };
        Ok(self
            .bus
            .store(message, Expect::Nothing)
            .await?
            .done()
            .await?
            .seq())
    }

    pub(crate) async fn state(&self, stream: StreamName) -> StreamState {
        self.bus
            .stream_state(stream)
            .await
            .expect("the stream is there")
    }

    /// What lies in a lane.
    pub(crate) async fn ready(&self, sequence: u64) -> Result<Pulled> {
        let found = self.bus.ready_message(sequence).await?;
        found.with_context(|| format!("nothing at {sequence}"))
    }

    /// Waits until a stream has taken so many messages since it was made.
    pub(crate) async fn until_stored(&self, stream: StreamName, messages: u64) {
        eventually(
            &format!("{stream:?} takes {messages} messages"),
            async || self.state(stream).await.last_sequence >= messages,
        )
        .await;
    }

    /// Waits until all that was taken is acked.
    pub(crate) async fn until_empty(&self, stream: StreamName) {
        eventually(&format!("{stream:?} is empty"), async || {
            self.state(stream).await.messages == 0
        })
        .await;
    }
}

impl Submitter {
    /// Tells it to stop and waits for its end.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.drain();
        tokio::time::timeout(DEADLINE, self.running).await??
    }
}

/// Waits for a state with a deadline.
pub(crate) async fn eventually(what: &str, reached: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !reached().await {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        sleep(POLL).await;
    }
}
