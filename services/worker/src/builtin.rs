//! Kinds that need no configuration, for trying things out and for the demo.
//!
//! | kind | what it does |
//! |---|---|
//! | `echo` | gives back its input |
//! | `noop` | gives back nothing |
//! | `sleep` | waits for the span that is its input; standing still while suspended |
//! | `sha256` | the hash of its input, in hex |
//! | `fail` | fails with its input as the reason; for good if that begins with `fatal:` |

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::handler::failure::Failure;
use crate::handler::registry::{Entry, Registry};
use crate::handler::task::Task;
use crate::span::{SPAN_RULE, parse_span};

/// The registry of all built-in kinds.
pub fn builtins() -> Registry {
    let entries = [
        ("echo", Entry::function(echo)),
        ("fail", Entry::function(fail)),
        ("noop", Entry::function(noop)),
        ("sha256", Entry::function(sha256)),
        ("sleep", Entry::function(sleep_for)),
    ];
    let mut registry = Registry::new();
    for (kind, entry) in entries {
        registry
            .insert(kind, entry)
            .expect("built-in kinds have proper names, each its own");
    }
    registry
}

async fn echo(task: Task) -> Result<Bytes, Failure> {
    Ok(task.input().clone())
}

async fn noop(_task: Task) -> Result<Bytes, Failure> {
    Ok(Bytes::new())
}

async fn sha256(task: Task) -> Result<String, Failure> {
    Ok(Sha256::digest(task.input())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

async fn fail(task: Task) -> Result<Bytes, Failure> {
    let text = String::from_utf8_lossy(task.input());
    match text.strip_prefix("fatal:") {
        Some(reason) => Err(Failure::fatal(reason.trim())),
        None => Err(Failure::retry(text)),
    }
}

async fn sleep_for(task: Task) -> Result<Bytes, Failure> {
    let text = String::from_utf8_lossy(task.input());
    let span = parse_span(&text).ok_or_else(|| Failure::fatal(bad_span(&text)))?;
    tokio::select! {
        () = task.cancelled() => Err(Failure::retry("cancelled")),
        () = sleep_on(&task, span) => Ok(Bytes::new()),
    }
}

/// A timer runs on while its future is suspended, so what is left is slept again until the attempt
/// has run for the span.
async fn sleep_on(task: &Task, span: Duration) {
    loop {
        let left = span.saturating_sub(task.ran());
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

fn bad_span(text: &str) -> String {
    let shown: String = text.chars().take(100).collect();
    format!("the input of sleep is {shown:?}; it must be {SPAN_RULE}")
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::attempt::{control::AttemptControl, run};
    use crate::ended::{Retry, Verdict};
    use crate::handler::task::TaskParts;

    fn task(kind: &str, input: &'static str) -> Task {
        Task::new(TaskParts {
            kind: kind.into(),
            input: input.into(),
            ..TaskParts::default()
        })
    }

    async fn verdict(kind: &str, input: &'static str) -> Verdict {
        let builtins = builtins();
        let entry = builtins.get(kind).expect("a built-in kind");
        run(entry, task(kind, input), &AttemptControl::new())
            .await
            .verdict
    }

    fn failed(retry: Retry, reason: &str) -> Verdict {
        Verdict::Failed {
            retry,
            reason: reason.into(),
        }
    }

    #[tokio::test]
    async fn echo_noop_and_sha256_give_what_they_promise() {
        assert_eq!(
            verdict("echo", "hello").await,
            Verdict::Completed("hello".into())
        );
        assert_eq!(
            verdict("noop", "hello").await,
            Verdict::Completed(Bytes::new())
        );
        let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(
            verdict("sha256", "hello").await,
            Verdict::Completed(hash.into())
        );
    }

    #[tokio::test]
    async fn fail_fails_as_it_is_told() {
        assert_eq!(
            verdict("fail", "disk full").await,
            failed(Retry::Later, "disk full")
        );
        assert_eq!(
            verdict("fail", "fatal: no photo").await,
            failed(Retry::Never, "no photo")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sleep_takes_its_span() {
        let begun = Instant::now();
        assert_eq!(
            verdict("sleep", "1.5s").await,
            Verdict::Completed(Bytes::new())
        );
        assert_eq!(begun.elapsed().as_millis() / 100, 15);
    }

    #[tokio::test]
    async fn sleep_without_a_span_fails_for_good_and_says_the_rule() {
        let Verdict::Failed {
            retry: Retry::Never,
            reason,
        } = verdict("sleep", "a bit").await
        else {
            panic!("it must fail for good");
        };
        assert!(
            reason.contains("\"a bit\"") && reason.contains("200ms"),
            "{reason}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_sleep_sleeps_the_rest_afterwards() {
        let (builtins, control) = (builtins(), AttemptControl::new());
        let entry = builtins.get("sleep").expect("a built-in kind");
        let mut running = Box::pin(run(entry, task("sleep", "10s"), &control));
        assert!(timeout(Duration::from_secs(4), &mut running).await.is_err());
        control.suspend();
        assert!(
            timeout(Duration::from_secs(60), &mut running)
                .await
                .is_err()
        );
        control.resume();
        let resumed = Instant::now();
        let ended = timeout(Duration::from_secs(60), running)
            .await
            .expect("it goes on");
        assert_eq!(ended.verdict, Verdict::Completed(Bytes::new()));
        assert!(
            resumed.elapsed() > Duration::from_millis(5900),
            "{:?}",
            resumed.elapsed()
        );
    }
    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_is_suspended_often_runs_for_its_span_and_no_less() {
        let (builtins, control) = (builtins(), AttemptControl::new());
        let entry = builtins.get("sleep").expect("a built-in kind");
        let steer = async {
            for _ in 0..20 {
                sleep(Duration::from_millis(10)).await;
                control.suspend();
                sleep(Duration::from_millis(30)).await;
                control.resume();
            }
        };
        let begun = Instant::now();
        let (ended, ()) = tokio::join!(run(entry, task("sleep", "500ms"), &control), steer);
        assert_eq!(ended.verdict, Verdict::Completed(Bytes::new()));
        for (what, took, expected) in [
            ("ran", ended.ran, 500),
            ("took", begun.elapsed(), 500 + 20 * 30),
        ] {
            let ms = took.as_millis();
            assert!((expected..expected + 5).contains(&ms), "{what} {ms} ms");
        }
    }
}
