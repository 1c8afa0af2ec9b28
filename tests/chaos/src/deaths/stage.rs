//! Everything that runs while deaths are measured, and the load that is kept on it: as many tasks as asked for,
//! a new one for each that is done.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::RngExt;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::board::Board;
use super::{LOSSES_MAX, Options};
use crate::clock::Moment;
use crate::crew::{Manner, Running, Setting};
use crate::fault::{Life, Place, Role};
use crate::job::{Job, Then};
use crate::kinds;
use crate::ledger::Tail;
use crate::load::{Order, Sender};
use crate::logs::Logs;
use crate::plan::Crew;
use crate::programs::Programs;
use crate::servers::Servers;

const POLL: Duration = Duration::from_millis(5);
const START_LIMIT: Duration = Duration::from_secs(90);
const SIGNAL_LIMIT: Duration = Duration::from_secs(5);
/// How long a task runs, in milliseconds: long enough to be killed, and short enough to be killed but seldom.
const RUN_MS: std::ops::Range<u64> = 4_000..9_000;

/// One server, a submitter, two schedulers and the workers.
pub(super) struct Stage {
    pub(super) running: Running,
    pub(super) logs: Logs,
    pub(super) board: Board,
    sender: Sender,
    tail: Tail,
    random: Pcg64,
    workers: usize,
    tasks: usize,
    submitted: usize,
    _servers: Servers,
}

impl Stage {
    /// Starts all, and returns when every worker has tasks.
    pub(super) async fn set(options: &Options, folder: &std::path::Path) -> anyhow::Result<Self> {
        let (binaries, seed) = (options.binaries.clone(), options.seed);
        let programs = Programs::prepare(binaries, None, seed).await?;
        let logs = Logs::new(folder.join("logs"))?;
        let setting = Arc::new(Setting {
            manner: Manner::MEASURED,
            folder: folder.to_owned(),
            ledger: folder.join("ledger"),
            handlers: kinds::write_handlers(folder, &programs.task())?,
            replicas: 1,
            programs,
            logs: logs.clone(),
            clocks: None,
        });
        let crew = Crew {
            submitters: 1,
            schedulers: 2,
            workers: options.workers,
            monitors: 0,
        };
        let tail = Tail::new(setting.ledger.clone());
        let servers = Servers::start(1, folder, false).await?;
        let running = Running::start(setting, crew, servers.ports()).await?;
        let mut stage = Self {
            sender: Sender::new(servers.client().clone()),
            running,
            logs,
            board: Board::default(),
            tail,
            random: Pcg64::seed_from_u64(seed),
            workers: options.workers,
            tasks: options.workers * options.tasks,
            submitted: 0,
            _servers: servers,
        };
        let enough = |stage: &Self| stage.board.workers().len() == stage.workers;
        let started = stage.until(START_LIMIT, enough).await?;
        ensure!(started, "not every worker has tasks within {START_LIMIT:?}");
        Ok(stage)
    }

    /// Lets all go on for a while.
    pub(super) async fn go_on(&mut self, span: Duration) -> anyhow::Result<()> {
        self.until(span, |_| false).await.map(drop)
    }

    /// Lets all go on until something is so. False when it is not within the limit.
    pub(super) async fn until(
        &mut self,
        limit: Duration,
        is_so: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            for entry in self.tail.read_on()? {
                self.board.take(entry);
            }
            if is_so(self) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            if self.submitted < self.board.done() + self.tasks {
                self.submit(RUN_MS).await;
            } else {
                sleep(POLL).await;
            }
        }
    }

    /// Submits one task that ends at once, and gives its id.
    pub(super) async fn submit_probe(&mut self) -> anyhow::Result<String> {
        let id = self.submit(0..1).await;
        id.context("the server does not confirm a submission")
    }

    async fn submit(&mut self, run_ms: std::ops::Range<u64>) -> Option<String> {
        let number = self.submitted as u64 + 1;
        // A command and a Rust function in turn.
        let kind = if number.is_multiple_of(2) {
            kinds::COMMAND.to_owned()
        } else {
            kinds::functions()[0].to_owned()
        };
        let run = Duration::from_millis(self.random.random_range(run_ms));
        let job = Job {
            number,
            run,
            fails: 0,
            then: Then::Complete,
            bytes: 100,
        };
        let id = self.sender.submit_once(&Order::plain(kind, job)).await;
        self.submitted += usize::from(id.is_some());
        id
    }

    /// SIGKILL to a worker that runs something, none of it near to being taken for poison; when that was, and what it
    /// ran.
    pub(super) async fn kill_worker(&mut self) -> anyhow::Result<(Life, Moment, Vec<String>)> {
        let deadline = Instant::now() + START_LIMIT;
        let life = loop {
            let number = self.random.random_range(1..=self.workers);
            let place = Place {
                role: Role::Worker,
                number,
            };
            let life = self.running.living(place).filter(|life| self.is_fit(*life));
            if let Some(life) = life {
                break life;
            }
            ensure!(Instant::now() < deadline, "no worker to kill");
            self.go_on(POLL).await?;
        };
        let at = self.kill(life).await?;
        // What it had written by then is in the ledger by now.
        for entry in self.tail.read_on()? {
            self.board.take(entry);
        }
        let tasks = self.board.running_on(life, at);
        let tasks: Vec<String> = tasks.into_iter().map(str::to_owned).collect();
        for task in &tasks {
            self.board.note_loss(task);
        }
        Ok((life, at, tasks))
    }

    fn is_fit(&self, life: Life) -> bool {
        let tasks = self.board.running_on(life, Moment::now());
        let mut losses = tasks.iter().map(|task| self.board.losses(task));
        !tasks.is_empty() && losses.all(|losses| losses < LOSSES_MAX)
    }

    /// SIGKILL to the scheduler that leads, and when that was.
    pub(super) async fn kill_leader(&mut self) -> anyhow::Result<(Life, Moment)> {
        let leader = self.logs.noticed().leaders.last().map(|(_, life)| *life);
        let leader = leader.context("nobody leads")?;
        Ok((leader, self.kill(leader).await?))
    }

    async fn kill(&mut self, life: Life) -> anyhow::Result<Moment> {
        self.running.seat(life.place).signal(Signal::KILL).await;
        let deadline = Instant::now() + SIGNAL_LIMIT;
        loop {
            let fact = self.running.fact(life).context("it was never started")?;
            if let Some(at) = fact.killed() {
                return Ok(at);
            }
            ensure!(Instant::now() < deadline, "{life} cannot be killed");
            sleep(Duration::from_millis(1)).await;
        }
    }
}
