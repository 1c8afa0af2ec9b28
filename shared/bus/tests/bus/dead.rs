//! Dead letters: one for each message, and not one for several.

use bytes::Bytes;
use rota_bus::{Pulled, Stored, StreamName};

use crate::world::{World, lane, task};

#[tokio::test]
async fn a_message_makes_one_letter_and_one_of_a_stream_made_anew_another() {
    let world = World::start().await;
    let lane = lane("mail");
    let bury = async |message: Pulled| {
        let task = task(&lane, "a");
        let letter = world.bus.store_dead(message, &task, "as a test", None);
        let letter = letter.await.expect("sent").done().await;
        letter.expect("stored")
    };
    let read = async |seq| {
        let message = world.bus.ready_message(seq).await.expect("told");
        message.expect("it is there")
    };
    let seq = world.put(&lane, "a", Bytes::from_static(b"x")).await;
    let first = read(seq).await;
    assert_eq!(bury(first.clone()).await, Stored::New { seq: 1 });
    assert_eq!(bury(first).await, Stored::Duplicate { seq: 1 });
    let stranger = async_nats::jetstream::new(world.stranger().await);
    stranger.delete_stream("ROTA_READY").await.expect("deleted");
    let made = world.bus.ensure_streams(rota_bus::StreamOptions::default());
    made.await.expect("made anew");
    assert_eq!(world.put(&lane, "a", Bytes::from_static(b"y")).await, seq);
    assert_eq!(bury(read(seq).await).await, Stored::New { seq: 2 });
    let letters = world.bus.stream_state(StreamName::Dead).await;
    assert_eq!(letters.expect("told").messages, 2);
}
