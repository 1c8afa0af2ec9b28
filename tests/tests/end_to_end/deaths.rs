//! How soon a death is noticed, and what is not taken for one.

use std::time::{Duration, Instant};

use rota_local::Signal;
use rota_tests::{Handler, Installation, LIMIT, Service};

use crate::wire::Wire;
use crate::workers::{joined, until_said_times};

/// Runs until the test lets it go.
const HANG: &str =
    r#"echo "$ROTA_TASK_ID" >> "$DIR/starts"; while [ ! -e "$DIR/open" ]; do sleep 0.02; done"#;
/// How soon the tasks of a killed worker start elsewhere, and a standby assigns: what is promised for a quiet
/// machine is a third of this, and tests share theirs.
const MEDIAN_MAX: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;

#[tokio::test]
async fn tasks_of_a_killed_worker_start_elsewhere_within_milliseconds() {
    let (rota, head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[Handler::sh("hang", HANG)]);
    let flags = ["--slots", "4", "--handlers", &handlers];
    let (mut waits, mut heirs, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // All others are full, so it gets the four.
        let name = format!("victim{round}");
        let mut victim = joined(&rota, &head[1], &name, &flags).await;
        ids.extend(rota.submit_many("hang", &[], "", 4).await);
        rota.until_lines("starts", 8 * round + 4, LIMIT).await;
        let name = format!("heir{round}");
        heirs.push(joined(&rota, &head[1], &name, &flags).await);
        let killed = Instant::now();
        victim.kill();
        rota.until_lines("starts", 8 * round + 8, LIMIT).await;
        waits.push(killed.elapsed());
    }
    waits.sort_unstable();
    println!("tasks started elsewhere after {waits:?}");
    assert!(waits[ROUNDS / 2] <= MEDIAN_MAX, "{waits:?}");
    assert_eq!(head[1].said("worker died"), ROUNDS);
    assert_eq!(
        head[1].said("worker lost"),
        0,
        "nobody waited for heartbeats"
    );
    rota.touch("open");
    let results = rota.completed(&ids).await;
    assert!(results.iter().all(|result| result.attempts == 1));
    rota.until_settled(ids.len() as u64, LIMIT).await;
}

#[tokio::test]
async fn a_standby_assigns_within_milliseconds_of_the_death_of_the_leader() {
    let (rota, [_submitter, mut leader]) = Installation::start_with_head().await;
    leader.until_said(" leading", LIMIT).await;
    let mark = r#"echo "$ROTA_TASK_ID" >> "$DIR/starts""#;
    let handlers = rota.handlers("w", &[Handler::sh("mark", mark)]);
    let _workers = ["a", "b"].map(|name| rota.worker(name, &["--handlers", &handlers]));
    rota.submit("mark", &[], "").await;
    rota.until_lines("starts", 1, LIMIT).await;
    let mut waits = Vec::new();
    for round in 1..=ROUNDS {
        let standby = rota.run(Service::Scheduler, &[]);
        standby.until_said("standing by", LIMIT).await;
        heard_all().await;
        leader.kill();
        let killed = Instant::now();
        rota.submit("mark", &[], "").await;
        rota.until_lines("starts", 1 + round, LIMIT).await;
        waits.push(killed.elapsed());
        leader = standby;
    }
    waits.sort_unstable();
    println!("the standby's first task started after {waits:?}");
    assert!(waits[ROUNDS / 2] <= MEDIAN_MAX * 2, "{waits:?}");
    rota.until_settled(1 + ROUNDS as u64, LIMIT).await;
}

/// A stopped worker and one whose connection was cut are there: what they hold stays with them until they have
/// been silent for too long.
#[tokio::test]
async fn a_worker_that_is_stopped_or_cut_off_for_a_moment_is_not_taken_for_dead() {
    let (rota, head) = Installation::start_with_head().await;
    let wire = Wire::lay(rota.server.port()).await;
    let handlers = rota.handlers("w", &[Handler::sh("hang", HANG)]);
    let flags = ["--slots", "2", "--handlers", &handlers];
    let far = rota.worker_at(&wire.url(), "far", &flags);
    head[1].until_said("worker=far-", LIMIT).await;
    let ids = rota.submit_many("hang", &[], "", 2).await;
    rota.until_lines("starts", 2, LIMIT).await;
    let _other = joined(&rota, &head[1], "other", &flags).await;
    for _ in 0..3 {
        far.pause();
        quiet(Duration::from_millis(900)).await;
        far.resume();
        // Its next heartbeat.
        quiet(Duration::from_millis(700)).await;
        wire.cut().await;
        quiet(Duration::from_millis(600)).await;
        wire.mend();
        quiet(Duration::from_millis(900)).await;
    }
    rota.touch("open");
    rota.completed(&ids).await;
    assert_eq!(rota.lines("starts").len(), 2, "none was started again");
    assert_eq!(head[1].said("worker died") + head[1].said("worker lost"), 0);
}

/// The scheduler, or the server, stands still for longer than a worker may be silent: that is nobody's loss.
#[tokio::test]
async fn a_scheduler_that_was_deaf_loses_no_worker() {
    let (rota, head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[Handler::sh("hang", HANG)]);
    let flags = ["--slots", "10", "--handlers", &handlers];
    let _workers = ["a", "b", "c"].map(|name| rota.worker(name, &flags));
    let ids = rota.submit_many("hang", &[], "", 30).await;
    rota.until_lines("starts", 30, LIMIT).await;
    for _ in 0..2 {
        head[1].pause();
        quiet(Duration::from_millis(2_500)).await;
        head[1].resume();
        quiet(Duration::from_millis(700)).await;
        rota.server.signal(Signal::Pause).expect("it runs");
        quiet(Duration::from_millis(2_500)).await;
        rota.server.signal(Signal::Resume).expect("it runs");
        quiet(Duration::from_millis(700)).await;
    }
    rota.touch("open");
    let results = rota.completed(&ids).await;
    assert!(results.iter().all(|result| result.attempts == 1));
    assert_eq!(head[1].said("worker lost"), 0);
    assert_eq!(rota.lines("starts").len(), 30, "none was started again");
}

/// A worker that falls silent for too long again and again, and always comes back, has not been taken down by its
/// task.
#[tokio::test]
async fn a_task_whose_worker_always_comes_back_is_no_poison() {
    let (rota, head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[Handler::sh("hang", HANG)]);
    let worker = joined(
        &rota,
        &head[1],
        "w",
        &["--slots", "1", "--handlers", &handlers],
    )
    .await;
    let id = rota.submit("hang", &[], "").await;
    rota.until_lines("starts", 1, LIMIT).await;
    for times in 1..=4 {
        worker.pause();
        until_said_times(&head[1], "worker lost", times).await;
        worker.resume();
        until_said_times(&head[1], "worker is there again", times).await;
    }
    rota.touch("open");
    let results = rota.completed(&[id]).await;
    assert_eq!(results[0].attempts, 1);
    assert_eq!(rota.lines("starts").len(), 1, "it ran on");
}

/// For what must not happen meanwhile there is nothing to wait for but time.
async fn quiet(span: Duration) {
    tokio::time::sleep(span).await;
}

/// A standby has heard each worker once: they speak every half second.
async fn heard_all() {
    quiet(Duration::from_millis(700)).await;
}
