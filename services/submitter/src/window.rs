//! What is under way between the feed and the server's confirmations: bounded in number and bytes, and
//! counted when it ends.

use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Messages under way. Two round trips' worth at full speed; more only makes a larger burst.
const MESSAGES_MAX: usize = 1_000;
/// Bytes of their bodies. One message is taken in any case.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Summaries come no more often than this.
const SAY_INTERVAL: Duration = Duration::from_secs(5);

/// How a message was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It lies in its lane.
    Passed,
    /// Its refusal lies in the results.
    Rejected,
    /// It was no task: it is a dead letter now.
    Buried,
    /// A newer submitter is to read it.
    Left,
    /// It was looked for what is left behind, and so many messages were passed on.
    LookedBack {
        /// How many.
        passed: u64,
    },
    /// It comes again later.
    GivenBack {
        /// Why.
        error: String,
    },
}

/// Messages under way.
#[derive(Debug)]
pub(crate) struct Window {
    part: &'static str,
    under_way: FuturesUnordered<BoxFuture<'static, (usize, Settled)>>,
    bytes: usize,
    tally: Tally,
    said: Tally,
    summary_at: Instant,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    rejected: u64,
    buried: u64,
    left: u64,
    late: u64,
    given_back: u64,
}

impl Window {
    /// An empty window; `part` names it in the log.
    pub(crate) fn new(part: &'static str) -> Self {
        let now = Instant::now();
        Self {
            part,
            under_way: FuturesUnordered::new(),
            bytes: 0,
            tally: Tally::default(),
            said: Tally::default(),
            summary_at: now + SAY_INTERVAL,
        }
    }

    /// Whether another message may be begun.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() < MESSAGES_MAX && self.bytes < BYTES_MAX
    }

    /// Adds a message that has been begun.
    pub(crate) fn push(&mut self, bytes: usize, settling: BoxFuture<'static, Settled>) {
        self.bytes += bytes;
        self.under_way
            .push(Box::pin(async move { (bytes, settling.await) }));
    }

    /// Waits until one more message is settled; for ever while there is none. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Settled {
        match self.under_way.next().await {
            None => pending().await,
            Some((bytes, settled)) => {
                self.bytes -= bytes;
                self.count(&settled);
                settled
            }
        }
    }

    /// Does something else while messages are settled.
    pub(crate) async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = self.next() => {}
            }
        }
    }

    /// Waits until all messages are settled.
    pub(crate) async fn empty(&mut self) {
        while !self.under_way.is_empty() {
            self.next().await;
        }
    }

    /// How many messages are under way.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Writes what was done so far into the log.
    pub(crate) fn say_summary(&mut self) {
        if self.tally != self.said {
            debug!(part = self.part, total = %self.tally, under_way = self.len(), "summary");
            self.said = self.tally;
        }
    }

    fn count(&mut self, settled: &Settled) {
        let now = Instant::now();
        let count = match settled {
            Settled::LookedBack { passed } => {
                self.tally.late += passed;
                return;
            }
            Settled::Passed => &mut self.tally.passed,
            Settled::Rejected => &mut self.tally.rejected,
            Settled::Buried => &mut self.tally.buried,
            Settled::Left => &mut self.tally.left,
            Settled::GivenBack { .. } => &mut self.tally.given_back,
        };
        *count += 1;
        if let Settled::GivenBack { error } = settled {
            let given_back = self.tally.given_back;
            warn!(
                part = self.part,
                error, given_back, "messages are given back to come again"
            );
        }
        if now >= self.summary_at {
            self.summary_at = now + SAY_INTERVAL;
            self.say_summary();
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            rejected,
            buried,
            left,
            late,
            given_back,
        } = self;
        write!(
            f,
            "{passed} passed, {rejected} rejected, {buried} buried, {left} left, {late} late, {given_back} given back"
        )
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn settled() -> BoxFuture<'static, Settled> {
        async { Settled::Passed }.boxed()
    }

    #[tokio::test]
    async fn a_full_window_has_room_again_when_one_is_settled() {
        let mut window = Window::new("test");
        for _ in 0..MESSAGES_MAX {
            assert!(window.has_room());
            window.push(1, settled());
        }
        assert!(!window.has_room());
        assert_eq!(window.next().await, Settled::Passed);
        assert!(window.has_room());
    }

    #[tokio::test]
    async fn large_bodies_fill_the_window_by_their_bytes() {
        let mut window = Window::new("test");
        window.push(BYTES_MAX, settled());
        assert!(!window.has_room());
        window.empty().await;
        assert!(window.has_room() && window.bytes == 0);
        assert_eq!(window.tally.passed, 1);
    }
}
