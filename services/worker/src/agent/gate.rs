//! Whom the worker obeys: the scheduler whose term stands in the lease, and nobody else.
//!
//! Frames of the term that is followed pass. One of any other term, newer or older, waits until the lease
//! has been read. So neither garbage that happens to be a frame nor a deposed leader turns a worker from
//! its leader; and when the server was replaced by an empty one, where terms begin anew, the worker follows.
//!
//! What must hold: at most one question is under way; what waits is bounded, and what is dropped for that
//! is found missing by the scheduler, as any lost frame is.

use std::collections::VecDeque;

use rota_wire::Term;
use rota_wire::dispatch::Assign;
use rota_wire::fleet::RollCall;

use super::{Action, Note};

/// Frames that wait for the answer, at most.
const WAITING_MAX: usize = 64;

/// A frame of a scheduler.
#[derive(Debug)]
pub(super) enum Command {
    Assign(Assign),
    RollCall(RollCall),
}

impl Command {
    fn term(&self) -> Term {
        match self {
            Self::Assign(frame) => frame.mark.term,
            Self::RollCall(call) => call.term,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    followed: Option<Term>,
    waiting: VecDeque<Command>,
    asked: bool,
}

impl Gate {
    /// The command, if it may be obeyed now.
    pub(super) fn pass(&mut self, command: Command, actions: &mut Vec<Action>) -> Option<Command> {
        if self.followed == Some(command.term()) {
            return Some(command);
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(command);
        if !self.asked {
            self.asked = true;
            actions.push(Action::AskTerm);
        }
        None
    }

    /// Follows the term that leads, and gives what waited for it, in order. When that is not known the
    /// former is followed on.
    pub(super) fn answer(
        &mut self,
        leads: Option<Term>,
        actions: &mut Vec<Action>,
    ) -> Vec<Command> {
        self.asked = false;
        if let Some(term) = leads.filter(|term| self.followed != Some(*term)) {
            self.followed = leads;
            actions.push(Action::Note(Note::Follows(term)));
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (good, refused) = waiting.partition(|command| self.followed == Some(command.term()));
        let refused: Vec<Command> = refused;
        for command in refused {
            let found = command.term();
            actions.push(Action::Note(Note::NotLeading { found, leads }));
        }
        good
    }
}
