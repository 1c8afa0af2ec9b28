//! Answers to deliveries.

use super::Consumer;

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum AckKind {
    /// Done with it.
    Ack,
    /// It is to come again, after so many microseconds.
    Nak { delay: u64 },
    /// It takes longer.
    Progress,
    /// Never again.
    Term,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Verdict {
    /// Nothing, and no confirmation.
    Dropped,
    /// Nothing, but it is confirmed.
    Nothing,
    /// The message is settled.
    Settled,
    /// It comes again, or later.
    Changed,
}

impl AckKind {
    pub(in super::super) fn read(payload: &[u8]) -> Option<Self> {
        match payload {
            b"" | b"+ACK" | b"+OK" => Some(Self::Ack),
            b"+WPI" => Some(Self::Progress),
            _ if payload.starts_with(b"+TERM") => Some(Self::Term),
            _ => {
                let rest = payload.strip_prefix(b"-NAK")?;
                let delay = read_delay(std::str::from_utf8(rest).ok()?.trim());
                Some(Self::Nak { delay })
            }
        }
    }
}

/// `{"delay":<nanoseconds>}`, or seconds as `5s`; in microseconds.
fn read_delay(text: &str) -> u64 {
    let body: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let nanos = body.and_then(|body| body["delay"].as_u64());
    let seconds = text
        .strip_suffix('s')
        .and_then(|text| text.parse::<u64>().ok());
    nanos
        .map(|nanos| nanos / 1_000)
        .or(seconds.map(|s| s * 1_000_000))
        .unwrap_or(0)
}

impl Consumer {
    /// Takes an answer; the stream deletes what is settled, if it is a work queue.
    pub(in super::super) fn answer(
        &mut self,
        kind: AckKind,
        seq: u64,
        consumer_seq: u64,
        steady: u64,
    ) -> Verdict {
        if seq >= self.next {
            return Verdict::Dropped;
        }
        match kind {
            AckKind::Ack | AckKind::Term => self.settle(seq),
            AckKind::Progress => self.extend(seq, steady),
            AckKind::Nak { delay } => {
                let floor = self.ack_floor().consumer_seq;
                if consumer_seq <= floor || consumer_seq > self.delivered.consumer_seq {
                    return Verdict::Nothing;
                }
                self.repeat(seq, delay, steady)
            }
        }
    }

    fn settle(&mut self, seq: u64) -> Verdict {
        if self.pending.remove(&seq).is_none() {
            return Verdict::Nothing;
        }
        self.again.retain(|other| *other != seq);
        self.counts.remove(&seq);
        Verdict::Settled
    }

    fn extend(&mut self, seq: u64, steady: u64) -> Verdict {
        let Some(pending) = self.pending.get_mut(&seq) else {
            return Verdict::Nothing;
        };
        pending.deadline = steady + self.settings.ack_wait;
        Verdict::Changed
    }

    fn repeat(&mut self, seq: u64, delay: u64, steady: u64) -> Verdict {
        let Some(pending) = self.pending.get_mut(&seq) else {
            return Verdict::Nothing;
        };
        if delay > 0 {
            pending.deadline = steady + delay;
        } else if !self.again.contains(&seq) {
            self.again.push_back(seq);
        }
        Verdict::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_server_reads_them() {
        assert_eq!(AckKind::read(b""), Some(AckKind::Ack));
        assert_eq!(AckKind::read(b"-NAK"), Some(AckKind::Nak { delay: 0 }));
        let delayed = AckKind::read(br#"-NAK {"delay":2000000}"#);
        assert_eq!(delayed, Some(AckKind::Nak { delay: 2_000 }));
        assert_eq!(
            AckKind::read(b"-NAK 5s"),
            Some(AckKind::Nak { delay: 5_000_000 })
        );
        assert_eq!(AckKind::read(b"+TERM because"), Some(AckKind::Term));
        assert_eq!(AckKind::read(b"hello"), None);
    }
}
