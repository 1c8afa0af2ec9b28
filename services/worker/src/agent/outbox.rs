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
/// The most bytes in a frame. An outcome alone always fits.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// What an outcome takes beside its texts, rounded up.
const OUTCOME_BYTES: usize = 64;

#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
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
    /// Adds an outcome, to be reported at once, and gives its number.
    pub(super) fn push(&mut self, holding: Holding, ran: Span, ending: Ending) -> u64 {
        self.numbers_used += 1;
        let number = self.numbers_used;
        let outcome = Outcome {
            number,
            holding,
            ran,
            ending,
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
            if bytes > FRAME_BYTES_MAX && !frame.is_empty() {
                break;
            }
            unsettled.repeat_at = Some(repeat_at);
            frame.push(unsettled.outcome.clone());
            self.due.pop_first();
            self.repeats.insert((repeat_at, number));
        }
        (!frame.is_empty()).then_some(frame)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsettled.is_empty()
    }
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
    use rota_wire::{Delivery, Term};

    use super::*;

    const START: Duration = Duration::from_secs(100);
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
        let mut outbox = Outbox::default();
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
        let mut outbox = Outbox::default();
        let first = outbox.push(holding(1), RAN, Ending::Stored);
        outbox.remove(first);
        assert!(outbox.push(holding(1), RAN, Ending::Stored) > first);
    }

    #[test]
    fn all_can_be_repeated_at_once_and_each_only_once() {
        let mut outbox = Outbox::default();
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
        let mut outbox = Outbox::default();
        for seq in 0..1_030 {
            outbox.push(holding(seq), RAN, Ending::Stored);
        }
        let frames = std::iter::from_fn(|| outbox.take_frame(START).map(|frame| frame.len()));
        assert_eq!(frames.collect::<Vec<_>>(), [512, 512, 6]);
    }

    #[test]
    fn a_frame_holds_at_most_256_kib_but_always_one_outcome() {
        let mut outbox = Outbox::default();
        for bytes in [
            FRAME_BYTES_MAX * 2,
            FRAME_BYTES_MAX / 2,
            FRAME_BYTES_MAX / 2,
        ] {
            let reason = "x".repeat(bytes);
            outbox.push(holding(bytes as u64), RAN, Ending::Returned { reason });
        }
        let frames = std::iter::from_fn(|| outbox.take_frame(START).map(|frame| frame.len()));
        assert_eq!(frames.collect::<Vec<_>>(), [1, 1, 1]);
    }
}
