//! The processes of the installation: each is started, behind a proxy of its own, and started again whenever
//! it ends.
//!
//! ```text
//! start ─► runs ──ends, for whatever reason──► a short wait ─► start …        (until the storm is over)
//!            ▲ signals, by the one task that waits for it
//! ```
//!
//! What must hold: only the task that owns a process signals it, so an id is never another's by then; and
//! every process, with all that it has started, is gone when the crew is dropped.

mod setting;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::Moment;
use crate::facts::{LifeFact, Told};
use crate::fault::{Life, Place, Role};
use crate::ledger::{LEDGER_ENV, WORKER_ENV};
use crate::plan::Crew;
use crate::proxy::Proxy;
pub use setting::{Manner, Route, Setting};

/// Marks every process of a storm, and what it starts.
pub const STORM_ENV: &str = "CHAOS_STORM";
/// A process that was told to end and does not is killed.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// At the end of the storm.
const END_LIMIT: Duration = Duration::from_secs(5);
const SIGNALS_MAX: usize = 16;
/// A log that nobody reads fills so small a pipe within moments.
const PIPE_BYTES: usize = 4_096;

/// The processes, running.
#[derive(Debug)]
pub struct Running {
    seats: BTreeMap<Place, Arc<Seat>>,
    lives: Arc<Lives>,
    over: watch::Sender<bool>,
    keepers: JoinSet<()>,
    folder: PathBuf,
}

/// One place: its proxy, and the way to whoever sits there now.
#[derive(Debug)]
pub struct Seat {
    /// Between it and the servers.
    pub proxy: Proxy,
    signals: mpsc::Sender<Signal>,
    unread: watch::Sender<u32>,
}

type Lives = Mutex<BTreeMap<Life, LifeFact>>;

impl Running {
    /// Starts everybody, the schedulers first.
    ///
    /// # Errors
    /// When a proxy or a process cannot be started.
    pub async fn start(setting: Arc<Setting>, crew: Crew, servers: &[u16]) -> anyhow::Result<Self> {
        let mut running = Self {
            seats: BTreeMap::new(),
            lives: Arc::default(),
            over: watch::channel(false).0,
            keepers: JoinSet::new(),
            folder: setting.folder.clone(),
        };
        for (index, place) in crew.places().into_iter().enumerate() {
            let proxy = Proxy::start(servers).await?;
            let (signals, wanted) = mpsc::channel(SIGNALS_MAX);
            let (unread, _) = watch::channel(0);
            let seat = Arc::new(Seat {
                proxy,
                signals,
                unread,
            });
            let url = match setting.manner.route {
                Route::Proxy => seat.proxy.urls(index),
                Route::Straight => urls_of(servers),
            };
            let keeper = Keeper {
                place,
                url,
                setting: setting.clone(),
                wanted,
                unread: seat.unread.subscribe(),
                lives: running.lives.clone(),
                over: running.over.subscribe(),
                readers: JoinSet::new(),
            };
            running.keepers.spawn(keeper.keep());
            running.seats.insert(place, seat);
        }
        Ok(running)
    }

    /// A place.
    ///
    /// # Panics
    /// When there is no such place.
    #[must_use]
    pub fn seat(&self, place: Place) -> Arc<Seat> {
        self.seats[&place].clone()
    }

    /// All places.
    pub fn seats(&self) -> impl Iterator<Item = (Place, &Arc<Seat>)> {
        self.seats.iter().map(|(place, seat)| (*place, seat))
    }

    /// What is known of all lives.
    #[must_use]
    pub fn lives(&self) -> BTreeMap<Life, LifeFact> {
        lock(&self.lives).clone()
    }

    /// What is known of one life.
    #[must_use]
    pub fn fact(&self, life: Life) -> Option<LifeFact> {
        lock(&self.lives).get(&life).cloned()
    }

    /// The life of a place that runs now.
    #[must_use]
    pub fn living(&self, place: Place) -> Option<Life> {
        let lives = lock(&self.lives);
        let own = lives.iter().filter(|(life, _)| life.place == place);
        let (life, fact) = own.max_by_key(|(life, _)| life.number)?;
        fact.ended.is_none().then_some(*life)
    }

    /// Whether a place has a process that runs.
    #[must_use]
    pub fn is_up(&self, place: Place) -> bool {
        self.living(place).is_some()
    }

    /// Notes how much memory a process uses.
    pub fn note_memory(&self, life: Life, bytes: u64) {
        if let Some(fact) = lock(&self.lives).get_mut(&life) {
            fact.peak_bytes = fact.peak_bytes.max(bytes);
        }
    }

    /// Ends everybody: TERM, then KILL, then whatever carries the mark.
    pub async fn end(mut self) {
        self.over.send_replace(true);
        for seat in self.seats.values() {
            seat.signal(Signal::CONT).await;
            seat.signal(Signal::TERM).await;
        }
        let all = async { while self.keepers.join_next().await.is_some() {} };
        // Who takes longer is killed when this is dropped.
        let _ = timeout(END_LIMIT, all).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mark = format!("{STORM_ENV}={}", self.folder.display());
        for process in rota_tests::processes_with(&[mark]) {
            // One that has ended by itself in the meantime is as good.
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

impl Seat {
    /// Sends a signal to whoever sits there now, if anybody does.
    pub async fn signal(&self, signal: Signal) {
        // A place that is not kept any more has nobody.
        let _ = self.signals.send(signal).await;
    }

    /// Leaves its log unread for a while.
    pub async fn leave_log(&self, span: Duration) {
        self.unread.send_modify(|faults| *faults += 1);
        sleep(span).await;
        self.unread.send_modify(|faults| *faults -= 1);
    }
}

/// What a signal tells a process, if that is more than it was told before. The second TERM ends a service at once,
/// and what kills it counts from then on.
fn told_by(signal: Signal, before: Option<Told>) -> Option<Told> {
    match (signal, before) {
        (Signal::TERM, None) => Some(Told::Drain),
        (Signal::TERM, Some(Told::Drain)) => Some(Told::Kill),
        (Signal::KILL, None | Some(Told::Drain)) => Some(Told::Kill),
        _ => None,
    }
}

fn urls_of(ports: &[u16]) -> String {
    let urls = ports.iter().map(|port| format!("nats://127.0.0.1:{port}"));
    urls.collect::<Vec<_>>().join(",")
}

fn lock(lives: &Lives) -> std::sync::MutexGuard<'_, BTreeMap<Life, LifeFact>> {
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Keeper {
    place: Place,
    url: String,
    setting: Arc<Setting>,
    wanted: mpsc::Receiver<Signal>,
    unread: watch::Receiver<u32>,
    lives: Arc<Lives>,
    over: watch::Receiver<bool>,
    readers: JoinSet<()>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut number = 0;
        while !*self.over.borrow() {
            number += 1;
            let place = self.place;
            let life = Life { place, number };
            if let Err(error) = self.live(life).await {
                eprintln!("{life}: {error:#}");
            }
            while self.wanted.try_recv().is_ok() {}
            let spans = self.setting.manner.away_ms;
            let away = spans[(number + place.number + place.role as usize) % spans.len()];
            tokio::select! {
                _ = self.over.wait_for(|over| *over) => {}
                () = sleep(Duration::from_millis(away)) => {}
            }
        }
        // What a process has said last is read before the keeper is done.
        while self.readers.join_next().await.is_some() {}
    }

    async fn live(&mut self, life: Life) -> anyhow::Result<()> {
        let (program, old) = self.setting.programs.choose(life);
        let mut command = self.command(life, program);
        let mut child = command.spawn().context("it cannot be started")?;
        let pid = child.id().context("it has an id while it runs")?;
        self.read_logs(life, &mut child);
        let fact = LifeFact {
            pid,
            old,
            started: Moment::now(),
            told: None,
            ended: None,
            how: String::new(),
            peak_bytes: 0,
        };
        lock(&self.lives).insert(life, fact);
        let status = self.until_ended(life, &mut child).await?;
        if let Some(fact) = lock(&self.lives).get_mut(&life) {
            fact.ended = Some(Moment::now());
            fact.how = status.to_string();
        }
        Ok(())
    }

    async fn until_ended(&mut self, life: Life, child: &mut Child) -> anyhow::Result<ExitStatus> {
        let mut deadline = None;
        loop {
            let late = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let signal = tokio::select! {
                biased;
                status = child.wait() => return Ok(status?),
                Some(signal) = self.wanted.recv() => signal,
                () = late => {
                    eprintln!("{life} does not end within {DRAIN_LIMIT:?}, killing it");
                    deadline = None;
                    Signal::KILL
                }
            };
            // It was not waited for, so the id is still its own.
            let pid = child
                .id()
                .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            let Some(pid) = pid else { continue };
            if signal == Signal::TERM {
                deadline = Some(tokio::time::Instant::now() + DRAIN_LIMIT);
            }
            if let Some(fact) = lock(&self.lives).get_mut(&life)
                && let Some(told) = told_by(signal, fact.told.map(|(_, told)| told))
            {
                fact.told = Some((Moment::now(), told));
            }
            kill_process(pid, signal).context("it cannot be signalled")?;
        }
    }

    fn command(&self, life: Life, program: PathBuf) -> Command {
        let setting = &self.setting;
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"ROTA_") {
                command.env_remove(variable);
            }
        }
        command
            .args(["--nats", &self.url])
            .args(["--replicas", &setting.replicas.to_string()])
            .env("ROTA_LOG", setting.manner.log)
            .env(STORM_ENV, &setting.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(clocks) = &setting.clocks {
            command.envs(clocks.environment(life.place));
        }
        if life.place.role == Role::Worker {
            command
                .args(["--name", &life.place.to_string(), "--slots", "8"])
                .args(["--grace", "1s", "--handlers"])
                .arg(&setting.handlers)
                .env(LEDGER_ENV, &setting.ledger)
                .env(WORKER_ENV, life.to_string());
        }
        command
    }

    fn read_logs(&mut self, life: Life, child: &mut Child) {
        let logs = &self.setting.logs;
        if let Some(pipe) = child.stdout.take() {
            // A pipe that keeps its usual size only takes longer to be full.
            let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
            let reading = logs.clone().read(life, pipe, self.unread.clone());
            self.readers.spawn(async move { drop(reading.await) });
        }
        if let Some(pipe) = child.stderr.take() {
            let reading = logs.clone().read(life, pipe, self.unread.clone());
            self.readers.spawn(async move { drop(reading.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_word_to_end_kills_and_the_first_kill_counts() {
        let drain = told_by(Signal::TERM, None);
        assert_eq!(drain, Some(Told::Drain));
        for signal in [Signal::TERM, Signal::KILL] {
            assert_eq!(told_by(signal, drain), Some(Told::Kill));
            assert_eq!(
                told_by(signal, Some(Told::Kill)),
                None,
                "it was dead already"
            );
        }
        assert_eq!(told_by(Signal::KILL, None), Some(Told::Kill));
        assert_eq!(told_by(Signal::STOP, None), None);
    }
}
