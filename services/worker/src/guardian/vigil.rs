//! What a guardian does: it waits for the end of the pipe, and then acts.
//!
//! While it waits it has one blocked thread and nothing else; it connects only when the worker is dead,
//! while it still kills.

use std::collections::HashSet;
use std::io::{self, BufRead};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use rota_bus::{Bus, Message};
use rota_service::{ConnectOptions, Installation};
use rota_wire::WorkerId;
use rota_wire::fleet::Obituary;
use rustix::process::Pid;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::deaths;
use super::line::Line;

/// How long it kills. What is not gone by then waits for a device, and does nothing any more.
const KILL_LIMIT: Duration = Duration::from_secs(1);
/// How long it tries to tell. By then the missed heartbeats have told.
const TELL_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The flags of services, of which only the environment is read.
#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    connect: ConnectOptions,
}

/// What became of the worker.
enum Fate {
    Left,
    /// With the groups that it may have left behind.
    Died(HashSet<Pid>),
}

/// Keeps the vigil for a worker, and gives the exit code.
pub(super) fn keep(worker: &str) -> u8 {
    match try_keep(worker) {
        Ok(()) => 0,
        // Nobody hears why; the worker starts another guardian.
        Err(_) => 1,
    }
}

fn try_keep(worker: &str) -> Result<()> {
    let worker = WorkerId::parse(worker)?;
    ignore_signals()?;
    let connect = Flags::try_parse_from(["guardian"])?.connect;
    match watch(io::stdin().lock())? {
        Fate::Left => Ok(()),
        Fate::Died(groups) => {
            let (ended, told) = oneshot::channel();
            let obituary = Obituary {
                worker: worker.clone(),
            };
            let telling = thread::spawn(move || runtime()?.block_on(tell(connect, obituary, told)));
            deaths::end_all(&worker, &groups, Instant::now() + KILL_LIMIT);
            // If nobody waits for it, telling has failed already.
            let _ = ended.send(());
            telling.join().ok().context("telling panicked")?
        }
    }
}

/// Reads what the worker says until it leaves or dies.
fn watch(lines: impl BufRead) -> io::Result<Fate> {
    let mut groups = HashSet::new();
    for line in lines.lines() {
        match Line::parse(&line?) {
            Some(Line::Group(group)) => drop(groups.insert(group)),
            Some(Line::Over(group)) => drop(groups.remove(&group)),
            Some(Line::Goodbye) => return Ok(Fate::Left),
            None => {}
        }
    }
    Ok(Fate::Died(groups))
}

/// Once there is a handler for a signal it stays, whatever becomes of the runtime.
fn ignore_signals() -> io::Result<()> {
    let runtime = runtime()?;
    let _inside = runtime.enter();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        drop(signal(kind)?);
    }
    Ok(())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn tell(
    connect: ConnectOptions,
    obituary: Obituary,
    ended: oneshot::Receiver<()>,
) -> Result<()> {
    let installation = Installation {
        connect,
        ..Installation::default()
    };
    let telling = async {
        let bus = connected(&installation, &obituary.worker).await;
        // Its sender does not vanish without a word.
        let _ = ended.await;
        let subject = bus.subjects().died(&obituary.worker);
        bus.send(Message::frame(subject, &obituary)).await?;
        bus.flush().await.context("flushing")
    };
    tokio::time::timeout(TELL_LIMIT, telling).await?
}

async fn connected(installation: &Installation, worker: &WorkerId) -> Bus {
    loop {
        match installation
            .connect_only(&format!("guardian {worker}"))
            .await
        {
            Ok(bus) => return bus,
            Err(_) => sleep(CONNECT_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: i32) -> Pid {
        Pid::from_raw(id).expect("not 0")
    }

    fn fate(text: &str) -> Option<Vec<Pid>> {
        match watch(text.as_bytes()).expect("bytes can be read") {
            Fate::Left => None,
            Fate::Died(groups) => {
                let mut groups: Vec<_> = groups.into_iter().collect();
                groups.sort_by_key(|group| group.as_raw_nonzero());
                Some(groups)
            }
        }
    }

    #[test]
    fn only_a_goodbye_is_no_death() {
        assert_eq!(fate("group 7\nover 7\ngoodbye\n"), None);
        for died in ["", "group 7\nover 7\n", "good"] {
            assert_eq!(fate(died), Some(vec![]), "{died:?}");
        }
    }

    #[test]
    fn what_was_started_and_is_not_over_was_left_behind() {
        let left = fate("group 7\ngroup 8\nover 7\ngroup 9\nnonsense\n");
        assert_eq!(left, Some(vec![group(8), group(9)]));
    }
}
