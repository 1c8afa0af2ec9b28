//! Lanes: the budget, inputs that are left in the stream, ends of pulls, closing.

use std::collections::BTreeMap;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use bytes::Bytes;
use rota_bus::{Closed, InputPolicy, LaneEvent, PullEnd};
use rota_local::ServerOptions;
use rota_wire::{Input, Lane, Span, TaskId};
use tokio::time::Instant;

use crate::world::{LIMIT, World, event, lane, next};

const BUDGET: usize = 24 * 1024 * 1024;
const LARGE: usize = 900 * 1024;

fn large() -> Bytes {
    Bytes::from(vec![b'x'; LARGE])
}

/// Reads and acks until so many have come of each lane.
async fn take_all(world: &World, reader: &mut rota_bus::LaneReader, lanes: &[Lane], each: u32) {
    let mut missing: BTreeMap<Lane, u32> = lanes.iter().map(|l| (l.clone(), each)).collect();
    while !missing.is_empty() {
        match event(reader).await {
            LaneEvent::Delivered(delivered) => {
                assert_eq!(delivered.input.bytes(), LARGE as u64);
                world.bus.ack(&delivered.ack).await.expect("acked");
                let left = missing.get_mut(&delivered.lane).expect("not more than all");
                *left -= 1;
                if *left == 0 {
                    missing.remove(&delivered.lane);
                }
            }
            LaneEvent::PullEnded { lane, unused, .. } => {
                reader.pull(&lane, unused).await.expect("pulled");
            }
            LaneEvent::Gone { lane } => panic!("{lane} is gone"),
        }
        let outstanding = reader.outstanding_bytes();
        assert!(outstanding <= BUDGET, "{outstanding} bytes are under way");
    }
}

#[tokio::test]
async fn large_inputs_of_many_lanes_flow_within_one_budget() {
    for policy in [InputPolicy::WithMessages, InputPolicy::MayBeLeft] {
        let world = World::start().await;
        let lanes: Vec<Lane> = (0..20).map(|number| lane(&format!("k{number}"))).collect();
        for lane in &lanes {
            for number in 0..4 {
                world.put(lane, &format!("t{number}"), large()).await;
            }
        }
        let link = world.bus.link();
        let mut reader = world.bus.lane_reader().await.expect("a reader");
        reader.set_inputs(policy);
        for lane in &lanes {
            world.open(&mut reader, lane).await;
            reader.pull(lane, 100).await.expect("pulled");
        }
        take_all(&world, &mut reader, &lanes, 4).await;
        assert_eq!(link.borrow().breaks, 0, "the server cut us off: {policy:?}");
    }
}

#[tokio::test]
async fn large_inputs_are_left_in_the_stream_and_small_ones_come_along_again() {
    let world = World::start().await;
    let lane = lane("report");
    let seq = world.put(&lane, "large", large()).await;
    let mut reader = world.bus.lane_reader().await.expect("a reader");
    reader.set_inputs(InputPolicy::MayBeLeft);
    world.open(&mut reader, &lane).await;
    reader.pull(&lane, 1).await.expect("pulled");
    let LaneEvent::Delivered(first) = event(&mut reader).await else {
        panic!("no message");
    };
    let expected = Input::InStream {
        bytes: LARGE as u64,
    };
    assert_eq!((first.delivery.seq, &first.input), (seq, &expected));
    let ids = ["large", "another"].map(|id| TaskId::parse(id).expect("good"));
    let fetched = world
        .bus
        .ready_input(seq, &ids[0])
        .await
        .expect("an answer");
    assert_eq!(fetched, Some(large()));
    let fetched = world
        .bus
        .ready_input(seq, &ids[1])
        .await
        .expect("an answer");
    assert_eq!(fetched, None, "it is not that task's");

    // Another leader finds it so.
    let opened = world.bus.open_lane(&lane).await.expect("opened");
    assert_eq!(opened.inputs, rota_bus::LaneInputs::Apart);

    let deadline = Instant::now() + LIMIT;
    for number in 0.. {
        world
            .put(&lane, &format!("s{number}"), "small".into())
            .await;
        reader.pull(&lane, 1).await.expect("pulled");
        if let LaneEvent::Delivered(delivered) = event(&mut reader).await
            && delivered.input == Input::Inline("small".into())
        {
            break;
        }
        assert!(Instant::now() < deadline, "they never come along again");
    }
    let opened = world.bus.open_lane(&lane).await.expect("opened");
    assert_eq!(opened.inputs, rota_bus::LaneInputs::Along);
}

#[tokio::test]
async fn who_cannot_fetch_inputs_gets_them_from_the_next_message_on() {
    let world = World::start().await;
    let lane = lane("report");
    let mut reader = world.bus.lane_reader().await.expect("a reader");
    reader.set_inputs(InputPolicy::MayBeLeft);
    world.open(&mut reader, &lane).await;
    world.put(&lane, "first", large()).await;
    reader.pull(&lane, 1).await.expect("pulled");
    assert!(matches!(
        event(&mut reader).await,
        LaneEvent::Delivered(d) if matches!(d.input, Input::InStream { .. })
    ));
    reader.set_inputs(InputPolicy::WithMessages);
    world.put(&lane, "second", large()).await;
    reader.pull(&lane, 1).await.expect("pulled");
    assert!(matches!(
        event(&mut reader).await,
        LaneEvent::Delivered(d) if d.input == Input::Inline(large())
    ));
}

/// The reader grants bytes to lanes without inputs by what is sent of them.
#[tokio::test]
async fn the_server_counts_a_message_without_its_input_by_what_it_sends() {
    let world = World::start().await;
    let lane = lane("report");
    for number in 0..3 {
        world.put(&lane, &format!("t{number}"), large()).await;
    }
    let stranger = world.stranger().await;
    let js = jetstream::new(stranger.clone());
    let config = pull::Config {
        durable_name: Some("apart".to_owned()),
        ack_policy: AckPolicy::Explicit,
        headers_only: true,
        filter_subject: world.bus.subjects().ready(&lane).to_string(),
        ..pull::Config::default()
    };
    js.create_consumer_on_stream(config, "ROTA_READY")
        .await
        .expect("a consumer");
    let inbox = stranger.new_inbox();
    let mut answers = stranger.subscribe(inbox.clone()).await.expect("subscribed");
    let request = r#"{"batch":3,"expires":2000000000,"max_bytes":4000}"#;
    let subject = "$JS.API.CONSUMER.MSG.NEXT.ROTA_READY.apart";
    stranger
        .publish_with_reply(subject, inbox, request.into())
        .await
        .expect("pulled");
    for _ in 0..3 {
        let message = next(&mut answers).await;
        assert_eq!(message.status, None, "{:?}", message.description);
        let map = message.headers.expect("headers");
        assert_eq!(map.get("Nats-Msg-Size").map(|v| v.as_str()), Some("921600"));
        assert!(message.payload.is_empty());
    }
}

#[tokio::test]
async fn small_messages_come_in_order_however_small_the_server_keeps_its_messages() {
    let options = ServerOptions {
        max_payload: Some(64 * 1024),
        ..ServerOptions::default()
    };
    let world = World::start_with(options).await;
    let lane = lane("echo");
    let mut reader = world.bus.lane_reader().await.expect("a reader");
    world.open(&mut reader, &lane).await;
    let input = |number: usize| Bytes::from(vec![b'x'; 1 + number * 97 % 60_000]);
    for number in 0..200 {
        world.put(&lane, &format!("t{number}"), input(number)).await;
    }
    reader.pull(&lane, 200).await.expect("pulled");
    for number in 0..200 {
        let LaneEvent::Delivered(delivered) = event(&mut reader).await else {
            panic!("no message");
        };
        assert_eq!(delivered.delivery.seq, number as u64 + 1);
        assert_eq!(delivered.input, Input::Inline(input(number)));
        assert_eq!(delivered.pending, 199 - number as u64);
    }
    assert_eq!(reader.outstanding_bytes(), 0);
}

#[tokio::test]
async fn an_empty_lane_says_so_and_one_whose_consumer_vanishes_says_that() {
    let world = World::start().await;
    let (empty, doomed) = (lane("empty"), lane("doomed"));
    let mut reader = world.bus.lane_reader().await.expect("a reader");
    for lane in [&empty, &doomed] {
        world.open(&mut reader, lane).await;
    }
    reader.pull(&empty, 7).await.expect("pulled");
    let ended = event(&mut reader).await;
    assert!(
        matches!(&ended, LaneEvent::PullEnded { lane, unused: 7, end: PullEnd::Nothing } if *lane == empty),
        "{ended:?}"
    );
    // Nobody is told who has no pull there.
    let js = jetstream::new(world.stranger().await);
    js.delete_consumer_from_stream("lane_doomed_5", "ROTA_READY")
        .await
        .expect("deleted");
    reader.pull(&doomed, 3).await.expect("pulled");
    let cut = event(&mut reader).await;
    assert!(
        matches!(
            cut,
            LaneEvent::PullEnded {
                unused: 3,
                end: PullEnd::Cut,
                ..
            }
        ),
        "{cut:?}"
    );
    let gone = event(&mut reader).await;
    assert!(
        matches!(&gone, LaneEvent::Gone { lane } if *lane == doomed),
        "{gone:?}"
    );
    assert_eq!(reader.outstanding_bytes(), 0);
}

#[tokio::test]
async fn a_lane_is_closed_only_when_nothing_of_it_is_held() {
    let world = World::start().await;
    let (mail, report) = (lane("mail"), lane("report"));
    for lane in [&mail, &report] {
        world.put(lane, "a", "x".into()).await;
        world.put(lane, "b", "x".into()).await;
    }
    assert_eq!(
        world.bus.lanes_of(&mail.kind).await.expect("told"),
        std::slice::from_ref(&mail)
    );
    let mut reader = world.bus.lane_reader().await.expect("a reader");
    world.open(&mut reader, &mail).await;
    assert_eq!(
        world.bus.existing_lanes().await.expect("told"),
        std::slice::from_ref(&mail)
    );
    reader.pull(&mail, 1).await.expect("pulled");
    let LaneEvent::Delivered(first) = event(&mut reader).await else {
        panic!("no message");
    };
    reader.remove(&mail);
    let close = || world.bus.close_lane(&mail);
    assert_eq!(close().await.expect("an answer"), Closed::InUse);
    assert_eq!(world.bus.lane_unacked(&mail).await.expect("told"), Some(1));
    // After a reset nothing is in anybody's hands, but what was is owed again.
    let opened = world.bus.open_lane(&mail).await.expect("opened");
    assert_eq!((opened.unacked, opened.delivered_to), (1, 1));
    assert_eq!(close().await.expect("an answer"), Closed::InUse);
    reader.add(mail.clone(), &opened);
    reader.pull(&mail, 1).await.expect("pulled");
    let LaneEvent::Delivered(again) = event(&mut reader).await else {
        panic!("no message");
    };
    assert_eq!(again.delivery.seq, first.delivery.seq);
    world.bus.ack(&again.ack).await.expect("acked");
    world.bus.flush().await.expect("received");
    reader.remove(&mail);
    let deadline = Instant::now() + LIMIT;
    while close().await.expect("an answer") == Closed::InUse {
        assert!(Instant::now() < deadline, "it is never closed");
    }
    assert_eq!(world.bus.existing_lanes().await.expect("told"), []);
    assert_eq!(close().await.expect("an answer"), Closed::Yes, "it was");
    // What waits in it is there for who opens it again.
    world.open(&mut reader, &mail).await;
    reader.pull(&mail, 9).await.expect("pulled");
    let LaneEvent::Delivered(second) = event(&mut reader).await else {
        panic!("no message");
    };
    assert_eq!(second.delivery.count, 1);
    assert!(second.delivery.seq > first.delivery.seq);
}

#[tokio::test]
async fn what_comes_of_a_lane_that_was_taken_off_is_given_back() {
    let world = World::start().await;
    let lane = lane("mail");
    let mut reader = world.bus.lane_reader().await.expect("a reader");
    world.open(&mut reader, &lane).await;
    reader.pull(&lane, 1).await.expect("pulled");
    world.bus.flush().await.expect("received");
    reader.remove(&lane);
    world.put(&lane, "a", "x".into()).await;
    // It has come to this reader; another takes the lane over as it is.
    let mut other = world.bus.lane_reader().await.expect("a reader");
    let opened = rota_bus::Opened {
        unacked: 0,
        delivered_to: 0,
        inputs: rota_bus::LaneInputs::Along,
    };
    other.add(lane.clone(), &opened);
    other.pull(&lane, 1).await.expect("pulled");
    let delivered = tokio::select! {
        told = reader.next() => panic!("{told:?}"),
        delivered = event(&mut other) => delivered,
    };
    assert!(matches!(delivered, LaneEvent::Delivered(d) if d.delivery.count == 2));
}

#[tokio::test]
async fn a_message_that_is_not_there_any_more_is_nothing_and_no_error() {
    let world = World::start().await;
    let seq = world.put(&lane("mail"), "a", "x".into()).await;
    assert!(world.bus.ready_message(seq).await.expect("told").is_some());
    let js = jetstream::new(world.stranger().await);
    let stream = js.get_stream("ROTA_READY").await.expect("a stream");
    stream.purge().await.expect("purged");
    assert!(world.bus.ready_message(seq).await.expect("told").is_none());
    let id = TaskId::parse("a").expect("good");
    assert_eq!(world.bus.ready_input(seq, &id).await.expect("told"), None);
    assert!(
        world
            .bus
            .ready_message(seq + 9)
            .await
            .expect("told")
            .is_none()
    );
}

#[tokio::test]
async fn a_task_that_runs_for_long_does_not_come_again() {
    let world = World::start().await;
    world.bus.open_lane(&lane("mail")).await.expect("opened");
    let js = jetstream::new(world.stranger().await);
    let stream = js.get_stream("ROTA_READY").await.expect("a stream");
    let info = stream.consumer_info("lane_mail_5").await.expect("told");
    assert_eq!(info.config.ack_wait.as_secs(), 24 * 3_600);
}

/// As after a crash in which the server forgot that it had deleted them.
#[tokio::test]
async fn messages_that_no_consumer_brings_are_found_and_can_be_queued_again() {
    let world = World::start().await;
    let lane = lane("a");
    let mut reader = world.bus.lane_reader().await.expect("the server is there");
    world.open(&mut reader, &lane).await;
    for number in 1..=3 {
        world
            .put(&lane, &format!("t{number}"), Bytes::from_static(b"input"))
            .await;
    }
    let none = world.bus.lane_stray(&lane, 1, Span::default()).await;
    assert!(none.expect("the server answers").is_none(), "they wait");
    let stranger = world.stranger().await;
    let reset = stranger
        .request(
            "$JS.API.CONSUMER.RESET.ROTA_READY.lane_a_5",
            r#"{"seq":4}"#.into(),
        )
        .await
        .expect("the server answers");
    assert!(
        !reset.payload.windows(5).any(|part| part == b"error"),
        "{reset:?}"
    );
    let young = world.bus.lane_stray(&lane, 1, Span::from_secs(60)).await;
    assert!(young.expect("the server answers").is_none(), "too young");
    let stray = async |from| {
        let found = world.bus.lane_stray(&lane, from, Span::default()).await;
        found.expect("the server answers").expect("there is one")
    };
    let first = stray(1).await;
    assert_eq!(first.seq, 1);
    world.bus.delete_stray(&first).await.expect("it is deleted");
    world
        .bus
        .delete_stray(&first)
        .await
        .expect("it was deleted before");
    let second = stray(1).await;
    assert_eq!((second.seq, stray(3).await.seq), (2, 3));
    for _ in 0..2 {
        let again = world
            .bus
            .requeue_stray(&lane, &second, second.headers.clone())
            .await;
        again.expect("it is stored");
    }
    let waiting = world.bus.lane_stray(&lane, 1, Span::default()).await;
    assert!(
        waiting.expect("the server answers").is_none(),
        "the copy waits"
    );
    reader.pull(&lane, 5).await.expect("it is asked");
    match event(&mut reader).await {
        LaneEvent::Delivered(copy) => assert_eq!(copy.delivery.seq, 4),
        other => panic!("{other:?}"),
    }
    match event(&mut reader).await {
        LaneEvent::PullEnded { unused, .. } => assert_eq!(unused, 4, "one copy was stored"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_delivery_that_nobody_has_any_more_is_called_back() {
    let world = World::start().await;
    let lane = lane("a");
    let mut reader = world.bus.lane_reader().await.expect("the server is there");
    let unopened = world.bus.lost_delivery(&lane, 1).await;
    assert_eq!(unopened.expect("the server answers"), None);
    world.open(&mut reader, &lane).await;
    for number in 1..=3 {
        world
            .put(&lane, &format!("t{number}"), Bytes::from_static(b"input"))
            .await;
    }
    let mut delivered = async |count| {
        reader.pull(&lane, count).await.expect("it is asked");
        let mut found = Vec::new();
        for _ in 0..count {
            match event(&mut reader).await {
                LaneEvent::Delivered(delivered) => found.push(*delivered),
                other => panic!("{other:?}"),
            }
        }
        found
    };
    let first = delivered(2).await;
    world.bus.ack(&first[0].ack).await.expect("it is sent");
    // The first was acked and the third not handed out: only the second comes again, before the third.
    for seq in [1, 3, 2] {
        let lost = world.bus.lost_delivery(&lane, seq).await;
        let lost = lost.expect("the server answers").expect("it is open");
        world.bus.nak(&lost).await.expect("it is sent");
    }
    world.bus.flush().await.expect("the server has it");
    let again: Vec<_> = delivered(2).await.iter().map(|d| d.delivery).collect();
    let delivery = |seq, count| rota_wire::Delivery { seq, count };
    assert_eq!(again, [delivery(2, 2), delivery(3, 1)]);
    // What lies there is what is not acked.
    let mut left = Vec::new();
    while let Some(message) = world
        .bus
        .lane_message(&lane, left.last().map_or(1, |seq| seq + 1))
        .await
        .expect("the server answers")
    {
        assert_eq!(message.input_bytes(), 5);
        left.push(message.seq);
    }
    assert_eq!(left, [2, 3]);
}
