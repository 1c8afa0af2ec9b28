//! `rota explain`: why a task waits, or why it went where it is.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rota_bus::{Message, RequestError};
use rota_service::{ConnectOptions, Failure};
use rota_wire::TaskId;
use rota_wire::explain::{Candidate, Decision, Explanation, Known};

use crate::client;

const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Tell why a task waits, or why it went to its worker
///
/// Asks the leading scheduler, as `nats req rota.explain.<id> ''` does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the task: what `rota submit` has printed
    #[arg(value_parser = TaskId::parse)]
    id: TaskId,

    /// Print the scheduler's answer as it came
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectOptions,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let bus = client::connect(args.connect).await?;
    let question = Message::new(bus.subjects().explain(&args.id), Bytes::new());
    let answer = bus.request(question, ANSWER_LIMIT).await;
    let answer = answer.map_err(|error| match error {
        RequestError::NobodyThere { .. } => Failure::unavailable(NoLeader),
        other => Failure::unavailable(other),
    })?;
    let text = if args.json {
        let text = String::from_utf8_lossy(&answer.payload);
        format!("{text}\n")
    } else {
        let explanation = serde_json::from_slice(&answer.payload)
            .context("the scheduler's answer is of another version")
            .map_err(Failure::internal)?;
        lines_of(&explanation)
    };
    client::write_body(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Nobody answers such questions.
#[derive(Debug, thiserror::Error)]
#[error("no scheduler leads at this moment")]
struct NoLeader;

fn lines_of(explanation: &Explanation) -> String {
    let mut text = format!("task       {}\n", explanation.task);
    put(&mut text, "state", &explanation.state);
    put(&mut text, "why", &explanation.why);
    if let Some(known) = &explanation.known {
        known_lines(&mut text, known);
    }
    if let Some(decision) = &explanation.decision {
        decision_lines(&mut text, decision);
    }
    for candidate in &explanation.candidates {
        put(&mut text, "worker", &candidate_line(candidate));
    }
    if explanation.others > 0 {
        put(&mut text, "", &format!("and {} more", explanation.others));
    }
    text
}

fn known_lines(text: &mut String, known: &Known) {
    let Known {
        kind,
        priority,
        attempt,
        ..
    } = known;
    put(
        text,
        "kind",
        &format!("{kind}, priority {priority}, attempt {attempt}"),
    );
    let Known {
        order,
        allocation,
        binding,
        ..
    } = known;
    put(
        text,
        "policy",
        &format!("order {order}, allocation {allocation}, binding {binding}"),
    );
    if let Some(before) = known.before {
        put(text, "before it", &before.to_string());
    }
    if let Some(estimate) = &known.estimate {
        let mut line = format!("{} ({})", estimate.span, estimate.source);
        if let (Some(p50), Some(p95)) = (estimate.p50, estimate.p95) {
            let runs = estimate.runs;
            let written = write!(
                line,
                ", {runs} runs of its kind: half within {p50}, 95 % within {p95}"
            );
            debug_assert!(written.is_ok(), "writing to a string cannot fail");
        }
        put(text, "expected", &line);
    }
    if known.ran.ms() > 0 {
        put(text, "ran", &known.ran.to_string());
    }
    if known.losses > 0 {
        put(text, "losses", &known.losses.to_string());
    }
}

fn decision_lines(text: &mut String, decision: &Decision) {
    let Decision {
        at,
        by,
        worker,
        workers,
        without_labels,
        full,
        ..
    } = decision;
    put(text, "decided", &format!("at {at} by {by}: {worker}"));
    let ruled_out =
        format!("of {workers} workers {without_labels} lacked a label and {full} a free slot");
    put(text, "", &ruled_out);
    for candidate in &decision.considered {
        put(text, "considered", &candidate_line(candidate));
    }
}

fn candidate_line(candidate: &Candidate) -> String {
    let worker = candidate.worker.as_ref();
    let worker = worker.map_or_else(|| "one that is gone".to_owned(), ToString::to_string);
    let load = format!("load {:.3}", candidate.load_permille as f64 / 1_000.0);
    match &candidate.ruled_out {
        Some(reason) => format!("{worker}, {load}: {reason}"),
        None => format!("{worker}, {load}"),
    }
}

fn put(text: &mut String, name: &str, value: &str) {
    let written = writeln!(text, "{name:<11}{}", client::printable(value));
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use rota_wire::WorkerId;

    use super::*;

    #[test]
    fn each_worker_is_listed_with_what_rules_it_out() {
        let explanation = Explanation {
            task: TaskId::from_sequence(7),
            state: "waiting".to_owned(),
            why: "no worker can take it: its 4 slots are taken".to_owned(),
            known: None,
            decision: None,
            candidates: vec![Candidate {
                worker: WorkerId::parse("w1-abc").ok(),
                load_permille: 1_250,
                ruled_out: Some("its 4 slots are taken".to_owned()),
            }],
            others: 3,
        };
        assert_eq!(
            lines_of(&explanation),
            "task       7\n\
             state      waiting\n\
             why        no worker can take it: its 4 slots are taken\n\
             worker     w1-abc, load 1.250: its 4 slots are taken\n\
             \x20          and 3 more\n"
        );
    }
}
