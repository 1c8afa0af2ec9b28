//! Leases: kept whatever strangers write, lost to another holder, and succeeded to at once.

use std::time::Duration;

use bytes::Bytes;
use rota_bus::{Bus, Lease, LeaseError, LeaseName, SendError};
use rota_wire::Dialect;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::lookups::result;
use crate::world::{LIMIT, World, forge};

const KEY: &str = "$KV.rota_leases.scheduler";

async fn acquire(bus: &Bus, holder: &str) -> Option<Lease> {
    let acquired = bus.acquire_lease(LeaseName::Scheduler, holder).await;
    acquired.expect("an answer")
}

#[tokio::test]
async fn a_lease_tells_its_holder_its_term_and_its_dialect() {
    let world = World::start().await;
    let lease = acquire(&world.bus, "a").await.expect("it is free");
    let other = world.connect().await;
    assert!(acquire(&other, "b").await.is_none(), "it is held");
    let holder = other.lease_holder(LeaseName::Scheduler).await;
    let holder = holder.expect("told").expect("held");
    assert_eq!(holder.holder, "a");
    assert_eq!(holder.term, Some(lease.term()));
    assert_eq!(holder.dialect, Dialect::V2);
    let validity = lease.validity();
    assert!(validity.is_valid());
    lease.release().await.expect("released");
    assert!(!validity.is_valid());
    let next = acquire(&other, "b").await.expect("it is free again");
    assert!(next.term() > holder.term.expect("told"));
}

#[tokio::test]
async fn a_lease_is_kept_whatever_strangers_write_on_it() {
    let world = World::start().await;
    let mut lease = acquire(&world.bus, "a").await.expect("it is free");
    let (term, validity) = (lease.term(), lease.validity());
    let other = world.connect().await;
    let stranger = world.stranger().await;
    let settled = world
        .bus
        .settle_result(&result("mine"), "evil 99999 2".into())
        .await;
    settled.expect("settled");
    let forging = async {
        let mut ticks = interval(Duration::from_millis(20));
        // Never two at once: the second would hide the first.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0..300_u32 {
            ticks.tick().await;
            if number % 2 == 0 {
                forge(&stranger, KEY).await;
            } else {
                let get = "$JS.API.DIRECT.GET.ROTA_RESULTS.rota.result.mine";
                let copy = stranger.publish_with_reply(get, KEY, Bytes::new());
                copy.await.expect("sent");
                // And plainly, as a copy without a word of what must be there before.
                let mut map = async_nats::HeaderMap::new();
                map.insert("Nats-Stream", "ROTA_RESULTS");
                let copy = stranger.publish_with_headers(KEY, map, "evil 99999 2".into());
                copy.await.expect("sent");
            }
            assert!(validity.is_valid(), "not led at {number}");
            if number % 20 == 0 {
                let holder = other.lease_holder(LeaseName::Scheduler).await;
                let holder = holder.expect("told").expect("held");
                assert_eq!((holder.holder.as_str(), holder.term), ("a", Some(term)));
            }
            if number % 100 == 1 {
                assert!(acquire(&other, "b").await.is_none(), "it is held");
            }
        }
    };
    tokio::select! {
        error = lease.keep() => panic!("{error}"),
        () = forging => {}
    }
}

#[tokio::test]
async fn a_lease_that_another_took_over_is_lost_at_once() {
    let world = World::start().await;
    let mut lease = acquire(&world.bus, "a").await.expect("it is free");
    let validity = lease.validity();
    let stranger = world.stranger().await;
    let taking = async {
        stranger
            .publish(KEY, "b 99999 2".into())
            .await
            .expect("sent");
        stranger.flush().await.expect("received");
    };
    let (error, ()) = tokio::join!(timeout(Duration::from_secs(1), lease.keep()), taking);
    assert!(matches!(error, Ok(LeaseError::Lost { .. })), "{error:?}");
    assert!(!validity.is_valid());
}

/// Waits for the lease to be vacant, as one who stands by, and takes it.
async fn succeed(bus: &Bus) -> Result<Lease, SendError> {
    let mut watch = bus
        .watch_lease(LeaseName::Scheduler)
        .await
        .expect("watched");
    loop {
        watch.vacant().await;
        if let Some(lease) = acquire(bus, "b").await {
            return Ok(lease);
        }
    }
}

#[tokio::test]
async fn a_dead_holder_is_succeeded_within_a_moment_and_a_live_one_is_not() {
    let world = World::start().await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let dying = world.connect().await;
        let lease = acquire(&dying, "a").await.expect("it is free");
        let standby = world.connect().await;
        let mut watch = standby
            .watch_lease(LeaseName::Scheduler)
            .await
            .expect("watched");
        let patience = Duration::from_millis(400);
        timeout(patience, watch.vacant())
            .await
            .expect_err("it lives");
        // As when its process ends: its connection goes, with all that it listens to.
        drop((lease, dying));
        let died = Instant::now();
        let next = timeout(LIMIT, succeed(&standby)).await.expect("in time");
        took.push(died.elapsed());
        next.expect("a lease").release().await.expect("released");
    }
    took.sort();
    assert!(took[2] < Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn a_lease_that_is_given_up_is_had_at_once() {
    let world = World::start().await;
    let lease = acquire(&world.bus, "a").await.expect("it is free");
    let standby = world.connect().await;
    let mut watch = standby
        .watch_lease(LeaseName::Scheduler)
        .await
        .expect("watched");
    timeout(Duration::from_millis(150), watch.vacant())
        .await
        .expect_err("it is held");
    lease.release().await.expect("released");
    let freed = Instant::now();
    timeout(LIMIT, watch.vacant()).await.expect("in time");
    assert!(acquire(&standby, "b").await.is_some());
    assert!(
        freed.elapsed() < Duration::from_millis(100),
        "{:?}",
        freed.elapsed()
    );
}

#[tokio::test]
async fn what_is_no_lease_is_taken_over_once_nobody_leads() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    let dying = world.connect().await;
    let lease = acquire(&dying, "a").await.expect("it is free");
    let standby = world.connect().await;
    forge(&stranger, KEY).await;
    assert!(acquire(&standby, "b").await.is_none(), "its holder lives");
    drop((lease, dying));
    let taking = async {
        loop {
            forge(&stranger, KEY).await;
            if let Some(lease) = acquire(&standby, "b").await {
                return lease;
            }
        }
    };
    timeout(LIMIT, taking).await.expect("it is taken over");
}

#[tokio::test]
async fn without_a_bucket_that_is_said() {
    let world = World::start().await;
    let js = async_nats::jetstream::new(world.stranger().await);
    js.delete_stream("KV_rota_leases").await.expect("deleted");
    let error = world.bus.acquire_lease(LeaseName::Scheduler, "a").await;
    assert!(matches!(error, Err(LeaseError::NoBucket { .. })));
    let error = world.bus.lease_holder(LeaseName::Scheduler).await;
    assert!(
        matches!(error, Err(LeaseError::NoBucket { .. })),
        "{error:?}"
    );
}
