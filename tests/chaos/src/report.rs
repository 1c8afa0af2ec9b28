//! What is told of a storm: a plain summary, and of each violation a timeline of its task.

mod slow;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Moment;
use crate::facts::{History, Span};
use crate::fault::{Life, Role};
use crate::judge::{Class, Verdict, Violation};
use crate::logs::lines_about;
use crate::spread::Spread;
use crate::storm::{Options, Storm};

/// Warnings that are told one by one.
const TOLD_MAX: usize = 20;
/// Violations of each class that are told, and those of them with a timeline.
const TOLD_OF_CLASS_MAX: usize = 10;
const TIMELINES_OF_CLASS_MAX: usize = 4;
/// A fault stands in a timeline if it was over for less than this.
const FAULT_LINGERS: Duration = Duration::from_secs(3);
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
    let told = first_of_each_class(&verdict.violations, TOLD_OF_CLASS_MAX);
    for violation in &told {
        let _ = writeln!(text, "VIOLATION seed {}  {violation}", options.seed);
    }
    let examples = first_of_each_class(&verdict.violations, TIMELINES_OF_CLASS_MAX);
    text.push_str(&timelines(storm, &examples));
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

/// So many of each class, the gravest class first.
fn first_of_each_class(violations: &[Violation], max: usize) -> Vec<&Violation> {
    let mut classes: BTreeMap<Class, Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        let told = classes.entry(violation.class).or_default();
        if told.len() < max {
            told.push(violation);
        }
    }
    classes.into_values().flatten().collect()
}

fn summary(options: &Options, storm: &Storm, verdict: &Verdict) -> String {
    let history = &storm.history;
    let mut lines = vec![format!(
        "storm     seed {}, {} server(s), {:.0} s of faults, {:.0} s until calm",
        options.seed,
        options.servers,
        history.calm.since(history.began).as_secs_f64(),
        history.ended.since(history.calm).as_secs_f64()
    )];
    let skipped = storm.skipped.iter();
    lines.extend(skipped.map(|skipped| format!("skipped   {skipped}")));
    lines.push(format!("faults    {}", faults(history)));
    lines.extend(work(history, verdict));
    lines.extend(processes(history));
    let timings = &verdict.timings;
    let sides = [
        (
            "worker killed, its task begins elsewhere",
            &timings.worker_killed,
        ),
        (
            "leader killed, the next execution begins",
            &timings.leader_killed,
        ),
    ];
    for (what, waits) in sides {
        let spread: Spread = waits.iter().map(|wait| wait.span.length()).collect();
        lines.push(format!("{what}   {spread}"));
        lines.extend(slow::lines(history, waits));
    }
    lines.join("\n")
}

fn work(history: &History, verdict: &Verdict) -> Vec<String> {
    let submissions: u32 = history.tasks.values().map(|task| task.submissions).sum();
    let genuine = history
        .results
        .iter()
        .filter(|result| result.genuine.is_some())
        .count();
    let mut lines = vec![
        format!(
            "tasks     {} confirmed by {submissions} submissions, {} not confirmed",
            history.tasks.len(),
            history.unconfirmed.len()
        ),
        format!(
            "results   {genuine} ({} of others), {} dead letters",
            history.results.len() - genuine,
            history.dead.len()
        ),
        format!("ran       {} executions", history.executions.len()),
    ];
    let reruns = verdict.reruns.iter();
    lines.extend(reruns.map(|(explanation, count)| format!("again     {count}: {explanation}")));
    lines
}

fn processes(history: &History) -> Vec<String> {
    let mut lines = Vec::new();
    let stalled: Duration = history
        .machine_stalls
        .iter()
        .map(|span| span.length())
        .sum();
    if !stalled.is_zero() {
        let times = history.machine_stalls.len();
        lines.push(format!(
            "machine   stood still {times} times, {stalled:.1?} in all"
        ));
    }
    let old = history.lives.values().filter(|fact| fact.old).count();
    let count = history.lives.len();
    lines.push(format!("processes {count}, {old} of the old release"));
    for role in Role::ALL {
        let own = history
            .lives
            .iter()
            .filter(|(life, _)| life.place.role == role);
        if let Some((mib, life)) = own.map(|(life, fact)| (fact.peak_bytes >> 20, life)).max() {
            lines.push(format!("memory    {life} used most of its kind: {mib} MiB"));
        }
    }
    lines
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

fn timelines(storm: &Storm, violations: &[&Violation]) -> String {
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
    for task in tasks {
        let _ = writeln!(text, "\ntask {task}");
        text.push_str(&timeline(storm, task));
    }
    text
}

/// Everything that is known of a task in the order of time, with the faults near to it.
fn timeline(storm: &Storm, id: &str) -> String {
    let history = &storm.history;
    let mut lines = lines_about(&storm.logs, id);
    for (_, line) in &mut lines {
        mark_old(history, line);
    }
    if let Some(task) = history.known_tasks().get(id) {
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
    let times: Vec<Moment> = lines.iter().map(|(at, _)| *at).collect();
    for fact in history.faults.iter().filter(|fact| fact.skipped.is_none()) {
        let Span { from, to } = fact.span;
        // What held, or was over for a moment, when something happened to the task.
        let near = |at: &Moment| from <= *at && *at <= to + FAULT_LINGERS;
        if times.iter().any(near) {
            lines.push((from, format!("FAULT {}", fact.fault)));
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

/// Says so if who said a line is of the older release: what such a process does cannot be mended.
fn mark_old(history: &History, line: &mut String) {
    let life = line.split(' ').next().and_then(Life::parse);
    let is_old = life.is_some_and(|life| history.lives.get(&life).is_some_and(|fact| fact.old));
    if is_old {
        line.push_str(" (older release)");
    }
}

fn seconds(began: Moment, at: Moment) -> f64 {
    at.since(began).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::LifeFact;

    #[test]
    fn who_is_of_the_older_release_is_marked() {
        let fact = |old| LifeFact {
            pid: 1,
            old,
            started: Moment(0),
            told: None,
            ended: None,
            how: String::new(),
            peak_bytes: 0,
        };
        let mut history = History::default();
        for (name, old) in [("scheduler1.1", true), ("scheduler1.2", false)] {
            history.lives.insert(Life::parse(name).unwrap(), fact(old));
        }
        let marked = |line: &str| {
            let mut line = line.to_owned();
            mark_old(&history, &mut line);
            line
        };
        let old = marked("scheduler1.1   assigned task=1");
        assert_eq!(old, "scheduler1.1   assigned task=1 (older release)");
        assert_eq!(marked("scheduler1.2   assigned"), "scheduler1.2   assigned");
        assert_eq!(marked("submitted (x)"), "submitted (x)");
    }
}
