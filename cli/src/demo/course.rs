//! The demo from the first task to the last result: submits at a steady pace, watches, and kills the
//! busiest worker half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use rota_bus::{Bus, Expect, Message, Subscription};
use rota_service::Failure;
use rota_wire::{Kind, TaskId, WorkerId, frame};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::fleet::Fleet;
use super::scene::{Scene, process_of};
use super::work::Work;
use crate::client;
use crate::say::say;

/// A task each: a pace that the workers keep up with as long as all live.
const SUBMIT_EVERY: Duration = Duration::from_millis(28);
const SHOW_EVERY: Duration = Duration::from_millis(500);
const READY_LIMIT: Duration = Duration::from_secs(30);
/// When no result comes for so long, the rest is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the demo hears.
pub(super) struct Ears {
    results: Subscription,
    heartbeats: Subscription,
    events: Subscription,
}

/// What happened, to be checked afterwards.
#[derive(Debug)]
pub(super) struct Story {
    /// The place of each task in the work, by its id.
    pub(super) submitted: BTreeMap<TaskId, usize>,
    pub(super) redelivered: u64,
    pub(super) killed: Option<WorkerId>,
    /// Slots of each worker that was heard of.
    pub(super) slots: BTreeMap<WorkerId, u32>,
    pub(super) took: Duration,
}

pub(super) struct Course<'a> {
    fleet: &'a Fleet,
    work: &'a Work,
    ears: Ears,
    scene: Scene,
    submitted: BTreeMap<TaskId, usize>,
    done: BTreeSet<TaskId>,
    killed: Option<WorkerId>,
    slots: BTreeMap<WorkerId, u32>,
    began: Instant,
    last_result: Instant,
}

impl Ears {
    pub(super) async fn open(bus: &Bus) -> Result<Self, Failure> {
        let subjects = bus.subjects();
        let ears = Self {
            results: bus.subscribe(&subjects.results()).await?,
            heartbeats: bus.subscribe(&subjects.heartbeats()).await?,
            events: bus.subscribe(&subjects.all_events()).await?,
        };
        bus.flush().await?;
        Ok(ears)
    }
}

impl<'a> Course<'a> {
    pub(super) fn new(fleet: &'a Fleet, work: &'a Work, ears: Ears) -> Self {
        let now = Instant::now();
        Self {
            fleet,
            work,
            ears,
            scene: Scene::default(),
            submitted: BTreeMap::new(),
            done: BTreeSet::new(),
            killed: None,
            slots: BTreeMap::new(),
            began: now,
            last_result: now,
        }
    }

    /// Waits until all workers are there and a scheduler assigns.
    pub(super) async fn until_ready(&mut self) -> Result<(), Failure> {
        let ready = async {
            while !self.scene.is_ready() {
                self.hear().await?;
            }
            Ok(())
        };
        let in_time = timeout(READY_LIMIT, ready).await;
        in_time
            .unwrap_or_else(|_| Err(anyhow!("the services are not ready after {READY_LIMIT:?}")))?;
        Ok(())
    }

    /// To the last result, or until none comes any more.
    pub(super) async fn run(mut self) -> Result<Story, Failure> {
        (self.began, self.last_result) = (Instant::now(), Instant::now());
        let (mut submit, mut show) = (ticks(SUBMIT_EVERY), ticks(SHOW_EVERY));
        while self.done.len() < self.work.tasks.len() && self.last_result.elapsed() < PATIENCE {
            let is_open = self.submitted.len() < self.work.tasks.len();
            tokio::select! {
                biased;
                _ = submit.tick(), if is_open => self.submit_next().await?,
                _ = show.tick() => self.show(),
                heard = self.hear() => heard?,
            }
            if self.killed.is_none() && self.done.len() * 2 >= self.work.tasks.len() {
                self.kill_busiest().await?;
            }
        }
        let took = self.began.elapsed();
        self.show();
        Ok(Story {
            submitted: self.submitted,
            redelivered: self.scene.redelivered,
            killed: self.killed,
            slots: self.slots,
            took,
        })
    }

    async fn submit_next(&mut self) -> Result<(), Failure> {
        let number = self.submitted.len();
        let task = &self.work.tasks[number];
        let bus = self.fleet.bus();
        let kind = Kind::parse(task.kind).expect("the demo's kinds are good");
        let message = Message::new(bus.subjects().submit(&kind), task.input.clone());
        let stored = bus.store(message, Expect::Nothing).await?.done().await?;
        self.submitted
            .insert(TaskId::from_sequence(stored.seq()), number);
        Ok(())
    }

    /// Takes in one message of whatever kind.
    async fn hear(&mut self) -> Result<(), anyhow::Error> {
        tokio::select! {
            Some(result) = self.ears.results.next() => {
                if let Some(id) = client::told_result(self.fleet.bus(), &result) {
                    self.last_result = Instant::now();
                    self.done.insert(id);
                }
            }
            Some(heartbeat) = self.ears.heartbeats.next() => {
                // What cannot be decoded is the monitor's to tell.
                if let Ok(heartbeat) = frame::decode(&heartbeat.payload) {
                    self.scene.on_heartbeat(&heartbeat, Instant::now());
                    self.slots.insert(heartbeat.worker, heartbeat.slots);
                }
            }
            Some(events) = self.ears.events.next() => {
                if let Ok(batch) = frame::decode(&events.payload) {
                    for line in self.scene.on_events(batch) {
                        self.say(&line);
                    }
                }
            }
            else => bail!("the connection to nats-server is closed"),
        }
        Ok(())
    }

    /// Only one that runs something: otherwise there is nothing to see.
    async fn kill_busiest(&mut self) -> Result<(), Failure> {
        let Some((worker, running)) = self.scene.busiest().filter(|(_, running)| *running > 0)
        else {
            return Ok(());
        };
        let worker = worker.clone();
        let pid = self.fleet.kill(process_of(&worker)).await?;
        self.say(&format!(
            "kill -9 {pid}: {worker} is gone in the middle of {running} tasks"
        ));
        self.killed = Some(worker);
        Ok(())
    }

    fn show(&self) {
        let line = format!(
            "{:>4}/{} done  {}  redelivered {}",
            self.done.len(),
            self.work.tasks.len(),
            self.scene.bars(Instant::now()),
            self.scene.redelivered
        );
        self.print(&line);
    }

    fn say(&self, line: &str) {
        self.print(&format!("  >> {line}"));
    }

    fn print(&self, line: &str) {
        say(format_args!(
            "{:>6.1}s {line}",
            self.began.elapsed().as_secs_f64()
        ));
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
