//! What is told of a storm: a plain summary, and of each violation a timeline of its task.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Moment;
use crate::facts::History;
use crate::judge::{Verdict, Violation};
use crate::logs::lines_about;
use crate::storm::{Options, Storm};

/// Violations that are told one by one, and of these those with a timeline.
const TOLD_MAX: usize = 40;
const TIMELINES_MAX: usize = 10;
/// Lines of one timeline.
const LINES_MAX: usize = 200;

/// The whole report.
#[must_use]
pub fn report(options: &Options, storm: &Storm, verdict: &Verdict) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "{}", summary(options, storm, verdict));
    for warning in verdict.warnings.iter().take(TOLD_MAX) {
        let _ = writeln!(text, "warning   {warning}");
    }
    let left = verdict.warnings.len().saturating_sub(TOLD_MAX);
    if left > 0 {
        let _ = writeln!(text, "          and {left} more warnings");
    }
    if verdict.violations.is_empty() {
        let _ = writeln!(
            text,
            "no violation: seed {} on {} server(s)",
            options.seed, options.servers
        );
        return text;
    }
    for violation in verdict.violations.iter().take(TOLD_MAX) {
        let _ = writeln!(text, "VIOLATION seed {}  {violation}", options.seed);
    }
    let _ = writeln!(text, "{}", timelines(storm, &verdict.violations));
    let _ = writeln!(
        text,
        "{} violations with seed {} on {} server(s): {:?}",
        verdict.violations.len(),
        options.seed,
        options.servers,
        verdict.classes()
    );
    text
}

fn summary(options: &Options, storm: &Storm, verdict: &Verdict) -> String {
    let history = &storm.history;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "storm     seed {}, {} server(s), {:.0} s of faults, {:.0} s until calm",
        options.seed,
        options.servers,
        history.calm.since(history.began).as_secs_f64(),
        history.ended.since(history.calm).as_secs_f64()
    );
    for skipped in &storm.skipped {
        let _ = writeln!(text, "skipped   {skipped}");
    }
    let _ = writeln!(text, "faults    {}", faults(history));
    let submissions: u32 = history.tasks.values().map(|task| task.submissions).sum();
    let _ = writeln!(
        text,
        "tasks     {} confirmed by {submissions} submissions, {} not confirmed",
        history.tasks.len(),
        history.unconfirmed.len()
    );
    let genuine = history
        .results
        .iter()
        .filter(|result| result.genuine.is_some());
    let _ = writeln!(
        text,
        "results   {} ({} of others), {} dead letters",
        genuine.count(),
        history
            .results
            .iter()
            .filter(|result| result.genuine.is_none())
            .count(),
        history.dead.len()
    );
    let _ = writeln!(text, "ran       {} executions", history.executions.len());
    for (explanation, count) in &verdict.reruns {
        let _ = writeln!(text, "again     {count} because {explanation}");
    }
    let stalled: Duration = history
        .machine_stalls
        .iter()
        .map(|span| span.length())
        .sum();
    if !stalled.is_zero() {
        let _ = writeln!(
            text,
            "machine   stood still {} times, {stalled:.1?} in all",
            history.machine_stalls.len()
        );
    }
    let old = history.lives.values().filter(|fact| fact.old).count();
    let peak = history
        .lives
        .iter()
        .map(|(life, fact)| (fact.peak_bytes >> 20, life))
        .max();
    if let Some((mib, life)) = peak {
        let count = history.lives.len();
        let _ = writeln!(
            text,
            "processes {count}, {old} of them old; {life} used most: {mib} MiB"
        );
    }
    let timings = &verdict.timings;
    let _ = writeln!(
        text,
        "worker killed, its task begins elsewhere   {}",
        spread(&timings.worker_killed)
    );
    let _ = write!(
        text,
        "leader killed, the next execution begins   {}",
        spread(&timings.leader_killed)
    );
    text
}

fn faults(history: &History) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut skipped = 0;
    for fact in &history.faults {
        match fact.skipped {
            None => *counts.entry(fact.fault.sort()).or_default() += 1,
            Some(_) => skipped += 1,
        }
    }
    let done: usize = counts.values().sum();
    let list: Vec<String> = counts
        .iter()
        .map(|(sort, count)| format!("{sort} {count}"))
        .collect();
    format!("{done} done, {skipped} could not be: {}", list.join(", "))
}

fn spread(sorted: &[Duration]) -> String {
    let at = |permille: usize| {
        let index = (sorted.len() * permille / 1_000).min(sorted.len() - 1);
        sorted[index].as_millis()
    };
    if sorted.is_empty() {
        return "never seen".to_owned();
    }
    format!(
        "{} times: median {} ms, 99 % {} ms, at most {} ms",
        sorted.len(),
        at(500),
        at(990),
        at(1_000)
    )
}

fn timelines(storm: &Storm, violations: &[Violation]) -> String {
    let mut text = String::new();
    let mut tasks: Vec<&str> = Vec::new();
    for task in violations
        .iter()
        .filter_map(|violation| violation.task.as_deref())
    {
        if !tasks.contains(&task) {
            tasks.push(task);
        }
    }
    for task in tasks.into_iter().take(TIMELINES_MAX) {
        let _ = writeln!(text, "\ntask {task}");
        text.push_str(&timeline(storm, task));
    }
    text
}

/// Everything that is known of a task in the order of time, with the faults of its time.
fn timeline(storm: &Storm, id: &str) -> String {
    let history = &storm.history;
    let mut lines = lines_about(&storm.logs, id);
    if let Some(task) = history.task(id) {
        let job = &task.job;
        let what = format!(
            "submitted ({}): runs {:?}, fails {} times of {}, then {:?}, {} bytes, {} submissions",
            task.kind, job.run, job.fails, task.attempts_max, job.then, job.bytes, task.submissions
        );
        lines.push((task.sent, what));
    }
    for ran in history.executions.iter().filter(|ran| ran.task == id) {
        lines.push((
            ran.begin,
            format!(
                "{:<14} LEDGER attempt {} begins",
                ran.worker.to_string(),
                ran.attempt
            ),
        ));
        if let Some((end, outcome)) = ran.end {
            let what = format!(
                "{:<14} LEDGER attempt {} ends: {outcome:?}",
                ran.worker.to_string(),
                ran.attempt
            );
            lines.push((end, what));
        }
    }
    for result in history.results.iter().filter(|result| result.id == id) {
        let what = match &result.genuine {
            Some(said) => format!(
                "RESULT at {}: {} after {} attempts {}",
                result.seq, said.state, said.attempts, said.reason
            ),
            None => format!("RESULT at {}: not Rota's", result.seq),
        };
        lines.push((result.at, what));
    }
    lines.sort();
    let first = lines.first().map_or(history.began, |(at, _)| *at);
    let last = lines.last().map_or(history.ended, |(at, _)| *at);
    for fact in &history.faults {
        let near = fact.span.from + Duration::from_secs(3) >= first && fact.span.from <= last;
        if near && fact.skipped.is_none() {
            lines.push((fact.span.from, format!("FAULT {}", fact.fault)));
        }
    }
    lines.sort();
    let left = lines.len().saturating_sub(LINES_MAX);
    let mut text = String::new();
    for (at, what) in lines.iter().take(LINES_MAX) {
        let _ = writeln!(text, "  {:>9.3} {what}", seconds(history.began, *at));
    }
    if left > 0 {
        let _ = writeln!(text, "  and {left} more lines");
    }
    text
}

fn seconds(began: Moment, at: Moment) -> f64 {
    at.since(began).as_secs_f64()
}
