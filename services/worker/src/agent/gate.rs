//! Whom the worker obeys: the scheduler whose term stands in the lease, and nobody else.
//!
//! Frames of the term that is followed pass. One of any other term, newer or older, waits until the lease
//! has been read. So neither garbage that happens to be a frame nor a deposed leader turns a worker from
//! its leader; and when the server was replaced by an empty one, where terms begin anew, the worker follows.
//!
//! What must hold: at most one question is under way; what waits is bounded, and what is dropped for that
//! is found missing by the scheduler, as any lost frame is.

use std::collections::VecDeque;

use rota_wire::dispatch::Assign;
use rota_wire::fleet::RollCall;
use rota_wire::{Dialect, Term};

use super::{Action, Leader, Note};

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
    followed: Option<Leader>,
    waiting: VecDeque<Command>,
    asked: bool,
}

impl Gate {
    /// The command, if it may be obeyed now.
    pub(super) fn pass(&mut self, command: Command, actions: &mut Vec<Action>) -> Option<Command> {
        if self.follows(command.term()) {
            return Some(command);
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(command);
        if !self.asked {
            self.asked = true;
            actions.push(Action::AskLeader);
        }
        None
    }

    /// What the leader reads that is followed. Nobody is told more than all can read.
    pub(super) fn dialect(&self) -> Dialect {
        self.followed.map_or(Dialect::V1, |leader| leader.dialect)
    }

    fn follows(&self, term: Term) -> bool {
        self.followed.is_some_and(|leader| leader.term == term)
    }

    /// Follows the term that leads, and gives what waited for it, in order. When that is not known the
    /// former is followed on.
    pub(super) fn answer(
        &mut self,
        leads: Option<Leader>,
        actions: &mut Vec<Action>,
    ) -> Vec<Command> {
        self.asked = false;
        if let Some(leader) = leads.filter(|leader| self.followed != Some(*leader)) {
            self.followed = leads;
            actions.push(Action::Note(Note::Follows(leader.term)));
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (good, refused) = waiting.partition(|command| self.follows(command.term()));
        let refused: Vec<Command> = refused;
        for command in refused {
            let (found, leads) = (command.term(), leads.map(|leader| leader.term));
            actions.push(Action::Note(Note::NotLeading { found, leads }));
        }
        good
    }
}
