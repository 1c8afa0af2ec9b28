//! Killed, paused, drained and poisoned workers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rota_bus::StreamName;
use rota_tests::{Handler, Installation, LIMIT, Process, wait_for};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Micros, TaskId};

use crate::wire::Wire;

/// Three missed heartbeats of half a second.
const LOST_AFTER: Duration = Duration::from_millis(1_500);
/// How soon after that the tasks of a lost worker must run again.
const STARTED_WITHIN: Duration = Duration::from_secs(2);

/// Hangs until the file is there; from then on it leaves its mark and completes at once.
const HANG: &str = r#"echo "$ROTA_TASK_ID" >> "$DIR/starts"
    [ -e "$DIR/second" ] || exec sleep 60
    echo "$ROTA_TASK_ID" >> "$DIR/effects""#;
/// The same without a mark.
const HANG_QUIETLY: &str = r#"echo "$ROTA_TASK_ID" >> "$DIR/starts"
    [ -e "$DIR/second" ] || exec sleep 60"#;

#[tokio::test]
async fn fifty_tasks_of_a_killed_worker_start_again_in_time_and_end_once() {
    let (rota, head) = Installation::start_with_head().await;
    let handlers = [
        Handler::sh("hang", HANG),
        Handler::sh("quiet", HANG_QUIETLY),
    ];
    let handlers = rota.handlers("w", &handlers);
    let flags = ["--slots", "50", "--handlers", &handlers];
    let mut killed = rota.worker("killed", &flags);
    let mut ids = rota.submit_many("hang", &[], "", 25).await;
    ids.extend(rota.submit_many("quiet", &[], "", 25).await);
    rota.until_lines("starts", 50, LIMIT).await;
    let _other = joined(&rota, &head[1], "other", &flags).await;
    rota.touch("second");
    let killed_at = Micros::now();
    killed.kill();
    let limit = LOST_AFTER + STARTED_WITHIN;
    rota.until_lines("starts", 100, limit).await;
    for result in rota.completed(&ids).await {
        assert!(ran_on(&result, "other"), "{result:?}");
        let wait = result.started.unwrap().since(killed_at).duration();
        assert!(wait <= limit, "{} started again after {wait:?}", result.id);
        assert_eq!(result.attempts, 1, "a lost worker uses up no attempt");
    }
    rota.until_settled(50, LIMIT).await;
    assert_each_once(&rota.lines("effects"), &ids[..25]);
}

/// Commands go on while their worker stands still, so it has five results when it wakes up, and five
/// tasks that are not finished.
#[tokio::test]
async fn a_worker_that_was_paused_too_long_is_refused_revoked_and_takes_new_work() {
    let (rota, head) = Installation::start_with_head().await;
    let script = |span| format!(r#"echo "$ROTA_TASK_ID" >> "$DIR/starts"; sleep {span}"#);
    let handlers = [
        Handler::sh("short", script("1")),
        Handler::sh("long", script("5")),
    ];
    let handlers = rota.handlers("w", &handlers);
    let flags = ["--slots", "10", "--builtin", "--handlers", &handlers];
    let paused = rota.worker("paused", &flags);
    let short = rota.submit_many("short", &[], "", 5).await;
    let long = rota.submit_many("long", &[], "", 5).await;
    rota.until_lines("starts", 10, LIMIT).await;
    paused.pause();
    let mut other = joined(&rota, &head[1], "other", &flags).await;
    let mut results = rota.completed(&short).await;
    paused.resume();
    until_said_times(&paused, "result not stored: the task has one already", 5).await;
    until_said_times(&paused, "revoked", 5).await;
    results.extend(rota.completed(&long).await);
    for result in &results {
        assert!(ran_on(result, "other"), "{result:?}");
    }
    rota.until_settled(10, LIMIT).await;
    assert_eq!(rota.lines("starts").len(), 20, "each ran on both");
    other.terminate();
    assert!(other.exited(LIMIT).await.success());
    let ids = rota.submit_many("echo", &[], "", 20).await;
    for result in rota.completed(&ids).await {
        assert!(ran_on(&result, "paused"), "{result:?}");
    }
}

/// What is sent to a worker while it has no connection is gone, and the worker does not know of it.
#[tokio::test]
async fn a_task_assigned_to_a_worker_that_is_cut_off_for_a_moment_is_run_all_the_same() {
    let (rota, head) = Installation::start_with_head().await;
    let wire = Wire::lay(rota.server.port()).await;
    let _worker = rota.worker_at(&wire.url(), "far", &["--slots", "2", "--builtin"]);
    head[1].until_said("roll called", LIMIT).await;
    let before = rota.submit("echo", &[], "").await;
    rota.completed(&[before]).await;
    wire.cut().await;
    let during = rota.submit("echo", &[], "").await;
    until_taken(&rota, "echo").await;
    wire.mend();
    rota.completed(&[during]).await;
    assert_eq!(head[1].said("worker lost"), 0, "it was back in time");
    rota.until_settled(2, LIMIT).await;
}

#[tokio::test]
async fn a_draining_worker_hands_back_what_it_cannot_finish_without_using_up_an_attempt() {
    let (rota, head) = Installation::start_with_head().await;
    let short = r#"echo "$ROTA_TASK_ID" >> "$DIR/starts"; sleep 1"#;
    let handlers = [Handler::sh("hang", HANG), Handler::sh("short", short)];
    let handlers = rota.handlers("w", &handlers);
    let flags = ["--slots", "4", "--handlers", &handlers];
    let mut draining = rota.worker("draining", &[&flags[..], &["--grace", "2s"]].concat());
    let once = [("Rota-Attempts", "1")];
    let hanging = rota.submit_many("hang", &once, "", 3).await;
    let short = rota.submit("short", &once, "").await;
    rota.until_lines("starts", 4, LIMIT).await;
    let _other = joined(&rota, &head[1], "other", &flags).await;
    rota.touch("second");
    draining.terminate();
    assert!(
        draining.exited(LIMIT).await.success(),
        "a drain is no failure"
    );
    let (result, _) = rota.result(&short).await;
    assert!(
        ran_on(&result, "draining"),
        "it could be finished: {result:?}"
    );
    for result in rota.completed(&hanging).await {
        assert!(ran_on(&result, "other"), "{result:?}");
        assert_eq!(result.attempts, 1);
    }
    rota.until_settled(4, LIMIT).await;
    assert_eq!(rota.state(StreamName::Dead).await.unwrap().messages, 0);
    assert_each_once(&rota.lines("effects"), &hanging);
}

#[tokio::test]
async fn a_task_that_kills_its_workers_becomes_a_dead_letter_and_the_innocent_complete() {
    let (rota, _head) = Installation::start_with_head().await;
    let poison = Handler::sh("poison", r#"echo run >> "$DIR/runs"; kill -9 $PPID"#);
    let handlers = rota.handlers("w", &[poison, Handler::sh("work", "sleep 0.2")]);
    let flags = [
        "--slots",
        "4",
        "--heartbeat",
        "200ms",
        "--handlers",
        &handlers,
    ];
    let mut workers = ["a", "b"].map(|name| rota.worker(name, &flags));
    let mut innocent = rota.submit_many("work", &[], "", 40).await;
    let poison = rota.submit("poison", &[], "bad").await;
    innocent.extend(rota.submit_many("work", &[], "", 40).await);
    let mut deaths = 0;
    let (result, _) = wait_for("the result of the poison", LIMIT, async || {
        for worker in &mut workers {
            if worker.try_exited().is_some() {
                deaths += 1;
                *worker = rota.worker("again", &flags);
            }
        }
        let found = rota.try_result(&poison).await;
        found.ok_or_else(|| format!("{deaths} workers died"))
    })
    .await;
    assert_eq!(result.state, FinalState::Failed);
    let reason = result.reason.unwrap();
    assert!(reason.contains("3 workers were lost"), "{reason}");
    assert_eq!((deaths, rota.lines("runs").len()), (3, 3));
    rota.completed(&innocent).await;
    rota.until_settled(81, LIMIT).await;
    assert_eq!(rota.state(StreamName::Dead).await.unwrap().messages, 1);
    assert!(
        workers
            .iter_mut()
            .all(|worker| worker.try_exited().is_none())
    );
}

/// The program of one worker vanishes, as in a bad deployment. What cannot be started would look like a
/// worker with nothing to do, and draw all tasks to itself.
#[tokio::test]
async fn a_worker_whose_program_is_gone_costs_no_task_an_attempt() {
    let (rota, head) = Installation::start_with_head().await;
    let tool = rota.path("tool");
    fs::write(&tool, "#!/bin/sh\nsleep 0.02\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let bad = rota.path("bad.toml");
    fs::write(&bad, "[handlers.work]\ncommand = ['./tool']\n").unwrap();
    let bad = bad.display().to_string();
    let good = rota.handlers("good", &[Handler::sh("work", "sleep 0.02")]);
    let _bad = joined(
        &rota,
        &head[1],
        "bad",
        &["--slots", "4", "--handlers", &bad],
    )
    .await;
    let _good = joined(
        &rota,
        &head[1],
        "good",
        &["--slots", "4", "--handlers", &good],
    )
    .await;
    fs::remove_file(&tool).unwrap();
    let ids = rota.submit_many("work", &[], "", 200).await;
    for result in rota.completed(&ids).await {
        assert_eq!(result.attempts, 1, "{result:?}");
        assert!(ran_on(&result, "good"), "{result:?}");
    }
    rota.until_settled(200, LIMIT).await;
    assert_eq!(rota.state(StreamName::Dead).await.unwrap().messages, 0);
}

/// Starts a worker, and waits until the scheduler knows it.
pub(crate) async fn joined(
    rota: &Installation,
    scheduler: &Process,
    name: &str,
    flags: &[&str],
) -> Process {
    let worker = rota.worker(name, flags);
    let joined = format!("worker={name}-");
    scheduler.until_said(&joined, LIMIT).await;
    worker
}

/// Waits until nothing of a kind waits for a worker any more.
async fn until_taken(rota: &Installation, kind: &str) {
    wait_for(
        format!("all {kind} tasks are taken"),
        LIMIT,
        async || match rota.lane(kind, 5).await {
            Some(lane) if lane.waiting == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

/// Waits until a process has said something so many times.
pub(crate) async fn until_said_times(process: &Process, text: &str, times: usize) {
    wait_for(
        format!("{text:?} is said {times} times"),
        LIMIT,
        async || match process.said(text) {
            said if said >= times => Ok(()),
            said => Err(format!("{said} times")),
        },
    )
    .await;
}

pub(crate) fn ran_on(result: &TaskResult, name: &str) -> bool {
    let worker = result.worker.as_ref().expect("somebody ran it");
    let named = worker.as_str().strip_prefix(name);
    named.is_some_and(|suffix| suffix.starts_with('-'))
}

/// Each task has left its mark, and none twice.
fn assert_each_once(marks: &[String], ids: &[TaskId]) {
    let mut marks: Vec<&str> = marks.iter().map(String::as_str).collect();
    let mut ids: Vec<&str> = ids.iter().map(TaskId::as_str).collect();
    marks.sort_unstable();
    ids.sort_unstable();
    assert_eq!(marks, ids);
}
