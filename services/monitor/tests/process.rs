//! The monitor as its watcher sees it: frames go into a real server, lines come out.

// Clippy allows it in test functions, but does not see that what they call are tests too.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rota_bus::{Bus, BusOptions, Expect, Message, Prefix, StreamName, StreamOptions, Subject};
use rota_local::{NatsServer, ServerOptions};
use rota_wire::event::{Counts, Event, EventBatch, RedeliveryCause, TimedEvent};
use rota_wire::fleet::{Heartbeat, Held, KindCapacity, MachineLoad, Stage, WorkerState};
use rota_wire::{
    Delivery, Holding, Kind, Lane, Micros, Priority, Resources, Span, TaskId, Term, WorkerId,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

/// A monitor that sums up five times a second.
struct Monitor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Monitor {
    async fn start(server: &NatsServer, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rota-monitor"))
            .args(["--nats", &server.url(), "--every", "200ms"])
            .args(flags)
            .env_clear()
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut monitor = Self { child, lines };
        monitor.line_with(&["ready"]).await;
        monitor
    }

    /// The next line with all these texts; the lines before it are skipped.
    async fn line_with(&mut self, texts: &[&str]) -> String {
        let (_, line) = self.lines_until(texts).await;
        line
    }

    /// The lines before the one with all these texts, and that one.
    async fn lines_until(&mut self, texts: &[&str]) -> (Vec<String>, String) {
        let mut before = Vec::new();
        let search = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if texts.iter().all(|text| line.contains(text)) {
                    return line;
                }
                before.push(line);
            }
            panic!("the output ended without {texts:?}");
        };
        let found = timeout(DEADLINE, search).await;
        let line = found.unwrap_or_else(|_| panic!("no line with {texts:?} in {before:#?}"));
        (before, line)
    }

    /// What it exits with when it is told to stop.
    async fn end(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        self.line_with(&["watching no more"]).await;
        let ended = timeout(DEADLINE, self.child.wait()).await;
        ended.expect("the process ends in time").unwrap().code()
    }
}

async fn server() -> NatsServer {
    NatsServer::start(ServerOptions::default()).await.unwrap()
}

async fn bus(server: &NatsServer) -> Bus {
    let options = BusOptions {
        servers: server.url(),
        credentials: None,
        name: "test".to_owned(),
        prefix: Prefix::default(),
        inbox_prefix: None,
    };
    let bus = Bus::connect(options).await.unwrap();
    bus.ensure_streams(StreamOptions::default()).await.unwrap();
    bus
}

async fn tell(bus: &Bus, events: Vec<Event>) {
    let timed = |event| TimedEvent {
        at: Micros::now(),
        event,
    };
    let batch = EventBatch {
        events: events.into_iter().map(timed).collect(),
        dropped: 0,
    };
    let subject = bus.subjects().events("scheduler");
    bus.send(Message::frame(subject, &batch)).await.unwrap();
    bus.flush().await.unwrap();
}

async fn store(bus: &Bus, subject: Subject) {
    let message = Message::new(subject, Bytes::from_static(b"input"));
    let storing = bus.store(message, Expect::Nothing).await.unwrap();
    storing.done().await.unwrap();
}

/// Lets ROTA_RESULTS take so many messages, as an operator does it.
fn limit_results(port: u16, messages: u64) -> std::io::Result<()> {
    let mut stream = std::io::BufReader::new(std::net::TcpStream::connect(("127.0.0.1", port))?);
    stream
        .get_mut()
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB raw.inbox 1\r\n")?;
    let mut ask = |call: &str, body: &str| {
        let bytes = body.len();
        let request =
            format!("PUB $JS.API.STREAM.{call}.ROTA_RESULTS raw.inbox {bytes}\r\n{body}\r\n");
        stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        while !line.starts_with("MSG ") {
            line.clear();
            stream.read_line(&mut line)?;
        }
        let bytes: usize = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        let mut answer = vec![0; bytes + 2];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(serde_json::from_slice::<Value>(&answer[..bytes]).unwrap())
    };
    let mut config = ask("INFO", "")?["config"].take();
    config["max_msgs"] = messages.into();
    let answer = ask("UPDATE", &config.to_string())?;
    assert!(answer.get("error").is_none(), "{answer}");
    Ok(())
}

fn kind(text: &str) -> Kind {
    Kind::parse(text).unwrap()
}

fn worker() -> WorkerId {
    WorkerId::parse("w1-x7").unwrap()
}

fn heartbeat(number: u64, running: u64) -> Heartbeat {
    let held = (0..running).map(|seq| Held {
        holding: Holding {
            term: Term(7),
            delivery: Delivery { seq, count: 1 },
        },
        stage: Stage::Running,
        ran: Span::default(),
        task: None,
    });
    Heartbeat {
        worker: worker(),
        number,
        started: Micros::now(),
        // Long, so that it stays while a slow machine runs the test.
        interval: Span::from_secs(20),
        state: WorkerState::Up,
        slots: 8,
        resources: Resources::NONE,
        kinds: vec![KindCapacity {
            kind: kind("echo"),
            concurrency: None,
        }],
        labels: Vec::new(),
        seen: None,
        held: held.collect(),
        machine: MachineLoad {
            cpu_milli: 4_000,
            cpu_busy_permille: Some(630),
            memory_bytes: 1_000,
            memory_available_bytes: Some(590),
            ..MachineLoad::default()
        },
        withdrawn: Vec::new(),
        dialect: rota_wire::Dialect::V2,
    }
}

async fn beat(bus: &Bus, number: u64, running: u64) {
    let subject = bus.subjects().heartbeat(&worker());
    let frame = heartbeat(number, running);
    bus.send(Message::frame(subject, &frame)).await.unwrap();
    bus.flush().await.unwrap();
}

fn lane(name: &str) -> Lane {
    Lane {
        kind: kind(name),
        priority: Priority::default(),
    }
}

fn redelivered(task: u64) -> Event {
    Event::Redelivered {
        task: TaskId::from_sequence(task),
        kind: kind("echo"),
        worker: worker(),
        cause: RedeliveryCause::Lost,
    }
}

fn counted(failed_attempts: u64) -> Event {
    Event::Counted(Counts {
        term: Term(7),
        failed_attempts,
        ..Counts::default()
    })
}

#[tokio::test]
async fn what_happens_becomes_lines_in_their_order() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    let joined = Event::WorkerJoined {
        worker: worker(),
        slots: 8,
        kinds: vec![kind("echo"), kind("report")],
    };
    let lost = Event::WorkerLost {
        worker: worker(),
        silent: Span::from_ms(3_200),
        holding: 1,
    };
    let dead = Event::DeadLettered {
        task: TaskId::from_sequence(18),
        kind: kind("echo"),
        attempts: 5,
        reason: "exit 3".to_owned(),
    };
    let recovered = Event::Recovered {
        term: Term(7),
        adopted: 14,
    };
    let term = Term(7);
    tell(&bus, vec![Event::Leading { term }, recovered, joined, lost]).await;
    tell(&bus, vec![redelivered(17), dead]).await;
    for texts in [
        &["INFO  leader elected term=7"][..],
        &["INFO  leader recovered term=7 adopted=14"],
        &["INFO  worker joined worker=w1-x7 slots=8 kinds=echo,report"],
        &["WARN  worker lost worker=w1-x7 silent_ms=3200 holding=1"],
        &["WARN  redelivered task=17 kind=echo worker=w1-x7 reason=\"worker lost\""],
        &["WARN  dead letter task=18 kind=echo attempts=5 reason=\"exit 3\""],
    ] {
        monitor.line_with(texts).await;
    }
    assert_eq!(monitor.end().await, Some(0));
}

#[tokio::test]
async fn the_summary_tells_rates_queues_and_load_and_changes_nothing() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    tell(&bus, vec![counted(0)]).await;
    beat(&bus, 1, 6).await;
    for _ in 0..3 {
        store(&bus, bus.subjects().ready(&lane("echo"))).await;
    }
    store(&bus, bus.subjects().ready(&lane("report"))).await;
    tell(&bus, vec![counted(2)]).await;
    monitor.line_with(&["failed 2  redelivered 0"]).await;
    let line = monitor
        .line_with(&["waiting echo 3 (oldest ", ", report 1 (", "no worker)"])
        .await;
    let load = "slots 6/8 used 75% free 25%  cpu 63% used  memory 41% used  workers 1";
    assert!(
        line.contains("running 6  ") && line.contains(load),
        "{line}"
    );
    store(&bus, bus.subjects().submit(&kind("echo"))).await;
    let line = monitor.line_with(&["at the door 1"]).await;
    assert!(!line.contains(" in 0/s"), "a submission came: {line}");
    assert_eq!(monitor.end().await, Some(0));
    let left = async |name| bus.stream_state(name).await.unwrap().messages;
    assert_eq!(
        (
            left(StreamName::Ready).await,
            left(StreamName::Intake).await
        ),
        (4, 1)
    );
}

#[tokio::test]
async fn what_a_scheduler_was_given_waits_no_more() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    let lane = lane("echo");
    for _ in 0..3 {
        store(&bus, bus.subjects().ready(&lane)).await;
    }
    monitor.line_with(&["waiting echo 3 (oldest "]).await;
    let opened = bus.open_lane(&lane).await.unwrap();
    let mut reader = bus.lane_reader().await.unwrap();
    reader.add(lane.clone(), &opened);
    reader.pull(&lane, 2).await.unwrap();
    // What is granted follows from what has come.
    for _ in 0..2 {
        timeout(DEADLINE, reader.next()).await.unwrap();
    }
    monitor.line_with(&["waiting echo 1 (oldest "]).await;
    reader.pull(&lane, 1).await.unwrap();
    monitor.line_with(&["waiting 0"]).await;
}

#[tokio::test]
async fn for_machines_the_same_facts_are_numbers() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &["--log-format", "json"]).await;
    let bus = bus(&server).await;
    tell(&bus, vec![Event::Leading { term: Term(7) }, counted(2)]).await;
    beat(&bus, 1, 6).await;
    store(&bus, bus.subjects().ready(&lane("report"))).await;
    let line = monitor
        .line_with(&["\"summary\"", "\"running\":6", "\"waiting\":1"])
        .await;
    let summary: Value = serde_json::from_str(&line).unwrap();
    for (field, number) in [
        ("slots", 8),
        ("slots_used", 6),
        ("slots_used_permille", 750),
        ("slots_free_permille", 250),
        ("cpu_used_permille", 630),
        ("memory_free_permille", 590),
        ("workers", 1),
        ("silent", 0),
        ("term", 7),
    ] {
        assert_eq!(summary[field], number, "{field} of {line}");
    }
    assert!(
        summary["out_per_s"].is_f64() && summary["oldest_ms"].is_u64(),
        "{line}"
    );
    let line = monitor.line_with(&["\"message\":\"waiting\""]).await;
    let waiting: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&waiting["kind"], &waiting["handled"]),
        (&"report".into(), &false.into())
    );
}

#[tokio::test]
async fn a_flood_of_redeliveries_is_twenty_lines_and_a_count() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    tell(&bus, (0..500).map(redelivered).collect()).await;
    let (before, _) = monitor
        .lines_until(&["and 480 more redeliveries of kind echo"])
        .await;
    let told = before
        .iter()
        .filter(|line| line.contains(" redelivered task="));
    assert_eq!(told.count(), 20);
}

#[tokio::test]
async fn garbage_is_told_and_disturbs_nothing() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    let garbage = Bytes::from_static(b"\xffnot a frame");
    for subject in [
        bus.subjects().heartbeat(&worker()),
        bus.subjects().events("scheduler"),
    ] {
        bus.send(Message::new(subject, garbage.clone()))
            .await
            .unwrap();
    }
    monitor
        .line_with(&["WARN", "makes no sense", "subject=rota."])
        .await;
    beat(&bus, 1, 6).await;
    tell(&bus, vec![Event::WorkerLeft { worker: worker() }]).await;
    monitor.line_with(&["worker left worker=w1-x7"]).await;
}

#[tokio::test]
async fn a_heartbeat_in_anothers_name_is_not_believed() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    let other = WorkerId::parse("other").unwrap();
    let forged = Message::frame(bus.subjects().heartbeat(&other), &heartbeat(1, 6));
    bus.send(forged).await.unwrap();
    let told = monitor.line_with(&["WARN", "makes no sense"]).await;
    assert!(told.contains("in the name of w1-x7"), "{told}");
    let line = monitor.line_with(&["running"]).await;
    assert!(
        line.contains("running 0") && line.contains("workers 0"),
        "{line}"
    );
}

#[tokio::test]
async fn results_that_are_forgotten_early_are_warned_of() {
    let server = server().await;
    let bus = bus(&server).await;
    // Only one that is up already takes a stream with a narrower limit.
    let mut monitor = Monitor::start(&server, &[]).await;
    limit_results(server.port(), 10).unwrap();
    for number in 1..=20 {
        let id = TaskId::from_sequence(number);
        store(&bus, bus.subjects().result(&id)).await;
    }
    monitor
        .line_with(&[
            "WARN",
            "ids are remembered for",
            "ROTA_RESULTS is full (max_msgs)",
        ])
        .await;
}

#[tokio::test]
async fn a_server_that_crashes_and_returns_is_waited_for() {
    let mut server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    beat(&bus, 1, 6).await;
    monitor.line_with(&["running 6", "workers 1"]).await;
    server.kill().unwrap();
    monitor
        .line_with(&["WARN  connection to nats-server lost"])
        .await;
    server.start_again().await.unwrap();
    monitor.line_with(&["INFO  connected to nats-server"]).await;
    let line = monitor.line_with(&["running 6"]).await;
    assert!(
        line.contains("workers 1") && !line.contains("silent"),
        "{line}"
    );
    // The test's own connection may return a little later than the monitor's.
    let mut link = bus.link();
    let returned = link.wait_for(|link| link.up && link.breaks > 0);
    timeout(DEADLINE, returned).await.unwrap().unwrap();
    beat(&bus, 2, 3).await;
    monitor.line_with(&["running 3"]).await;
    assert_eq!(monitor.end().await, Some(0));
}

#[tokio::test]
async fn that_no_scheduler_leads_is_told_when_work_waits() {
    let server = server().await;
    let mut monitor = Monitor::start(&server, &[]).await;
    let bus = bus(&server).await;
    store(&bus, bus.subjects().ready(&lane("echo"))).await;
    monitor
        .line_with(&["WARN  no scheduler is leading", "unsettled=1"])
        .await;
    monitor.line_with(&["workers 0  no leader"]).await;
}
