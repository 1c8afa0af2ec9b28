//! Streams, as the real server was seen to keep them: expectations, duplicates, limits, schedules.

use super::*;

async fn schedules(rig: &Rig) {
    let subjects = json!(["s.at.*", "s.due.*"]);
    let config =
        json!({"subjects": subjects, "retention": "workqueue", "allow_msg_schedules": true});
    rig.stream("S", config).await;
}

fn at(ms: u64) -> String {
    format!("@at {}", Micros(START.0 + ms * 1_000))
}

#[tokio::test(start_paused = true)]
async fn an_id_is_remembered_for_its_window_also_after_the_ack() {
    let rig = Rig::new();
    rig.work_queue().await;
    rig.consumer("c", json!({"ack_wait": 1_000_000_000_u64}))
        .await;
    let id = [("Nats-Msg-Id", "a")];
    assert_eq!(
        rig.publish("w.1", &id, "").await,
        json!({"stream": "W", "seq": 1})
    );
    let mut inbox = rig.client.subscribe("in");
    rig.pull("c", "in", json!({"batch": 1}));
    let ack = reply(&now(&mut inbox));
    rig.say(&ack, "+ACK");
    assert!(rig.server.messages("W").is_empty());
    let again = rig.publish("w.1", &id, "").await;
    assert_eq!(again, json!({"stream": "W", "seq": 1, "duplicate": true}));
    pause(120_000).await;
    assert_eq!(rig.publish("w.1", &id, "").await["seq"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_the_ids_of_messages_that_are_gone() {
    let rig = Rig::new();
    rig.work_queue().await;
    let id = |id| [("Nats-Msg-Id", id)];
    rig.publish("w.1", &id("gone"), "").await;
    rig.publish("w.1", &id("there"), "").await;
    rig.call("STREAM.MSG.DELETE.W", json!({"seq": 1})).await;
    rig.server.restart(Duration::from_millis(50));
    pause(500).await;
    assert_eq!(
        rig.publish("w.1", &id("there"), "").await["duplicate"],
        true
    );
    assert_eq!(rig.publish("w.1", &id("gone"), "").await["seq"], 3);
}

#[tokio::test(start_paused = true)]
async fn the_first_on_a_subject_wins() {
    let rig = Rig::new();
    rig.stream("R", json!({"subjects": ["r.*"], "max_msgs_per_subject": 1}))
        .await;
    let first = [("Nats-Expected-Last-Subject-Sequence", "0")];
    assert_eq!(rig.publish("r.1", &first, "one").await["seq"], 1);
    let refused = rig.publish("r.1", &first, "two").await;
    assert_eq!(refused["error"]["err_code"], 10_071);
    let second = [("Nats-Expected-Last-Subject-Sequence", "1")];
    assert_eq!(rig.publish("r.1", &second, "two").await["seq"], 2);
    let left = rig.server.messages("R");
    assert_eq!(left.len(), 1);
    assert_eq!(&left[0].payload[..], b"two");
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_refuses_or_forgets_the_oldest() {
    let rig = Rig::new();
    rig.stream(
        "N",
        json!({"subjects": ["n"], "max_msgs": 2, "discard": "new"}),
    )
    .await;
    rig.stream(
        "O",
        json!({"subjects": ["o"], "max_msgs": 2, "discard": "old"}),
    )
    .await;
    for _ in 0..2 {
        rig.publish("n", &[], "").await;
        rig.publish("o", &[], "").await;
    }
    assert_eq!(rig.publish("n", &[], "").await["error"]["err_code"], 10_077);
    assert_eq!(rig.publish("o", &[], "").await["seq"], 3);
    assert_eq!(rig.server.messages("O")[0].seq, 2);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_fires_at_its_time_and_leaves_no_trace() {
    let rig = Rig::new();
    schedules(&rig).await;
    let time = at(1_300);
    let headers = [
        ("Nats-Schedule", time.as_str()),
        ("Nats-Schedule-Target", "s.due.a"),
        ("Nats-Msg-Id", "x"),
        ("Rota-Id", "7"),
    ];
    rig.publish("s.at.7", &headers, "input").await;
    pause(1_299).await;
    assert_eq!(rig.server.messages("S")[0].subject, "s.at.7");
    pause(3).await;
    let left = rig.server.messages("S");
    assert_eq!((left.len(), left[0].subject.as_str()), (1, "s.due.a"));
    assert_eq!(left[0].headers.value("Rota-Id"), Some("7"));
    assert_eq!(left[0].headers.value("Nats-Scheduler"), Some("s.at.7"));
    for stripped in ["Nats-Schedule", "Nats-Schedule-Target", "Nats-Msg-Id"] {
        assert_eq!(left[0].headers.value(stripped), None, "{stripped}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_of_the_past_fires_after_250_ms_and_a_newer_one_replaces_it() {
    let rig = Rig::new();
    schedules(&rig).await;
    let (past, later) = (at(0), at(2_000));
    let headers = |time| [("Nats-Schedule", time), ("Nats-Schedule-Target", "s.due.a")];
    rig.publish("s.at.1", &headers(past.as_str()), "one").await;
    rig.publish("s.at.2", &headers(past.as_str()), "replaced")
        .await;
    rig.publish("s.at.2", &headers(later.as_str()), "two").await;
    pause(249).await;
    let due = |rig: &Rig| -> Vec<_> {
        let all = rig.server.messages("S").into_iter();
        all.filter(|m| m.subject == "s.due.a")
            .map(|m| m.payload)
            .collect()
    };
    assert!(due(&rig).is_empty());
    pause(3).await;
    assert_eq!(due(&rig), ["one"]);
    pause(2_000).await;
    assert_eq!(due(&rig), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_due_by_the_servers_wall_clock() {
    let rig = Rig::new();
    schedules(&rig).await;
    let time = at(60_000);
    let headers = [
        ("Nats-Schedule", time.as_str()),
        ("Nats-Schedule-Target", "s.due.a"),
    ];
    rig.publish("s.at.1", &headers, "").await;
    rig.server.step_clock(59_000_000);
    pause(1_003).await;
    assert_eq!(rig.server.messages("S")[0].subject, "s.due.a");
}

#[tokio::test(start_paused = true)]
async fn schedules_are_refused_where_they_cannot_work() {
    let rig = Rig::new();
    schedules(&rig).await;
    let refused = async |headers: &[(&'static str, &str)]| {
        rig.publish("s.at.1", headers, "").await["error"]["err_code"].clone()
    };
    assert_eq!(refused(&[("Nats-Schedule", "soon")]).await, 10_189);
    let elsewhere = [
        ("Nats-Schedule", "@at 2026-12-01T10:00:00Z"),
        ("Nats-Schedule-Target", "x"),
    ];
    assert_eq!(refused(&elsewhere).await, 10_190);
    let config = json!({"subjects": ["d"], "discard": "new", "allow_msg_schedules": true});
    let answer = rig.call("STREAM.CREATE.D", config).await;
    assert!(
        answer["error"]["description"]
            .as_str()
            .expect("a text")
            .contains("discard new")
    );
}

#[tokio::test(start_paused = true)]
async fn old_messages_are_forgotten() {
    let rig = Rig::new();
    rig.stream(
        "K",
        json!({"subjects": ["k.*"], "max_age": 5_000_000_000_u64}),
    )
    .await;
    rig.publish("k.1", &[], "v").await;
    pause(4_999).await;
    let get = async || {
        let answer = rig
            .client
            .request("$JS.API.DIRECT.GET.K.k.1", None, "".into())
            .await;
        status(&answer.expect("an answer")).0
    };
    assert_eq!(get().await, 200);
    pause(2).await;
    assert_eq!(get().await, 404);
}

#[tokio::test(start_paused = true)]
async fn many_subjects_are_read_at_once() {
    let rig = Rig::new();
    rig.stream("R", json!({"subjects": ["r.*"]})).await;
    for (subject, body) in [("r.1", "old"), ("r.1", "one"), ("r.2", "two")] {
        rig.publish(subject, &[], body).await;
    }
    let mut inbox = rig.client.subscribe("in");
    let ask = |subjects: Value| {
        let body = json!({"multi_last": subjects}).to_string();
        rig.client.publish(
            "$JS.API.DIRECT.GET.R",
            Some("in".to_owned()),
            None,
            body.into(),
        );
    };
    ask(json!(["r.1", "r.2", "r.3"]));
    assert_eq!(&now(&mut inbox).payload[..], b"one");
    let two = now(&mut inbox);
    let headers = two.headers.as_ref().expect("headers");
    assert_eq!(headers.get("Nats-Sequence").map(|v| v.as_str()), Some("3"));
    assert_eq!(headers.get("Nats-Subject").map(|v| v.as_str()), Some("r.2"));
    assert_eq!(status(&now(&mut inbox)), (204, "EOB"));
    ask(json!(["r.9"]));
    assert_eq!(status(&now(&mut inbox)), (404, "No Results"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_lags_does_not_show_what_its_leader_has() {
    let rig = Rig::new();
    rig.stream("R", json!({"subjects": ["r.*"]})).await;
    pause(1_000).await;
    rig.publish("r.1", &[], "v").await;
    rig.server.set_weather(crate::in_memory::Weather {
        stale_reads: 1_000,
        ..Default::default()
    });
    let answer = rig
        .client
        .request("$JS.API.DIRECT.GET.R.r.1", None, "".into())
        .await;
    assert_eq!(status(&answer.expect("an answer")).0, 404);
    let leader = rig
        .call("STREAM.MSG.GET.R", json!({"last_by_subj": "r.1"}))
        .await;
    assert_eq!(leader["message"]["seq"], 1);
}
