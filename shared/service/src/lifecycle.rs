//! The parts of a service and how they end together.
//!
//! A service is either working or gone: a part that panics or returns an error starts the drain of
//! all others, and the process ends with that error. A part is what tokio calls a task; here the
//! word task is taken.
//!
//! ```text
//! running ── signal · a part failed ──► draining ── all parts ended ──► Drained or Failed
//!    │                                     ├─────── grace ran out ────► TimedOut or Failed
//!    └── all parts ended ──► Drained       └─────── second signal ────► Ended or Failed
//! ```
//!
//! What must hold: each part is tracked from `spawn` to its end, and the first failure is never
//! lost.

use std::any::Any;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::chain::chain;
use crate::shutdown::Shutdown;

type BoxError = Box<dyn Error + Send + Sync>;

/// Starts the parts of a service and waits for their end. Clones share one set of parts.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    shutdown: Shutdown,
    parts: TaskTracker,
    first_failure: Arc<Mutex<Option<PartFailed>>>,
}

/// How a service came to its end.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// Every part has ended by itself and without an error.
    Drained,
    /// The grace period was over before these many parts had ended.
    TimedOut { parts_left: usize },
    /// A second signal came before these many parts had ended.
    Ended { parts_left: usize },
    /// A part failed, before or during the drain. The first one, if there were several.
    Failed(PartFailed),
}

/// Why a part stopped the service.
#[derive(Debug, thiserror::Error)]
pub enum PartFailed {
    #[error("part {part} failed")]
    Error {
        part: &'static str,
        source: BoxError,
    },
    #[error("part {part} panicked: {message}")]
    Panicked { part: &'static str, message: String },
    #[error("part {part} ended before the service was told to stop")]
    EndedEarly { part: &'static str },
}

/// An [`Outcome`] other than `Drained`, as an error.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    #[error(transparent)]
    Failed(#[from] PartFailed),
    #[error("the grace period was over with {parts_left} part(s) still running")]
    TimedOut { parts_left: usize },
    #[error("ended by a second signal with {parts_left} part(s) still running")]
    Ended { parts_left: usize },
}

impl Lifecycle {
    /// No parts yet. A part that fails starts the drain of `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            parts: TaskTracker::new(),
            first_failure: Arc::default(),
        }
    }

    /// The token that each part watches in order to stop: cancelled by a signal or by the failure
    /// of a part.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        self.shutdown.draining()
    }

    /// Starts a part that may end whenever it is done. An error or a panic stops the service.
    ///
    /// Parts can be started at any time, also by other parts and during the drain; their number is
    /// not bounded here.
    pub fn spawn<F, E>(&self, part: &'static str, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.track(watched(part, future));
    }

    /// Starts a part without which there is no service: it must not end before the drain begins.
    ///
    /// For loops over a subscription, which end quietly when the connection is closed for good.
    pub fn spawn_vital<F, E>(&self, part: &'static str, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let draining = self.draining().clone();
        self.track(async move {
            watched(part, future).await?;
            if draining.is_cancelled() {
                Ok(())
            } else {
                Err(PartFailed::EndedEarly { part })
            }
        });
    }

    /// Waits until the service is told to stop or all parts have ended, then at most `grace` for
    /// the parts left.
    ///
    /// Parts that are left run on until the runtime is dropped. Call it once: it takes the failure
    /// out.
    pub async fn wait_drained(&self, grace: Duration) -> Outcome {
        self.parts.close();
        tokio::select! {
            biased;
            () = self.draining().cancelled() => {}
            () = self.parts.wait() => {}
        }
        let outcome = tokio::select! {
            biased;
            () = self.parts.wait() => Outcome::Drained,
            () = self.shutdown.ended().cancelled() => {
                Outcome::Ended { parts_left: self.parts.len() }
            }
            () = tokio::time::sleep(grace) => Outcome::TimedOut { parts_left: self.parts.len() },
        };
        self.first_failure().take().map_or(outcome, Outcome::Failed)
    }

    fn track(&self, part: impl Future<Output = Result<(), PartFailed>> + Send + 'static) {
        let lifecycle = self.clone();
        // Boxed at once: each layer of a spawn that takes a future by value has it on the stack again.
        let part = Box::pin(part);
        self.parts.spawn(async move {
            if let Err(failure) = part.await {
                lifecycle.fail(failure);
            }
        });
    }

    fn fail(&self, failure: PartFailed) {
        let part = failure.part();
        match self.keep_first(failure) {
            None => warn!(part, "a part failed, draining"),
            // Only the first is returned, so a later one is told here or nowhere.
            Some(later) => error!(part, error = %chain(&later), "a further part failed"),
        }
        self.shutdown.drain();
    }

    /// Gives the failure back if it is not the first.
    fn keep_first(&self, failure: PartFailed) -> Option<PartFailed> {
        let mut first = self.first_failure();
        if first.is_some() {
            return Some(failure);
        }
        *first = Some(failure);
        None
    }

    fn first_failure(&self) -> MutexGuard<'_, Option<PartFailed>> {
        self.first_failure
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

impl Outcome {
    /// `Drained` is fine, all else is an error.
    ///
    /// # Errors
    /// The part that failed, or how many parts were left behind.
    pub fn into_result(self) -> Result<(), Unfinished> {
        match self {
            Self::Drained => Ok(()),
            Self::TimedOut { parts_left } => Err(Unfinished::TimedOut { parts_left }),
            Self::Ended { parts_left } => Err(Unfinished::Ended { parts_left }),
            Self::Failed(failure) => Err(failure.into()),
        }
    }
}

impl PartFailed {
    /// The name that the part was spawned with.
    #[must_use]
    pub fn part(&self) -> &'static str {
        match self {
            Self::Error { part, .. } | Self::Panicked { part, .. } | Self::EndedEarly { part } => {
                part
            }
        }
    }
}

async fn watched<F, E>(part: &'static str, future: F) -> Result<(), PartFailed>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    // Nobody sees the broken state of a part that panicked: it is dropped, and the service stops.
    match AssertUnwindSafe(future).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(PartFailed::Error {
            part,
            source: error.into(),
        }),
        Err(payload) => Err(PartFailed::Panicked {
            part,
            message: panic_message(&*payload),
        }),
    }
}

/// The text that a panic was raised with.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn lifecycle() -> (Shutdown, Lifecycle) {
        let shutdown = Shutdown::new();
        (shutdown.clone(), Lifecycle::new(shutdown))
    }

    /// A wait that never ends fails the test at once, as the clock is paused.
    async fn drained(lifecycle: &Lifecycle) -> Outcome {
        let wait = lifecycle.wait_drained(GRACE);
        tokio::time::timeout(GRACE * 100, wait)
            .await
            .expect("the wait ends")
    }

    async fn fails(text: &'static str) -> Result<(), io::Error> {
        Err(io::Error::other(text))
    }

    async fn waits_for(token: CancellationToken) -> Result<(), io::Error> {
        token.cancelled().await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn parts_that_end_within_the_grace_period_are_drained() {
        let (shutdown, lifecycle) = lifecycle();
        let finished = Arc::new(AtomicBool::new(false));
        let (token, flag) = (lifecycle.draining().clone(), finished.clone());
        lifecycle.spawn_vital("worker", async move {
            waits_for(token).await?;
            tokio::time::sleep(GRACE / 2).await;
            flag.store(true, Ordering::Relaxed);
            Ok::<(), io::Error>(())
        });
        shutdown.drain();
        let outcome = drained(&lifecycle).await;
        assert!(matches!(outcome, Outcome::Drained), "{outcome:?}");
        assert!(finished.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_period_begins_with_the_drain_and_not_with_the_wait() {
        let (shutdown, lifecycle) = lifecycle();
        lifecycle.spawn("stuck", std::future::pending::<Result<(), io::Error>>());
        let started = tokio::time::Instant::now();
        let later = async {
            tokio::time::sleep(GRACE * 10).await;
            shutdown.drain();
        };
        let (outcome, ()) = tokio::join!(drained(&lifecycle), later);
        assert!(
            matches!(outcome, Outcome::TimedOut { parts_left: 1 }),
            "{outcome:?}"
        );
        assert_eq!(started.elapsed().as_secs(), (GRACE * 11).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_cuts_the_grace_period_short() {
        let (shutdown, lifecycle) = lifecycle();
        lifecycle.spawn("stuck", std::future::pending::<Result<(), io::Error>>());
        shutdown.end();
        let outcome = drained(&lifecycle).await;
        assert!(
            matches!(outcome, Outcome::Ended { parts_left: 1 }),
            "{outcome:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_returns_an_error_drains_the_others_and_is_told_by_name() {
        let (_, lifecycle) = lifecycle();
        lifecycle.spawn("others", waits_for(lifecycle.draining().clone()));
        lifecycle.spawn("intake", fails("stream is gone"));
        let error = lifecycle
            .wait_drained(GRACE)
            .await
            .into_result()
            .unwrap_err();
        assert_eq!(
            chain(&error).to_string(),
            "part intake failed: stream is gone"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_stops_the_service() {
        let (_, lifecycle) = lifecycle();
        lifecycle.spawn("others", waits_for(lifecycle.draining().clone()));
        lifecycle.spawn::<_, io::Error>("intake", async { panic!("slot {} is missing", 3) });
        let error = lifecycle
            .wait_drained(GRACE)
            .await
            .into_result()
            .unwrap_err();
        assert_eq!(error.to_string(), "part intake panicked: slot 3 is missing");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_is_kept_and_not_the_last() {
        let (_, lifecycle) = lifecycle();
        let token = lifecycle.draining().clone();
        lifecycle.spawn("second", async move {
            token.cancelled().await;
            fails("consequence").await
        });
        lifecycle.spawn("first", fails("cause"));
        let outcome = drained(&lifecycle).await;
        assert!(
            matches!(&outcome, Outcome::Failed(failed) if failed.part() == "first"),
            "{outcome:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_returned_even_when_other_parts_outlast_the_grace_period() {
        let (_, lifecycle) = lifecycle();
        lifecycle.spawn("stuck", std::future::pending::<Result<(), io::Error>>());
        lifecycle.spawn("intake", fails("stream is gone"));
        let outcome = drained(&lifecycle).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_vital_part_that_ends_before_the_drain_stops_the_service() {
        let (_, lifecycle) = lifecycle();
        lifecycle.spawn("others", waits_for(lifecycle.draining().clone()));
        lifecycle.spawn_vital("subscription", async { Ok::<(), io::Error>(()) });
        let outcome = drained(&lifecycle).await;
        assert!(
            matches!(outcome, Outcome::Failed(PartFailed::EndedEarly { .. })),
            "{outcome:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_whose_parts_are_all_done_ends_without_a_signal() {
        let (shutdown, lifecycle) = lifecycle();
        lifecycle.spawn("once", async { Ok::<(), io::Error>(()) });
        let outcome = drained(&lifecycle).await;
        assert!(matches!(outcome, Outcome::Drained), "{outcome:?}");
        assert!(!shutdown.draining().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_was_spawned_during_the_drain_is_waited_for() {
        let (shutdown, lifecycle) = lifecycle();
        let (token, inner) = (lifecycle.draining().clone(), lifecycle.clone());
        lifecycle.spawn("parent", async move {
            token.cancelled().await;
            inner.spawn("child", fails("late"));
            Ok::<(), io::Error>(())
        });
        shutdown.drain();
        let outcome = drained(&lifecycle).await;
        assert!(
            matches!(&outcome, Outcome::Failed(failed) if failed.part() == "child"),
            "{outcome:?}"
        );
    }
}
