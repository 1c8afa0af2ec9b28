//! Leading again after trouble among the servers.

use std::time::Duration;

use crate::worker::{Plan, Worker};
use crate::world::{World, put, seconds};

#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_leads_again_though_a_stream_that_it_does_not_need_has_no_leader() {
    let world = World::start().await;
    let plan = Plan {
        slots: 10,
        takes: |_| Duration::from_millis(10),
        returned: None,
    };
    let worker = Worker::start(&world, "w1-a", plan).await;
    seconds(3).await;
    put(&world.people, "before").await;
    seconds(30).await;
    assert_eq!(worker.begun().len(), 1);
    let step_down = |stream, time| {
        world
            .server
            .step_down_stream(stream, Duration::from_secs(time));
    };
    step_down("KV_rota_leases", 7);
    step_down("ROTA_DEAD", 120);
    seconds(8).await;
    put(&world.people, "after").await;
    seconds(12).await;
    assert_eq!(worker.begun().len(), 2, "nobody leads");
}
