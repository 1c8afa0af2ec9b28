//! Messages that the server publishes later.

use async_nats::{HeaderMap, Message};
use rota_wire::Micros;

use super::{Now, Stream};
use crate::in_memory::packet::{Fault, header, message, retain};

const SCHEDULE: &str = "Nats-Schedule";
const TARGET: &str = "Nats-Schedule-Target";
/// Nothing falls due earlier than this after it was stored, in microseconds.
const NOTICE_MIN: u64 = 250_000;

impl Stream {
    /// When a message is to be published, if it is a schedule.
    pub(super) fn read_schedule(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        now: Now,
    ) -> Result<Option<u64>, Fault> {
        let Some(schedule) = header(headers, SCHEDULE) else {
            return Ok(None);
        };
        if !self.settings.schedules {
            return Err(Fault::new(400, 10_188, "message schedules is disabled"));
        }
        let at = schedule.strip_prefix("@at ").and_then(Micros::parse);
        let Some(at) = at else {
            let text = "message schedules pattern is invalid";
            return Err(Fault::new(400, 10_189, text));
        };
        match header(headers, TARGET) {
            Some(target) if target != subject && self.captures(target) => {
                Ok(Some(at.0.max(now.wall + NOTICE_MIN)))
            }
            _ => {
                let text = "message schedules target is invalid";
                Err(Fault::new(400, 10_190, text))
            }
        }
    }

    /// When the next schedule is due, by the steady clock.
    pub(super) fn next_due(&self, now: Now) -> Option<u64> {
        let (due, _) = self.due.first()?;
        Some(now.steady + due.saturating_sub(now.wall))
    }

    /// Publishes what has fallen due. What was replaced or purged meanwhile is not published.
    pub(in super::super) fn publish_due(&mut self, now: Now) {
        while let Some((due, seq)) = self.due.first().copied()
            && due <= now.wall
        {
            self.due.pop_first();
            let Some(schedule) = self.get(seq).cloned() else {
                continue;
            };
            if let Some(produced) = produce(&schedule.subject, schedule.headers.as_ref()) {
                self.keep(
                    &produced.subject,
                    produced.headers.as_ref(),
                    &schedule.payload,
                    now,
                );
            }
            self.remove(seq);
        }
    }
}

fn produce(subject: &str, headers: Option<&HeaderMap>) -> Option<Message> {
    let target = header(headers, TARGET)?.to_owned();
    let stripped = ["Nats-Msg-Id", "Nats-TTL", "Nats-Rollup"];
    let mut kept = retain(headers, |name| {
        !name.starts_with(SCHEDULE)
            && !name.starts_with("Nats-Expected")
            && !stripped.contains(&name)
    });
    kept.insert("Nats-Scheduler", subject);
    kept.insert("Nats-Schedule-Next", "purge");
    Some(message(&target, None, Some(kept), bytes::Bytes::new()))
}
