//! One installation and all that happens to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rota_bus::in_memory::{Server, Weather};
use rota_bus::{Bus, Expect, Message, Prefix, StreamOptions};
use rota_wire::{Headers, Kind, Micros, TaskId};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::ledger::Ledger;
use crate::process::{Maker, Process};
use crate::scenario::{Fault, Role, Scenario, TaskPlan};

/// So long after the last fault everything must be done: the longest waits for an answer, backoffs and leases
/// fit into it.
const CALM_MAX: Duration = Duration::from_secs(120);
/// How often it is looked whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often people try to submit.
const TRIES_MAX: u32 = 30;
/// How long a process that was told to stop has before another takes its place.
const DRAIN_PAUSE: Duration = Duration::from_secs(12);

/// A submission that the server confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Confirmed {
    pub(crate) id: TaskId,
    pub(crate) plan: usize,
}

/// A fault that was injected, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Injected {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) scenario: Scenario,
    pub(crate) server: Server,
    pub(crate) ledger: Ledger,
    pub(crate) confirmed: Arc<Mutex<Vec<Confirmed>>>,
    pub(crate) injected: Vec<Injected>,
    /// What became of processes that ended by themselves.
    pub(crate) ended_badly: Vec<String>,
    pub(crate) start: Instant,
    people: Bus,
    maker: Maker,
    processes: BTreeMap<Role, Process>,
    generations: BTreeMap<Role, u32>,
    /// What is to be done with processes later.
    later: Vec<(Instant, Later)>,
}

#[derive(Debug, Clone, Copy)]
enum Later {
    Start(Role),
    Thaw(Role, u32),
}

impl World {
    pub(crate) fn begin(seed: u64, scenario: Scenario) -> Self {
        let server = Server::start(seed, Micros::now());
        let ledger = Ledger::new();
        let maker = Maker {
            plans: Arc::new(scenario.tasks.clone()),
            ledger: ledger.clone(),
            slots: scenario.slots,
            seed,
        };
        Self {
            seed,
            people: server.bus("people", Prefix::default()),
            server,
            ledger,
            confirmed: Arc::default(),
            injected: Vec::new(),
            ended_badly: Vec::new(),
            start: Instant::now(),
            maker,
            processes: BTreeMap::new(),
            generations: BTreeMap::new(),
            later: Vec::new(),
            scenario,
        }
    }

    pub(crate) async fn play(&mut self) {
        self.install().await;
        self.server.set_weather(self.scenario.weather);
        for role in self.scenario.processes.clone() {
            self.start_process(role);
        }
        let mut submitting = JoinSet::new();
        for (number, plan) in self.scenario.tasks.iter().enumerate() {
            for at in [Some(plan.at), plan.again].into_iter().flatten() {
                let (people, confirmed) = (self.people.clone(), self.confirmed.clone());
                let (plan, at) = (plan.clone(), self.start + at);
                submitting.spawn(async move {
                    sleep_until(at).await;
                    submit(people, number, plan, confirmed).await;
                });
            }
        }
        for (at, fault) in self.scenario.faults.clone() {
            self.wait_until(self.start + at).await;
            self.inject(fault);
        }
        self.wait_until(self.start + self.scenario.calm_from).await;
        self.server.note("calm".to_owned());
        self.server.set_weather(Weather {
            latency_ms: self.scenario.weather.latency_ms,
            ..Weather::default()
        });
        while !submitting.is_empty() {
            self.wait_until(Instant::now() + LOOK_EVERY).await;
            while submitting.try_join_next().is_some() {}
        }
        self.wait_for_calm().await;
        self.look_at_processes();
    }

    async fn install(&self) {
        let options = StreamOptions::default();
        let made = self.people.ensure_streams(options).await;
        made.expect("nothing goes wrong yet");
        for stream in self.server.streams() {
            self.server
                .set_duplicate_window(&stream, self.scenario.duplicate_window);
        }
    }

    fn start_process(&mut self, role: Role) {
        let generation = self.generations.entry(role).or_insert(0);
        *generation += 1;
        let process = self.maker.start(&self.server, role, *generation);
        self.processes.insert(role, process);
    }

    /// Waits, and does meanwhile what falls due.
    async fn wait_until(&mut self, until: Instant) {
        loop {
            let next = self.later.iter().map(|(at, _)| *at).min();
            match next.filter(|next| *next <= until) {
                Some(next) => {
                    sleep_until(next).await;
                    self.do_later(next);
                }
                None => return sleep_until(until).await,
            }
        }
    }

    fn do_later(&mut self, now: Instant) {
        let (due, later) = self.later.drain(..).partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, Later)> = due;
        for (_, deed) in due {
            match deed {
                Later::Start(role) => self.start_process(role),
                Later::Thaw(role, generation) => {
                    if self.generations.get(&role) == Some(&generation)
                        && let Some(process) = self.processes.get(&role)
                    {
                        process.thaw(&self.server);
                    }
                }
            }
        }
    }

    fn inject(&mut self, fault: Fault) {
        let at = self.start.elapsed();
        self.server.note(format!("{fault:?}"));
        self.injected.push(Injected { at, fault });
        match fault {
            Fault::Kill(role, pause) => {
                if let Some(process) = self.alive(role) {
                    process.0.kill(process.1);
                    self.start_later(role, pause);
                }
            }
            Fault::Drain(role) => {
                if let Some(process) = self.alive(role) {
                    process.0.drain();
                    self.start_later(role, DRAIN_PAUSE);
                }
            }
            Fault::Freeze(role, pause) => {
                let generation = self.generations.get(&role).copied().unwrap_or(0);
                if let Some(process) = self.alive(role) {
                    process.0.freeze(process.1);
                    let at = Instant::now() + pause;
                    self.later.push((at, Later::Thaw(role, generation)));
                }
            }
            Fault::Cut(role, pause) => {
                if let Some(process) = self.alive(role) {
                    process.1.cut(process.0.client, pause);
                }
            }
            Fault::StepDownStream(stream, pause) => self.server.step_down_stream(stream, pause),
            Fault::StepDownLane(number, pause) => {
                if let Some(lane) = self.lane(number) {
                    self.server.step_down_consumer("ROTA_READY", &lane, pause);
                }
            }
            Fault::StepDownFeed(stream, pause) => {
                self.server.step_down_consumer(stream, "submitter", pause);
            }
            Fault::ResetLane(number) => {
                if let Some(lane) = self.lane(number) {
                    self.server.reset_consumer("ROTA_READY", &lane);
                }
            }
            Fault::ForgeLease => self.forge("$KV.rota_leases.scheduler"),
            Fault::ForgeResult(number) => {
                let names = self
                    .scenario
                    .tasks
                    .iter()
                    .filter_map(|plan| plan.name.clone());
                let names: Vec<String> = names.collect();
                let index = usize::try_from(number).unwrap_or(0);
                if let Some(index) = index.checked_rem(names.len()) {
                    let subject = format!("rota.result.{}", names[index]);
                    let results = self.server.messages("ROTA_RESULTS");
                    // One who writes over a result that is there destroys it: only an account's permissions help.
                    if results.iter().all(|result| result.subject != subject) {
                        self.forge(&subject);
                    }
                }
            }
            Fault::Restart(pause) => self.server.restart(pause),
            Fault::StepClock(by_ms) => self.server.step_clock(by_ms * 1_000),
        }
    }

    fn forge(&self, subject: &str) {
        let by = self.server.client("people").expect("they are always there");
        self.server.forge(subject, by, "rota.events.forged");
    }

    /// A process that nobody has told to stop.
    fn alive(&mut self, role: Role) -> Option<(&mut Process, &Server)> {
        let process = self.processes.get_mut(&role)?;
        (!process.is_told_to_stop).then_some((process, &self.server))
    }

    fn start_later(&mut self, role: Role, pause: Duration) {
        self.later
            .push((Instant::now() + pause, Later::Start(role)));
    }

    fn lane(&self, number: u64) -> Option<String> {
        let lanes = self.server.consumers("ROTA_READY");
        let index = usize::try_from(number)
            .unwrap_or(0)
            .checked_rem(lanes.len())?;
        Some(lanes[index].name.clone())
    }

    async fn wait_for_calm(&mut self) {
        let deadline = Instant::now() + CALM_MAX;
        while Instant::now() < deadline {
            self.wait_until(Instant::now() + LOOK_EVERY).await;
            if self.later.is_empty() && self.is_done() {
                // What still comes, comes now.
                self.wait_until(Instant::now() + 4 * LOOK_EVERY).await;
                return;
            }
        }
    }

    fn is_done(&self) -> bool {
        let is_empty = |stream: &&str| self.server.messages(stream).is_empty();
        ["ROTA_INTAKE", "ROTA_READY", "ROTA_SCHEDULE"]
            .iter()
            .all(is_empty)
    }

    fn look_at_processes(&mut self) {
        for process in self.processes.values_mut() {
            if !process.is_told_to_stop && process.running.is_finished() {
                self.ended_badly.push(process.name.clone());
            }
        }
    }

    pub(crate) fn confirmed(&self) -> Vec<Confirmed> {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Submits until it is confirmed, as a careful client does. Without a name that may make two tasks of one.
async fn submit(people: Bus, number: usize, plan: TaskPlan, confirmed: Arc<Mutex<Vec<Confirmed>>>) {
    for _ in 0..TRIES_MAX {
        let deadline = Instant::now() + Duration::from_secs(6);
        if let Ok(Some(id)) = timeout_at(deadline, try_submit(&people, number, &plan)).await {
            let mut all = confirmed.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Confirmed { id, plan: number });
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn try_submit(people: &Bus, number: usize, plan: &TaskPlan) -> Option<TaskId> {
    let kind = Kind::parse(plan.kind).expect("a good kind");
    let backoff = plan.backoff.as_millis();
    let mut headers = Headers::new();
    headers.push("Rota-Priority", plan.priority.to_string());
    headers.push("Rota-Attempts", plan.attempts.to_string());
    headers.push("Rota-Backoff", format!("{backoff}ms..{}ms", 2 * backoff));
    let message = Message {
        subject: people.subjects().submit(&kind),
        headers,
        payload: number.to_string().into(),
    };
    let expect = plan.name.clone().map_or(Expect::Nothing, Expect::NewId);
    let stored = people.store_now(message, expect).await.ok()?;
    Some(match &plan.name {
        Some(name) => TaskId::parse(name).expect("a good name"),
        None => TaskId::from_sequence(stored.seq()),
    })
}
