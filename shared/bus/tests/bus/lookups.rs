//! Looking up many tasks at a time.

use async_nats::jetstream;
use bytes::Bytes;
use rota_bus::{Found, Freshness, StoredRetry};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Micros, Span, TaskId};

use crate::world::{World, forge, id, lane, task, until_last};

pub(crate) fn result(text: &str) -> TaskResult {
    TaskResult {
        id: id(text),
        state: FinalState::Completed,
        kind: "mail".to_owned(),
        attempts: 1,
        worker: None,
        exit: None,
        reason: None,
        submitted: None,
        started: None,
        finished: Micros::now(),
        ran: None,
        estimate: None,
        traceparent: None,
    }
}

#[tokio::test]
async fn many_tasks_are_looked_up_in_order() {
    let world = World::start().await;
    // Bodies that are more than one answer may bring.
    let body = Bytes::from(vec![b'x'; 120 * 1024]);
    let mut expected = Vec::new();
    let mut storing = Vec::new();
    for number in 0..500_u32 {
        let text = format!("t{number}");
        match number % 5 {
            0 => {
                storing.push(world.bus.store_result(&result(&text), body.clone()).await);
                expected.push(Found::Result);
            }
            1 => {
                let mut retry = task(&lane("mail"), &text);
                retry.attempt = 2 + number;
                let wait = Span::from_secs(3_600);
                let stored = world.bus.store_retry(&retry, "x".into(), wait).await;
                assert_eq!(stored.expect("stored"), StoredRetry::New);
                let attempt = 2 + number;
                expected.push(Found::Scheduled { attempt });
            }
            _ => expected.push(Found::Nothing),
        }
    }
    for storing in storing {
        storing.expect("sent").done().await.expect("stored");
    }
    let mut ids: Vec<TaskId> = (0..500).map(|number| id(&format!("t{number}"))).collect();
    // One twice.
    ids.push(id("t0"));
    expected.push(Found::Result);
    for freshness in [Freshness::AnyCopy, Freshness::Latest] {
        let found = world.bus.look_up(&ids, freshness).await.expect("told");
        assert_eq!(found, expected, "{freshness:?}");
    }
    assert_eq!(
        world
            .bus
            .look_up(&[], Freshness::Latest)
            .await
            .expect("told"),
        []
    );
}

#[tokio::test]
async fn what_rota_did_not_write_is_neither_a_result_nor_a_retry() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    for subject in ["rota.result.victim", "rota.schedule.retry.victim"] {
        forge(&stranger, subject).await;
    }
    until_last(&stranger, "ROTA_RESULTS", "rota.result.victim").await;
    until_last(&stranger, "ROTA_SCHEDULE", "rota.schedule.retry.victim").await;
    let ids = [id("victim"), id("other")];
    for freshness in [Freshness::AnyCopy, Freshness::Latest] {
        let found = world.bus.look_up(&ids, freshness).await.expect("told");
        assert_eq!(found, [Found::Foreign, Found::Nothing], "{freshness:?}");
    }
}

#[tokio::test]
async fn without_streams_nothing_is_known_and_that_is_an_error() {
    let world = World::start().await;
    let js = jetstream::new(world.stranger().await);
    js.delete_stream("ROTA_RESULTS").await.expect("deleted");
    let looked = world.bus.look_up(&[id("a")], Freshness::AnyCopy).await;
    looked.expect_err("there is no stream of results");
}
