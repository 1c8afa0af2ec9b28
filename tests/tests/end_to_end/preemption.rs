//! Suspending and resuming attempts, and what tasks and workers say of cores, memory and labels.

use std::time::Duration;

use bytes::Bytes;
use rota_tests::{Handler, Installation, LIMIT, Process, Service};
use rota_wire::headers::{CPU, DURATION, MEMORY, REQUIRES, TIMEOUT};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Micros, Span, TaskId};

use crate::workers::{joined, ran_on};

/// Longer than `LIMIT`, for what runs for ten seconds on a machine that does much else.
const LONG_LIMIT: Duration = Duration::from_secs(60);
/// Prints a hundred lines in ten seconds, and tells in a file how far it is.
const LONG: &str =
    r#"for i in $(seq 100); do echo $i; echo $i >> "$DIR/progress"; sleep 0.1; done"#;
/// Holds a slot until the test lets it go.
const GATE: &str = r#"echo begun >> "$DIR/gates"
    while [ ! -e "$DIR/open" ]; do sleep 0.02; done"#;

async fn start(flags: &[&str]) -> (Installation, Process, Process) {
    let rota = Installation::start().await;
    let submitter = rota.run(Service::Submitter, &[]);
    let scheduler = rota.run(Service::Scheduler, flags);
    (rota, submitter, scheduler)
}

async fn completed(rota: &Installation, id: &TaskId) -> (TaskResult, Bytes) {
    let (result, body) = rota.result(id).await;
    assert_eq!(result.state, FinalState::Completed, "{result:?}");
    (result, body)
}

/// How long an attempt took, suspensions included, and how long it ran.
fn took_and_ran(result: &TaskResult) -> (Span, Span) {
    let started = result.started.expect("it was begun");
    let ran = result.ran.expect("the worker tells it");
    (result.finished.since(started), ran)
}

#[tokio::test]
async fn a_short_task_takes_the_slot_of_a_long_one_which_ends_whole_all_the_same() {
    let (rota, _submitter, _scheduler) = start(&["--order", "srtf"]).await;
    let handlers = [Handler::sh("long", LONG), Handler::sh("short", "sleep 0.1")];
    let handlers = rota.handlers("w", &handlers);
    let _worker = rota.worker("w", &["--slots", "1", "--handlers", &handlers]);
    let quick = [(DURATION, "100ms")];
    // Opens the lane, which is no part of the switch.
    let first = rota.submit("short", &quick, "").await;
    completed(&rota, &first).await;
    let long = rota.submit("long", &[(DURATION, "10s")], "").await;
    let mut waits = Vec::new();
    for round in 1..=5 {
        // Beyond the least run time since it was last resumed.
        rota.until_lines("progress", round * 10, LIMIT).await;
        let short = rota.submit("short", &quick, "").await;
        let submitted = Micros::now();
        let (result, _) = completed(&rota, &short).await;
        waits.push(result.finished.since(submitted).ms());
        assert!(
            rota.try_result(&long).await.is_none(),
            "the long one goes on"
        );
    }
    waits.sort_unstable();
    assert!(
        waits[2] <= 300,
        "from the submission to the end: {waits:?} ms"
    );
    rota.until_lines("progress", 100, LONG_LIMIT).await;
    let (result, body) = completed(&rota, &long).await;
    let lines: String = (1..=100).map(|line| format!("{line}\n")).collect();
    assert_eq!(body, lines, "its output is whole and in order");
    let (took, ran) = took_and_ran(&result);
    // A sleep of its own goes by while it stands still, at most one in each of the five rounds.
    assert!((9_400..14_000).contains(&ran.ms()), "{result:?}");
    assert!(
        took.ms() >= ran.ms() + 5 * 100,
        "five were let pass: {result:?}"
    );
    assert_eq!(
        (result.attempts, result.estimate),
        (1, Some(Span::from_secs(10)))
    );
    rota.until_settled(7, LIMIT).await;
}

#[tokio::test]
async fn a_suspended_attempt_of_a_killed_worker_completes_elsewhere() {
    let (rota, _submitter, scheduler) = start(&["--order", "srtf"]).await;
    let long = r#"echo begun >> "$DIR/starts"; [ -e "$DIR/second" ] || exec sleep 60"#;
    let handlers = [Handler::sh("long", long), Handler::sh("gate", GATE)];
    let handlers = rota.handlers("w", &handlers);
    let flags = ["--slots", "1", "--handlers", &handlers];
    let mut killed = rota.worker("killed", &flags);
    let long = rota.submit("long", &[(DURATION, "60s")], "").await;
    rota.until_lines("starts", 1, LIMIT).await;
    let gate = rota.submit("gate", &[(DURATION, "1s")], "").await;
    // In the only slot, so the other stands still.
    rota.until_lines("gates", 1, LIMIT).await;
    rota.touch("second");
    rota.touch("open");
    killed.kill();
    let _other = joined(&rota, &scheduler, "other", &flags).await;
    for id in [&long, &gate] {
        let (result, _) = completed(&rota, id).await;
        assert_eq!(result.attempts, 1, "a lost worker uses up no attempt");
    }
    let (result, _) = completed(&rota, &long).await;
    assert!(ran_on(&result, "other"), "{result:?}");
    assert_eq!(rota.lines("starts").len(), 2);
    rota.until_settled(2, LIMIT).await;
}

/// Two seconds of work, three allowed, and four in which another has the slot.
#[tokio::test]
async fn time_in_suspension_does_not_count_towards_the_time_limit() {
    let (rota, _submitter, _scheduler) = start(&["--order", "srtf"]).await;
    let work = r#"echo begun >> "$DIR/starts"; for i in $(seq 20); do sleep 0.1; done"#;
    let handlers = [Handler::sh("work", work), Handler::sh("pass", "sleep 4")];
    let handlers = rota.handlers("w", &handlers);
    let _worker = rota.worker("w", &["--slots", "1", "--handlers", &handlers]);
    let limited = [(TIMEOUT, "3s"), (DURATION, "1h")];
    let work = rota.submit("work", &limited, "").await;
    rota.until_lines("starts", 1, LIMIT).await;
    let pass = rota.submit("pass", &[(DURATION, "4s")], "").await;
    let (result, _) = completed(&rota, &work).await;
    let (took, ran) = took_and_ran(&result);
    assert!((2_000..3_000).contains(&ran.ms()), "{result:?}");
    assert!(took.ms() >= 6_000, "the other ran meanwhile: {result:?}");
    assert_eq!(result.attempts, 1);
    let (passed, _) = completed(&rota, &pass).await;
    assert!(passed.finished < result.finished);
    rota.until_settled(2, LIMIT).await;
}

#[tokio::test]
async fn equal_tasks_that_share_a_slot_in_turn_end_close_to_each_other() {
    let flags = [
        "--order",
        "time-slice",
        "--quantum",
        "200ms",
        "--min-run",
        "0ms",
    ];
    let (rota, _submitter, scheduler) = start(&flags).await;
    let ids = rota.submit_many("sleep", &[], "2s", 3).await;
    let _worker = joined(&rota, &scheduler, "w", &["--slots", "1", "--builtin"]).await;
    let results = rota.completed(&ids).await;
    let spread = |times: Vec<Micros>| {
        let (first, last) = (times.iter().min(), times.iter().max());
        last.unwrap().since(*first.unwrap())
    };
    let started = spread(
        results
            .iter()
            .map(|result| result.started.unwrap())
            .collect(),
    );
    let finished = spread(results.iter().map(|result| result.finished).collect());
    // One after the other, both would be four seconds.
    let near = Span::from_ms(1_500);
    assert!(started <= near && finished <= near, "{started}, {finished}");
    for result in &results {
        let (took, ran) = took_and_ran(result);
        assert!((1_990..3_000).contains(&ran.ms()), "{result:?}");
        assert!(
            took.ms() >= 2 * ran.ms(),
            "it had a third of the time: {result:?}"
        );
    }
    rota.until_settled(3, LIMIT).await;
}

#[tokio::test]
async fn a_task_runs_only_where_its_label_is_and_one_that_nobody_can_run_disturbs_nobody() {
    let (rota, _submitter, scheduler) = start(&[]).await;
    let flags = ["--slots", "4", "--cpu", "4", "--builtin"];
    let _plain = joined(&rota, &scheduler, "plain", &flags).await;
    let with_label = [&flags[..], &["--label", "gpu", "--label", "zone=eu"]].concat();
    let _labelled = joined(&rota, &scheduler, "labelled", &with_label).await;
    let nowhere = rota.submit("echo", &[(REQUIRES, "gpu,zone=us")], "").await;
    let too_large = rota.submit("echo", &[(CPU, "64")], "").await;
    let ids = rota.submit_many("echo", &[(REQUIRES, "gpu")], "", 20).await;
    for result in rota.completed(&ids).await {
        assert!(ran_on(&result, "labelled"), "{result:?}");
    }
    let others = rota.submit_many("echo", &[(CPU, "4")], "", 20).await;
    let results = rota.completed(&others).await;
    assert!(
        results.iter().any(|result| ran_on(result, "plain")),
        "both may"
    );
    for id in [&nowhere, &too_large] {
        assert!(rota.try_result(id).await.is_none(), "{id} must wait");
    }
    let flags = [
        "--cpu",
        "64",
        "--label",
        "gpu",
        "--label",
        "zone=us",
        "--builtin",
    ];
    let _able = joined(&rota, &scheduler, "able", &flags).await;
    for result in rota.completed(&[nowhere, too_large]).await {
        assert!(ran_on(&result, "able"), "{result:?}");
    }
    rota.until_settled(42, LIMIT).await;
}

#[tokio::test]
async fn two_tasks_that_each_need_most_of_a_workers_memory_never_run_together() {
    let (rota, _submitter, scheduler) = start(&[]).await;
    let large = r#"echo begin >> "$DIR/large"; sleep 0.3; echo end >> "$DIR/large""#;
    let beside = Handler::sh("beside", r#"grep -c . "$DIR/large""#);
    let handlers = rota.handlers("w", &[Handler::sh("large", large), beside]);
    let flags = [
        "--slots",
        "4",
        "--memory",
        "1000MB",
        "--handlers",
        &handlers,
    ];
    let _worker = joined(&rota, &scheduler, "w", &flags).await;
    let ids = rota.submit_many("large", &[(MEMORY, "600MB")], "", 4).await;
    rota.until_lines("large", 1, LIMIT).await;
    // There is a slot, and memory for it.
    let beside = rota.submit("beside", &[(MEMORY, "400MB")], "").await;
    let (_, lines) = completed(&rota, &beside).await;
    let lines: usize = std::str::from_utf8(&lines).unwrap().trim().parse().unwrap();
    assert!(lines < 8, "it ran while some of the large ones had not");
    rota.completed(&ids).await;
    assert_eq!(
        rota.lines("large"),
        ["begin", "end"].repeat(4),
        "one at a time"
    );
    rota.until_settled(5, LIMIT).await;
}
