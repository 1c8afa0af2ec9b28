//! The loop over one feed: read, decide, begin, and wait for the confirmations beside it.
//!
//! ```text
//! opening ──feed──► reading ──store refused──► pausing ──1 s──► reading
//!    ▲                 └── read failed, connection broke ──► opening, after a short pause
//!    └─────────────────────────────────┘       any ── told to stop ──► draining
//! ```
//!
//! What must hold: confirmations are attended to in every state; and no state but draining is final, so
//! that a submitter waits out whatever happens to the server.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rota_bus::{Bus, Feed, FeedMessage, FeedSource, Link};
use rota_service::chain;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::decision::{Arrival, Rules};
use crate::settle::{GIVE_BACK_PAUSE, Settler};
use crate::window::{Settled, Window};

/// Between attempts to open a feed.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);
/// How long confirmations are waited for when the service stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The most messages that are handed back when the service stops; the others come again by themselves.
const HAND_BACK_MAX: usize = 2_000;
/// Time for the server to learn that this submitter reads no more, lest it gets them once again.
const HAND_BACK_PAUSE: Duration = Duration::from_millis(100);

/// The loop over one feed.
#[derive(Debug)]
pub(crate) struct Intake {
    settler: Arc<Settler>,
    part: &'static str,
    source: FeedSource,
    body_bytes_max: usize,
    window: Window,
    /// Since when the feed cannot be read.
    broken: Option<Instant>,
}

/// A feed, and the connection that it rests on.
struct OpenFeed {
    feed: Feed,
    rules: Rules,
    link: watch::Receiver<Link>,
    breaks: u64,
}

/// Why reading ended.
enum ReadEnd {
    /// The service stops; the feed still holds what has arrived.
    Draining,
    /// The feed is to be opened again.
    Broken { error: String },
}

impl Intake {
    /// A loop over a source; `part` names it in the log. `body_max` lowers the server's own limit.
    pub(crate) fn new(
        settler: Arc<Settler>,
        part: &'static str,
        source: FeedSource,
        body_max: Option<usize>,
    ) -> Self {
        Self {
            settler,
            part,
            source,
            body_bytes_max: body_max.unwrap_or(usize::MAX),
            window: Window::new(part),
            broken: None,
        }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self, draining: CancellationToken) {
        while let Some(mut open) = self.open(&draining).await {
            match self.read(&mut open, &draining).await {
                ReadEnd::Draining => return self.drain(Some(open.feed)).await,
                ReadEnd::Broken { error } => self.say_broken(&error),
            }
        }
        self.drain(None).await;
    }

    /// Opens the feed, however long it takes; nothing when the service stops first.
    async fn open(&mut self, draining: &CancellationToken) -> Option<OpenFeed> {
        loop {
            if self.broken.is_some() {
                let pause = draining.run_until_cancelled(sleep(REOPEN_PAUSE));
                self.window.alongside(pause).await?;
            }
            let bus = self.settler.bus();
            // Read before the feed is opened: a break in between is then seen.
            let link = bus.link();
            let breaks = link.borrow().breaks;
            let opening = draining.run_until_cancelled(bus.feed(self.source));
            match self.window.alongside(opening).await? {
                Err(error) => self.say_broken(&chain(&error).to_string()),
                Ok(feed) => {
                    let rules = self.rules();
                    self.say_open(&rules);
                    return Some(OpenFeed {
                        feed,
                        rules,
                        link,
                        breaks,
                    });
                }
            }
        }
    }

    /// The server's limit may be another after a reconnect.
    fn rules(&self) -> Rules {
        let bus = self.settler.bus();
        Rules {
            source: self.source,
            subjects: bus.subjects().clone(),
            body_bytes_max: self.body_bytes_max.min(bus.body_bytes_max()),
        }
    }

    async fn read(&mut self, open: &mut OpenFeed, draining: &CancellationToken) -> ReadEnd {
        let mut told_to_stop = pin!(draining.cancelled());
        // When a lane refuses, the next would be refused too: nothing is begun for a while.
        let mut resume_at = None;
        loop {
            let may_read = resume_at.is_none() && self.window.has_room();
            tokio::select! {
                biased;
                () = &mut told_to_stop => return ReadEnd::Draining,
                () = reached(resume_at) => resume_at = None,
                settled = self.window.next() => if matches!(settled, Settled::GivenBack { .. }) {
                    resume_at.get_or_insert_with(|| Instant::now() + GIVE_BACK_PAUSE);
                },
                next = open.feed.next(), if may_read => match next {
                    Ok(message) => self.begin(&open.rules, message).await,
                    Err(error) => return ReadEnd::Broken { error: chain(&error).to_string() },
                },
                // Last, so that what has arrived is not thrown away.
                () = interrupted(&mut open.link, open.breaks), if may_read => {
                    return ReadEnd::Broken { error: "the connection was interrupted".to_owned() };
                }
            }
        }
    }

    async fn begin(&mut self, rules: &Rules, message: FeedMessage) {
        let bytes = message.payload.len();
        let decision = rules.decide(&Arrival::from(&message));
        let settling = self.settler.begin(message, decision).await;
        self.window.push(bytes, settling);
    }

    async fn drain(mut self, feed: Option<Feed>) {
        let bus = self.settler.bus();
        let leaving = async {
            if let Some(feed) = feed {
                hand_back(bus, feed).await;
            }
            self.window.empty().await;
        };
        if timeout(DRAIN_MAX, leaving).await.is_err() {
            let (part, under_way) = (self.part, self.window.len());
            warn!(
                part,
                under_way, "stopping without all confirmations, their messages come again"
            );
        }
        self.window.say_summary();
    }

    fn say_open(&mut self, rules: &Rules) {
        let (part, body_bytes_max) = (self.part, rules.body_bytes_max);
        match self.broken.take() {
            None => debug!(part, body_bytes_max, "reading"),
            Some(since) => {
                let elapsed_ms = since.elapsed().as_millis();
                info!(part, body_bytes_max, elapsed_ms, "reading again");
            }
        }
    }

    fn say_broken(&mut self, error: &str) {
        let part = self.part;
        match self.broken {
            Some(_) => debug!(part, error, "still not reading"),
            None => {
                self.broken = Some(Instant::now());
                warn!(part, error, "not reading, trying again until it works");
            }
        }
    }
}

/// Gives other submitters at once what has arrived here and was not begun.
async fn hand_back(bus: &Bus, mut feed: Feed) {
    let mut arrived = Vec::new();
    while arrived.len() < HAND_BACK_MAX
        // The runtime's turn-taking would end this early.
        && let Some(Ok(message)) = unconstrained(feed.next()).now_or_never()
    {
        arrived.push(message);
    }
    drop(feed);
    for message in &arrived {
        if message.give_back(HAND_BACK_PAUSE).await.is_err() {
            break;
        }
    }
    let flushed = bus.flush().await.is_ok();
    debug!(messages = arrived.len(), flushed, "handed back");
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

async fn interrupted(link: &mut watch::Receiver<Link>, breaks: u64) {
    // That the connection is closed for good is an interruption too.
    let _ = link.wait_for(|link| link.breaks != breaks).await.is_ok();
}
