//! What a new leader learns of a lane, also when the one before it died while it was taking over.

use rota_bus::{LaneEvent, LaneInputs, Opened};
use rota_tests::{Installation, LIMIT, Service};
use rota_wire::Lane;
use tokio::time::timeout;

#[tokio::test]
async fn a_leader_that_dies_while_it_takes_over_does_not_make_old_deliveries_look_new() {
    let rota = Installation::start().await;
    let _submitter = rota.run(Service::Submitter, &[]);
    rota.submit_many("echo", &[], "x", 10).await;
    rota.until_stored(rota_bus::StreamName::Ready, 10).await;
    let lane = rota.lane("echo", 5).await.expect("ten wait in it").lane;

    assert_eq!(opened(&rota, &lane).await, (0, 0), "nobody led before");
    take(&rota, &lane, 6).await;
    assert_eq!(opened(&rota, &lane).await, (6, 6));
    // This one dies after two of the six.
    take(&rota, &lane, 2).await;
    let (unacked, delivered_to) = opened(&rota, &lane).await;
    assert_eq!(delivered_to, 6);
    assert!(unacked >= 6, "{unacked} are said to come again");
    // And this one before the first.
    let (unacked, delivered_to) = opened(&rota, &lane).await;
    assert_eq!(delivered_to, 6);
    assert!(unacked >= 6, "{unacked} are said to come again");
    assert_eq!(take(&rota, &lane, 10).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(opened(&rota, &lane).await, (10, 10));
}

async fn opened(rota: &Installation, lane: &Lane) -> (u32, u64) {
    let Opened {
        unacked,
        delivered_to,
        ..
    } = rota.bus.open_lane(lane).await.expect("the server answers");
    (unacked, delivered_to)
}

/// Takes so many messages and acks none.
async fn take(rota: &Installation, lane: &Lane, count: u32) -> Vec<u64> {
    let mut reader = rota.bus.lane_reader().await.expect("the server is there");
    let opened = Opened {
        unacked: 0,
        delivered_to: 0,
        inputs: LaneInputs::Along,
    };
    reader.add(lane.clone(), &opened);
    reader
        .pull(lane, count)
        .await
        .expect("the server takes the pull");
    let mut came = Vec::new();
    while came.len() < count as usize {
        match timeout(LIMIT, reader.next()).await {
            Ok(Some(LaneEvent::Delivered(delivered))) => came.push(delivered.delivery.seq),
            other => panic!("{came:?}, then {other:?}"),
        }
    }
    came
}
