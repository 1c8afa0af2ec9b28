//! A service as its supervisor sees it: signals go in, lines and an exit code come out.

// Clippy allows it in test functions, but does not see that what they call is test code too.
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(30);

struct Sample {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Sample {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rota-service-sample"))
            .args(args)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line_with(&mut self, text: &str) -> String {
        let search = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the output ended without {text:?}");
        };
        timeout(DEADLINE, search)
            .await
            .unwrap_or_else(|_| panic!("no line with {text:?} in time"))
    }

    /// Waits until a line with `text` comes on the standard error.
    async fn stderr_with(&mut self, text: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut lines = BufReader::new(stderr).lines();
        let search = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("the standard error ended without {text:?}");
        };
        let found = timeout(DEADLINE, search).await;
        found.unwrap_or_else(|_| panic!("{text:?} is not said on the standard error in time"));
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// The exit code and what was written to the standard error.
    async fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        let end = async {
            self.child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut stderr)
                .await
                .unwrap();
            self.child.wait().await.unwrap().code()
        };
        let code = timeout(DEADLINE, end)
            .await
            .expect("the process ends in time");
        (code, stderr)
    }
}

#[tokio::test]
async fn the_first_signal_drains_and_a_drained_service_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut sample = Sample::start(&["drains"]);
        sample.line_with("ready").await;
        sample.signal(signal);
        sample.line_with("draining").await;
        assert_eq!(sample.end().await, (Some(0), String::new()));
    }
}

#[tokio::test]
async fn the_second_signal_ends_a_service_that_does_not_drain() {
    let mut sample = Sample::start(&["stuck"]);
    sample.line_with("ready").await;
    sample.signal(Signal::TERM);
    sample.line_with("draining").await;
    sample.signal(Signal::INT);
    sample.line_with("ending at once").await;
    sample
        .line_with("stopped by an error error=\"ended by a second signal")
        .await;
    assert_eq!(sample.end().await, (Some(1), String::new()));
}

#[tokio::test]
async fn a_part_that_panics_ends_the_process_and_leaves_its_place_in_the_log() {
    let mut sample = Sample::start(&["part-panics", "--log-format", "json"]);
    let panicked = sample.line_with("\"panicked\"").await;
    assert!(
        panicked.contains("\"level\":\"ERROR\"") && panicked.contains("sample.rs:"),
        "{panicked}"
    );
    let stopped = sample.line_with("stopped by an error").await;
    assert!(
        stopped.contains("part broken panicked: slot 3"),
        "{stopped}"
    );
    assert!(stopped.contains("\"service\":\"sample\""), "{stopped}");
    assert_eq!(sample.end().await, (Some(1), String::new()));
}

#[tokio::test]
async fn a_service_that_panics_itself_exits_with_1() {
    let mut sample = Sample::start(&["panics"]);
    sample.line_with("panicked").await;
    sample
        .line_with("the service panicked: nothing works")
        .await;
    assert_eq!(sample.end().await, (Some(1), String::new()));
}

#[tokio::test]
async fn with_the_logs_off_a_panic_and_the_last_error_go_to_the_standard_error() {
    let (code, stderr) = Sample::start(&["panics", "--log-level", "off"]).end().await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("sample.rs:"), "{stderr}");
    assert!(
        stderr.contains("error: the service panicked: nothing works"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_exits_with_64() {
    let mut sample = Sample::start(&["drains", "--config", "no/such/file.toml"]);
    sample
        .line_with("cannot read the configuration no/such/file.toml: No such file")
        .await;
    let (code, stderr) = sample.end().await;
    assert_eq!(code, Some(64));
    let told = "error: cannot read the configuration no/such/file.toml: No such file";
    assert!(stderr.starts_with(told), "{stderr}");
}

#[tokio::test]
async fn a_flag_that_does_not_exist_exits_with_64_and_help_with_0() {
    let (code, stderr) = Sample::start(&["drains", "--no-such-flag"]).end().await;
    assert_eq!(code, Some(64));
    assert!(stderr.contains("--no-such-flag"), "{stderr}");
    assert_eq!(
        Sample::start(&["--help"]).end().await,
        (Some(0), String::new())
    );
}

#[tokio::test]
async fn a_password_in_an_address_is_shown_neither_when_it_is_used_nor_when_it_is_refused() {
    let mut sample = Sample::start(&["drains", "--nats", "nats://me:secret@host:1"]);
    assert!(
        sample
            .line_with("ready")
            .await
            .contains("servers=[nats://host:1]")
    );
    let (code, stderr) = Sample::start(&["drains", "--nats", "http://me:secret@host"])
        .end()
        .await;
    assert_eq!(code, Some(64));
    assert!(
        stderr.contains("...@host") && !stderr.contains("secret"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_service_that_lacks_another_one_exits_with_69() {
    let mut sample = Sample::start(&["unavailable"]);
    sample.line_with("no server").await;
    let told = "error: no server\n".to_owned();
    assert_eq!(sample.end().await, (Some(69), told));
}

#[tokio::test]
async fn a_service_whose_log_nobody_reads_works_and_ends_in_time() {
    let mut sample = Sample::start(&["chatty", "--log-level", "debug"]);
    sample.stderr_with("all said").await;
    let start = Instant::now();
    sample.signal(Signal::TERM);
    // The read end is kept open until the process has ended.
    let code = timeout(DEADLINE, sample.child.wait()).await;
    assert_eq!(code.expect("it ends").unwrap().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_log_that_is_read_late_says_what_is_missing_in_it() {
    let mut sample = Sample::start(&["chatty", "--log-level", "debug"]);
    sample.stderr_with("all said").await;
    let told = sample.line_with("log lines are missing").await;
    let dropped = told.split("dropped=").nth(1).unwrap();
    assert!(dropped.trim().parse::<u64>().unwrap() > 1_000, "{told}");
    sample.signal(Signal::TERM);
    sample.line_with("draining").await;
    assert_eq!(sample.end().await.0, Some(0));
}

#[tokio::test]
async fn what_was_left_out_because_it_repeats_is_told_at_the_end_at_the_latest() {
    let mut sample = Sample::start(&["repetitive"]);
    sample.line_with("nothing works").await;
    sample.signal(Signal::TERM);
    sample.line_with("draining").await;
    let told = sample.line_with("were left out").await;
    assert!(
        told.contains("line=\"nothing works\" suppressed=99"),
        "{told}"
    );
    assert_eq!(sample.end().await, (Some(0), String::new()));
}
