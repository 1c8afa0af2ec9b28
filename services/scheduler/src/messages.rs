//! Messages: what is needed of each delivery until it is acked, and the inputs that came with them.
//!
//! Inputs are kept within a budget of bytes, whatever waits. One beyond it stays in the stream, and whoever runs the
//! task reads it there, as with lanes that are read without their inputs. The input of an assigned task is not kept.
//!
//! What was given back is remembered until it comes again, so that it can be told from what is lost: as many messages
//! as are un-acked, at most [`GIVEN_BACK_MAX`].

use std::collections::BTreeMap;

use rota_bus::InputPolicy;
use rota_wire::{Input, Span};
use tokio::time::Instant;

use crate::flow::Custody;

/// Bytes of inputs kept for all tasks that wait.
const INPUT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Of more that were given back the oldest are forgotten; they are called back, at worst.
const GIVEN_BACK_MAX: usize = 500_000;

/// Deliveries by their sequence, each with how to answer it.
#[derive(Debug)]
pub(crate) struct Messages<A> {
    by_seq: BTreeMap<u64, Message<A>>,
    /// When they were.
    given_back: BTreeMap<u64, Instant>,
    /// Bytes of the inputs that are kept.
    input_bytes: u64,
    policy: InputPolicy,
}

#[derive(Debug)]
struct Message<A> {
    ack: A,
    input: Input,
    /// Whether its task was assigned: what comes again then is not kept.
    assigned: bool,
    run: LastRun,
}

/// What is known of a task's last attempt beside how it ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LastRun {
    pub(crate) ran: Option<Span>,
    pub(crate) estimate: Option<Span>,
}

impl<A> Messages<A> {
    pub(crate) const fn new() -> Self {
        Self {
            by_seq: BTreeMap::new(),
            given_back: BTreeMap::new(),
            input_bytes: 0,
            policy: InputPolicy::MayBeLeft,
        }
    }

    /// Whether all workers read inputs from the stream.
    pub(crate) fn set_policy(&mut self, policy: InputPolicy) {
        self.policy = policy;
    }

    /// Keeps a delivery; one that came before is answered as this one from now on.
    pub(crate) fn keep(&mut self, seq: u64, ack: A, input: Input) {
        self.given_back.remove(&seq);
        let before = self.remove(seq);
        let assigned = before.as_ref().is_some_and(|message| message.assigned);
        let run = before.map(|message| message.run).unwrap_or_default();
        let input = self.within_budget(input, assigned);
        self.input_bytes += kept_bytes(&input);
        let message = Message {
            ack,
            input,
            assigned,
            run,
        };
        self.by_seq.insert(seq, message);
    }

    /// How to answer a delivery for good. It is not kept any more.
    pub(crate) fn take_ack(&mut self, seq: u64) -> Option<A> {
        self.remove(seq).map(|message| message.ack)
    }

    /// A delivery is given back, or called back: it is to come again.
    pub(crate) fn give_back(&mut self, seq: u64, now: Instant) {
        self.given_back.insert(seq, now);
        if self.given_back.len() > GIVEN_BACK_MAX {
            self.given_back.pop_first();
        }
    }

    /// Forgets a message that is not in the stream any more.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.given_back.remove(&seq);
        self.remove(seq);
    }

    /// Where a message is.
    pub(crate) fn custody(&self, seq: u64) -> Custody {
        if self.by_seq.contains_key(&seq) {
            return Custody::Held;
        }
        let given_back = self.given_back.get(&seq);
        given_back.map_or(Custody::Unknown, |at| Custody::GivenBack(*at))
    }

    /// The input of a task that is being assigned.
    pub(crate) fn assign(&mut self, seq: u64, estimate: Option<Span>) -> Option<Input> {
        let message = self.by_seq.get_mut(&seq)?;
        message.assigned = true;
        message.run = LastRun {
            ran: None,
            estimate,
        };
        let left = in_stream(&message.input);
        self.input_bytes -= kept_bytes(&message.input);
        Some(std::mem::replace(&mut message.input, left))
    }

    /// Notes how long a failed attempt ran: its task's result tells it, if there is no other attempt.
    pub(crate) fn note_ran(&mut self, seq: u64, ran: Span) {
        if let Some(message) = self.by_seq.get_mut(&seq) {
            message.run.ran = Some(ran);
        }
    }

    pub(crate) fn last_run(&self, seq: u64) -> LastRun {
        let message = self.by_seq.get(&seq);
        message.map(|message| message.run).unwrap_or_default()
    }

    fn within_budget(&self, input: Input, assigned: bool) -> Input {
        let full = self.input_bytes.saturating_add(input.bytes()) > INPUT_BYTES_MAX;
        match self.policy {
            InputPolicy::MayBeLeft if assigned || full => in_stream(&input),
            InputPolicy::MayBeLeft | InputPolicy::WithMessages => input,
        }
    }

    fn remove(&mut self, seq: u64) -> Option<Message<A>> {
        let message = self.by_seq.remove(&seq)?;
        self.input_bytes -= kept_bytes(&message.input);
        Some(message)
    }
}

fn in_stream(input: &Input) -> Input {
    Input::InStream {
        bytes: input.bytes(),
    }
}

fn kept_bytes(input: &Input) -> u64 {
    match input {
        Input::Inline(bytes) => bytes.len() as u64,
        Input::InStream { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn inline(bytes: usize) -> Input {
        Input::Inline(Bytes::from(vec![0; bytes]))
    }

    fn is_inline(input: Option<&Input>) -> bool {
        matches!(input, Some(Input::Inline(_)))
    }

    #[test]
    fn inputs_are_kept_up_to_the_budget_and_the_others_are_left_in_the_stream() {
        let mut messages = Messages::new();
        for seq in 0..40 {
            messages.keep(seq, (), inline(MIB));
        }
        assert_eq!(messages.input_bytes, INPUT_BYTES_MAX);
        let given: Vec<_> = (0..40).map(|seq| messages.assign(seq, None)).collect();
        let inline = given.iter().filter(|input| is_inline(input.as_ref()));
        assert_eq!(inline.count(), 32);
        assert!(
            given
                .iter()
                .flatten()
                .all(|input| input.bytes() == MIB as u64)
        );
        assert_eq!(messages.input_bytes, 0);
    }

    #[test]
    fn the_input_of_an_assigned_task_is_not_kept_when_its_message_comes_again() {
        let mut messages = Messages::new();
        messages.keep(1, (), inline(10));
        assert!(is_inline(messages.assign(1, None).as_ref()));
        messages.keep(1, (), inline(10));
        assert_eq!(messages.input_bytes, 0);
        assert_eq!(
            messages.assign(1, None),
            Some(Input::InStream { bytes: 10 })
        );
        assert!(messages.take_ack(1).is_some() && messages.take_ack(1).is_none());
    }

    #[test]
    fn while_a_worker_reads_no_inputs_from_the_stream_all_are_kept() {
        let mut messages = Messages::new();
        messages.set_policy(InputPolicy::WithMessages);
        for seq in 0..40 {
            messages.keep(seq, (), inline(MIB));
        }
        messages.assign(1, None);
        messages.keep(1, (), inline(MIB));
        assert!((0..40).all(|seq| is_inline(messages.assign(seq, None).as_ref())));
    }

    #[test]
    fn what_is_known_of_the_last_run_survives_a_second_delivery() {
        let mut messages = Messages::new();
        messages.keep(1, (), inline(1));
        messages.assign(1, Some(Span::from_ms(7)));
        messages.note_ran(1, Span::from_ms(9));
        messages.keep(1, (), inline(1));
        let run = messages.last_run(1);
        assert_eq!(
            (run.ran, run.estimate),
            (Some(Span::from_ms(9)), Some(Span::from_ms(7)))
        );
    }
}
