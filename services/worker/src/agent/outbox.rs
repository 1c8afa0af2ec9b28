//! Outcomes that the scheduler has not settled yet: what to report now, and what to repeat when.
//!
//! Pure. A report is a plain message that may get lost, so each outcome is repeated until the
//! scheduler says that it has it. What must hold: an outcome leaves only by being settled or
//! withdrawn; its number is never used again; a frame stays below what a message can carry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rota_wire::dispatch::{Ending, Outcome};
use rota_wire::{Holding, Span};

/// An outcome that is not settled is reported again after so long.
pub(super) const REPEAT_EVERY: Duration = Duration::from_secs(1);
/// The most outcomes in a frame.
const FRAME_OUTCOMES_MAX: usize = 512;
/// What an outcome takes beside its texts, rounded up.
const OUTCOME_BYTES: usize = 96;
/// The longest reason and the longest end of a command's stderr in an outcome.
const REASON_BYTES_MAX: usize = 1024;
const TAIL_BYTES_MAX: usize = 4 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Outbox {
    /// The most bytes in a frame. An outcome alone always fits.
    frame_bytes_max: usize,
    numbers_used: u64,
    unsettled: BTreeMap<u64, Unsettled>,
    due: BTreeSet<u64>,
    repeats: BTreeSet<(Duration, u64)>,
}

#[derive(Debug, Clone)]
struct Unsettled {
    outcome: Outcome,
    /// When it is repeated; nothing while it is due.
    repeat_at: Option<Duration>,
}

impl Outbox {
    /// With frames of so many bytes at most.
    pub(super) fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            numbers_used: 0,
            unsettled: BTreeMap::new(),
            due: BTreeSet::new(),
            repeats: BTreeSet::new(),
        }
    }

    /// Adds an outcome, to be reported at once, and gives its number.
    pub(super) fn push(&mut self, holding: Holding, ran: Span, ending: Ending) -> u64 {
        self.numbers_used += 1;
        let number = self.numbers_used;
        let outcome = Outcome {
            number,
            holding,
            ran,
            ending: self.cut(ending),
        };
        let repeat_at = None;
        self.unsettled
            .insert(number, Unsettled { outcome, repeat_at });
        self.due.insert(number);
        number
    }

    /// How long the attempt ran whose outcome this is; nothing once it is settled.
    pub(super) fn ran(&self, number: u64) -> Option<Span> {
        let unsettled = self.unsettled.get(&number)?;
        Some(unsettled.outcome.ran)
    }

    /// Takes an outcome out, because it is settled or does not matter any more.
    pub(super) fn remove(&mut self, number: u64) -> Option<Outcome> {
        let Unsettled { outcome, repeat_at } = self.unsettled.remove(&number)?;
        match repeat_at {
            Some(at) => self.repeats.remove(&(at, number)),
            None => self.due.remove(&number),
        };
        Some(outcome)
    }

    /// Makes all due at once.
    pub(super) fn repeat_all(&mut self) {
        self.repeats.clear();
        for (number, unsettled) in &mut self.unsettled {
            unsettled.repeat_at = None;
            self.due.insert(*number);
        }
    }

    /// Makes due what has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        while let Some(&(at, number)) = self.repeats.first()
            && at <= now
        {
            self.repeats.pop_first();
            self.due.insert(number);
            if let Some(unsettled) = self.unsettled.get_mut(&number) {
                unsettled.repeat_at = None;
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.repeats.first().map(|(at, _)| *at)
    }

    /// The next frame of what is due; nothing when all of it is on its way.
    pub(super) fn take_frame(&mut self, now: Duration) -> Option<Vec<Outcome>> {
        let (mut frame, mut bytes) = (Vec::new(), 0);
        let repeat_at = now + REPEAT_EVERY;
        while let Some(&number) = self.due.first()
            && frame.len() < FRAME_OUTCOMES_MAX
        {
            let unsettled = self.unsettled.get_mut(&number);
            let unsettled = unsettled.expect("what is due is not settled");
            bytes += bytes_of(&unsettled.outcome.ending);
            if bytes > self.frame_bytes_max && !frame.is_empty() {
                break;
            }
            unsettled.repeat_at = Some(repeat_at);
            frame.push(unsettled.outcome.clone());
            self.due.pop_first();
            self.repeats.insert((repeat_at, number));
        }
        (!frame.is_empty()).then_some(frame)
    }

    /// Texts that a frame has room for, whoever wrote them.
    fn cut(&self, mut ending: Ending) -> Ending {
        // Both and what is around them make less than a frame.
        let reason_max = REASON_BYTES_MAX.min(self.frame_bytes_max / 4);
        let tail_max = TAIL_BYTES_MAX.min(self.frame_bytes_max / 2);
        match &mut ending {
            Ending::Stored => {}
            Ending::Returned { reason } => keep_begin(reason, reason_max),
            Ending::Failed(failure) => {
                keep_begin(&mut failure.reason, reason_max);
                keep_end(&mut failure.stderr_tail, tail_max);
            }
        }
        ending
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsettled.is_empty()
    }
}

fn keep_begin(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

fn keep_end(text: &mut String, bytes: usize) {
    let start = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    text.drain(..start);
}

fn bytes_of(ending: &Ending) -> usize {
    let texts = match ending {
        Ending::Stored => 0,
        Ending::Returned { reason } => reason.len(),
        Ending::Failed(failure) => {
            let exit = failure.exit.as_ref().map_or(0, String::len);
            failure.reason.len() + failure.stderr_tail.len() + exit
        }
    };
    OUTCOME_BYTES + texts
}

#[cfg(test)]
mod tests {
    use rota_wire::dispatch::{Failure, Report, Retry};
    use rota_wire::{Delivery, Micros, Term, WorkerId, frame};

    use super::*;

    const START: Duration = Duration::from_secs(100);
    const FRAME_BYTES_MAX: usize = 256 * 1024;
    const RAN: Span = Span::from_ms(7);

    fn holding(seq: u64) -> Holding {
        Holding {
            term: Term(1),
            delivery: Delivery { seq, count: 1 },
        }
    }

    fn numbers(frame: Option<Vec<Outcome>>) -> Vec<u64> {
        let numbers = frame.into_iter().flatten().map(|outcome| outcome.number);
        numbers.collect()
    }

    #[test]
    fn an_outcome_is_repeated_each_second_until_it_is_settled() {
        let mut outbox = Outbox::new(FRAME_BYTES_MAX);
        let number = outbox.push(holding(7), RAN, Ending::Stored);
        assert_eq!(numbers(outbox.take_frame(START)), [number]);
        for round in 1..=3 {
            let due = START + REPEAT_EVERY * round;
            assert_eq!(outbox.next_deadline(), Some(due));
            outbox.handle_timeout(due - Duration::from_millis(1));
            assert_eq!(outbox.take_frame(due), None);
            outbox.handle_timeout(due);
            assert_eq!(numbers(outbox.take_frame(due)), [number]);
        }
        assert_eq!(
            outbox.remove(number).expect("unsettled").holding,
            holding(7)
        );
        assert_eq!(outbox.next_deadline(), None);
        assert!(outbox.is_empty() && outbox.remove(number).is_none());
    }

    #[test]
    fn numbers_are_not_used_again() {
        let mut outbox = Outbox::new(FRAME_BYTES_MAX);
        let first = outbox.push(holding(1), RAN, Ending::Stored);
        outbox.remove(first);
        assert!(outbox.push(holding(1), RAN, Ending::Stored) > first);
    }

    #[test]
    fn all_can_be_repeated_at_once_and_each_only_once() {
        let mut outbox = Outbox::new(FRAME_BYTES_MAX);
        let first = outbox.push(holding(1), RAN, Ending::Stored);
        outbox.take_frame(START);
        let second = outbox.push(holding(2), RAN, Ending::Stored);
        outbox.repeat_all();
        assert_eq!(numbers(outbox.take_frame(START)), [first, second]);
        outbox.handle_timeout(START + REPEAT_EVERY);
        assert_eq!(
            numbers(outbox.take_frame(START + REPEAT_EVERY)),
            [first, second]
        );
        assert_eq!(outbox.take_frame(START + REPEAT_EVERY), None);
    }

    #[test]
    fn a_frame_holds_at_most_512_outcomes() {
        let mut outbox = Outbox::new(FRAME_BYTES_MAX);
        for seq in 0..1_030 {
            outbox.push(holding(seq), RAN, Ending::Stored);
        }
        let frames = std::iter::from_fn(|| outbox.take_frame(START).map(|frame| frame.len()));
        assert_eq!(frames.collect::<Vec<_>>(), [512, 512, 6]);
    }

    fn failed(reason: &str, tail: &str) -> Ending {
        Ending::Failed(Failure {
            retry: Retry::Later,
            reason: reason.to_owned(),
            exit: Some("signal 11".to_owned()),
            stderr_tail: tail.to_owned(),
            started: Micros(u64::MAX),
            finished: Micros(u64::MAX),
        })
    }

    #[test]
    fn no_frame_is_larger_than_a_message_may_be() {
        let worker = WorkerId::parse(&"w".repeat(64)).expect("good");
        for payload_max in [4 * 1024, 64 * 1024, FRAME_BYTES_MAX] {
            let mut outbox = Outbox::new(payload_max - 256);
            for seq in 0..200 {
                let reason = "r".repeat(1 << (seq % 16));
                let tail = "é".repeat(1 << (seq % 14));
                outbox.push(holding(u64::MAX - seq), RAN, failed(&reason, &tail));
            }
            let mut count = 0;
            while let Some(outcomes) = outbox.take_frame(START) {
                count += outcomes.len();
                let worker = worker.clone();
                let bytes = frame::encode(&Report { worker, outcomes }).len();
                assert!(bytes <= payload_max, "{bytes} of {payload_max}");
            }
            assert_eq!(count, 200);
        }
    }

    #[test]
    fn of_a_reason_the_begin_is_kept_and_of_stderr_the_end() {
        let mut outbox = Outbox::new(FRAME_BYTES_MAX);
        let long = format!("begin{}end", "é".repeat(8_000));
        outbox.push(holding(1), RAN, failed(&long, &long));
        let outcomes = outbox.take_frame(START).expect("one");
        let Ending::Failed(failure) = &outcomes[0].ending else {
            panic!("a failure");
        };
        assert!(failure.reason.starts_with("beginé") && failure.reason.len() <= 1024);
        assert!(failure.stderr_tail.ends_with("éend") && failure.stderr_tail.len() <= 4096);
    }
}
