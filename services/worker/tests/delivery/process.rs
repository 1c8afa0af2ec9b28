//! The `rota-worker` binary as a process: signals, commands, exit codes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rota_local::{NatsServer, ServerOptions};
use rota_wire::Span;
use rota_wire::dispatch::Ending;
use rota_wire::fleet::{Heartbeat, Stage, WorkerState};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::scheduler::{LIMIT, Scheduler, holding, task};

fn worker(server: &NatsServer, flags: &[&str]) -> Result<Child> {
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_rota-worker"))
        .args(["--nats", &server.url(), "--log-level", "off"])
        .args(flags)
        .kill_on_drop(true)
        .spawn();
    child.context("the worker does not start")
}

fn refused(flags: &[&str]) -> Result<Output> {
    let output = Command::new(env!("CARGO_BIN_EXE_rota-worker"))
        .args(flags)
        .stdin(Stdio::null())
        .output()?;
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    Ok(output)
}

fn pid(child: &Child) -> Pid {
    let id = child.id().expect("it was not waited for");
    Pid::from_raw(id.try_into().expect("an id is positive")).expect("an id is not 0")
}

/// The process ids that a command wrote into a file, once both are there.
async fn pids_in(file: &Path) -> Result<Vec<Pid>> {
    let read = async {
        loop {
            let text = fs::read_to_string(file).unwrap_or_default();
            let pids = text
                .lines()
                .filter_map(|line| Pid::from_raw(line.parse().ok()?));
            let pids: Vec<_> = pids.collect();
            if pids.len() == 2 && text.ends_with('\n') {
                return pids;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, read)
        .await
        .context("the command does not start")
}

async fn until_gone(pid: Pid) -> Result<()> {
    let gone = async {
        while test_kill_process(pid).is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, gone)
        .await
        .context("a process outlives its attempt")
}

#[tokio::test]
async fn a_revoked_command_ends_with_its_whole_process_group_and_is_not_spoken_of() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (handlers, pids) = (
        folder.path().join("handlers.toml"),
        folder.path().join("pids"),
    );
    let text = "[handlers.stuck]\ncommand = [\"sh\", \"-c\", \"sleep 600 & echo $! >> $OUT; \
                echo $$ >> $OUT; wait\"]\ngrace = \"100ms\"\n";
    fs::write(
        &handlers,
        format!("{text}env = {{ OUT = '{}' }}\n", pids.display()),
    )?;

    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let handlers = handlers.to_str().context("a path in UTF-8")?;
    let mut child = worker(
        &server,
        &["--builtin", "--handlers", handlers, "--slots", "1"],
    )?;
    scheduler.meet_worker().await?;
    scheduler.assign(1, vec![task("stuck", 1, "")]).await?;
    let group = pids_in(&pids).await?;
    scheduler.revoke(1, holding(1, 1)).await?;
    for pid in group {
        until_gone(pid).await?;
    }
    scheduler.wait_until_held(1, &[]).await?;
    scheduler.assign(1, vec![task("noop", 2, "")]).await?;
    assert_eq!(
        scheduler.outcome().await?.holding,
        holding(1, 2),
        "the first word since"
    );
    child.start_kill()?;
    Ok(())
}

/// Prints for a second, is allowed two, and stands still for longer than that.
#[tokio::test]
async fn a_suspended_command_gives_its_slot_away_burns_no_time_limit_and_ends_whole() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let handlers = folder.path().join("handlers.toml");
    let text = "[handlers.count]\ncommand = [\"sh\", \"-c\", \
                \"for i in $(seq 20); do echo $i; sleep 0.05; done\"]\n";
    fs::write(&handlers, text)?;
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let handlers = handlers.to_str().context("a path in UTF-8")?;
    let flags = ["--builtin", "--handlers", handlers, "--slots", "1"];
    let mut child = worker(&server, &[&flags[..], &["--heartbeat", "50ms"]].concat())?;
    scheduler.meet_worker().await?;

    let mut count = task("count", 1, "");
    count.timeout = Span::from_secs(2);
    scheduler.assign(1, vec![count.clone()]).await?;
    scheduler
        .wait_for_beat(|beat| beat.held.iter().any(|held| held.ran.ms() >= 200))
        .await?;
    scheduler.suspend(1, holding(1, 1)).await?;
    scheduler.assign(1, vec![task("noop", 2, "")]).await?;
    assert_eq!(scheduler.outcome().await?.holding, holding(1, 2));

    let suspended = |beat: &Heartbeat| {
        let held = beat.held.iter().find(|held| held.holding == holding(1, 1));
        held.filter(|held| held.stage == Stage::Suspended).cloned()
    };
    let first = scheduler
        .wait_for_beat(|beat| suspended(beat).is_some())
        .await?;
    // Later by more than the time limit.
    let last = scheduler
        .wait_for_beat(|beat| beat.number > first.number + 45)
        .await?;
    assert_eq!(
        suspended(&last),
        suspended(&first),
        "it did not run meanwhile"
    );

    scheduler.resume(1, holding(1, 1)).await?;
    let outcome = scheduler.outcome_of(1).await?;
    assert_eq!(outcome.ending, Ending::Stored);
    assert!((1_000..2_000).contains(&outcome.ran.ms()), "{outcome:?}");
    let stored = scheduler.bus.result(&count.id).await?.context("a result")?;
    let result = stored.result.context("written by a worker")?;
    assert_eq!(
        (result.ran, result.estimate),
        (Some(outcome.ran), count.estimate)
    );
    let lines: String = (1..=20).map(|line| format!("{line}\n")).collect();
    assert_eq!(stored.body, lines);
    child.start_kill()?;
    Ok(())
}

/// The program is there when the worker starts, and vanishes later, as in a bad deployment.
#[tokio::test]
async fn a_program_that_vanishes_costs_no_attempt_and_is_not_offered_until_it_is_back() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let (handlers, tool) = (
        folder.path().join("handlers.toml"),
        folder.path().join("tool"),
    );
    let deploy = || -> Result<()> {
        fs::write(&tool, "#!/bin/sh\necho done\n")?;
        Ok(fs::set_permissions(
            &tool,
            fs::Permissions::from_mode(0o755),
        )?)
    };
    fs::write(&handlers, "[handlers.tool]\ncommand = ['./tool']\n")?;
    deploy()?;
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let handlers = handlers.to_str().context("a path in UTF-8")?;
    // So rarely that a change of what is offered is told at once, or too late for this test.
    let flags = ["--builtin", "--slots", "2", "--heartbeat", "10s"];
    let mut child = worker(&server, &[&flags[..], &["--handlers", handlers]].concat())?;
    let offers = |beat: &Heartbeat| beat.kinds.iter().any(|offer| offer.kind.as_str() == "tool");
    assert!(offers(&scheduler.meet_worker().await?));

    fs::remove_file(&tool)?;
    let tasks = (1..=4).map(|seq| task("tool", seq, ""));
    scheduler.assign(1, tasks.collect()).await?;
    let beat = scheduler.wait_for_beat(|beat| !offers(beat)).await?;
    assert_eq!(beat.kinds.len(), 5, "the built-in ones are offered on");
    for seq in 1..=4 {
        let ending = scheduler.outcome_of(seq).await?.ending;
        assert!(matches!(ending, Ending::Returned { .. }), "{ending:?}");
    }
    deploy()?;
    scheduler.wait_for_beat(offers).await?;
    scheduler.assign(1, vec![task("tool", 5, "")]).await?;
    assert_eq!(scheduler.outcome_of(5).await?.ending, Ending::Stored);
    child.start_kill()?;
    Ok(())
}

#[tokio::test]
async fn sigterm_hands_back_what_does_not_end_in_time_and_leaves_with_a_goodbye() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let flags = [
        "--builtin",
        "--slots",
        "2",
        "--grace",
        "2s",
        "--heartbeat",
        "10s",
    ];
    let mut child = worker(&server, &flags)?;
    scheduler.meet_worker().await?;
    let tasks = vec![
        task("sleep", 1, "600s"),
        task("sleep", 2, "1s"),
        task("noop", 3, ""),
    ];
    scheduler.assign(1, tasks).await?;
    let running = |seq| (holding(1, seq), Stage::Running);
    scheduler
        .wait_until_held(1, &[running(1), running(2), running(3)])
        .await?;

    kill_process(pid(&child), Signal::TERM)?;
    let beat = scheduler
        .wait_for_beat(|beat| beat.state == WorkerState::Draining)
        .await?;
    assert!(beat.held.iter().any(|held| held.stage == Stage::Running));
    let first = scheduler.outcome_of(3).await?;
    let second = scheduler.outcome_of(2).await?;
    let third = scheduler.outcome_of(1).await?;
    assert!(
        matches!(first.ending, Ending::Returned { .. } | Ending::Stored),
        "{first:?}"
    );
    assert_eq!(
        second.ending,
        Ending::Stored,
        "it ended within the grace period"
    );
    assert!(matches!(third.ending, Ending::Returned { .. }), "{third:?}");

    scheduler.assign(1, vec![task("noop", 4, "")]).await?;
    let late = scheduler.outcome_of(4).await?;
    assert!(matches!(late.ending, Ending::Returned { .. }), "{late:?}");
    let numbers = [first, second, third, late].map(|outcome| outcome.number);
    scheduler.settle(1, numbers.into()).await?;
    let goodbye = scheduler
        .wait_for_beat(|beat| beat.state == WorkerState::Gone)
        .await?;
    assert_eq!(goodbye.held, []);
    let status = timeout(LIMIT, child.wait())
        .await
        .context("it does not end")??;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_the_worker_and_its_commands_at_once() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let mut child = worker(&server, &["--builtin", "--grace", "1h"])?;
    scheduler.meet_worker().await?;
    scheduler.assign(1, vec![task("sleep", 1, "600s")]).await?;
    scheduler
        .wait_until_held(1, &[(holding(1, 1), Stage::Running)])
        .await?;
    kill_process(pid(&child), Signal::TERM)?;
    scheduler
        .wait_for_beat(|beat| beat.state == WorkerState::Draining)
        .await?;
    kill_process(pid(&child), Signal::TERM)?;
    let status = timeout(LIMIT, child.wait())
        .await
        .context("it does not end")??;
    assert_eq!(status.code(), Some(1));
    Ok(())
}

#[test]
fn a_worker_without_kinds_is_wrong_use_and_says_what_to_do() -> Result<()> {
    let output = refused(&[])?;
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("--handlers FILE") && told.contains("--builtin"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn all_faults_of_a_handlers_file_are_told_at_once() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(
        file.path(),
        "[handlers.a]\ncommand = []\n[handlers.b]\ncommand = [\"no-such-program\"]\n\
         timeout = \"soon\"\nworking_dir = \"no/such/folder\"\n",
    )?;
    let output = refused(&[
        "--handlers",
        file.path().to_str().context("a path in UTF-8")?,
    ])?;
    let told = String::from_utf8_lossy(&output.stdout);
    for key in [
        "handlers.a.command",
        "handlers.b.timeout",
        "handlers.b.command",
        "handlers.b.working_dir",
    ] {
        assert!(told.contains(key), "{key} is missing: {output:?}");
    }
    Ok(())
}
