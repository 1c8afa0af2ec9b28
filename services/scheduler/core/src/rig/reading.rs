//! What a rig's actions say, each question with an answer that a test can compare.

use rota_wire::Span;
use rota_wire::event::Event as Told;

use crate::{Action, AssignFrame};

pub(crate) fn acked(actions: &[Action]) -> Vec<u64> {
    let acks = actions.iter().filter_map(|action| match action {
        Action::Ack { seq } => Some(*seq),
        _ => None,
    });
    acks.collect()
}

pub(crate) fn nakked(actions: &[Action]) -> Vec<u64> {
    let naks = actions.iter().filter_map(|action| match action {
        Action::Nak { seq } => Some(*seq),
        _ => None,
    });
    naks.collect()
}

pub(crate) fn looked_up(actions: &[Action]) -> Vec<u64> {
    let looks = actions.iter().filter_map(|action| match action {
        Action::LookUp { seq, .. } => Some(*seq),
        _ => None,
    });
    looks.collect()
}

pub(crate) fn frames(actions: &[Action]) -> Vec<&AssignFrame> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Assign(frame) => Some(frame),
        _ => None,
    });
    frames.collect()
}

/// Who was given which message.
pub(crate) fn placed(actions: &[Action]) -> Vec<(&str, u64)> {
    let placed = frames(actions).into_iter().flat_map(|frame| {
        let seqs = frame.tasks.iter().map(|task| task.holding.delivery.seq);
        seqs.map(|seq| (frame.worker.as_str(), seq))
    });
    placed.collect()
}

/// From whom which message was taken.
pub(crate) fn revoked(actions: &[Action]) -> Vec<(&str, u64)> {
    let revoked = frames(actions).into_iter().flat_map(|frame| {
        let seqs = frame.revoked.iter().map(|holding| holding.delivery.seq);
        seqs.map(|seq| (frame.worker.as_str(), seq))
    });
    revoked.collect()
}

/// On whom which attempt is suspended.
pub(crate) fn suspended(actions: &[Action]) -> Vec<(&str, u64)> {
    let suspended = frames(actions).into_iter().flat_map(|frame| {
        let seqs = frame.suspended.iter().map(|holding| holding.delivery.seq);
        seqs.map(|seq| (frame.worker.as_str(), seq))
    });
    suspended.collect()
}

/// On whom which attempt goes on.
pub(crate) fn resumed(actions: &[Action]) -> Vec<(&str, u64)> {
    let resumed = frames(actions).into_iter().flat_map(|frame| {
        let seqs = frame.resumed.iter().map(|holding| holding.delivery.seq);
        seqs.map(|seq| (frame.worker.as_str(), seq))
    });
    resumed.collect()
}

pub(crate) fn settled(actions: &[Action]) -> Vec<(&str, u64)> {
    let settled = frames(actions).into_iter().flat_map(|frame| {
        let numbers = frame.settled.iter();
        numbers.map(|number| (frame.worker.as_str(), *number))
    });
    settled.collect()
}

/// Who is looked for.
pub(crate) fn probed(actions: &[Action]) -> Vec<&str> {
    let probes = actions.iter().filter_map(|action| match action {
        Action::Probe { worker } => Some(worker.as_str()),
        _ => None,
    });
    probes.collect()
}

/// Which lanes are opened.
pub(crate) fn opened(actions: &[Action]) -> Vec<String> {
    let opened = actions.iter().filter_map(|action| match action {
        Action::OpenLane { lane } => Some(lane.to_string()),
        _ => None,
    });
    opened.collect()
}

/// Which lanes are closed.
pub(crate) fn closed(actions: &[Action]) -> Vec<String> {
    let closed = actions.iter().filter_map(|action| match action {
        Action::CloseLane { lane } => Some(lane.to_string()),
        _ => None,
    });
    closed.collect()
}

/// Whose lanes are looked for.
pub(crate) fn sought(actions: &[Action]) -> Vec<String> {
    let sought = actions.iter().filter_map(|action| match action {
        Action::FindLanes { kind } => Some(kind.to_string()),
        _ => None,
    });
    sought.collect()
}

/// How much is asked of which lane.
pub(crate) fn pulled(actions: &[Action]) -> Vec<(String, u32)> {
    let pulls = actions.iter().filter_map(|action| match action {
        Action::Pull { lane, count } => Some((lane.to_string(), *count)),
        _ => None,
    });
    pulls.collect()
}

pub(crate) fn stored_retries(actions: &[Action]) -> Vec<(u64, u32, Span)> {
    let retries = actions.iter().filter_map(|action| match action {
        Action::StoreRetry { seq, task, wait } => Some((*seq, task.attempt, *wait)),
        _ => None,
    });
    retries.collect()
}

pub(crate) fn buried(actions: &[Action]) -> Vec<(u64, &str)> {
    let burials = actions.iter().filter_map(|action| match action {
        Action::Bury { seq, reason, .. } => Some((*seq, reason.as_str())),
        _ => None,
    });
    burials.collect()
}

pub(crate) fn told(actions: &[Action]) -> Vec<&Told> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Tell(Told::Counted(_)) => None,
        Action::Tell(event) => Some(event),
        _ => None,
    });
    told.collect()
}
