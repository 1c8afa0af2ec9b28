//! What is wrong with what the monitor hears: counted always, told at most once in ten seconds.

use std::fmt::Display;
use std::time::Duration;

use super::line::Line;

const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Subjects come from outside and can be long.
const SUBJECT_BYTES_MAX: usize = 120;

#[derive(Debug, Default)]
pub(super) struct Complaints {
    undecodable: Counter,
    /// The newest of them: its subject, and why.
    example: (String, String),
    events_lost: Counter,
    refused: Counter,
}

#[derive(Debug, Default)]
struct Counter {
    count: u64,
    told: Option<Duration>,
}

impl Complaints {
    /// Counts what makes no sense. The first one is told at once.
    pub(super) fn undecodable(
        &mut self,
        now: Duration,
        subject: &str,
        why: &dyn Display,
    ) -> Option<Line> {
        self.undecodable.count += 1;
        let subject = &subject[..subject.floor_char_boundary(SUBJECT_BYTES_MAX)];
        self.example = (subject.to_owned(), why.to_string());
        self.tell_undecodable(now)
    }

    /// Counts events that their sender had no room for.
    pub(super) fn events_lost(&mut self, count: u64) {
        self.events_lost.count = self.events_lost.count.saturating_add(count);
    }

    /// Tells what has gathered. `refused` heartbeats came from workers beyond the table's bound.
    pub(super) fn handle_tick(&mut self, now: Duration, refused: u64, lines: &mut Vec<Line>) {
        self.refused.count += refused;
        lines.extend(self.tell_undecodable(now));
        let lost = self.events_lost.take(now);
        lines.extend(lost.map(|count| Line::EventsLost { count }));
        let refused = self.refused.take(now);
        lines.extend(refused.map(|heartbeats| Line::FleetTooLarge { heartbeats }));
    }

    fn tell_undecodable(&mut self, now: Duration) -> Option<Line> {
        let count = self.undecodable.take(now)?;
        let (subject, reason) = std::mem::take(&mut self.example);
        Some(Line::Undecodable {
            subject,
            reason,
            count,
        })
    }
}

impl Counter {
    /// The count, if there is one and the last was told long enough ago.
    fn take(&mut self, now: Duration) -> Option<u64> {
        let is_due = self
            .told
            .is_none_or(|told| now.saturating_sub(told) >= TOLD_EVERY);
        if self.count == 0 || !is_due {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}
