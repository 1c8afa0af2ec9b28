//! The troubles that the server in memory makes when it is told to.

use super::super::Weather;
use super::*;

async fn delivered(batch: u64) -> (Rig, Subscriber, Vec<Message>) {
    delivered_from(1, batch).await
}

async fn delivered_from(seed: u64, batch: u64) -> (Rig, Subscriber, Vec<Message>) {
    let rig = Rig::from_seed(seed);
    rig.work_queue().await;
    rig.consumer("c", json!({"filter_subject": "w.1"})).await;
    for body in ["1", "2", "3"] {
        rig.publish("w.1", &[], body).await;
    }
    let mut inbox = rig.client.subscribe("in");
    rig.pull("c", "in", json!({"batch": batch}));
    let deliveries = (0..batch.min(3)).map(|_| now(&mut inbox)).collect();
    (rig, inbox, deliveries)
}

#[tokio::test(start_paused = true)]
async fn a_step_down_ends_pulls_and_loses_acks_until_there_is_a_leader() {
    let (rig, mut inbox, deliveries) = delivered(4).await;
    pause(100).await;
    rig.server
        .step_down_consumer("W", "c", Duration::from_millis(300));
    pause(6).await;
    assert_eq!(status(&now(&mut inbox)), (409, "Leadership Change"));
    rig.say(&reply(&deliveries[0]), "");
    rig.pull("c", "in", json!({"batch": 1}));
    assert_eq!(status(&now(&mut inbox)).0, 503);
    pause(310).await;
    assert_eq!(rig.info("c").await["num_ack_pending"], 3, "the ack is lost");
    rig.say(&reply(&deliveries[0]), "");
    assert_eq!(rig.info("c").await["num_ack_pending"], 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_while_the_leader_changes_is_recorded_and_not_sent() {
    let (rig, mut inbox, _) = delivered(2).await;
    rig.server
        .step_down_consumer("W", "c", Duration::from_millis(10));
    rig.pull("c", "in", json!({"batch": 1}));
    assert!(nothing(&mut inbox));
    pause(20).await;
    let info = rig.info("c").await;
    assert_eq!(info["num_ack_pending"], 3);
    assert_eq!(info["delivered"]["stream_seq"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_may_lose_what_was_delivered_just_before_it() {
    let mut forgot = 0;
    for seed in 0..20 {
        let (rig, _inbox, _) = delivered_from(seed, 2).await;
        rig.server.restart(Duration::from_millis(10));
        pause(500).await;
        forgot += u32::from(rig.info("c").await["num_ack_pending"] == 0);
    }
    assert!((3..18).contains(&forgot), "{forgot} of 20");
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_leader_takes_nothing_and_says_so() {
    let (rig, _inbox, _) = delivered(1).await;
    rig.server.step_down_stream("W", Duration::from_millis(100));
    let answer = rig
        .client
        .request("w.1", None, "4".into())
        .await
        .expect("an answer");
    assert_eq!(status(&answer).0, 503);
    let asking = rig.client.request("$JS.API.STREAM.INFO.W", None, "".into());
    assert!(timeout(Duration::from_millis(50), asking).await.is_err());
    pause(100).await;
    assert_eq!(rig.publish("w.1", &[], "4").await["seq"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_store_may_succeed_and_say_that_it_failed() {
    let rig = Rig::new();
    rig.work_queue().await;
    rig.server.set_weather(Weather {
        failed_stores: 1_000,
        ..Weather::default()
    });
    assert_eq!(
        rig.publish("w.1", &[], "").await["error"]["err_code"],
        10_008
    );
    assert_eq!(rig.server.messages("W").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_stored_where_a_stream_listens_to_it() {
    let rig = Rig::new();
    rig.work_queue().await;
    rig.stream("R", json!({"subjects": ["r.*"]})).await;
    let by = rig.server.client("tester").expect("it is connected");
    rig.server.forge("r.1", by, "w.1");
    let forged = rig.server.messages("R");
    assert_eq!(&forged[0].payload[..], br#"{"seq":1,"stream":"W"}"#);
}

#[tokio::test(start_paused = true)]
async fn acks_are_lost_come_twice_or_late() {
    let (rig, _inbox, deliveries) = delivered(3).await;
    let with = |change: fn(&mut Weather)| {
        let mut weather = Weather::default();
        change(&mut weather);
        rig.server.set_weather(weather);
    };
    with(|weather| weather.lost_acks = 1_000);
    rig.say(&reply(&deliveries[0]), "");
    assert_eq!(rig.server.messages("W").len(), 3);
    with(|weather| weather.late_acks = 1_000);
    rig.say(&reply(&deliveries[0]), "");
    assert_eq!(rig.server.messages("W").len(), 3);
    pause(2_100).await;
    assert_eq!(rig.server.messages("W").len(), 2);
    with(|weather| weather.doubled_acks = 1_000);
    rig.say(&reply(&deliveries[1]), "");
    pause(2_100).await;
    assert_eq!(rig.server.messages("W").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_history() {
    async fn history() -> Vec<String> {
        let (rig, _inbox, deliveries) = delivered(3).await;
        rig.server.set_weather(Weather {
            latency_ms: 5,
            lost_acks: 300,
            doubled_acks: 300,
            unanswered_stores: 300,
            ..Weather::default()
        });
        for delivery in &deliveries {
            rig.say(&reply(delivery), "-NAK");
            rig.pull("c", "in", json!({"batch": 1}));
            rig.say("w.1", "more");
        }
        pause(5_000).await;
        let mut lines = Vec::new();
        rig.server
            .read_journal(|entry| lines.push(entry.to_string()));
        lines
    }
    let (one, other) = (history().await, history().await);
    assert!(one.len() > 20, "{}", one.len());
    assert_eq!(one, other);
}
