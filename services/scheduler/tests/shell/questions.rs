//! People who ask more than can be answered.

use std::time::Duration;

use bytes::Bytes;
use rota_bus::Message;
use rota_bus::in_memory::Deed;

use crate::world::{World, seconds};

#[tokio::test(start_paused = true)]
async fn a_flood_of_questions_holds_up_no_later_one() {
    let world = World::start().await;
    seconds(5).await;
    let subject = |id: &str| {
        let id = rota_wire::TaskId::parse(id).expect("an id");
        world.people.subjects().explain(&id)
    };
    let flood = world.server.bus("flood", rota_bus::Prefix::default());
    for _ in 0..10_000 {
        let question = Message::new(subject("nothing"), Bytes::new());
        let limit = Duration::from_secs(60);
        let asking = flood.clone();
        tokio::spawn(async move {
            // Most get no answer.
            let _ = asking.request(question, limit).await;
        });
    }
    seconds(2).await;
    let question = Message::new(subject("something"), Bytes::new());
    let answer = world.people.request(question, Duration::from_secs(1)).await;
    let answer = answer.expect("answered in time");
    let answer = String::from_utf8_lossy(&answer.payload);
    assert!(answer.contains("something"), "{answer}");
    let mut answered = 0;
    world.server.read_journal(|entry| {
        if let Deed::Published(message) = &entry.deed
            && message.payload.starts_with(b"{\"task\":\"nothing\"")
        {
            answered += 1;
        }
    });
    assert!((60..500).contains(&answered), "{answered} were answered");
}
