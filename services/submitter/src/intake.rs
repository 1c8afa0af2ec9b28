//! The loop over one feed: read, decide, begin, and wait for the confirmations beside it.
//!
//! ```text
//! opening ──feed──► reading ──store refused, too much scheduled──► pausing ──1 s, room──► reading
//!    ▲                 └── read failed, connection broke, waited too long ──► opening, after a short pause
//!    └─────────────────────────────────┘       any ── told to stop ──► draining
//! ```
//!
//! What must hold: confirmations are attended to in every state; no state but draining is final, so that a
//! submitter waits out whatever happens to the server; and nothing is passed on that another submitter may
//! have got meanwhile, because it waited here too long (see [`Age`]).

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rota_bus::{
    Bus, FEED_ACK_WAIT, FEED_WAITING_MAX, Feed, FeedError, FeedMessage, FeedSource, Link,
};
use rota_service::chain;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::decision::{Arrival, Rules};
use crate::schedule::ScheduleGate;
use crate::settle::{GIVE_BACK_PAUSE, Settler};
use crate::stragglers::Stragglers;
use crate::window::{Settled, Window};

/// Between attempts to open a feed.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);
/// How long confirmations are waited for when the service stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The most messages that are handed back when the service stops; the others come again by themselves.
const HAND_BACK_MAX: usize = 2_000;
/// Time for the server to learn that this submitter reads no more, lest it gets them once again.
const HAND_BACK_PAUSE: Duration = Duration::from_millis(100);

/// How often the loop turns at least: by a turn that comes late it learns that it was itself stopped.
const TICK: Duration = Duration::from_secs(1);
/// A turn that is so late means that this process, or its machine, stood still.
const STOOD_STILL: Duration = Duration::from_secs(4);
/// A message that has waited here for so long is not passed on: the server may have given it to another, so
/// it is let go, and comes again with the next feed. Below the server's own limit by what the way takes.
const AGE_MAX: Duration = FEED_ACK_WAIT.saturating_sub(Duration::from_secs(2));
/// One that has waited for so long is renewed, so that its confirmation comes in time.
const AGE_RENEWED: Duration = Duration::from_secs(2);

/// The loop over one feed.
#[derive(Debug)]
pub(crate) struct Intake {
    settler: Arc<Settler>,
    part: &'static str,
    source: FeedSource,
    body_bytes_max: usize,
    /// Closed while nothing new is to be taken; nothing where all is taken.
    gate: Option<ScheduleGate>,
    window: Window,
    stragglers: Stragglers,
    /// Since when the feed cannot be read.
    broken: Option<Instant>,
}

/// A feed, and the connection that it rests on.
struct OpenFeed {
    feed: Feed,
    rules: Rules,
    link: watch::Receiver<Link>,
    breaks: u64,
    age: Age,
}

/// How long messages may have waited here before they are read. When one arrived, nobody says; but it was not
/// before the feed was last seen empty, nor before so many others were read as can wait here at all.
#[derive(Debug)]
struct Age {
    /// No message that waits now arrived before.
    since: Instant,
    /// When the last [`FEED_WAITING_MAX`] messages began to be read, and how many of them were.
    begun: Instant,
    read: usize,
    /// When the loop last turned.
    turned: Instant,
}

/// Why reading ended.
enum ReadEnd {
    /// The service stops; the feed still holds what has arrived.
    Draining,
    /// The feed is to be opened again.
    Broken { error: String },
    /// What has arrived has waited too long: it is let go, and comes again.
    Stale,
}

impl Intake {
    /// A loop over what is submitted. `body_max` lowers the server's own limit.
    pub(crate) fn of_submissions(
        settler: Arc<Settler>,
        body_max: Option<usize>,
        schedule_max: u64,
    ) -> Self {
        let gate = ScheduleGate::new(settler.bus().clone(), schedule_max);
        Self {
            body_bytes_max: body_max.unwrap_or(usize::MAX),
            gate: Some(gate),
            ..Self::new(settler, "submissions", FeedSource::Submissions)
        }
    }

    /// A loop over what has fallen due, of which all was let in before.
    pub(crate) fn of_due(settler: Arc<Settler>) -> Self {
        Self::new(settler, "due", FeedSource::Due)
    }

    /// `part` names it in the log.
    fn new(settler: Arc<Settler>, part: &'static str, source: FeedSource) -> Self {
        Self {
            settler,
            part,
            source,
            body_bytes_max: usize::MAX,
            gate: None,
            window: Window::new(part),
            stragglers: Stragglers::new(Instant::now()),
            broken: None,
        }
    }

    /// What it is called in the log.
    pub(crate) const fn part(&self) -> &'static str {
        self.part
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self, draining: CancellationToken) {
        while let Some(mut open) = self.open(&draining).await {
            match self.read(&mut open, &draining).await {
                ReadEnd::Draining => return self.drain(Some(open.feed)).await,
                ReadEnd::Broken { error } => self.say_broken(&error),
                ReadEnd::Stale => debug!(part = self.part, "what has waited here comes again"),
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
                        age: Age::new(Instant::now()),
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
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When a lane refuses, the next would be refused too: nothing is begun for a while.
        let mut resume_at = None;
        loop {
            let is_open = self.gate.as_ref().is_none_or(ScheduleGate::is_open);
            let may_read = is_open && resume_at.is_none() && self.window.has_room();
            let OpenFeed { feed, age, .. } = open;
            tokio::select! {
                biased;
                () = &mut told_to_stop => return ReadEnd::Draining,
                () = reached(resume_at) => resume_at = None,
                () = turn_of(&mut self.gate) => self.handle_gate(),
                _ = ticks.tick() => {
                    if age.turn(Instant::now()) > STOOD_STILL {
                        return ReadEnd::broken("this process stood still");
                    }
                    self.look_back(&open.rules);
                }
                settled = self.window.next() => if matches!(settled, Settled::GivenBack { .. }) {
                    let now = Instant::now();
                    self.stragglers.handle_refusal(now);
                    resume_at.get_or_insert_with(|| now + GIVE_BACK_PAUSE);
                },
                next = next_of(feed, age), if may_read => match next {
                    Ok(message) => {
                        let waited = age.handle_read(Instant::now());
                        if waited >= AGE_MAX {
                            return ReadEnd::Stale;
                        }
                        self.begin(&open.rules, message, waited).await;
                    }
                    Err(error) => return ReadEnd::broken(&chain(&error).to_string()),
                },
                // Last, so that what has arrived is not thrown away.
                () = interrupted(&mut open.link, open.breaks), if may_read => {
                    return ReadEnd::broken("the connection was interrupted");
                }
            }
        }
    }

    /// What waits before a closed gate is not left behind.
    fn handle_gate(&mut self) {
        if let Some(gate) = &self.gate
            && !gate.is_open()
        {
            self.stragglers.handle_refusal(Instant::now());
        }
    }

    /// Looks for what is left behind, beside the messages that are under way.
    fn look_back(&mut self, rules: &Rules) {
        if self.window.has_room() && self.stragglers.is_time(Instant::now()) {
            let looking = self
                .stragglers
                .clone()
                .look(self.settler.clone(), rules.clone());
            self.window.push(0, looking.boxed());
        }
    }

    async fn begin(&mut self, rules: &Rules, message: FeedMessage, waited: Duration) {
        if waited >= AGE_RENEWED
            && let Err(error) = message.renew().await
        {
            // Then it may be passed on twice, and the copy that comes again is marked.
            debug!(seq = message.sequence, %error, "not renewed");
        }
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

impl ReadEnd {
    fn broken(why: &str) -> Self {
        Self::Broken {
            error: why.to_owned(),
        }
    }
}

impl Age {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            begun: now,
            read: 0,
            turned: now,
        }
    }

    /// The loop turns; gives how long the last turn took.
    fn turn(&mut self, now: Instant) -> Duration {
        now.duration_since(std::mem::replace(&mut self.turned, now))
    }

    /// Nothing waits.
    fn handle_empty(&mut self, now: Instant) {
        (self.since, self.begun, self.read) = (now, now, 0);
    }

    /// A message is read; gives how long it may have waited.
    fn handle_read(&mut self, now: Instant) -> Duration {
        let waited = now.duration_since(self.since);
        self.read += 1;
        if self.read == FEED_WAITING_MAX {
            // Those that were waiting when these began to be read are read by now.
            (self.since, self.begun, self.read) = (self.begun, now, 0);
        }
        waited
    }
}

/// The next message. Notes when there is none.
async fn next_of(feed: &mut Feed, age: &mut Age) -> Result<FeedMessage, FeedError> {
    // The runtime's turn-taking would make it look empty.
    let mut next = pin!(unconstrained(feed.next()));
    poll_fn(|context| {
        let polled = next.as_mut().poll(context);
        if polled.is_pending() {
            age.handle_empty(Instant::now());
        }
        polled
    })
    .await
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

async fn turn_of(gate: &mut Option<ScheduleGate>) {
    match gate {
        Some(gate) => gate.turn().await,
        None => pending().await,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_message_has_waited_at_most_since_the_feed_was_empty() {
        let start = Instant::now();
        let mut age = Age::new(start);
        assert_eq!(age.handle_read(at(start, 9_000)), Duration::from_secs(9));
        age.handle_empty(at(start, 9_500));
        assert_eq!(
            age.handle_read(at(start, 9_600)),
            Duration::from_millis(100)
        );
    }

    #[test]
    fn in_a_stream_without_end_no_message_looks_old_that_is_not() {
        let start = Instant::now();
        let mut age = Age::new(start);
        let max = FEED_WAITING_MAX as u64;
        // Four times as many in a second as can wait, for a minute.
        let waits = (0..60 * 4 * max).map(|n| age.handle_read(at(start, n * 250 / max)));
        assert!(waits.max() <= Some(Duration::from_millis(500)));
    }

    #[test]
    fn what_waited_while_nothing_was_read_is_old() {
        let start = Instant::now();
        let mut age = Age::new(start);
        for _ in 0..FEED_WAITING_MAX {
            age.handle_read(start);
        }
        assert!(age.handle_read(at(start, 8_000)) >= AGE_MAX);
    }

    #[test]
    fn a_turn_that_comes_late_shows() {
        let start = Instant::now();
        let mut age = Age::new(start);
        assert!(age.turn(at(start, 1_000)) < STOOD_STILL);
        assert!(age.turn(at(start, 6_000)) > STOOD_STILL);
        assert!(age.turn(at(start, 7_000)) < STOOD_STILL);
    }
}
