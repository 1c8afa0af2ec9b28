//! Core messages: interest, requests, and nobody there.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_hears_is_answered_at_once() {
    let rig = Rig::new();
    let answer = rig
        .client
        .request("nobody", None, "".into())
        .await
        .expect("an answer");
    assert_eq!(status(&answer).0, 503);
    rig.say("nobody", "no answer is wanted");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_answer_is_silence_and_one_that_left_is_not() {
    let rig = Rig::new();
    let mut other = rig.server.connect("other").0.subscribe("there");
    let asking = rig.client.request("there", None, "hello".into());
    assert!(timeout(SOON, asking).await.is_err(), "silence");
    assert_eq!(&now(&mut other).payload[..], b"hello");
    drop(other);
    let answer = rig
        .client
        .request("there", None, "".into())
        .await
        .expect("an answer");
    assert_eq!(status(&answer).0, 503);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_to_one_who_is_cut_off_is_lost_and_its_subscriptions_come_back() {
    let rig = Rig::new();
    let (other, mut link) = rig.server.connect("other");
    let mut messages = other.subscribe("there");
    let id = rig.server.client("other").expect("it is connected");
    rig.server.cut(id, Duration::from_millis(100));
    assert!(!link.borrow_and_update().up);
    rig.say("there", "lost");
    other.publish("back", None, None, "sent while cut off".into());
    let mut back = rig.client.subscribe("back");
    link.changed().await.expect("it connects again");
    assert!(link.borrow().up && link.borrow().breaks == 1);
    rig.say("there", "heard");
    assert_eq!(&now(&mut messages).payload[..], b"heard");
    assert_eq!(&now(&mut back).payload[..], b"sent while cut off");
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_still_is_there_and_finds_all_that_came() {
    let rig = Rig::new();
    let (other, _) = rig.server.connect("other");
    let mut messages = other.subscribe("there");
    let id = rig.server.client("other").expect("it is connected");
    rig.server.hold(id);
    let asking = rig.client.request("there", None, "1".into());
    assert!(timeout(SOON, asking).await.is_err(), "not gone");
    assert!(nothing(&mut messages));
    rig.server.let_go(id);
    pause(5).await;
    assert_eq!(&now(&mut messages).payload[..], b"1");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_is_heard_of_at_once() {
    let rig = Rig::new();
    let (other, _) = rig.server.connect("other");
    let _messages = other.subscribe("there");
    rig.server
        .close(rig.server.client("other").expect("it is connected"));
    let answer = rig
        .client
        .request("there", None, "".into())
        .await
        .expect("an answer");
    assert_eq!(status(&answer).0, 503);
}
