//! Bad submissions, garbage between the services, unfit servers and configurations: each has a clear outcome,
//! and nothing else is disturbed.

use std::fs;
use std::time::Duration;

use rota_bus::StreamName;
use rota_local::{JetStream, NatsServer, ServerOptions};
use rota_tests::{Installation, LIMIT, Process, RawClient, Service, wait_for};
use rota_wire::TaskId;
use rota_wire::result::FinalState;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Wrong use: a restart does not help.
const USAGE: i32 = 64;
/// Something that is needed is not there: a restart may help.
const UNAVAILABLE: i32 = 69;

#[tokio::test]
async fn a_submission_that_breaks_a_rule_is_rejected_with_header_value_and_rule() {
    let (rota, _head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--builtin"]);
    let mut client = rota.raw();
    let long = "x".repeat(65);
    for (header, value, rule) in [
        ("Rota-Priority", "10", "0 to 9"),
        ("Rota-Priority", "high", "0 to 9"),
        ("Rota-Timeout", "soon", "a span"),
        ("Rota-Timeout", "-1s", "a span"),
        ("Rota-Attempts", "0", "from 1 to 1000"),
        ("Rota-Backoff", "5m..1s", "first wait and its cap"),
        ("Rota-Urgency", "1", "Rota-Priority"),
        ("Nats-Msg-Id", "1234", "not all digits"),
        ("Nats-Msg-Id", "a.b", "A-Z a-z 0-9 _ -"),
        ("Nats-Msg-Id", &long, "1 to 64"),
    ] {
        let sequence = client.store("rota.submit.echo", &[(header, value)], b"x");
        let (result, output) = rota.result(&TaskId::from_sequence(sequence)).await;
        assert_eq!(result.state, FinalState::Rejected, "{header}: {value}");
        assert_eq!((result.attempts, output.len()), (0, 0));
        let reason = result.reason.unwrap();
        for text in [header, value, rule] {
            assert!(reason.contains(text), "{text:?} is not in {reason:?}");
        }
    }
    let id = rota.submit("echo", &[], "fine").await;
    rota.completed(&[id]).await;
    rota.until_settled(11, LIMIT).await;
}

#[tokio::test]
async fn a_kind_with_odd_characters_is_rejected_and_named() {
    let (rota, _head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--builtin"]);
    let mut client = rota.raw();
    let long = "k".repeat(65);
    for kind in ["Echo", "echo.more", "écho", "a+b", "a/b", "$x", &long] {
        let sequence = client.store(&format!("rota.submit.{kind}"), &[], b"x");
        let (result, _) = rota.result(&TaskId::from_sequence(sequence)).await;
        assert_eq!(
            (result.state, result.kind.as_str()),
            (FinalState::Rejected, kind)
        );
        let reason = result.reason.unwrap();
        let told = reason.contains("kind") && reason.contains(kind);
        assert!(told && reason.contains("a-z 0-9 _ -"), "{reason}");
    }
    let id = rota.submit("echo", &[], "fine").await;
    rota.completed(&[id]).await;
    rota.until_settled(8, LIMIT).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_rejected_and_one_at_the_limit_runs() {
    let options = ServerOptions {
        max_payload: Some(4 * 1024 * 1024),
        ..ServerOptions::default()
    };
    let rota = Installation::start_on(options).await;
    let _submitter = rota.run(Service::Submitter, &["--body-max", "2000000"]);
    let _scheduler = rota.run(Service::Scheduler, &[]);
    let _worker = rota.worker("w", &["--builtin"]);
    let over = rota.submit("sha256", &[], vec![7; 2_000_001]).await;
    let (result, _) = rota.result(&over).await;
    assert_eq!(result.state, FinalState::Rejected);
    let reason = result.reason.unwrap();
    for text in ["body", "2000001 bytes", "at most 2000000 bytes"] {
        assert!(reason.contains(text), "{text:?} is not in {reason:?}");
    }
    let at = rota.submit("sha256", &[], vec![7; 2_000_000]).await;
    rota.completed(&[at]).await;
    rota.until_settled(2, LIMIT).await;
}

#[tokio::test]
async fn garbage_on_every_internal_subject_disturbs_nobody() {
    let (rota, head) = Installation::start_with_head().await;
    let [submitter, scheduler] = head;
    let monitor = rota.run(Service::Monitor, &[]);
    let worker = rota.worker("w", &["--builtin"]);
    let id = rota.submit("echo", &[], "before").await;
    let worker_id = rota.completed(&[id]).await[0].worker.clone().unwrap();
    let subjects = [
        format!("rota.worker.{worker_id}.heartbeat"),
        format!("rota.worker.{worker_id}.report"),
        format!("rota.worker.{worker_id}.assign"),
        "rota.worker.stranger.heartbeat".to_owned(),
        "rota.worker.stranger.report".to_owned(),
        "rota.scheduler.roll".to_owned(),
        "rota.scheduler.lane.echo.5".to_owned(),
        "rota.scheduler.lane.x.y".to_owned(),
        "rota.events.scheduler".to_owned(),
        "rota.events.stranger".to_owned(),
        "rota.ready.echo.5".to_owned(),
        "rota.ready.UPPER.99".to_owned(),
        "rota.due.echo.5".to_owned(),
        "rota.due.odd".to_owned(),
    ];
    let mut client = rota.raw();
    for subject in &subjects {
        for bytes in garbage() {
            client.publish(subject, &bytes);
        }
    }
    client.flush();
    let ids = rota.submit_many("echo", &[], "after", 100).await;
    rota.completed(&ids).await;
    wait_for("the queues are cleared of garbage", LIMIT, async || {
        let mut left = Vec::new();
        for (kind, stream) in [("ready", StreamName::Ready), ("due", StreamName::Schedule)] {
            left.push((kind, rota.state(stream).await.unwrap().messages));
        }
        // In a lane that cannot be one nobody looks: it is left to who put it there.
        let stray = garbage().len() as u64;
        if left == [("ready", stray), ("due", 0)] {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    for mut process in [submitter, scheduler, monitor, worker] {
        assert!(process.try_exited().is_none(), "{:?}", process.log().last());
    }
}

/// Two bytes are enough for a roll call of a term that nobody has won.
#[tokio::test]
async fn a_roll_call_of_a_term_that_never_was_does_not_turn_the_workers_from_their_leader() {
    let (rota, head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--builtin"]);
    head[1].until_said("roll called", LIMIT).await;
    let mut client = rota.raw();
    client.publish("rota.scheduler.roll", &[1, 100]);
    client.flush();
    let ids = rota.submit_many("echo", &[], "after", 10).await;
    rota.completed(&ids).await;
    rota.until_settled(10, LIMIT).await;
}

/// Bytes that are no frame: nothing, other versions, the right version with nonsense, and a lot of it.
fn garbage() -> Vec<Vec<u8>> {
    let noise = |count: usize, first: u8| {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut bytes = vec![first];
        bytes.resize_with(count, || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        bytes
    };
    vec![
        Vec::new(),
        vec![0],
        vec![1],
        vec![1; 3],
        vec![
            1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
        noise(100, 1),
        noise(100, 255),
        noise(100_000, 1),
        b"{\"json\": true}".to_vec(),
    ]
}

#[tokio::test]
async fn a_stream_with_other_settings_stops_every_service_and_is_named_with_its_field() {
    let server = NatsServer::start(ServerOptions::default()).await.unwrap();
    let settings = json!({
        "name": "ROTA_READY", "subjects": ["rota.ready.*.*"], "retention": "limits",
        "storage": "file", "num_replicas": 1, "allow_direct": true, "discard": "new",
    });
    RawClient::connect(server.port()).api("$JS.API.STREAM.CREATE.ROTA_READY", &settings);
    for service in Service::ALL {
        let told = refusal(service, &server.url(), USAGE).await;
        for text in ["ROTA_READY", "retention", "limits", "workqueue"] {
            assert!(
                told.contains(text),
                "{service:?}: {text:?} is not in {told:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_its_version_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(be_an_old_server(client));
        }
    });
    for service in Service::ALL {
        let told = refusal(service, &url, UNAVAILABLE).await;
        for text in ["2.9.0", "too old", "2.14"] {
            assert!(
                told.contains(text),
                "{service:?}: {text:?} is not in {told:?}"
            );
        }
    }
}

async fn be_an_old_server(client: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = client.into_split();
    let info = json!({
        "server_id": "OLD", "server_name": "old", "version": "2.9.0", "go": "go1.19", "proto": 1,
        "host": "127.0.0.1", "port": 4222, "headers": true, "jetstream": true,
        "max_payload": 1_048_576, "client_id": 1, "client_ip": "127.0.0.1",
    });
    writer
        .write_all(format!("INFO {info}\r\n").as_bytes())
        .await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "PING" {
            writer.write_all(b"PONG\r\n").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused_with_what_to_do() {
    let options = ServerOptions {
        jetstream: JetStream::Off,
        ..ServerOptions::default()
    };
    let server = NatsServer::start(options).await.unwrap();
    for service in Service::ALL {
        let told = refusal(service, &server.url(), UNAVAILABLE).await;
        assert!(
            told.contains("no JetStream") && told.contains("-js"),
            "{service:?}: {told}"
        );
    }
}

#[tokio::test]
async fn a_login_in_the_address_is_used_and_one_that_is_wrong_is_refused_without_being_shown() {
    let options = ServerOptions {
        extra: vec![r#"authorization { user: me, password: "se@cret" }"#.to_owned()],
        ..ServerOptions::default()
    };
    let server = NatsServer::start(options).await.unwrap();
    let host = server.url().replace("nats://", "");
    for service in Service::ALL {
        for login in ["", "me:guess@", "token@"] {
            let url = format!("nats://{login}{host}");
            let told = refusal(service, &url, UNAVAILABLE).await;
            assert!(
                told.contains("refuses this login") && told.contains("--creds"),
                "{service:?}: {told}"
            );
            assert!(!told.contains("guess"), "{service:?}: {told}");
        }
    }
    let url = format!("nats://me:se%40cret@{host}");
    let monitor = Process::start(Service::Monitor, "monitor", &url, &[]);
    monitor.until_said("ready", LIMIT).await;
    assert_eq!(monitor.said("cret"), 0, "{:?}", monitor.log());
}

#[tokio::test]
async fn all_faults_of_a_handlers_file_are_told_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("handlers.toml");
    let text = "[handlers.good]\ncommand = [\"true\"]\ntimeuot = \"5s\"\n\
                [handlers.Bad]\ncommand = [\"true\"]\nconcurrency = 0\n";
    fs::write(&file, text).unwrap();
    // Nobody listens there: the file is looked at first.
    let flags = ["--handlers", file.to_str().unwrap()];
    let mut worker = Process::start(Service::Worker, "worker", "nats://127.0.0.1:1", &flags);
    let status = worker.exited(LIMIT).await;
    let told = worker.log().join("\n");
    assert_eq!(status.code(), Some(USAGE), "{told}");
    for text in [
        "handlers.good.timeuot",
        "unknown key",
        "handlers.Bad",
        "concurrency",
    ] {
        assert!(told.contains(text), "{text:?} is not in {told:?}");
    }
}

/// Starts a service that must end by itself, soon and with this code, and gives what it said.
async fn refusal(service: Service, url: &str, code: i32) -> String {
    let flags: &[&str] = if service == Service::Worker {
        &["--builtin"]
    } else {
        &[]
    };
    let mut process = Process::start(service, "refused", url, flags);
    let status = process.exited(Duration::from_secs(20)).await;
    let told = wait_for("its last words", LIMIT, async || {
        let told = process.log().join("\n");
        if told.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(told)
        }
    })
    .await;
    assert_eq!(status.code(), Some(code), "{service:?}: {told}");
    told
}
