//! Results that others write: none is believed, and none keeps a true one out.

use async_nats::HeaderMap;
use bytes::Bytes;
use rota_bus::{Settlement, StoreError};

use crate::lookups::result;
use crate::world::{World, forge, id, until_last};

#[tokio::test]
async fn a_forged_result_is_not_believed_and_is_replaced_by_the_true_one() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    forge(&stranger, "rota.result.victim").await;
    until_last(&stranger, "ROTA_RESULTS", "rota.result.victim").await;
    let forged = world.bus.result(&id("victim")).await.expect("told");
    let forged = forged.expect("something is there");
    assert_eq!((forged.genuine, forged.result), (false, None));

    let true_one = result("victim");
    let refused = world.bus.store_result(&true_one, "true".into()).await;
    let refused = refused.expect("sent").done().await;
    assert!(
        matches!(refused, Err(StoreError::NotFirst { .. })),
        "{refused:?}"
    );
    let settle = |body: &'static str| world.bus.settle_result(&true_one, body.into());
    assert_eq!(settle("true").await.expect("settled"), Settlement::Stored);
    assert_eq!(settle("late").await.expect("settled"), Settlement::Already);
    let stored = world.bus.result(&id("victim")).await.expect("told");
    let stored = stored.expect("a result");
    assert!(stored.genuine);
    assert_eq!(stored.body, "true");
    assert_eq!(stored.result.expect("it can be read").id, id("victim"));
}

/// By reading a result of one's own, with another's subject as the reply.
#[tokio::test]
async fn a_copy_of_another_tasks_result_is_no_result() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    let settled = world
        .bus
        .settle_result(&result("mine"), "forged".into())
        .await;
    settled.expect("settled");
    let get = "$JS.API.DIRECT.GET.ROTA_RESULTS.rota.result.mine";
    // The copy keeps the word that nothing may be there yet, so that it is the first itself.
    stranger
        .publish_with_reply(get, "rota.result.victim", Bytes::new())
        .await
        .expect("sent");
    until_last(&stranger, "ROTA_RESULTS", "rota.result.victim").await;
    let found = world.bus.result(&id("victim")).await.expect("told");
    let found = found.expect("something is there");
    assert_eq!((found.genuine, found.result), (false, None));
    let settled = world
        .bus
        .settle_result(&result("victim"), "true".into())
        .await;
    assert_eq!(settled.expect("settled"), Settlement::Stored);
}

#[tokio::test]
async fn a_result_of_a_newer_rota_stands_though_it_cannot_be_read() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    let mut map = HeaderMap::new();
    map.insert("Rota-Id", "a");
    map.insert("Rota-State", "evaporated");
    stranger
        .publish_with_headers("rota.result.a", map, "new".into())
        .await
        .expect("sent");
    until_last(&stranger, "ROTA_RESULTS", "rota.result.a").await;
    let settled = world.bus.settle_result(&result("a"), "old".into()).await;
    assert_eq!(settled.expect("settled"), Settlement::Already);
    let stored = world
        .bus
        .result(&id("a"))
        .await
        .expect("told")
        .expect("one");
    assert_eq!((stored.genuine, stored.result), (true, None));
}
