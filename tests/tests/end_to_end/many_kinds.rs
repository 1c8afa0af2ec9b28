//! Kinds that nobody handles: many of them, and few with much that waits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rota_bus::{Expect, Message};
use rota_tests::{Installation, LIMIT, Service, wait_for};
use rota_wire::{Headers, Kind};

const KINDS: usize = 3_000;
const BATCH: usize = 500;
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn thousands_of_kinds_of_one_client_harm_nobody_else() {
    let (rota, head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--slots", "2", "--builtin"]);
    submit_kinds(&rota, KINDS).await;
    let begun = Instant::now();
    let ids = rota.submit_many("echo", &[], "hello", 200).await;
    rota.completed(&ids).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let lanes = rota.bus.existing_lanes().await.expect("the server answers");
    assert!(lanes.len() < 20, "{} lanes have a consumer", lanes.len());
    assert_eq!(head[1].said("leading no longer"), 0);
}

#[tokio::test]
async fn what_waits_of_kinds_whose_workers_have_gone_takes_no_room_from_others() {
    let rota = Installation::start().await;
    let _submitter = rota.run(Service::Submitter, &[]);
    // All that is read of a lane is kept: 3 lanes fill the memory.
    let scheduler = rota.run(
        Service::Scheduler,
        &["--order", "sjf", "--look-ahead", "10000"],
    );
    scheduler.until_said("roll called", LIMIT).await;
    let mut gone = rota.worker("gone", &["--slots", "1", "--builtin"]);
    scheduler.until_said("worker=gone-", LIMIT).await;
    rota.submit_many("sleep", &[], "60s", 9_000).await;
    gone.kill();
    scheduler.until_said("worker died", LIMIT).await;
    let handlers = rota.handlers("w", &[rota_tests::Handler::sh("live", "cat")]);
    let _worker = rota.worker("w", &["--slots", "4", "--handlers", &handlers]);
    let ids = rota.submit_many("live", &[], "hello", 50).await;
    rota.completed(&ids).await;
    wait_for(
        "what nobody handles is given back",
        LIMIT,
        async || match rota.lane("sleep", 5).await {
            Some(_) => Ok(()),
            None => Err("no lane".to_owned()),
        },
    )
    .await;
}

async fn submit_kinds(rota: &Installation, kinds: usize) {
    for first in (0..kinds).step_by(BATCH) {
        let mut batch = Vec::new();
        for number in first..kinds.min(first + BATCH) {
            let kind = Kind::parse(&format!("nobodys-{number}")).expect("a kind");
            let message = Message {
                subject: rota.bus.subjects().submit(&kind),
                headers: Headers::new(),
                payload: Bytes::new(),
            };
            let sent = rota.bus.store(message, Expect::Nothing).await;
            batch.push(sent.expect("the server takes it"));
        }
        for storing in batch {
            storing.done().await.expect("the server stores it");
        }
    }
}
