//! Acks and naks that are lost while a lane flows all the time.

use std::collections::BTreeSet;
use std::time::Duration;

use rota_bus::in_memory::Weather;
use rota_wire::TaskId;

use crate::worker::{Plan, Worker};
use crate::world::{World, put, seconds};

const ACKS: &str = "$JS.ACK.ROTA_READY.";
const NAK: &[u8] = b"-NAK";
const RESET: &str = "$JS.API.CONSUMER.RESET.";
const READ: &str = "$JS.API.STREAM.MSG.GET.ROTA_READY";

fn quick() -> Plan {
    Plan {
        slots: 100,
        takes: |_| Duration::from_millis(100),
        returned: None,
    }
}

fn lost_acks(per_mille: u32) -> Weather {
    Weather {
        latency_ms: 5,
        lost_acks: per_mille,
        ..Weather::default()
    }
}

/// No task was begun twice.
fn once_each(worker: &Worker) -> bool {
    let begun = worker.begun();
    let ids: BTreeSet<&TaskId> = begun.iter().map(|(id, _)| id).collect();
    ids.len() == begun.len()
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_lost_acks_does_not_stay_in_a_lane_that_flows() {
    let world = World::start().await;
    let worker = Worker::start(&world, "w1-a", quick()).await;
    let flowing = world.flow(Duration::from_millis(50));
    seconds(5).await;
    world.server.set_weather(lost_acks(1_000));
    seconds(1).await;
    world.server.set_weather(lost_acks(0));
    seconds(1).await;
    let left = world.in_lane().len();
    assert!(left >= 15, "no acks were lost: {left} messages");
    seconds(30).await;
    let left = world.in_lane();
    assert!(left.len() < 10, "they are still there: {left:?}");
    assert!(once_each(&worker));
    assert_eq!(world.sent(RESET, b""), 0, "nothing else was disturbed");
    flowing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_nak_was_lost_runs_though_its_lane_flows() {
    let world = World::start().await;
    let plan = Plan {
        returned: Some("unlucky"),
        ..quick()
    };
    let worker = Worker::start(&world, "w1-a", plan).await;
    let flowing = world.flow(Duration::from_millis(50));
    seconds(5).await;
    world.server.set_weather(lost_acks(1_000));
    put(&world.people, "unlucky").await;
    seconds(1).await;
    world.server.set_weather(lost_acks(0));
    let runs = || {
        let begun = worker.begun();
        begun
            .iter()
            .filter(|(id, _)| id.as_str() == "unlucky")
            .count()
    };
    assert_eq!(runs(), 1, "it was handed back, and nobody was told");
    seconds(20).await;
    assert_eq!(runs(), 2);
    assert_eq!(world.sent(RESET, b""), 0, "nothing else was disturbed");
    flowing.abort();
}

/// Calling back is an answer too. What it cannot bring is settled without.
#[tokio::test(start_paused = true)]
async fn where_no_answer_arrives_at_all_messages_are_settled_one_by_one() {
    let world = World::start().await;
    let worker = Worker::start(&world, "w1-a", quick()).await;
    world.server.set_weather(lost_acks(1_000));
    let flowing = world.flow(Duration::from_secs(1));
    seconds(90).await;
    let left = world.in_lane();
    assert!(left.len() < 50, "they pile up: {left:?}");
    assert!(left[0] > 40, "the oldest stay: {left:?}");
    assert!(once_each(&worker));
    flowing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_healthy_lane_is_not_disturbed_and_reading_it_is_bounded() {
    let world = World::start().await;
    world.server.set_weather(lost_acks(0));
    let plan = Plan {
        slots: 400,
        // One in ten runs for long.
        takes: |id| {
            let long = id.as_str().ends_with('0');
            Duration::from_millis(if long { 60_000 } else { 200 })
        },
        returned: None,
    };
    let worker = Worker::start(&world, "w1-a", plan).await;
    let flowing = world.flow(Duration::from_millis(20));
    seconds(90).await;
    assert!(once_each(&worker));
    assert!(worker.begun().len() > 4_000, "it flows");
    assert_eq!(world.sent(ACKS, NAK), 0);
    assert_eq!(world.sent(RESET, b""), 0);
    let reads = world.sent(READ, b"");
    assert!((500..90 * 24).contains(&reads), "{reads} reads");
    flowing.abort();
}
