//! The schedule keeps one attempt of a task: never an earlier one in the place of a later.

use bytes::Bytes;
use rota_bus::{Bus, Found, Freshness, StoredRetry};
use rota_wire::{Span, TaskSpec};

use crate::world::{World, forge, id, lane, next, task, until_last};

const LATER: Span = Span::from_secs(3_600);

fn attempt(number: u32) -> TaskSpec {
    TaskSpec {
        attempt: number,
        ..task(&lane("mail"), "a")
    }
}

async fn store(bus: &Bus, number: u32, wait: Span) -> StoredRetry {
    let stored = bus.store_retry(&attempt(number), "x".into(), wait).await;
    stored.expect("settled")
}

async fn scheduled(bus: &Bus) -> Found {
    let found = bus.look_up(&[id("a")], Freshness::Latest).await;
    found.expect("told")[0]
}

#[tokio::test]
async fn a_later_attempt_replaces_an_earlier_one_and_never_the_other_way_round() {
    let World { server: _kept, bus } = World::start().await;
    assert_eq!(store(&bus, 3, LATER).await, StoredRetry::New);
    for earlier in [2, 3] {
        let already = StoredRetry::Already { attempt: 3 };
        assert_eq!(store(&bus, earlier, Span::default()).await, already);
        assert_eq!(scheduled(&bus).await, Found::Scheduled { attempt: 3 });
    }
    assert_eq!(store(&bus, 4, LATER).await, StoredRetry::New);
    assert_eq!(scheduled(&bus).await, Found::Scheduled { attempt: 4 });
}

#[tokio::test]
async fn a_store_that_comes_late_does_not_replace_a_later_attempt() {
    let world = World::start().await;
    let (bus, stranger) = (&world.bus, world.stranger().await);
    let subject = bus.subjects().retry(&id("a"));
    let mut overheard = stranger
        .subscribe(subject.to_string())
        .await
        .expect("subscribed");
    stranger.flush().await.expect("received");
    assert_eq!(store(bus, 2, Span::default()).await, StoredRetry::New);
    let sent = next(&mut overheard).await;
    let due = bus.subjects().due(&lane("mail"));
    until_last(&stranger, "ROTA_SCHEDULE", due.as_str()).await;
    assert_eq!(store(bus, 3, LATER).await, StoredRetry::New);
    // The same bytes once more, as if the network had kept them.
    let headers = sent.headers.expect("headers");
    let answer = stranger.request_with_headers(subject.to_string(), headers, sent.payload);
    let answer = answer.await.expect("an answer").payload;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("wrong last sequence"), "{answer}");
    assert_eq!(scheduled(bus).await, Found::Scheduled { attempt: 3 });
}

#[tokio::test]
async fn what_rota_did_not_write_keeps_no_retry_out() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    let subject = world.bus.subjects().retry(&id("a"));
    forge(&stranger, subject.as_str()).await;
    until_last(&stranger, "ROTA_SCHEDULE", subject.as_str()).await;
    assert_eq!(store(&world.bus, 2, LATER).await, StoredRetry::New);
    assert_eq!(scheduled(&world.bus).await, Found::Scheduled { attempt: 2 });
    let body = until_last(&stranger, "ROTA_SCHEDULE", subject.as_str()).await;
    assert_eq!(body, Bytes::from_static(b"x"));
}
