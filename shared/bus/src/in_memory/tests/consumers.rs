//! Consumers, as the real server was seen to serve them: acks, resets, pulls, counts.

use super::*;

/// A work queue with five messages, and what is pulled from it.
async fn five(config: Value) -> (Rig, Subscriber) {
    let rig = Rig::new();
    rig.work_queue().await;
    rig.consumer("c", config).await;
    for body in ["1", "2", "3", "4", "5"] {
        rig.publish("w.1", &[], body).await;
    }
    let inbox = rig.client.subscribe("in");
    (rig, inbox)
}

fn plain() -> Value {
    json!({"durable_name": "c", "ack_policy": "explicit", "filter_subject": "w.1"})
}

#[tokio::test(start_paused = true)]
async fn an_ack_made_of_the_streams_sequence_alone_acks() {
    let (rig, mut inbox) = five(plain()).await;
    rig.pull("c", "in", json!({"batch": 5}));
    let first = now(&mut inbox);
    assert_eq!(
        (numbers(&first), first.subject.as_str()),
        ((1, 1, 1), "w.1")
    );
    assert!(
        reply(&first).ends_with(".4"),
        "four are left: {}",
        reply(&first)
    );
    let asking = rig.client.request("$JS.ACK.W.c.1.2.1.0.0", None, "".into());
    let confirmed = timeout(SOON, asking)
        .await
        .expect("it is confirmed")
        .expect("an answer");
    assert!(confirmed.payload.is_empty() && confirmed.status.is_none());
    let left: Vec<u64> = rig.server.messages("W").iter().map(|m| m.seq).collect();
    assert_eq!(left, [1, 3, 4, 5]);
    let info = rig.info("c").await;
    assert_eq!(
        (&info["num_ack_pending"], &info["num_pending"]),
        (&json!(4), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_ack_changes_nothing_and_is_confirmed() {
    let (rig, mut inbox) = five(plain()).await;
    rig.pull("c", "in", json!({"batch": 1}));
    let ack = reply(&now(&mut inbox));
    for _ in 0..2 {
        let asking = rig.client.request(&ack, None, "+ACK".into());
        assert!(timeout(SOON, asking).await.is_ok());
    }
    assert_eq!(rig.server.messages("W").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_reset_brings_all_that_is_not_acked_again_counted_from_one() {
    let (rig, mut inbox) = five(plain()).await;
    rig.pull("c", "in", json!({"batch": 4}));
    let deliveries: Vec<Message> = (0..4).map(|_| now(&mut inbox)).collect();
    rig.say(&reply(&deliveries[0]), "");
    rig.say(&reply(&deliveries[2]), "");
    rig.call("CONSUMER.RESET.W.c", json!({})).await;
    let stale = reply(&deliveries[1]);
    let late = rig.client.request(&stale, None, "".into());
    assert!(
        timeout(SOON, late).await.is_err(),
        "dropped without an answer"
    );
    rig.pull("c", "in", json!({"batch": 9}));
    let again: Vec<_> = (0..3).map(|_| numbers(&now(&mut inbox))).collect();
    let counted: Vec<_> = again.iter().map(|(count, seq, _)| (*count, *seq)).collect();
    assert_eq!(counted, [(1, 2), (1, 4), (1, 5)]);
    rig.say(&reply(&deliveries[1]), "");
    let left: Vec<u64> = rig.server.messages("W").iter().map(|m| m.seq).collect();
    assert_eq!(left, [4, 5], "an old ack is good once it has come again");
}

#[tokio::test(start_paused = true)]
async fn a_reset_leaves_pulls_waiting_whosever_they_are() {
    let (rig, mut inbox) = five(plain()).await;
    rig.pull("c", "in", json!({"batch": 5}));
    for _ in 0..5 {
        now(&mut inbox);
    }
    let mut old = rig.client.subscribe("old");
    rig.pull("c", "old", json!({"batch": 1}));
    rig.call("CONSUMER.RESET.W.c", json!({})).await;
    assert_eq!(numbers(&now(&mut old)), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_one_consumer_leaves_others_alone() {
    let (rig, mut inbox) = five(plain()).await;
    rig.consumer("d", json!({"filter_subject": "w.2"})).await;
    rig.publish("w.2", &[], "other").await;
    rig.pull("d", "in", json!({"batch": 1}));
    assert_eq!(numbers(&now(&mut inbox)), (1, 6, 1));
    rig.call("CONSUMER.RESET.W.c", json!({})).await;
    assert_eq!(rig.info("d").await["num_ack_pending"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_nak_brings_it_again_before_all_new_and_counts() {
    let (rig, mut inbox) = five(plain()).await;
    rig.pull("c", "in", json!({"batch": 2}));
    let (first, second) = (now(&mut inbox), now(&mut inbox));
    rig.say("$JS.ACK.W.c.1.2.2.0.0", "-NAK");
    rig.say(&reply(&first), "-NAK {\"delay\":1000000000}");
    rig.pull("c", "in", json!({"batch": 2}));
    assert_eq!(numbers(&now(&mut inbox)), (2, 2, 3));
    assert_eq!(numbers(&now(&mut inbox)), (1, 3, 4));
    rig.pull("c", "in", json!({"batch": 1, "expires": 3_000_000_000_u64}));
    assert_eq!(numbers(&now(&mut inbox)), (1, 4, 5));
    rig.pull("c", "in", json!({"batch": 1}));
    rig.pull("c", "in", json!({"batch": 1}));
    assert_eq!(numbers(&now(&mut inbox)), (1, 5, 6));
    assert!(nothing(&mut inbox));
    pause(1_002).await;
    assert_eq!(numbers(&now(&mut inbox)), (2, 1, 7), "after its pause");
    rig.say(&reply(&second), "-NAK");
    rig.pull("c", "in", json!({"batch": 1}));
    assert_eq!(numbers(&now(&mut inbox)).0, 3, "an old nak is honoured too");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_comes_again_after_the_ack_wait() {
    let mut config = plain();
    config["ack_wait"] = json!(2_000_000_000_u64);
    let (rig, mut inbox) = five(config).await;
    rig.pull("c", "in", json!({"batch": 2}));
    let (first, _) = (now(&mut inbox), now(&mut inbox));
    pause(1_500).await;
    rig.say(&reply(&first), "+WPI");
    rig.pull("c", "in", json!({"batch": 9}));
    for _ in 0..3 {
        now(&mut inbox);
    }
    pause(510).await;
    assert_eq!(
        numbers(&now(&mut inbox)).1,
        2,
        "the one at which nobody works"
    );
    assert!(nothing(&mut inbox));
}

#[tokio::test(start_paused = true)]
async fn a_pull_ends_with_a_status_that_says_why() {
    let (rig, mut inbox) = five(plain()).await;
    rig.pull("c", "in", json!({"batch": 3, "max_bytes": 8}));
    assert_eq!(numbers(&now(&mut inbox)).1, 1);
    assert_eq!(numbers(&now(&mut inbox)).1, 2);
    rig.pull("c", "in", json!({"batch": 1, "max_bytes": 2}));
    assert_eq!(
        status(&now(&mut inbox)),
        (409, "Message Size Exceeds MaxBytes")
    );
    rig.pull("c", "in", json!({"batch": 9, "expires": 1_000_000_000_u64}));
    for _ in 0..3 {
        now(&mut inbox);
    }
    pause(1_002).await;
    let end = now(&mut inbox);
    assert_eq!(status(&end), (408, "Request Timeout"));
    let left = end
        .headers
        .as_ref()
        .and_then(|h| h.get("Nats-Pending-Messages"));
    assert_eq!(left.map(|v| v.as_str()), Some("6"));
    rig.pull("c", "in", json!({"batch": 1, "no_wait": true}));
    assert_eq!(status(&now(&mut inbox)), (404, "No Messages"));
    rig.pull("c", "in", json!({"batch": 1}));
    rig.call("CONSUMER.DELETE.W.c", Value::Null).await;
    assert_eq!(status(&now(&mut inbox)), (409, "Consumer Deleted"));
    rig.pull("c", "in", json!({"batch": 1}));
    assert_eq!(status(&now(&mut inbox)).0, 503);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_with_headers_only_tells_the_size() {
    let mut config = plain();
    config["headers_only"] = json!(true);
    let (rig, mut inbox) = five(config).await;
    rig.pull("c", "in", json!({"batch": 1}));
    let message = now(&mut inbox);
    let size = message
        .headers
        .as_ref()
        .and_then(|h| h.get("Nats-Msg-Size"));
    assert_eq!(size.map(|v| v.as_str()), Some("1"));
    assert!(message.payload.is_empty());
    rig.consumer("c", plain()).await;
    rig.pull("c", "in", json!({"batch": 1}));
    assert_eq!(&now(&mut inbox).payload[..], b"2", "it can be switched");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_handed_out_than_may_be_pending_but_for_what_comes_again() {
    let mut config = plain();
    config["max_ack_pending"] = json!(2);
    let (rig, mut inbox) = five(config).await;
    rig.pull("c", "in", json!({"batch": 5}));
    let first = now(&mut inbox);
    now(&mut inbox);
    assert!(nothing(&mut inbox));
    rig.say(&reply(&first), "-NAK");
    assert_eq!(numbers(&now(&mut inbox)), (2, 1, 3));
    rig.say(&reply(&first), "");
    assert_eq!(numbers(&now(&mut inbox)).1, 3);
}

#[tokio::test(start_paused = true)]
async fn two_consumers_of_a_work_queue_may_not_share_a_subject() {
    let (rig, _inbox) = five(plain()).await;
    let body = json!({"stream_name": "W", "config": {"filter_subject": "w.1"}});
    let answer = rig.call("CONSUMER.CREATE.W.d", body).await;
    assert_eq!(answer["error"]["err_code"], 10_100);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_deleted_is_nobodys_any_more() {
    let (rig, mut inbox) = five(plain()).await;
    rig.pull("c", "in", json!({"batch": 1}));
    now(&mut inbox);
    rig.call("STREAM.PURGE.W", json!({"filter": "w.1"})).await;
    let info = rig.info("c").await;
    assert_eq!(
        (&info["num_ack_pending"], &info["num_pending"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_pull_whose_sender_left_takes_no_messages() {
    let (rig, inbox) = five(plain()).await;
    for _ in 0..5 {
        rig.pull("c", "in", json!({"batch": 1}));
    }
    drop(inbox);
    rig.pull("c", "in", json!({"batch": 1}));
    rig.publish("w.1", &[], "6").await;
    let mut other = rig.client.subscribe("other");
    rig.pull("c", "other", json!({"batch": 1}));
    assert_eq!(numbers(&now(&mut other)).1, 6);
}
