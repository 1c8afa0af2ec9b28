//! Messages of a newer Rota, and of nobody, in the streams between the services.

use rota_bus::{Expect, Message, StreamName};
use rota_tests::{Installation, LIMIT, wait_for};
use rota_wire::headers::{ID, SUBMITTED};
use rota_wire::result::FinalState;
use rota_wire::{Headers, Kind, Lane, Priority, TaskId};

const SUBMITTED_AT: &str = "2026-11-23T08:00:00Z";

#[tokio::test]
async fn what_a_newer_rota_wrote_is_left_for_it_and_delays_nobody() {
    let (rota, head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--slots", "2", "--builtin"]);
    let newer = [
        (ID, "new-1"),
        (SUBMITTED, SUBMITTED_AT),
        ("Rota-Colour", "red"),
    ];
    let due = [
        (ID, "new-2"),
        (SUBMITTED, SUBMITTED_AT),
        ("Rota-Version", "2"),
    ];
    let lane = lane_of("echo");
    let subjects = rota.bus.subjects().clone();
    put(&rota, subjects.ready(&lane), &newer).await;
    put(&rota, subjects.due(&lane), &due).await;
    head[1]
        .until_said("left in its lane for a newer scheduler", LIMIT)
        .await;
    let ids = rota.submit_many("echo", &[], "hello", 200).await;
    rota.completed(&ids).await;
    for id in ["new-1", "new-2"] {
        let id = TaskId::parse(id).expect("an id");
        assert!(rota.try_result(&id).await.is_none(), "{id} was ended");
    }
    let rota = &rota;
    let left = |stream| async move { rota.state(stream).await.map(|state| state.messages) };
    assert_eq!(left(StreamName::Ready).await, Some(1));
    assert_eq!(left(StreamName::Schedule).await, Some(1));
    assert_eq!(left(StreamName::Dead).await, Some(0));
}

#[tokio::test]
async fn what_nobody_of_ours_wrote_is_put_away_and_told_to_whoever_waits() {
    let (rota, _head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--builtin"]);
    let bad = [(ID, "bad-1"), (SUBMITTED, "yesterday")];
    let lane = lane_of("echo");
    put(&rota, rota.bus.subjects().ready(&lane), &bad).await;
    put(&rota, rota.bus.subjects().ready(&lane), &[]).await;
    let id = TaskId::parse("bad-1").expect("an id");
    let (result, _) = rota.result(&id).await;
    assert_eq!(result.state, FinalState::Failed);
    let reason = result.reason.expect("it says why");
    assert!(reason.contains(SUBMITTED), "{reason}");
    wait_for(
        "both are dead letters, and the lane is empty",
        LIMIT,
        async || {
            let states = (
                rota.state(StreamName::Dead)
                    .await
                    .map(|state| state.messages),
                rota.state(StreamName::Ready)
                    .await
                    .map(|state| state.messages),
            );
            if states == (Some(2), Some(0)) {
                Ok(())
            } else {
                Err(format!("{states:?}"))
            }
        },
    )
    .await;
}

/// Two messages of one id: the newer attempt is the task, in whatever order they are read.
#[tokio::test]
async fn of_two_attempts_of_an_id_the_newer_one_runs() {
    let (rota, _head) = Installation::start_with_head().await;
    let lane = lane_of("echo");
    for (id, attempts) in [("up", ["1", "2"]), ("down", ["2", "1"])] {
        for attempt in attempts {
            let headers = [
                (ID, id),
                (SUBMITTED, SUBMITTED_AT),
                ("Rota-Attempt", attempt),
                ("Rota-Recheck", "1"),
            ];
            put(&rota, rota.bus.subjects().ready(&lane), &headers).await;
        }
    }
    let _worker = rota.worker("w", &["--builtin"]);
    for id in ["up", "down"] {
        let (result, _) = rota.result(&TaskId::parse(id).expect("an id")).await;
        assert_eq!(result.state, FinalState::Completed, "{id}");
    }
    rota.until_settled(2, LIMIT).await;
}

fn lane_of(kind: &str) -> Lane {
    Lane {
        kind: Kind::parse(kind).expect("a kind"),
        priority: Priority::default(),
    }
}

async fn put(rota: &Installation, subject: rota_bus::Subject, headers: &[(&'static str, &str)]) {
    let message = Message {
        subject,
        headers: headers.iter().copied().collect::<Headers>(),
        payload: "hello".into(),
    };
    let sent = rota.bus.store(message, Expect::Nothing).await;
    sent.expect("it is sent")
        .done()
        .await
        .expect("it is stored");
}
