//! A server in memory, a scheduler, and people who put tasks into a lane.

use std::time::Duration;

use clap::Parser;
use rota_bus::in_memory::{Deed, Server};
use rota_bus::{Bus, Expect, Message, Prefix, StreamOptions};
use rota_wire::task::Recheck;
use rota_wire::{Kind, Lane, Micros, Priority, TaskId, TaskOptions, TaskSpec};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) people: Bus,
    scheduler: JoinHandle<()>,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    args: rota_scheduler::Args,
}

impl World {
    pub(crate) async fn start() -> Self {
        let server = Server::start(1, Micros::now());
        let people = server.bus("people", Prefix::default());
        let made = people.ensure_streams(StreamOptions::default()).await;
        made.expect("streams");
        let bus = server.bus("scheduler", Prefix::default());
        let Flags { args } = Flags::parse_from(["scheduler"]);
        let scheduler = tokio::spawn(async move {
            let name = "scheduler".to_owned();
            let led = rota_scheduler::run_on(bus, name, 1, args, CancellationToken::new());
            led.await.expect("good arguments");
        });
        Self {
            server,
            people,
            scheduler,
        }
    }

    /// Puts a task into the lane every so often, for ever.
    pub(crate) fn flow(&self, every: Duration) -> JoinHandle<()> {
        let people = self.people.clone();
        tokio::spawn(async move {
            let mut ticks = interval(every);
            for number in 0_u64.. {
                ticks.tick().await;
                put(&people, &format!("t{number}")).await;
            }
        })
    }

    /// The sequences of the messages that lie in the lane.
    pub(crate) fn in_lane(&self) -> Vec<u64> {
        let messages = self.server.messages("ROTA_READY");
        messages.iter().map(|message| message.seq).collect()
    }

    /// How often the scheduler has sent something to a subject that begins so, with such a body.
    pub(crate) fn sent(&self, start: &str, body: &[u8]) -> usize {
        let mut count = 0;
        self.server.read_journal(|entry| {
            if entry.client.as_deref() == Some("scheduler")
                && let Deed::Published(message) = &entry.deed
                && message.subject.starts_with(start)
                && message.payload.starts_with(body)
            {
                count += 1;
            }
        });
        count
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.scheduler.abort();
    }
}

pub(crate) async fn put(bus: &Bus, id: &str) {
    let lane = lane();
    let task = TaskSpec {
        id: TaskId::parse(id).expect("an id"),
        kind: lane.kind.clone(),
        submitted: Micros::now(),
        attempt: 1,
        recheck: Recheck::Fresh,
        options: TaskOptions::default(),
    };
    let message = Message {
        subject: bus.subjects().ready(&lane),
        headers: task.to_headers(),
        payload: id.to_owned().into(),
    };
    let stored = bus.store_now(message, Expect::Nothing).await;
    stored.expect("stored");
}

pub(crate) fn lane() -> Lane {
    Lane {
        kind: Kind::parse("mail").expect("a kind"),
        priority: Priority::default(),
    }
}

pub(crate) async fn seconds(number: u64) {
    sleep(Duration::from_secs(number)).await;
}
