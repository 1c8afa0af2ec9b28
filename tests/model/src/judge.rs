//! What must be true when all is calm again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rota_bus::in_memory::StoredMessage;
use rota_wire::TaskId;

use crate::history;
use crate::ledger::{Execution, Outcome};
use crate::scenario::{Fault, Profile, Role, TaskPlan};
use crate::world::World;
use crate::{Summary, Violation};

/// Workers that a task may take with it before it is given up: the scheduler's default.
const LOSSES_MAX: usize = 3;
/// What a crash may lose of a consumer's deeds.
const FORGOTTEN: Duration = Duration::from_millis(100);
/// And how long a delivery takes at most to become an execution.
const LATENCY_MAX: Duration = Duration::from_millis(150);
/// What may happen on the bus: for each second, and for each task.
const MESSAGES_PER_SECOND_MAX: usize = 3_000;
const MESSAGES_PER_TASK_MAX: usize = 2_000;

/// Something that is wrong, and perhaps with which task.
struct Wrong {
    task: Option<String>,
    text: String,
}

pub(crate) fn judge(world: &World) -> Result<Summary, Box<Violation>> {
    let executions = world.ledger.executions();
    let mut wrong = Vec::new();
    judge_results(world, &executions, &mut wrong);
    judge_leftovers(world, &mut wrong);
    judge_executions(world, &executions, &mut wrong);
    for name in &world.ended_badly {
        let text = format!("{name} ended by itself");
        wrong.push(Wrong { task: None, text });
    }
    let mut messages = 0;
    world.server.read_journal(|_| messages += 1);
    let confirmed = world.confirmed();
    let seconds = world.start.elapsed().as_secs();
    let most = MESSAGES_PER_SECOND_MAX * usize::try_from(seconds).unwrap_or(0)
        + MESSAGES_PER_TASK_MAX * confirmed.len();
    if messages > most {
        let text = format!("{messages} messages in {seconds} s");
        wrong.push(Wrong { task: None, text });
    }
    if wrong.is_empty() {
        return Ok(Summary {
            tasks: confirmed.len(),
            executions: executions.len(),
            faults: world.injected.len(),
            seconds,
            messages,
        });
    }
    let task = wrong.iter().find_map(|wrong| wrong.task.clone());
    Err(Box::new(Violation {
        seed: world.seed,
        profile: world.scenario.profile,
        history: history::of(world, task.as_deref(), &executions),
        wrong: wrong.into_iter().map(|wrong| wrong.text).collect(),
    }))
}

/// Each task that was confirmed has one result, and the right one.
fn judge_results(world: &World, executions: &[Execution], wrong: &mut Vec<Wrong>) {
    let mut results: BTreeMap<String, StoredMessage> = BTreeMap::new();
    for message in world.server.messages("ROTA_RESULTS") {
        if let Some(id) = message.subject.strip_prefix("rota.result.") {
            results.insert(id.to_owned(), message);
        }
    }
    let mut seen = BTreeSet::new();
    for confirmed in world.confirmed() {
        if !seen.insert(confirmed.id.clone()) {
            continue;
        }
        let plan = &world.scenario.tasks[confirmed.plan];
        let found = results.get(confirmed.id.as_str());
        if let Some(text) = judge_result(world, &confirmed.id, plan, found, executions) {
            let task = Some(confirmed.id.to_string());
            wrong.push(Wrong { task, text });
        }
    }
    for message in world.server.messages("ROTA_DEAD") {
        let id = message.headers.value("Rota-Id").unwrap_or_default();
        let result = results
            .get(id)
            .and_then(|result| result.headers.value("Rota-State"));
        if result != Some("failed") {
            let reason = message.headers.value("Rota-Reason").unwrap_or_default();
            let text =
                format!("task {id} is a dead letter ({reason}) and its result is {result:?}");
            let task = Some(id.to_owned());
            wrong.push(Wrong { task, text });
        }
    }
}

fn judge_result(
    world: &World,
    id: &TaskId,
    plan: &TaskPlan,
    found: Option<&StoredMessage>,
    executions: &[Execution],
) -> Option<String> {
    let Some(found) = found else {
        return Some(format!("task {id} has no result"));
    };
    let header = |name| found.headers.value(name);
    let state = header("Rota-State").unwrap_or("(none)");
    if header("Rota-Id") != Some(id.as_str()) {
        return Some(format!(
            "the result of task {id} names {:?}",
            header("Rota-Id")
        ));
    }
    let expected = if plan.fails < plan.attempts {
        "completed"
    } else {
        "failed"
    };
    if state == expected {
        return None;
    }
    let reason = header("Rota-Reason").unwrap_or_default();
    if state == "failed" && losses(world, id, executions) >= LOSSES_MAX {
        return None;
    }
    Some(format!(
        "task {id} is {state} ({reason}) and should be {expected}"
    ))
}

/// How often a worker may have been lost while it ran a task.
fn losses(world: &World, id: &TaskId, executions: &[Execution]) -> usize {
    let ours = executions.iter().filter(|e| e.task == id.as_str());
    let touched = ours.filter(|execution| {
        world.injected.iter().any(|injected| {
            let is_its = match injected.fault {
                Fault::Kill(role, _) | Fault::Freeze(role, _) | Fault::Cut(role, _) | Fault::Drain(role) => {
                    matches!(role, Role::Worker(number) if execution.worker.starts_with(&format!("worker-{number}-")))
                }
                Fault::Restart(_) => true,
                _ => false,
            };
            is_its && injected.at <= execution.ended
        })
    });
    touched.count()
}

/// Nothing is left anywhere.
fn judge_leftovers(world: &World, wrong: &mut Vec<Wrong>) {
    for stream in ["ROTA_INTAKE", "ROTA_READY", "ROTA_SCHEDULE"] {
        for message in world.server.messages(stream) {
            let (seq, subject) = (message.seq, &message.subject);
            let id = message.headers.value("Rota-Id").map(str::to_owned);
            let text = format!("left in {stream}: {seq} on {subject}, task {id:?}");
            wrong.push(Wrong { task: id, text });
        }
        for consumer in world.server.consumers(stream) {
            if !consumer.unacked.is_empty() {
                let text = format!(
                    "not acked: {:?} of {stream}/{}",
                    consumer.unacked, consumer.name
                );
                wrong.push(Wrong { task: None, text });
            }
        }
    }
}

/// A mere change of leader stops no attempt and runs none twice; and without a fault nothing does.
fn judge_executions(world: &World, executions: &[Execution], wrong: &mut Vec<Wrong>) {
    if !matches!(world.scenario.profile, Profile::Calm | Profile::Leaders) {
        return;
    }
    let mut first: BTreeMap<(&str, u32), &Execution> = BTreeMap::new();
    for execution in executions {
        let key = (execution.task.as_str(), execution.attempt);
        let before = first.get(&key).copied();
        first.entry(key).or_insert(execution);
        if is_forgotten(world, before.unwrap_or(execution)) {
            continue;
        }
        let began = execution.began.as_secs_f64();
        let told = format!(
            "attempt {} of task {}, on {} from {began:.3}",
            execution.attempt, execution.task, execution.worker
        );
        let task = || Some(execution.task.clone());
        if matches!(execution.outcome, Outcome::Stopped | Outcome::Running) {
            let ended = execution.ended.as_secs_f64();
            let text = format!("{told}, ended as {:?} at {ended:.3}", execution.outcome);
            wrong.push(Wrong { task: task(), text });
        }
        if before.is_some() {
            let text = format!("{told}, ran before");
            wrong.push(Wrong { task: task(), text });
        }
    }
}

/// A server that crashes may forget what it delivered in its last tenth of a second. Then nothing tells the next
/// term that the message was handed out before, and it may be placed before its holder is heard.
fn is_forgotten(world: &World, execution: &Execution) -> bool {
    world.injected.iter().any(|injected| {
        let is_crash = matches!(injected.fault, Fault::Restart(_));
        let delivered = execution.began.saturating_sub(LATENCY_MAX);
        is_crash && delivered <= injected.at && injected.at <= execution.began + FORGOTTEN
    })
}
