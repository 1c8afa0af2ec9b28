//! What happened to one task: all messages that name it, the faults around them, and its executions.

use std::collections::BTreeSet;

use rota_bus::in_memory::{Deed, Entry};
use rota_wire::dispatch::{Assign, Report};
use rota_wire::fleet::Heartbeat;
use rota_wire::frame;

use crate::ledger::Execution;
use crate::world::World;

/// The longest history.
const LINES_MAX: usize = 2_000;

/// All that concerns a task, in its order; without a task, what went wrong.
pub(crate) fn of(world: &World, task: Option<&str>, executions: &[Execution]) -> Vec<String> {
    let deliveries = task.map(|task| deliveries(world, task)).unwrap_or_default();
    let mut lines: Vec<(f64, String)> = Vec::new();
    world.server.read_journal(|entry| {
        if let Some(text) = tell(entry, task, &deliveries) {
            lines.push((entry.at.as_secs_f64(), text));
        }
    });
    for execution in executions.iter().filter(|e| Some(e.task.as_str()) == task) {
        let Execution {
            attempt,
            worker,
            began,
            ended,
            outcome,
            ..
        } = execution;
        let (began, ended) = (began.as_secs_f64(), ended.as_secs_f64());
        lines.push((
            began,
            format!("{began:>10.3} {worker:<14} === attempt {attempt} begins"),
        ));
        lines.push((
            ended,
            format!("{ended:>10.3} {worker:<14} === attempt {attempt}: {outcome:?}"),
        ));
    }
    lines.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    lines.truncate(LINES_MAX);
    lines.into_iter().map(|(_, text)| text).collect()
}

/// The sequences in ROTA_READY under which a task was delivered.
fn deliveries(world: &World, task: &str) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    world.server.read_journal(|entry| {
        if let Deed::Delivered { message, .. } = &entry.deed
            && message.subject.starts_with("rota.ready.")
            && names(&entry.to_string(), task)
            && let Some(reply) = &message.reply
            && let Some(seq) = reply.split('.').nth(5).and_then(|seq| seq.parse().ok())
        {
            found.insert(seq);
        }
    });
    found
}

fn tell(entry: &Entry, task: Option<&str>, deliveries: &BTreeSet<u64>) -> Option<String> {
    let text = entry.to_string();
    let message = match &entry.deed {
        Deed::Trouble(_) => return Some(text),
        Deed::Published(message)
        | Deed::Delivered { message, .. }
        | Deed::Answered { message, .. } => message,
    };
    let task = task?;
    let subject = message.subject.as_str();
    if subject.ends_with(".assign") {
        let assign: Assign = frame::decode(&message.payload).ok()?;
        let told = format!("{text} {assign:?}");
        return concerns(&told, task, deliveries).then_some(told);
    }
    if subject.ends_with(".heartbeat") {
        let heartbeat: Heartbeat = frame::decode(&message.payload).ok()?;
        let told = format!(
            "{text} seen {:?} holds {:?}",
            heartbeat.seen, heartbeat.held
        );
        return concerns(&told, task, deliveries).then_some(told);
    }
    if subject.ends_with(".report") {
        let report: Report = frame::decode(&message.payload).ok()?;
        let told = format!("{text} {report:?}");
        return concerns(&told, task, deliveries).then_some(told);
    }
    if let Some(ack) = subject.strip_prefix("$JS.ACK.ROTA_READY.") {
        let seq = ack.split('.').nth(2)?.parse().ok()?;
        return deliveries.contains(&seq).then_some(text);
    }
    names(&text, task).then_some(text)
}

fn concerns(text: &str, task: &str, deliveries: &BTreeSet<u64>) -> bool {
    let is_ours = |seq: &u64| text.contains(&format!("seq: {seq},"));
    names(text, task) || deliveries.iter().any(is_ours)
}

/// Whether a text names a task: in a header, at the end of a subject, or as an id.
fn names(text: &str, task: &str) -> bool {
    text.contains(&format!("Rota-Id: {task};"))
        || text.contains(&format!("Rota-Id: {task}}}"))
        || text.contains(&format!("Nats-Msg-Id: {task};"))
        || text.contains(&format!("Nats-Msg-Id: {task}}}"))
        || text.contains(&format!(".{task} "))
        || text.contains(&format!(".{task}\""))
        || text.contains(&format!("\"{task}\""))
}
