//! Supervised processes as the parent and the system see them. Small shell scripts play the
//! services.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rota_local::{
    Backoff, Force, LogLine, ProcessHandle, ProcessSpec, Restart, Signal, Status, SuperviseError,
    Supervisor,
};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout},
};

const LIMIT: Duration = Duration::from_secs(20);
const FAST: Backoff = Backoff {
    first: Duration::from_millis(10),
    max: Duration::from_millis(50),
    healthy_after: Duration::from_secs(60),
};

fn shell(name: &str, script: &str, restart: Restart) -> ProcessSpec {
    let args = vec!["-c".into(), script.into()];
    ProcessSpec {
        args,
        restart,
        ..ProcessSpec::new(name, "sh")
    }
}

async fn next(lines: &mut Receiver<LogLine>) -> Result<(String, String)> {
    let line = timeout(LIMIT, lines.recv()).await.context("no line came")?;
    let line = line.context("the supervisor is gone")?;
    Ok((line.process.to_string(), line.line))
}

async fn final_status(process: &ProcessHandle) -> Result<Status> {
    process
        .wait_for(Status::is_final, LIMIT)
        .await
        .context("the process does not end")
}

fn is_alive(pid: &str) -> bool {
    // An ended process stays listed as a zombie until its parent, by now perhaps init, has reaped
    // it.
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

async fn until_gone(pid: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while is_alive(pid) {
        ensure!(Instant::now() < deadline, "process {pid} was left behind");
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_process_that_ends_is_started_again_and_counted() -> Result<()> {
    let (mut supervisor, mut lines) = Supervisor::new(16);
    let spec = shell("short", "echo run; exit 3", Restart::Always(FAST));
    let process = supervisor.start(spec)?;
    for _ in 0..3 {
        assert_eq!(
            next(&mut lines).await?,
            ("short".to_owned(), "run".to_owned())
        );
    }
    assert!(process.restarts() >= 2);
    let stopped = supervisor.stop_all_in_order(&["short"], LIMIT).await;
    assert_eq!(stopped.len(), 1);
    assert!(stopped[0].status.is_final());
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_killed_comes_back_with_another_id() -> Result<()> {
    let (mut supervisor, _lines) = Supervisor::new(16);
    let process = supervisor.start(shell("worker", "exec sleep 60", Restart::Always(FAST)))?;
    let first = process.pid().context("it runs")?;
    process.signal(Signal::Kill).await?;
    let is_new = |status: &Status| matches!(status, Status::Running { pid } if *pid != first);
    process
        .wait_for(is_new, LIMIT)
        .await
        .context("it does not come back")?;
    assert_eq!(process.restarts(), 1);
    until_gone(&first.to_string()).await
}

#[tokio::test]
async fn a_process_that_is_not_to_be_restarted_stays_ended() -> Result<()> {
    let (mut supervisor, _lines) = Supervisor::new(16);
    let process = supervisor.start(shell("once", "exit 7", Restart::Never))?;
    match final_status(&process).await? {
        Status::Exited { status } => assert_eq!(status.code(), Some(7)),
        other => bail!("unexpected {other:?}"),
    }
    let refused = process.signal(Signal::Terminate).await;
    assert!(matches!(refused, Err(SuperviseError::NotRunning { .. })));
    // Its name is free again.
    supervisor.start(shell("once", "exit 0", Restart::Never))?;
    Ok(())
}

#[tokio::test]
async fn a_process_that_ignores_term_is_killed_after_its_grace_with_all_it_started() -> Result<()> {
    let (mut supervisor, mut lines) = Supervisor::new(16);
    let script = "trap '' TERM; sleep 60 & echo $!; wait; wait";
    let process = supervisor.start(shell("stubborn", script, Restart::Never))?;
    let pid = process.pid().context("it runs")?;
    let (_, grandchild) = next(&mut lines).await?;
    assert!(is_alive(&grandchild));
    let grace = Duration::from_millis(200);
    let began = Instant::now();
    let stopped = supervisor.stop_together(&["stubborn"], grace).await;
    assert!(began.elapsed() >= grace);
    match stopped[0].status {
        Status::Stopped {
            status: Some(_),
            force,
        } => assert_eq!(force, Force::Killed),
        other => bail!("unexpected {other:?}"),
    }
    until_gone(&pid.to_string()).await?;
    until_gone(&grandchild).await
}

#[tokio::test]
async fn what_a_process_leaves_in_its_group_ends_with_it() -> Result<()> {
    let (mut supervisor, mut lines) = Supervisor::new(16);
    let process = supervisor.start(shell("parent", "sleep 60 & echo $!", Restart::Never))?;
    let (_, left_behind) = next(&mut lines).await?;
    final_status(&process).await?;
    until_gone(&left_behind).await
}

#[tokio::test]
async fn processes_drain_in_the_order_asked_for() -> Result<()> {
    let (mut supervisor, mut lines) = Supervisor::new(16);
    let script = "trap 'echo drained; exit 0' TERM; echo up; while :; do sleep 0.01; done";
    for name in ["a", "b", "c"] {
        supervisor.start(shell(name, script, Restart::Always(FAST)))?;
        assert_eq!(next(&mut lines).await?.1, "up");
    }
    let stopped = supervisor
        .stop_all_in_order(&["c", "a", "nobody"], LIMIT)
        .await;
    let names: Vec<&str> = stopped
        .iter()
        .map(|stopped| stopped.process.as_str())
        .collect();
    assert_eq!(names, ["c", "a", "b"]);
    for (name, stopped) in ["c", "a", "b"].iter().zip(&stopped) {
        let drained = ((*name).to_owned(), "drained".to_owned());
        assert_eq!(next(&mut lines).await?, drained);
        match stopped.status {
            Status::Stopped {
                status: Some(status),
                force: Force::Asked,
            } => {
                assert_eq!(status.code(), Some(0));
            }
            other => bail!("unexpected {other:?}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_process_waiting_for_its_restart_can_be_stopped() -> Result<()> {
    let (mut supervisor, _lines) = Supervisor::new(16);
    let slow = Backoff {
        first: Duration::from_secs(600),
        max: Duration::from_secs(600),
        ..FAST
    };
    let process = supervisor.start(shell("waiting", "exit 1", Restart::Always(slow)))?;
    let is_waiting = |status: &Status| matches!(status, Status::Waiting { .. });
    process
        .wait_for(is_waiting, LIMIT)
        .await
        .context("it does not end")?;
    assert_eq!(process.pid(), None);
    assert!(matches!(
        process.signal(Signal::Kill).await,
        Err(SuperviseError::NotRunning { .. })
    ));
    let stopped = timeout(LIMIT, process.stop()).await?;
    assert!(matches!(
        stopped.status,
        Status::Stopped {
            force: Force::Asked,
            ..
        }
    ));
    Ok(())
}

#[tokio::test]
async fn lines_of_both_streams_arrive_with_the_name_and_the_environment_was_set() -> Result<()> {
    let (mut supervisor, mut lines) = Supervisor::new(16);
    let script = "echo to stderr >&2; echo \"to stdout: $WORD\"; printf 'no end'";
    let mut spec = shell("speaker", script, Restart::Never);
    spec.env.push(("WORD".into(), "hello".into()));
    supervisor.start(spec)?;
    let mut heard = Vec::new();
    for _ in 0..3 {
        let (process, line) = next(&mut lines).await?;
        assert_eq!(process, "speaker");
        heard.push(line);
    }
    heard.sort();
    assert_eq!(heard, ["no end", "to stderr", "to stdout: hello"]);
    Ok(())
}

#[tokio::test]
async fn a_slow_reader_holds_the_process_back_and_loses_nothing() -> Result<()> {
    let (mut supervisor, mut lines) = Supervisor::new(1);
    let process = supervisor.start(shell("fast", "seq 1 100000", Restart::Never))?;
    // Far more than fits into the queue, the buffer and the pipe: it must be waiting to print.
    assert_eq!(next(&mut lines).await?.1, "1");
    let ended = process
        .wait_for(Status::is_final, Duration::from_millis(300))
        .await;
    assert_eq!(ended, None);
    for number in 2..=100_000 {
        assert_eq!(next(&mut lines).await?.1, number.to_string());
    }
    final_status(&process).await?;
    Ok(())
}

#[tokio::test]
async fn a_process_whose_lines_nobody_reads_goes_on() -> Result<()> {
    let (mut supervisor, lines) = Supervisor::new(1);
    drop(lines);
    let process = supervisor.start(shell("unheard", "seq 1 100000; exit 4", Restart::Never))?;
    match final_status(&process).await? {
        Status::Exited { status } => assert_eq!(status.code(), Some(4)),
        other => bail!("unexpected {other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_not_there_and_a_name_that_is_taken_are_errors() -> Result<()> {
    let (mut supervisor, _lines) = Supervisor::new(1);
    let missing = supervisor.start(ProcessSpec::new("missing", "/no/such/program"));
    assert!(matches!(missing, Err(SuperviseError::Spawn { .. })));
    supervisor.start(shell("one", "exec sleep 60", Restart::Never))?;
    let taken = supervisor.start(shell("one", "exec sleep 60", Restart::Never));
    assert!(matches!(taken, Err(SuperviseError::NameTaken { .. })));
    Ok(())
}

#[tokio::test]
async fn nothing_outlives_the_supervisor() -> Result<()> {
    let script = "trap '' TERM; sleep 60 & echo $!; wait; wait";
    let (mut dropped, mut lines) = Supervisor::new(16);
    let process = dropped.start(shell("stubborn", script, Restart::Always(FAST)))?;
    let pid = process.pid().context("it runs")?;
    let (_, grandchild) = next(&mut lines).await?;
    drop(dropped);
    let status = final_status(&process).await?;
    assert!(matches!(
        status,
        Status::Stopped {
            force: Force::Killed,
            ..
        }
    ));
    until_gone(&pid.to_string()).await?;
    until_gone(&grandchild).await?;

    let (mut killed, mut lines) = Supervisor::new(16);
    killed.start(shell("stubborn", script, Restart::Always(FAST)))?;
    let (_, grandchild) = next(&mut lines).await?;
    timeout(LIMIT, killed.kill_all()).await?;
    until_gone(&grandchild).await
}
