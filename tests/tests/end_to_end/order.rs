//! Which task runs next, and where.

use std::time::{Duration, Instant};

use rota_bus::StreamName;
use rota_tests::{Handler, Installation, LIMIT, wait_for};
use rota_wire::headers::PRIORITY;

/// Holds a slot until the test lets it go.
const GATE: &str =
    r#"echo "$ROTA_TASK_ID" >> "$DIR/gates"; while [ ! -e "$DIR/open" ]; do sleep 0.02; done"#;

#[tokio::test]
async fn a_task_of_priority_9_runs_before_a_thousand_that_wait_with_priority_1() {
    let (rota, _head) = Installation::start_with_head().await;
    let note = Handler::sh("note", r#"echo "$ROTA_TASK_ID" >> "$DIR/order""#);
    let handlers = rota.handlers("w", &[Handler::sh("gate", GATE), note]);
    let _worker = rota.worker("w", &["--slots", "1", "--handlers", &handlers]);
    rota.submit("gate", &[], "").await;
    rota.until_lines("gates", 1, LIMIT).await;
    rota.submit_many("note", &[(PRIORITY, "1")], "", 1_000)
        .await;
    rota.until_stored(StreamName::Ready, 1_001).await;
    let urgent = rota.submit("note", &[(PRIORITY, "9")], "").await;
    wait_for(
        "the urgent task is in the scheduler's hands",
        LIMIT,
        async || match rota.lane("note", 9).await {
            Some(lane) if lane.waiting == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    assert_eq!(rota.lines("order").len(), 0, "the slot is taken");
    rota.touch("open");
    let order = rota.until_lines("order", 1, LIMIT).await;
    assert_eq!(order[0], urgent.as_str());
    rota.until_settled(1_002, LIMIT).await;
}

#[tokio::test]
async fn a_kind_is_not_delayed_by_ten_thousand_tasks_of_another_that_nobody_handles() {
    let (rota, _head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--slots", "4", "--builtin"]);
    rota.submit_many("nobody", &[], "", 10_000).await;
    rota.until_stored(StreamName::Ready, 10_000).await;
    let mut latencies = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let id = rota.submit("echo", &[], "hello").await;
        rota.result(&id).await;
        latencies.push(begun.elapsed());
    }
    // The first opens its lane.
    latencies.sort_unstable();
    let (median, worst) = (latencies[10], latencies[19]);
    assert!(median < Duration::from_millis(200), "{latencies:?}");
    assert!(worst < Duration::from_secs(2), "{latencies:?}");
    let lane = rota.lane("nobody", 5).await.unwrap();
    assert_eq!(
        lane.waiting, 10_000,
        "late binding: what nobody can take is not read"
    );
}

#[tokio::test]
async fn the_load_follows_the_capacity_of_unlike_workers() {
    let (rota, _head) = Installation::start_with_head().await;
    let fast = rota.handlers("fast", &[Handler::sh("work", "sleep 0.1")]);
    let slow = rota.handlers("slow", &[Handler::sh("work", "sleep 0.5")]);
    let workers = [("fast", "6", &fast), ("slow", "3", &slow)].map(|(name, slots, handlers)| {
        rota.worker(name, &["--slots", slots, "--handlers", handlers])
    });
    for worker in &workers {
        worker.until_said("working", LIMIT).await;
    }
    // The fast one can do ten times as much: 6 in 0.1 s against 3 in 0.5 s.
    let ids = rota.submit_many("work", &[], "", 220).await;
    let results = rota.completed(&ids).await;
    let by_fast = results.iter().filter(|result| {
        let worker = result.worker.as_ref().expect("somebody ran it");
        worker.as_str().starts_with("fast-")
    });
    let by_fast = by_fast.count();
    assert!(
        (180..=210).contains(&by_fast),
        "{by_fast} of 220, the ideal is 200"
    );
    rota.until_settled(220, LIMIT).await;
}
