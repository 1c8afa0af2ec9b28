//! Streams and buckets: made anew, and what is told into them.

use async_nats::jetstream;
use rota_bus::{EventSender, StreamName, StreamOptions};
use rota_local::ServerOptions;
use rota_wire::event::{Event, EventBatch};
use rota_wire::frame;
use rota_wire::memory::{KindDurations, Memory};
use rota_wire::{Kind, Micros};
use tokio::time::timeout;

use crate::lookups::result;
use crate::world::{LIMIT, World, forge, id};

#[tokio::test]
async fn an_intake_made_anew_beside_old_results_gives_no_number_twice() {
    let world = World::start().await;
    let intake = async || {
        let state = world.bus.stream_state(StreamName::Intake).await;
        state.expect("told").last_sequence
    };
    assert_eq!(intake().await, 0, "the first begins at one");
    let settled = world.bus.settle_result(&result("1"), "x".into()).await;
    settled.expect("settled");
    let js = jetstream::new(world.stranger().await);
    js.delete_stream("ROTA_INTAKE").await.expect("deleted");
    let ensured = world.bus.ensure_streams(StreamOptions::default()).await;
    ensured.expect("made anew");
    let before = Micros::now().0 - 60_000_000;
    assert!(intake().await > before, "{}", intake().await);
    let ensured = world.bus.ensure_streams(StreamOptions::default()).await;
    ensured.expect("it is as it must be");
}

#[tokio::test]
async fn a_leader_leaves_its_memory_to_the_next() {
    let world = World::start().await;
    assert_eq!(world.bus.load_memory().await.expect("told"), None);
    let memory = Memory {
        durations: vec![KindDurations {
            kind: Kind::parse("mail").expect("a kind"),
            runs: 3,
            mean_us: 5,
            buckets: vec![(1, 3)],
        }],
        losses: Vec::new(),
    };
    for _ in 0..2 {
        world.bus.store_memory(&memory).await.expect("stored");
    }
    let loaded = world.connect().await.load_memory().await;
    assert_eq!(loaded.expect("told"), Some(memory));
    let stranger = world.stranger().await;
    forge(&stranger, "$KV.rota_memory.scheduler").await;
    let forgotten = async { while world.bus.load_memory().await.expect("told").is_some() {} };
    timeout(LIMIT, forgotten)
        .await
        .expect("what is no memory is none");
    let js = jetstream::new(stranger);
    js.delete_stream("KV_rota_memory").await.expect("deleted");
    assert_eq!(world.bus.load_memory().await.expect("told"), None);
}

#[tokio::test]
async fn events_are_told_in_frames_that_the_server_takes() {
    let options = ServerOptions {
        max_payload: Some(64 * 1024),
        ..ServerOptions::default()
    };
    let world = World::start_with(options).await;
    let events = world.bus.subjects().all_events();
    let mut told = world.bus.subscribe(&events).await.expect("subscribed");
    let (sender, storing) = EventSender::new(world.bus.clone(), "scheduler");
    for number in 0..500 {
        let reason = "x".repeat(1_000);
        let task = id(&format!("t{number}"));
        sender.tell(Event::Rejected { task, reason });
    }
    drop(sender);
    storing.await;
    let mut count = 0;
    while count < 500 {
        let message = timeout(LIMIT, told.next()).await.expect("in time");
        let message = message.expect("a connection");
        let batch: EventBatch = frame::decode(&message.payload).expect("a batch");
        assert_eq!(batch.dropped, 0);
        count += batch.events.len();
    }
    assert_eq!(count, 500);
}
