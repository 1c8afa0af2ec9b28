//! When the server is asked, and for how much: lanes that want something stand in a queue for the budget, and
//! lanes that are in no order rest.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::{LaneReader, OpenLane, PULL_LIFETIME};
use crate::lanes::budget::{Grant, Need, Pace};
use crate::lanes::pulls::Pull;
use crate::lease::LeaseValidity;
use crate::send::{SendError, sending};
use crate::subjects::Subject;

/// How long the server keeps a pull that others may wait for: what it was granted, they cannot use.
const SHORT_LIFETIME: Duration = Duration::from_secs(1);
/// For nothing at all the server would keep it for ever.
const LIFETIME_MIN: Duration = Duration::from_millis(10);
/// A pull whose end was never heard of is written off so long after its lifetime.
const PULL_GRACE: Duration = Duration::from_secs(1);

/// What the first of the queue gets.
enum Turn {
    Ask(Pull, Request),
    /// There are not bytes enough.
    Wait,
    /// It wants nothing, or rests, or is gone.
    Pass,
}

struct Request {
    subject: String,
    reply: String,
    body: String,
}

impl LaneReader {
    /// Puts a lane into the queue, if it wants something.
    pub(super) fn enqueue(&mut self, index: usize) {
        if let Some(open) = self.open.get_mut(&index)
            && !open.queued
            && open.wants()
        {
            open.queued = true;
            self.budget.wait(index);
        }
    }

    /// Asks the server for what the queue wants, as far as the budget goes. Nobody passes the first. Safe to
    /// cancel.
    pub(super) async fn ask_waiting(&mut self) -> Result<(), SendError> {
        while let Some(index) = self.budget.first() {
            match self.turn(index) {
                Turn::Wait => {
                    self.short = true;
                    return Ok(());
                }
                Turn::Pass => self.dequeue(index),
                Turn::Ask(pull, request) => {
                    let subject = Subject::raw(request.subject.clone());
                    let asking = self.bus.client().publish_with_reply(
                        request.subject,
                        request.reply,
                        request.body.into(),
                    );
                    sending(subject, asking).await?;
                    self.dequeue(index);
                    self.opened(index, pull);
                    // What it was not granted, unless it is to be seen first whether there is anything.
                    self.enqueue(index);
                }
            }
        }
        self.short = false;
        Ok(())
    }

    fn turn(&mut self, index: usize) -> Turn {
        let Some(open) = self.open.get(&index) else {
            return Turn::Pass;
        };
        if !open.wants() {
            return Turn::Pass;
        }
        let count = open.pulls.to_ask();
        let Some(grant) = self.budget.grant(open.need(count), self.open.len()) else {
            return Turn::Wait;
        };
        let Grant { count, bytes } = grant;
        let lifetime = if self.short || grant.is_large() {
            SHORT_LIFETIME
        } else {
            PULL_LIFETIME
        };
        let held = self.validity.as_ref().map(LeaseValidity::left);
        let lifetime = lifetime.min(held.unwrap_or(lifetime)).max(LIFETIME_MIN);
        let number = self.next_pull;
        let mut body = String::with_capacity(80);
        let expires = lifetime.as_nanos();
        let written = write!(
            body,
            r#"{{"batch":{count},"expires":{expires},"max_bytes":{bytes}}}"#
        );
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        let request = Request {
            subject: open.request_subject.clone(),
            reply: format!("{}.{index}.{number}", self.inbox),
            body,
        };
        let pull = Pull {
            number,
            count,
            bytes,
            ends: Instant::now() + lifetime + PULL_GRACE,
        };
        Turn::Ask(pull, request)
    }

    fn opened(&mut self, index: usize, pull: Pull) {
        self.next_pull += 1;
        if let Some(open) = self.open.get_mut(&index) {
            let held = open.pulls.held();
            open.pulls.opened(pull);
            self.budget.adjust(held, open.pulls.held());
        }
    }

    fn dequeue(&mut self, index: usize) {
        self.budget.served();
        if let Some(open) = self.open.get_mut(&index) {
            open.queued = false;
        }
    }

    /// A lane is not asked for a while.
    pub(super) fn rest(&mut self, index: usize, span: Duration) {
        let until = Instant::now() + span;
        if let Some(open) = self.open.get_mut(&index) {
            open.rests_until = Some(until);
            self.rested = Some(self.rested.map_or(until, |first| first.min(until)));
        }
    }

    /// Lanes that have rested may be asked again.
    pub(super) fn wake_rested(&mut self) {
        let now = Instant::now();
        let has_rested = |(index, open): (&usize, &OpenLane)| {
            open.rests_until
                .filter(|until| *until <= now)
                .map(|_| *index)
        };
        let rested: Vec<usize> = self.open.iter().filter_map(has_rested).collect();
        for index in rested {
            self.wake(index);
        }
        self.rested = self.open.values().filter_map(|open| open.rests_until).min();
    }

    /// A lane may be asked again.
    pub(super) fn wake(&mut self, index: usize) {
        if let Some(open) = self.open.get_mut(&index) {
            open.rests_until = None;
        }
        self.enqueue(index);
    }
}

impl OpenLane {
    /// Whether the server is to be asked now. One pull at a time shows whether an idle lane has anything.
    fn wants(&self) -> bool {
        let seen = self.pace == Pace::Flowing || self.pulls.owed() == 0;
        self.pulls.to_ask() > 0 && self.rests_until.is_none() && seen
    }

    fn need(&self, count: u32) -> Need {
        Need {
            count,
            mean: self.messages.bytes(),
            least: self.least,
            held: self.pulls.held(),
            pace: self.pace,
        }
    }
}
