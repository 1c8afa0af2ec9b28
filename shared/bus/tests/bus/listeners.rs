//! Who is there, whether we hear, and what time it is for the server.

use std::time::Duration;

use rota_bus::{Message, StoredRetry};
use rota_wire::{Micros, Span, WorkerId};
use tokio::time::{Instant, timeout};

use crate::world::{LIMIT, World, connect, id, lane, task, until_last};

#[tokio::test]
async fn a_message_to_nobody_is_told_at_once_and_one_to_somebody_never() {
    let world = World::start().await;
    let other = world.connect().await;
    let (there, gone) = ("w1-a", "w2-b");
    let subject = |name| {
        let worker = WorkerId::parse(name).expect("an id");
        world.bus.subjects().assign(&worker)
    };
    let mut listening = other.subscribe(&subject(there)).await.expect("subscribed");
    other.flush().await.expect("received");
    let mut undelivered = world.bus.undelivered().await.expect("subscribed");
    let asked = Instant::now();
    for (tag, name) in [(1, there), (2, gone), (3, there), (4, gone)] {
        let message = Message::new(subject(name), "x".into());
        world.bus.send_watched(message, tag).await.expect("sent");
    }
    let mut tags = Vec::new();
    while tags.len() < 2 {
        let tag = timeout(LIMIT, undelivered.next()).await.expect("in time");
        tags.push(tag.expect("a connection"));
    }
    assert_eq!(tags, [2, 4]);
    assert!(
        asked.elapsed() < Duration::from_millis(200),
        "{:?}",
        asked.elapsed()
    );
    for _ in 0..2 {
        let message = timeout(LIMIT, listening.next()).await.expect("in time");
        let reply = message.expect("a connection").reply.expect("it is watched");
        // Who answers is there, whatever it says.
        other
            .send(Message::new(reply, "hello".into()))
            .await
            .expect("sent");
    }
    other.flush().await.expect("received");
    world.bus.flush().await.expect("received");
    assert_eq!(undelivered.try_next(), None);
}

#[tokio::test]
async fn that_somebody_is_gone_is_known_only_when_nobody_listens() {
    let world = World::start().await;
    let subject = world.bus.subjects().roll_call();
    let limit = Duration::from_millis(100);
    assert!(world.bus.is_gone(&subject, limit).await);
    let other = world.connect().await;
    let listening = other.subscribe(&subject).await.expect("subscribed");
    other.flush().await.expect("received");
    assert!(!world.bus.is_gone(&subject, limit).await);
    drop((listening, other));
    let leaving = async { while !world.bus.is_gone(&subject, limit).await {} };
    timeout(LIMIT, leaving).await.expect("it is noticed");
}

#[tokio::test]
async fn an_echo_comes_back_to_its_sender_alone_also_under_a_prefix_of_its_own() {
    let world = World::start().await;
    let private = connect(&world.server, Some("_INBOX_scheduler")).await;
    let (mut first, mut second) = (
        private.echo().await.expect("an echo"),
        private.echo().await.expect("an echo"),
    );
    first.send(7).await.expect("sent");
    second.send(8).await.expect("sent");
    let back = timeout(LIMIT, first.next()).await.expect("in time");
    assert_eq!(back, Some(7));
    private.flush().await.expect("received");
    assert_eq!(first.try_next(), None);
    assert_eq!(second.try_next(), Some(8));
    // All that needs answers works there too.
    let lanes = private.lanes().await.expect("told");
    assert_eq!(lanes, []);
}

#[tokio::test]
async fn due_times_are_reckoned_by_the_servers_clock() {
    let world = World::start().await;
    // Both run on one machine here, so they must agree.
    let off = |server: Micros| server.0.abs_diff(Micros::now().0);
    assert!(off(world.bus.server_now().await) < 50_000);
    assert!(off(world.bus.server_now().await) < 50_000, "carried on");
    let retry = task(&lane("mail"), "a");
    let stored = world
        .bus
        .store_retry(&retry, "x".into(), Span::from_ms(300))
        .await;
    assert_eq!(stored.expect("stored"), StoredRetry::New);
    let stranger = world.stranger().await;
    let due = world.bus.subjects().due(&lane("mail"));
    let body = until_last(&stranger, "ROTA_SCHEDULE", due.as_str()).await;
    assert_eq!(body, "x");
    let found = world
        .bus
        .look_up(&[id("a")], rota_bus::Freshness::Latest)
        .await;
    assert_eq!(
        found.expect("told"),
        [rota_bus::Found::Nothing],
        "it has fallen due"
    );
}
