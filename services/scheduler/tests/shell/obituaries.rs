//! Obituaries that somebody makes up.

use std::time::Duration;

use rota_bus::Message;
use rota_wire::WorkerId;
use rota_wire::fleet::Obituary;

use crate::worker::{Plan, Worker};
use crate::world::{World, put, seconds};

async fn write(world: &World, worker: &WorkerId) {
    let subject = world.people.subjects().died(worker);
    let worker = worker.clone();
    let obituary = Message::frame(subject, &Obituary { worker });
    world.people.send(obituary).await.expect("sent");
}

/// The lane is found in its own time.
async fn until_begun(workers: &[&Worker], count: usize) {
    for _ in 0..60 {
        if workers
            .iter()
            .map(|worker| worker.begun().len())
            .sum::<usize>()
            == count
        {
            return;
        }
        seconds(1).await;
    }
    panic!("not begun");
}

fn slow() -> Plan {
    Plan {
        slots: 10,
        takes: |_| Duration::from_secs(600),
        returned: None,
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_obituaries_of_a_living_worker_one_is_checked_at_a_time() {
    let world = World::start().await;
    let worker = Worker::start(&world, "w1-a", slow()).await;
    seconds(3).await;
    put(&world.people, "a").await;
    until_begun(&[&worker], 1).await;
    let subject = world.people.subjects().assign(&worker.id);
    let sent = || world.sent(subject.as_str(), b"");
    let before = sent();
    for _ in 0..2_000 {
        write(&world, &worker.id).await;
    }
    seconds(4).await;
    // A check asks some ten times a second, and frames may be among them.
    let asked = sent() - before;
    assert!((10..60).contains(&asked), "asked {asked} times");
    seconds(30).await;
    assert_eq!(worker.begun().len(), 1, "it lives");
}

#[tokio::test(start_paused = true)]
async fn a_true_obituary_is_believed_while_others_are_made_up() {
    let world = World::start().await;
    let living = Worker::start(&world, "w1-a", slow()).await;
    let dying = Worker::start(&world, "w2-b", slow()).await;
    seconds(3).await;
    for id in ["a", "b", "c"] {
        put(&world.people, id).await;
    }
    until_begun(&[&living, &dying], 3).await;
    let before = living.begun().len();
    assert!((1..=2).contains(&before), "each has something");
    for _ in 0..2_000 {
        write(&world, &living.id).await;
    }
    dying.running.abort();
    let client = world.server.client("w2-b").expect("it was there");
    world.server.close(client);
    write(&world, &dying.id).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = living.begun().len();
    assert!(begun > before, "sooner than its silence would tell");
}
