//! What an attempt of a command does, with real processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::*;
use crate::attempt::run;
use crate::ended::{Exit, Retry};
use crate::handler::registry::Entry;
use crate::handler::task::TaskParts;

/// Nothing here takes longer, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(10);

const SHORT: Duration = Duration::from_millis(100);

fn sh(script: &str) -> Entry {
    let args = vec!["-c".into(), script.into()];
    let mut entry = Entry::command(CommandHandler {
        program: "sh".into(),
        args,
        ..CommandHandler::default()
    });
    entry.limits.grace = SHORT;
    entry
}

/// A script that runs in a directory of its own.
fn sh_in(dir: &TempDir, script: &str) -> Entry {
    let mut entry = sh(script);
    if let crate::HandlerKind::Command(command) = &mut entry.handler {
        command.working_dir = Some(dir.path().into());
    }
    entry
}

fn task(input: impl Into<Bytes>) -> Task {
    Task::new(TaskParts {
        id: "t-1".into(),
        kind: "test".into(),
        attempt: 3,
        input: input.into(),
        time_limit: None,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    })
}

async fn run_to_end(entry: &Entry, input: impl Into<Bytes>) -> Ended {
    let control = AttemptControl::new();
    timeout(DEADLINE, run(entry, task(input), &control))
        .await
        .expect("the attempt hangs")
}

fn failed(retry: Retry, reason: &str) -> Verdict {
    Verdict::Failed {
        retry,
        reason: reason.into(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A process id that a script has written into a file, with an end of line.
async fn pid_in(dir: &TempDir, name: &str) -> Pid {
    let path = dir.path().join(name);
    let written = || {
        fs::read_to_string(&path)
            .ok()
            .filter(|text| text.ends_with('\n'))
    };
    until("a process id is written", || written().is_some()).await;
    let id = written()
        .expect("just seen")
        .trim()
        .parse()
        .expect("a process id");
    Pid::from_raw(id).expect("above zero")
}

/// The state letter of a process; `None` when it is gone.
fn state(pid: Pid) -> Option<char> {
    let path = Path::new("/proc")
        .join(pid.as_raw_nonzero().to_string())
        .join("stat");
    let Ok(stat) = fs::read_to_string(path) else {
        return test_kill_process(pid).is_ok().then_some('?');
    };
    stat.rsplit(") ").next()?.chars().next()
}

/// Dead processes that nobody has reaped yet run no more.
async fn until_gone(pid: Pid) {
    until("the process is gone", || {
        matches!(state(pid), None | Some('Z' | 'X'))
    })
    .await;
}

#[tokio::test]
async fn the_input_goes_in_and_the_output_comes_out() {
    let input = Bytes::from(b"0123456789abcdef".repeat(20_000));
    let ended = run_to_end(&sh("cat; echo done >&2"), input.clone()).await;
    assert_eq!(ended.verdict, Verdict::Completed(input));
    assert_eq!(ended.exit, Some(Exit::Code(0)));
    assert_eq!(ended.stderr_tail, "done\n");
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let ended = run_to_end(&sh("echo hi"), vec![0; 1_000_000]).await;
    assert_eq!(ended.verdict, Verdict::Completed("hi\n".into()));
    let ended = run_to_end(&sh("exec <&-; echo hi"), vec![0; 1_000_000]).await;
    assert_eq!(ended.verdict, Verdict::Completed("hi\n".into()));
}

#[tokio::test]
async fn the_exit_code_decides() {
    let ended = run_to_end(&sh("exit 3"), "").await;
    assert_eq!(ended.verdict, failed(Retry::Later, "exited with code 3"));
    assert_eq!(ended.exit, Some(Exit::Code(3)));
    let ended = run_to_end(&sh("echo no photo >&2; exit 65"), "").await;
    assert_eq!(
        ended.verdict,
        failed(Retry::Never, "exited with code 65 (bad data)")
    );
    assert_eq!(ended.stderr_tail, "no photo\n");
}

#[tokio::test]
async fn death_by_a_signal_is_a_failed_attempt() {
    let ended = run_to_end(&sh("kill -SEGV $$"), "").await;
    assert_eq!(ended.verdict, failed(Retry::Later, "killed by signal 11"));
    assert_eq!(ended.exit, Some(Exit::Signal(11)));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_no_attempt_and_its_handlers_fault() {
    let program = "no-such-program".to_owned();
    let entry = Entry::command(CommandHandler {
        program,
        ..CommandHandler::default()
    });
    let ended = run_to_end(&entry, "").await;
    let Verdict::NotStarted {
        blame: Blame::Handler,
        reason,
    } = ended.verdict
    else {
        panic!("it cannot start");
    };
    assert!(
        reason.starts_with("could not start \"no-such-program\": "),
        "{reason}"
    );
    assert_eq!(ended.exit, None);
}

fn script_in(dir: &TempDir, text: &str) -> (Entry, std::path::PathBuf) {
    let file = dir.path().join("script");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let program = file.display().to_string();
    let entry = Entry::command(CommandHandler {
        program,
        ..CommandHandler::default()
    });
    (entry, file)
}

#[tokio::test]
async fn a_program_that_is_just_being_written_is_started_a_moment_later() {
    let dir = TempDir::new().unwrap();
    let (entry, file) = script_in(&dir, "#!/bin/sh\necho new\n");
    let writing = fs::OpenOptions::new().append(true).open(file).unwrap();
    let (ended, ()) = tokio::join!(run_to_end(&entry, ""), async {
        sleep(SHORT).await;
        drop(writing);
    });
    assert_eq!(ended.verdict, Verdict::Completed("new\n".into()));
}

#[tokio::test]
async fn what_the_machine_cannot_start_for_long_is_no_fault_of_the_handler() {
    let dir = TempDir::new().unwrap();
    let (entry, file) = script_in(&dir, "#!/bin/sh\n");
    let _writing = fs::OpenOptions::new().append(true).open(file).unwrap();
    let ended = run_to_end(&entry, "").await;
    let machine = matches!(
        ended.verdict,
        Verdict::NotStarted {
            blame: Blame::Machine,
            ..
        }
    );
    assert!(machine, "{ended:?}");
}

#[tokio::test]
async fn no_submission_can_keep_a_command_from_being_started() {
    for trace in ["a\0b".to_owned(), "x".repeat(300_000)] {
        let parts = TaskParts {
            traceparent: Some(trace),
            ..TaskParts::default()
        };
        let control = AttemptControl::new();
        let ended = run(&sh("echo ${TRACEPARENT-none}"), Task::new(parts), &control).await;
        assert_eq!(ended.verdict, Verdict::Completed("none\n".into()));
    }
}

#[tokio::test]
async fn a_command_is_told_about_its_task_and_nothing_private() {
    let mut entry = sh("env").with_timeout(DEADLINE);
    if let crate::HandlerKind::Command(command) = &mut entry.handler {
        command.env = [
            ("PHOTO_SIZE".into(), "320".into()),
            ("ROTA_KIND".into(), "x".into()),
        ]
        .into();
    }
    let Verdict::Completed(output) = run_to_end(&entry, "").await.verdict else {
        panic!("it must complete");
    };
    let text = String::from_utf8(output.into()).unwrap();
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    };
    assert_eq!(value("ROTA_TASK_ID"), Some("t-1"));
    assert_eq!(value("ROTA_KIND"), Some("test"));
    assert_eq!(value("ROTA_ATTEMPT"), Some("3"));
    assert_eq!(value("TRACEPARENT"), task("").traceparent());
    assert_eq!(value("PHOTO_SIZE"), Some("320"));
    assert!(value("PATH").is_some());
    let deadline: jiff::Timestamp = value("ROTA_DEADLINE").unwrap().parse().unwrap();
    let left = deadline.duration_since(jiff::Timestamp::now());
    assert!(
        left.is_positive() && left <= DEADLINE.try_into().unwrap(),
        "{left}"
    );
}

#[test]
fn the_workers_own_settings_are_private() {
    for name in ["ROTA_NATS_URL", "NATS_PASSWORD", "TRACEPARENT"] {
        assert!(is_private(name), "{name}");
    }
    for name in ["PATH", "HOME", "MY_ROTA_", "TRACEPARENTS"] {
        assert!(!is_private(name), "{name}");
    }
}

#[tokio::test]
async fn output_over_the_limit_ends_the_attempt_for_good() {
    let dir = TempDir::new().unwrap();
    let mut entry = sh_in(&dir, "echo $$ > pid; yes");
    entry.limits.output_bytes_max = 100_000;
    let ended = run_to_end(&entry, "").await;
    let reason = "output is longer than the limit of 100000 bytes";
    assert_eq!(ended.verdict, failed(Retry::Never, reason));
    until_gone(pid_in(&dir, "pid").await).await;
}

#[tokio::test]
async fn output_of_just_the_limit_is_whole() {
    let mut entry = sh("cat");
    entry.limits.output_bytes_max = 70_000;
    let input = Bytes::from(vec![7; 70_000]);
    assert_eq!(
        run_to_end(&entry, input.clone()).await.verdict,
        Verdict::Completed(input)
    );
    let ended = run_to_end(&entry, vec![7; 70_001]).await;
    assert!(
        matches!(
            ended.verdict,
            Verdict::Failed {
                retry: Retry::Never,
                ..
            }
        ),
        "{ended:?}"
    );
}

#[tokio::test]
async fn of_a_long_stderr_the_tail_is_kept() {
    let script = "yes 0123456789 | head -c 300000 >&2; echo the end >&2; exit 1";
    let ended = run_to_end(&sh(script), "").await;
    assert_eq!(ended.stderr_tail.len(), 4096);
    assert!(
        ended.stderr_tail.ends_with("the end\n"),
        "{}",
        ended.stderr_tail
    );
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipes_is_killed_with_its_leader() {
    let dir = TempDir::new().unwrap();
    let entry = sh_in(&dir, "sleep 300 & echo $! > pid; echo hi");
    let ended = run_to_end(&entry, "").await;
    assert_eq!(ended.verdict, Verdict::Completed("hi\n".into()));
    until_gone(pid_in(&dir, "pid").await).await;
}

#[tokio::test]
async fn a_process_outside_the_group_does_not_hold_up_the_end() {
    let dir = TempDir::new().unwrap();
    let entry = sh_in(
        &dir,
        "setsid sh -c 'echo $$ > pid; exec sleep 300' & \
                             while [ ! -s pid ]; do sleep 0.01; done; echo hi",
    );
    let ended = run_to_end(&entry, "").await;
    assert_eq!(ended.verdict, Verdict::Completed("hi\n".into()));
    let stray = pid_in(&dir, "pid").await;
    rustix::process::kill_process(stray, Signal::KILL).expect("it was left alone");
}

#[tokio::test]
async fn the_time_limit_ends_even_a_group_that_ignores_term() {
    let dir = TempDir::new().unwrap();
    let script = "trap '' TERM; sleep 300 & echo $! > pid; echo begun >&2; wait; sleep 300";
    let entry = sh_in(&dir, script).with_timeout(2 * SHORT);
    let ended = run_to_end(&entry, "").await;
    assert_eq!(
        ended.verdict,
        failed(Retry::Later, "ran longer than the time limit of 200ms")
    );
    assert_eq!(ended.exit, Some(Exit::Signal(9)));
    assert_eq!(ended.stderr_tail, "begun\n");
    assert!(
        ended.ran >= 3 * SHORT,
        "limit and grace, not {:?}",
        ended.ran
    );
    until_gone(pid_in(&dir, "pid").await).await;
}

#[tokio::test]
async fn what_is_written_in_the_grace_period_is_still_read() {
    let dir = TempDir::new().unwrap();
    let script = "trap 'echo tidied up >&2; exit 0' TERM; echo $$ > pid; \
                  while :; do sleep 0.01; done";
    let mut entry = sh_in(&dir, script);
    entry.limits.grace = DEADLINE;
    let control = AttemptControl::new();
    let (ended, ()) = tokio::join!(run(&entry, task(""), &control), async {
        pid_in(&dir, "pid").await;
        control.stop();
    });
    assert_eq!(ended.verdict, Verdict::Stopped);
    assert_eq!(ended.exit, Some(Exit::Code(0)));
    // The shell may say something of its own about the signal before.
    assert!(
        ended.stderr_tail.ends_with("tidied up\n"),
        "{}",
        ended.stderr_tail
    );
}

#[tokio::test]
async fn a_suspended_command_stands_still_burns_no_time_limit_and_completes_whole() {
    let dir = TempDir::new().unwrap();
    let limit = Duration::from_millis(700);
    // The loop must not fork: a shell that is caught in a vfork waits for its stopped child, and
    // stands still without the state that is looked for here.
    let script = "echo $$ > pid; while [ ! -e go ]; do :; done; cat; echo whole";
    let entry = sh_in(&dir, script).with_timeout(limit);
    let control = AttemptControl::new();
    let (ended, ()) = tokio::join!(run(&entry, task("in\n"), &control), async {
        let pid = pid_in(&dir, "pid").await;
        control.suspend();
        until("the command is stopped", || state(pid) == Some('T')).await;
        fs::write(dir.path().join("go"), "").unwrap();
        // The time itself is what is tested here: it passes the limit.
        sleep_until(Instant::now() + limit).await;
        assert_eq!(state(pid), Some('T'));
        control.resume();
    });
    assert_eq!(ended.verdict, Verdict::Completed("in\nwhole\n".into()));
    assert!(ended.ran < limit, "{:?}", ended.ran);
}

#[tokio::test]
async fn a_suspended_command_can_be_stopped() {
    let dir = TempDir::new().unwrap();
    let mut entry = sh_in(&dir, "echo $$ > pid; exec sleep 300");
    entry.limits.grace = DEADLINE;
    let control = AttemptControl::new();
    let (ended, ()) = tokio::join!(run(&entry, task(""), &control), async {
        let pid = pid_in(&dir, "pid").await;
        control.suspend();
        until("the command is stopped", || state(pid) == Some('T')).await;
        control.stop();
    });
    assert_eq!(ended.verdict, Verdict::Stopped);
    assert_eq!(ended.exit, Some(Exit::Signal(15)), "TERM reached it");
}

#[tokio::test]
async fn dropping_the_attempt_kills_the_whole_group() {
    let dir = TempDir::new().unwrap();
    let script = "trap '' TERM; sleep 300 & echo $! > child; echo $$ > leader; wait";
    let (entry, control) = (sh_in(&dir, script), AttemptControl::new());
    let (leader, child) = tokio::select! {
        ended = run(&entry, task(""), &control) => panic!("it ended: {ended:?}"),
        leader = pid_in(&dir, "leader") => (leader, pid_in(&dir, "child").await),
    };
    until_gone(leader).await;
    until_gone(child).await;
}

#[tokio::test]
async fn many_attempts_side_by_side_each_see_their_own_end() {
    let entry = sh("read code; exit $code");
    let attempts = (0..40).map(|code| {
        let entry = &entry;
        async move { run_to_end(entry, format!("{code}\n")).await.exit }
    });
    let exits = futures_util::future::join_all(attempts).await;
    assert_eq!(
        exits,
        (0..40)
            .map(|code| Some(Exit::Code(code)))
            .collect::<Vec<_>>()
    );
}
