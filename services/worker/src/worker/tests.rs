//! What a builder refuses, and what it makes of what it is told.

use std::process::ExitCode;

use clap::Parser;

use super::builder::cores;
use rota_wire::{Cpu, Memory};

use super::*;
use crate::command::CommandHandler;
use crate::handler::failure::Failure;
use crate::handler::registry::Entry;
use crate::handler::task::Task;

async fn nothing(_task: Task) -> Result<String, Failure> {
    Ok(String::new())
}

fn builder() -> WorkerBuilder {
    Worker::builder().handler("nothing", nothing)
}

fn refusal(builder: WorkerBuilder) -> String {
    builder
        .build()
        .expect_err("it is to be refused")
        .to_string()
}

fn servers(worker: &Worker) -> Vec<String> {
    let servers = worker.installation.connect.nats.iter();
    servers.map(ToString::to_string).collect()
}

fn from_flags(flags: &[&str]) -> WorkerBuilder {
    let flags = std::iter::once("test").chain(flags.iter().copied());
    WorkerBuilder::from_args(Cli::try_parse_from(flags).expect("good flags").args)
}

#[test]
fn a_worker_without_kinds_is_refused_and_told_what_to_do() {
    let told = refusal(from_flags(&[]));
    for way in ["--handlers FILE", "--builtin", ".handler(kind, function)"] {
        assert!(told.contains(way), "{way} is missing: {told}");
    }
}

#[test]
fn what_is_against_a_rule_is_refused_with_the_rule() {
    let gone = Entry::command(CommandHandler {
        program: "no-such-program".to_owned(),
        ..CommandHandler::default()
    });
    let stray = Entry::command(CommandHandler {
        program: "true".to_owned(),
        working_dir: Some("/no/such/folder".into()),
        ..CommandHandler::default()
    });
    for (builder, rule) in [
        (builder().name("a b"), "1 to 57 of"),
        (builder().slots(0), "1 to 4096"),
        (builder().slots(4097), "1 to 4096"),
        (
            builder().heartbeat(Duration::from_secs(11)),
            "between 50ms and 10s",
        ),
        (builder().label("zone="), "key=value"),
        (builder().cpu("two"), "cores such as"),
        (builder().memory("lots"), "bytes, with a unit"),
        (
            (0..=1_024).fold(builder(), |builder, number| {
                builder.handler(&format!("kind-{number}"), nothing)
            }),
            "at most 1024",
        ),
        (
            (0..=64).fold(builder(), |builder, number| {
                builder.label(format!("l{number}"))
            }),
            "at most 64",
        ),
        (builder().prefix("Rota"), "a-z 0-9"),
        (builder().nats("http://host"), "nats://"),
        (builder().replicas(2), "1, 3 or 5"),
        (
            builder().handler("nothing", nothing),
            "already has a handler",
        ),
        (
            builder().entry("gone", gone).entry("stray", stray),
            "2 command(s) cannot be started\n  kind gone: program \"no-such-program\"",
        ),
        (builder().handler("No Kind", nothing), "a-z 0-9 _ -"),
        (builder().handlers_file("no/such/file"), "could not read"),
    ] {
        let told = refusal(builder);
        assert!(told.contains(rule), "{rule} is missing: {told}");
    }
}

#[test]
fn a_builder_without_settings_means_this_machine() {
    let worker = builder().build().expect("good");
    assert_eq!(servers(&worker), ["nats://127.0.0.1:4222"]);
    assert_eq!(worker.slots, cores());
    assert_eq!(worker.name, WorkerName::of_machine());
}

#[test]
fn flags_and_own_handlers_make_one_worker() {
    let flags = [
        "--builtin",
        "--slots",
        "3",
        "--nats",
        "a,b",
        "--name",
        "w",
        "--label",
        "gpu",
        "--memory",
        "8GiB",
    ];
    let worker = from_flags(&flags)
        .handler("nothing", nothing)
        .build()
        .expect("good");
    assert_eq!(servers(&worker), ["nats://a", "nats://b"]);
    let worker_id = WorkerId::parse("w-1").expect("good");
    let profile = worker.profile(&worker_id);
    let kinds: Vec<_> = profile
        .kinds
        .iter()
        .map(|capacity| capacity.kind.as_str())
        .collect();
    assert_eq!(
        kinds,
        ["echo", "fail", "noop", "nothing", "sha256", "sleep"]
    );
    let gpu = "gpu".parse().expect("good");
    assert_eq!((profile.slots, profile.labels), (3, vec![gpu]));
    assert_eq!(profile.resources.memory, Memory(8 << 30));
    assert!(profile.resources.cpu >= Cpu(1_000), "the machine's");
}

#[test]
fn a_program_of_its_own_ends_with_the_code_that_tells_whether_a_restart_helps() {
    let quiet = |flags: &[&str]| from_flags(&[&["--log-level", "off"], flags].concat());
    assert_eq!(quiet(&[]).main(), ExitCode::from(64), "no kinds");
    let nobody_there = quiet(&["--nats", "nats://127.0.0.1:1"]).handler("nothing", nothing);
    assert_eq!(nobody_there.main(), ExitCode::from(69));
}

#[test]
fn attempts_have_the_longest_grace_of_all_kinds_to_end() {
    let mut slow = Entry::function(nothing);
    slow.limits.grace = Duration::from_secs(60);
    let worker = builder().entry("slow", slow).build().expect("good");
    assert!(worker.stop_wait() > Duration::from_secs(60));
}
