//! Looks at the processes while the storm blows: their memory, what outlives a worker, and whether this whole
//! machine stood still.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock::Moment;
use crate::crew::Running;
use crate::facts::{Leftover, Span};
use crate::fault::{Life, Role};
use crate::ledger::WORKER_ENV;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A worker's guardian has so long to end what its worker has left.
const LEFTOVER_AFTER: Duration = Duration::from_secs(2);
/// Workers whose end is longer ago are not looked at any more.
const FORGET_AFTER: Duration = Duration::from_secs(12);
const TICK: Duration = Duration::from_millis(20);
/// A tick that is so late says that nobody on this machine got to run.
const LATE: Duration = Duration::from_millis(250);

/// Watches, until it is stopped.
#[derive(Debug)]
pub(super) struct Watch {
    over: watch::Sender<bool>,
    looking: JoinSet<()>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    stalls: Vec<Span>,
    leftovers: Vec<Leftover>,
    told: BTreeSet<u32>,
}

impl Watch {
    pub(super) fn start(running: Arc<Running>) -> Self {
        let (over, told) = watch::channel(false);
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut looking = JoinSet::new();
        let (here, mut end) = (seen.clone(), told.clone());
        // On a thread of its own: what stalls our own tasks is no stall of the machine.
        let ticking = told;
        let ticks = seen.clone();
        std::thread::spawn(move || tick(&ticking, &ticks));
        looking.spawn(async move {
            while !*end.borrow_and_update() {
                let (running, seen) = (running.clone(), here.clone());
                // Reading /proc blocks.
                let _ = tokio::task::spawn_blocking(move || look(&running, &seen)).await;
                tokio::select! {
                    _ = end.changed() => {}
                    () = sleep(LOOK_EVERY) => {}
                }
            }
        });
        Self {
            over,
            looking,
            seen,
        }
    }

    pub(super) async fn stop(mut self) -> (Vec<Span>, Vec<Leftover>) {
        self.over.send_replace(true);
        while self.looking.join_next().await.is_some() {}
        let mut seen = lock(&self.seen);
        (
            std::mem::take(&mut seen.stalls),
            std::mem::take(&mut seen.leftovers),
        )
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tick(over: &watch::Receiver<bool>, seen: &Mutex<Seen>) {
    while !*over.borrow() {
        let from = Moment::now();
        std::thread::sleep(TICK);
        let to = Moment::now();
        if to.since(from) > LATE {
            lock(seen).stalls.push(Span { from, to });
        }
    }
}

fn look(running: &Running, seen: &Mutex<Seen>) {
    let now = Moment::now();
    let mut gone: Vec<(Life, Duration)> = Vec::new();
    for (life, fact) in running.lives() {
        match fact.ended {
            None => running.note_memory(life, memory_bytes(fact.pid).unwrap_or(0)),
            Some(ended) if life.place.role == Role::Worker => {
                let after = now.since(ended);
                if (LEFTOVER_AFTER..FORGET_AFTER).contains(&after) {
                    gone.push((life, after));
                }
            }
            Some(_) => {}
        }
    }
    for (worker, after) in gone {
        let mark = format!("{WORKER_ENV}={worker}");
        for process in rota_tests::processes_with(&[mark]) {
            let pid = process.as_raw_pid().unsigned_abs();
            // A process without a task is the worker's own, such as one that cleans up.
            let Some(task) = task_of(pid) else { continue };
            let mut seen = lock(seen);
            if seen.told.insert(pid) {
                seen.leftovers.push(Leftover {
                    worker,
                    pid,
                    task,
                    after,
                });
            }
        }
    }
}

fn memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

fn task_of(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let task = variables.find_map(|variable| variable.strip_prefix(b"ROTA_TASK_ID="))?;
    Some(String::from_utf8_lossy(task).into_owned())
}
