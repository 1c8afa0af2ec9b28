//! What is left of a worker that dies: nothing but a word to the scheduler.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rota_bus::Subscription;
use rota_local::{NatsServer, ServerOptions};
use rota_wire::fleet::{Heartbeat, Obituary, Stage, WorkerState};
use rota_wire::frame::decode;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::scheduler::{LIMIT, Scheduler, holding, task};

/// In this time nobody says anything who has nothing to say.
const SILENCE: Duration = Duration::from_millis(500);
/// How soon it is known that a worker is dead. Machines that test are busy: it takes some 20 ms.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// A server, a scheduler that listens for obituaries, and a folder in which commands leave their ids.
struct Scene {
    server: NatsServer,
    scheduler: Scheduler,
    obituaries: Subscription,
    folder: TempDir,
}

impl Scene {
    async fn open() -> Result<Self> {
        let server = NatsServer::start(ServerOptions::default()).await?;
        let scheduler = Scheduler::start(&server).await?;
        let bus = &scheduler.bus;
        let obituaries = bus.subscribe(&bus.subjects().obituaries()).await?;
        bus.flush().await?;
        let folder = tempfile::tempdir()?;
        Ok(Self {
            server,
            scheduler,
            obituaries,
            folder,
        })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A worker whose commands write the id of a process that does not end by itself.
    fn worker(&self) -> Result<Child> {
        let scripts = [
            ("plain", "echo $$ > $DIR/plain; sleep 600"),
            (
                "stubborn",
                "trap '' TERM HUP INT; echo $$ > $DIR/stubborn; while :; do sleep 1; done",
            ),
            (
                "stray",
                "setsid sh -c 'trap \"\" TERM HUP; echo $$ > $DIR/stray; while :; do sleep 1; done'",
            ),
            // Without the variables by which it would be found, but in its group.
            (
                "bare",
                "exec env -i sh -c \"echo \\$\\$ > $DIR/bare; while :; do sleep 1; done\"",
            ),
        ];
        let handlers = scripts.map(|(kind, script)| {
            format!(
                "[handlers.{kind}]\ncommand = ['sh', '-c', '''{script}''']\nenv = {{ DIR = '{}' }}\n",
                self.folder.path().display()
            )
        });
        fs::write(self.path("handlers.toml"), handlers.concat())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_rota-worker"));
        command
            .args(["--nats", &self.server.url(), "--log-level", "info"])
            .args(["--handlers", &self.path("handlers.toml")])
            .args(["--slots", "8", "--grace", "100ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command.spawn().context("the worker does not start")
    }

    /// Lets the four commands run, and gives the ids of their processes.
    async fn run_commands(&mut self) -> Result<Vec<Pid>> {
        let kinds = ["plain", "stubborn", "stray", "bare"];
        let tasks = (1..).zip(kinds).map(|(seq, kind)| task(kind, seq, ""));
        self.scheduler.assign(1, tasks.collect()).await?;
        let mut pids = Vec::new();
        for kind in kinds {
            pids.push(pid_in(&self.folder.path().join(kind)).await?);
        }
        Ok(pids)
    }

    async fn obituary(&mut self) -> Result<Obituary> {
        let heard = timeout(LIMIT, self.obituaries.next()).await;
        let heard = heard.context("no obituary")?.context("closed")?;
        let obituary: Obituary = decode(&heard.payload)?;
        let subject = self.scheduler.bus.subjects().died(&obituary.worker);
        assert_eq!(heard.subject, subject.as_str());
        Ok(obituary)
    }

    async fn assert_no_obituary(&mut self) {
        let heard = timeout(SILENCE, self.obituaries.next()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T> {
    let searched = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, searched).await.context(what.to_owned())
}

async fn pid_in(file: &Path) -> Result<Pid> {
    until("the command does not start", || {
        let text = fs::read_to_string(file).ok()?;
        Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
    })
    .await
}

fn pid_of(child: &Child) -> Pid {
    let id = child.id().expect("it was not waited for");
    Pid::from_raw(id.cast_signed()).expect("not 0")
}

/// Whether a process runs; one that is dead and not reaped does not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = stat
        .ok()
        .and_then(|stat| stat.rsplit(") ").next()?.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// The guardians of a worker that run.
fn guardians(beat: &Heartbeat) -> Vec<Pid> {
    let wanted = format!("ROTA_GUARDIAN={}", beat.worker).into_bytes();
    let Ok(folders) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let found = folders.flatten().filter_map(|folder| {
        let id = folder.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(folder.path().join("environ")).ok()?;
        let marked = environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted);
        marked.then(|| Pid::from_raw(id))?
    });
    found.collect()
}

/// The guardian, once it takes no notice of signals. Before that it can be ended: if it is stopped when the
/// worker dies, the kernel sends it SIGHUP, as to each group that nobody is left to continue.
async fn guardian(beat: &Heartbeat) -> Result<Pid> {
    until("no guardian", || {
        guardians(beat)
            .into_iter()
            .find(|pid| ignores_hangups(*pid))
    })
    .await
}

fn ignores_hangups(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let caught = status.ok().and_then(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    // The first bit is the first signal.
    caught.is_some_and(|caught| caught & (1 << (Signal::HUP.as_raw() - 1)) != 0)
}

async fn until_unguarded(beat: &Heartbeat) -> Result<()> {
    until("a guardian is left", || {
        guardians(beat).is_empty().then_some(())
    })
    .await
}

#[tokio::test]
async fn a_killed_worker_leaves_no_process_of_its_tasks_and_an_obituary_at_once() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut child = scene.worker()?;
    let beat = scene.scheduler.meet_worker().await?;
    let pids = scene.run_commands().await?;
    assert!(pids.iter().all(|pid| runs(*pid)));

    let killed = Instant::now();
    child.start_kill()?;
    let obituary = scene.obituary().await?;
    let known = killed.elapsed();
    let left: Vec<_> = pids.into_iter().filter(|pid| runs(*pid)).collect();
    assert_eq!(left, [], "they are gone before it is told");
    assert_eq!(obituary.worker, beat.worker);
    assert!(known < KNOWN_WITHIN, "{known:?}");
    until_unguarded(&beat).await
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_has_no_obituary_and_leaves_no_guardian() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut child = scene.worker()?;
    let beat = scene.scheduler.meet_worker().await?;
    guardian(&beat).await?;
    kill_process(pid_of(&child), Signal::TERM)?;
    scene.scheduler.settle_until_gone().await?;
    assert!(timeout(LIMIT, child.wait()).await??.success());
    until_unguarded(&beat).await?;
    scene.assert_no_obituary().await;
    Ok(())
}

#[tokio::test]
async fn a_worker_that_stands_still_is_not_dead() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut child = scene.worker()?;
    let beat = scene.scheduler.meet_worker().await?;
    let pids = scene.run_commands().await?;
    kill_process(pid_of(&child), Signal::STOP)?;
    scene.assert_no_obituary().await;
    assert!(pids.iter().all(|pid| runs(*pid)), "they are not touched");
    kill_process(pid_of(&child), Signal::CONT)?;
    child.start_kill()?;
    assert_eq!(scene.obituary().await?.worker, beat.worker);
    Ok(())
}

#[tokio::test]
async fn a_second_signal_leaves_no_command_behind_also_none_that_stands_still() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut child = scene.worker()?;
    let beat = scene.scheduler.meet_worker().await?;
    let pids = scene.run_commands().await?;
    scene.scheduler.suspend(1, holding(1, 2)).await?;
    scene
        .scheduler
        .wait_for_beat(|beat| beat.held.iter().any(|held| held.stage == Stage::Suspended))
        .await?;
    kill_process(pid_of(&child), Signal::INT)?;
    scene
        .scheduler
        .wait_for_beat(|beat| beat.state == WorkerState::Draining)
        .await?;
    kill_process(pid_of(&child), Signal::INT)?;
    assert_eq!(scene.obituary().await?.worker, beat.worker);
    let left: Vec<_> = pids.into_iter().filter(|pid| runs(*pid)).collect();
    assert_eq!(left, []);
    assert_eq!(timeout(LIMIT, child.wait()).await??.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn many_kills_in_a_row_leave_no_guardian_and_one_obituary_each() -> Result<()> {
    let mut scene = Scene::open().await?;
    for _ in 0..8 {
        let mut child = scene.worker()?;
        let beat = scene
            .scheduler
            .wait_for_beat(|beat| beat.number == 1)
            .await?;
        child.start_kill()?;
        child.wait().await?;
        assert_eq!(scene.obituary().await?.worker, beat.worker);
        until_unguarded(&beat).await?;
    }
    scene.assert_no_obituary().await;
    Ok(())
}

#[tokio::test]
async fn a_guardian_that_is_killed_is_replaced_and_the_worker_goes_on() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut child = scene.worker()?;
    let beat = scene.scheduler.meet_worker().await?;
    let pids = scene.run_commands().await?;
    let first = guardian(&beat).await?;
    kill_process(first, Signal::KILL)?;
    until("no other guardian", || {
        guardians(&beat).into_iter().find(|pid| *pid != first)
    })
    .await?;
    assert!(pids.iter().all(|pid| runs(*pid)), "they are not touched");
    child.start_kill()?;
    assert_eq!(scene.obituary().await?.worker, beat.worker);
    let left: Vec<_> = pids.into_iter().filter(|pid| runs(*pid)).collect();
    assert_eq!(left, [], "the other was told of what ran already");
    Ok(())
}

/// As a service manager does when it stops all that belongs to a service.
#[tokio::test]
async fn a_guardian_takes_no_notice_of_signals_that_ask_it_to_end() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut child = scene.worker()?;
    let beat = scene.scheduler.meet_worker().await?;
    scene.run_commands().await?;
    let first = guardian(&beat).await?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(first, signal)?;
    }
    child.start_kill()?;
    assert_eq!(scene.obituary().await?.worker, beat.worker);
    Ok(())
}

/// A guardian that stood still for ever would otherwise hold up whoever reads the worker's log.
#[tokio::test]
async fn a_guardian_holds_none_of_the_workers_pipes() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_rota-worker"))
        .args(["--nats", &scene.server.url(), "--builtin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let beat = scene.scheduler.meet_worker().await?;
    let guardian = guardian(&beat).await?;
    kill_process(guardian, Signal::STOP)?;
    child.start_kill()?;
    let mut log = Vec::new();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = stdout.context("piped")?.read_to_end(&mut log).await;
    reading?;
    let reading = timeout(LIMIT, stderr.context("piped")?.read_to_end(&mut log)).await;
    reading.context("somebody holds the pipe")??;
    kill_process(guardian, Signal::CONT)?;
    assert_eq!(scene.obituary().await?.worker, beat.worker);
    Ok(())
}
