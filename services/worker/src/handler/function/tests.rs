//! What an attempt of a Rust handler does under limits, stops and suspensions, on a paused clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::*;
use crate::attempt::run;
use crate::ended::Retry;
use crate::handler::registry::Entry;
use crate::handler::task::TaskParts;

const SECOND: Duration = Duration::from_secs(1);

fn task(input: &'static str) -> Task {
    Task::new(TaskParts {
        id: "7".into(),
        kind: "test".into(),
        attempt: 1,
        input: input.into(),
        ..TaskParts::default()
    })
}

async fn run_entry(entry: Entry) -> Ended {
    run(&entry, task("hello"), &AttemptControl::new()).await
}

fn failed(retry: Retry, reason: &str) -> Verdict {
    Verdict::Failed {
        retry,
        reason: reason.into(),
    }
}

fn forever() -> Entry {
    Entry::function(|_task: Task| async move {
        std::future::pending::<()>().await;
        Ok("never")
    })
}

#[tokio::test]
async fn the_output_of_a_function_completes_the_task() {
    let entry = Entry::function(|task: Task| async move { Ok(task.input().clone()) });
    assert_eq!(
        run_entry(entry).await.verdict,
        Verdict::Completed("hello".into())
    );
}

#[tokio::test]
async fn an_error_is_retried_and_a_fatal_failure_is_not() {
    let entry = Entry::function(|task: Task| async move {
        let number: u32 = std::str::from_utf8(task.input())?.parse()?;
        Ok(number.to_string())
    });
    let reason = "invalid digit found in string";
    assert_eq!(run_entry(entry).await.verdict, failed(Retry::Later, reason));

    let entry = Entry::function(|_: Task| async { Err::<Bytes, _>(Failure::fatal("no")) });
    assert_eq!(run_entry(entry).await.verdict, failed(Retry::Never, "no"));
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_wherever_it_happens() {
    let late = Entry::function(|task: Task| async move {
        assert!(task.input().is_empty(), "no {}", task.id());
        Ok("")
    });
    let reason = "handler panicked: no 7";
    assert_eq!(run_entry(late).await.verdict, failed(Retry::Later, reason));

    fn early(task: Task) -> std::future::Ready<Result<Bytes, Failure>> {
        panic!("no future for {}", task.id())
    }
    let reason = "handler panicked: no future for 7";
    assert_eq!(
        run_entry(Entry::function(early)).await.verdict,
        failed(Retry::Later, reason)
    );
}

#[tokio::test]
async fn too_much_output_is_final() {
    let mut entry = Entry::function(|_: Task| async { Ok(vec![0; 11]) });
    entry.limits.output_bytes_max = 10;
    assert_eq!(
        run_entry(entry).await.verdict,
        failed(Retry::Never, "output is longer than the limit of 10 bytes")
    );
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_is_a_failure_that_may_be_retried() {
    let ended = run_entry(forever().with_timeout(3 * SECOND)).await;
    assert_eq!(
        ended.verdict,
        failed(Retry::Later, "ran longer than the time limit of 3s")
    );
    assert_eq!(ended.ran.as_secs(), 8, "the limit and the grace period");
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_both_time_limits_holds() {
    let parts = TaskParts {
        time_limit: Some(SECOND),
        ..TaskParts::default()
    };
    let control = AttemptControl::new();
    let ended = run(
        &forever().with_timeout(3 * SECOND),
        Task::new(parts),
        &control,
    )
    .await;
    assert_eq!(
        ended.verdict,
        failed(Retry::Later, "ran longer than the time limit of 1s")
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_function_can_tidy_up() {
    static TIDIED: AtomicBool = AtomicBool::new(false);
    let entry = Entry::function(|task: Task| async move {
        task.cancelled().await;
        TIDIED.store(true, Ordering::SeqCst);
        Ok("half of it")
    });
    let control = AttemptControl::new();
    let (ended, ()) = tokio::join!(run(&entry, task(""), &control), async {
        sleep(SECOND).await;
        control.stop();
    });
    assert_eq!(ended.verdict, Verdict::Stopped);
    assert_eq!(ended.ran.as_secs(), 1, "no grace period is waited for");
    assert!(TIDIED.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_function_that_does_not_listen_even_when_suspended() {
    let (entry, control) = (forever(), AttemptControl::new());
    let (ended, ()) = tokio::join!(run(&entry, task(""), &control), async {
        control.suspend();
        sleep(SECOND).await;
        control.stop();
    });
    assert_eq!(ended.verdict, Verdict::Stopped);
}

#[tokio::test]
async fn an_attempt_that_was_stopped_before_it_began_does_not_begin() {
    let entry = Entry::function(|_: Task| async move { Ok("done") });
    let control = AttemptControl::new();
    control.stop();
    assert_eq!(
        run(&entry, task(""), &control).await.verdict,
        Verdict::Stopped
    );
}

#[tokio::test(start_paused = true)]
async fn a_suspended_function_stands_still_and_burns_no_time_limit() {
    let entry = Entry::function(|_: Task| async move {
        sleep(SECOND).await;
        Ok("done")
    })
    .with_timeout(3 * SECOND);
    let control = AttemptControl::new();
    let mut running = Box::pin(run(&entry, task(""), &control));
    control.suspend();
    assert!(
        timeout(3600 * SECOND, &mut running).await.is_err(),
        "it ended while suspended"
    );
    control.resume();
    let ended = timeout(60 * SECOND, running).await.expect("it goes on");
    assert_eq!(ended.verdict, Verdict::Completed("done".into()));
    assert_eq!(
        ended.ran.as_secs(),
        1,
        "the hour in suspension does not count"
    );
}

#[tokio::test]
async fn dropping_the_run_drops_the_handler_and_cancels_its_task() {
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let dropped = std::sync::Mutex::new(Some(dropped));
    let entry = Entry::function(move |task: Task| {
        let held = dropped.lock().expect("no panic in here").take();
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(task.input().clone())
        }
    });
    let (task, control) = (task(""), AttemptControl::new());
    let witness = task.clone();
    tokio::select! {
        biased;
        ended = run(&entry, task, &control) => panic!("it ended: {ended:?}"),
        () = tokio::task::yield_now() => {}
    }
    timeout(SECOND, witness.cancelled())
        .await
        .expect("the task is cancelled");
    timeout(SECOND, is_dropped)
        .await
        .expect("the future is dropped")
        .expect_err("not sent");
}
