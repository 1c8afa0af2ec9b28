//! `rota up`: what is restarted, how it ends, and what it refuses.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::installation::{Installation, rota, signal, stderr, stdout};

#[test]
fn ctrl_c_drains_in_order_and_leaves_nothing_behind() {
    let mut up = Installation::start(&["--builtin", "--workers", "2"]);
    // The submitter, the scheduler, the monitor, two workers and the server.
    assert_eq!(up.children_with("").len(), 6);
    up.interrupt();
    assert_eq!(up.ended().code(), Some(0), "{:#?}", up.seen);
    let stopped: Vec<&str> = up
        .seen
        .iter()
        .filter_map(|line| {
            line.strip_prefix("[rota       ] ")?
                .split_once("INFO  ")?
                .1
                .strip_suffix(" stopped")
        })
        .collect();
    assert_eq!(stopped, ["submitter", "w1", "w2", "scheduler", "monitor"],);
    assert!(
        up.seen.last().unwrap().contains("nats-server stopped"),
        "{:#?}",
        up.seen
    );
    assert!(up.left_behind().is_empty(), "{:?}", up.left_behind());
}

#[test]
fn a_service_that_is_killed_is_started_again() {
    let mut up = Installation::start(&["--builtin", "--workers", "1"]);
    for (name, command) in [("scheduler", "rota scheduler"), ("w1", "rota worker")] {
        let killed = up.children_with(command);
        let [pid] = killed[..] else {
            panic!("one {name}, not {killed:?}");
        };
        signal(pid, Signal::KILL);
        up.line_with(&[name, "ended with signal: 9", "starting it again"]);
        up.line_with(&[name, "runs again as process"]);
        let [again] = up.children_with(command)[..] else {
            panic!("{name} must run once");
        };
        assert_ne!(again, pid);
    }
    let echoed = up.client(&["submit", "echo", "hi", "--wait"]);
    assert_eq!(stdout(&echoed), "hi", "{}", stderr(&echoed));
}

#[test]
fn a_server_that_is_killed_is_started_again_with_what_it_kept() {
    let mut up = Installation::start(&["--builtin", "--workers", "1"]);
    // Nobody handles it, so it waits in its lane.
    let waiting = up.client(&["submit", "later", "kept"]);
    assert_eq!(waiting.status.code(), Some(0));
    let echoed = up.client(&[
        "submit",
        "echo",
        "before",
        "-H",
        "Nats-Msg-Id:before",
        "--wait",
    ]);
    assert_eq!(stdout(&echoed), "before");
    let [pid] = up.children_with("nats-server")[..] else {
        panic!("there must be one server");
    };
    signal(pid, Signal::KILL);
    up.line_with(&["nats-server", "runs again as process"]);
    let kept = up.client(&["result", "before", "--wait"]);
    assert_eq!(stdout(&kept), "before", "{}", stderr(&kept));
    let echoed = up.client(&["submit", "echo", "after", "--wait"]);
    assert_eq!(stdout(&echoed), "after", "{}", stderr(&echoed));
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let flags = ["--builtin", "--workers", "1", "--log-level", "debug"];
    let mut up = Installation::start(&flags);
    up.client(&["submit", "sleep", "5m", "-H", "Nats-Msg-Id:long"]);
    up.line_with(&["scheduler", "assigned", "task=long"]);
    up.interrupt();
    // The worker waits for its task, for longer than this test does.
    up.line_with(&["submitter stopped"]);
    let begun = Instant::now();
    up.interrupt();
    assert_eq!(up.ended().code(), Some(1));
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    assert!(up.left_behind().is_empty(), "{:?}", up.left_behind());
}

#[test]
fn what_it_started_ends_by_itself_when_it_is_killed_and_no_task_is_lost() {
    let mut up = Installation::start(&["--builtin", "--workers", "1"]);
    let submitted = up.client(&["submit", "sleep", "5m", "-H", "Nats-Msg-Id:long"]);
    assert_eq!(submitted.status.code(), Some(0), "{}", stderr(&submitted));
    assert_eq!(up.children_with("").len(), 5);
    up.kill();
    assert!(up.left_behind().is_empty(), "{:?}", up.left_behind());
    let again = ["--builtin", "--workers", "1", "--log-level", "debug"];
    let mut up = up.start_again(&again);
    // A lane that is recovered is assigned from before the whole roll is called.
    up.line_ever_with(&["scheduler", "assigned", "task=long"]);
}

#[test]
fn without_handlers_it_says_that_no_kind_is_handled_and_how() {
    let mut up = Installation::start(&[]);
    let told = up
        .seen
        .iter()
        .find(|line| line.contains("no kind of task is handled"));
    let told = told.expect("it is said").clone();
    assert!(
        told.contains("--builtin") && told.contains("--handlers FILE"),
        "{told}"
    );
    assert!(up.children_with("rota worker").is_empty());
}

#[test]
fn a_port_in_use_is_refused_with_both_ways_out() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let store = tempfile::tempdir().unwrap();
    let folder = store.path().to_str().unwrap();
    let output = rota(&["up", "--port", &port, "--store", folder])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = stderr(&output);
    assert!(
        told.contains("--port") && told.contains("--nats") && told.contains(&port),
        "{told}"
    );
}

#[test]
fn the_scheduler_is_told_the_policy_and_a_bad_one_is_refused_before_anything_starts() {
    let store = tempfile::tempdir().unwrap();
    let file = store.path().join("policy.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "order = \"best\"\n[kinds.echo]\nquantum = \"0s\"\n").unwrap();
    let output = rota(&["up", "--policy", path]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = stderr(&output);
    for fault in [
        "`order` = best",
        "time-slice, las",
        "`kinds.echo.quantum` = 0s",
    ] {
        assert!(told.contains(fault), "{fault}: {told}");
    }
    std::fs::write(&file, "[kinds.echo]\norder = \"fifo\"\n").unwrap();
    let flags = [
        "--policy",
        path,
        "--order",
        "srtf",
        "--builtin",
        "--workers",
        "1",
    ];
    let up = Installation::start(&flags);
    for chosen in [["policy", "order=srtf"], ["kind=echo", "order=fifo"]] {
        let said = |line: &String| chosen.iter().all(|text| line.contains(text));
        assert!(up.seen.iter().any(said), "{chosen:?}: {:#?}", up.seen);
    }
    let echoed = up.client(&["submit", "echo", "hi", "--wait", "-H", "Rota-Duration:1ms"]);
    assert_eq!(stdout(&echoed), "hi", "{}", stderr(&echoed));
}
