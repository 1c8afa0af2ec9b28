//! Why it took long after a death: what happened between the death and the next beginning of its tasks.
//!
//! Told are the faults of servers, of the ways to lead and of the worker where the task began; when somebody began to
//! lead; when nothing began anywhere; and when a scheduler had the task again. Faults of others delay nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use super::seconds;
use crate::clock::Moment;
use crate::facts::{History, Span};
use crate::fault::{Fault, Life, Place};
use crate::judge::Wait;
use crate::judge::explain::touches_path;

/// What takes longer is explained.
const SLOW: Duration = Duration::from_secs(5);
/// While the load lasts something begins many times a second.
const STANDSTILL: Duration = Duration::from_secs(2);
/// Deaths that are told of, the slowest first, and lines for each.
const TOLD_MAX: usize = 6;
const LINES_MAX: usize = 40;

/// Lines about the slow ones of some waits.
pub(super) fn lines(history: &History, waits: &[Wait]) -> Vec<String> {
    let mut deaths: BTreeMap<Life, Vec<&Wait>> = BTreeMap::new();
    for wait in waits.iter().filter(|wait| wait.span.length() > SLOW) {
        deaths.entry(wait.dead).or_default().push(wait);
    }
    // Of each death the slowest is the example.
    let mut slowest: Vec<(&Wait, usize)> = deaths
        .values()
        .filter_map(|waits| {
            let slowest = waits.iter().max_by_key(|wait| wait.span.length())?;
            Some((*slowest, waits.len()))
        })
        .collect();
    slowest.sort_by_key(|(wait, _)| std::cmp::Reverse(wait.span.length()));
    let told = slowest.iter().take(TOLD_MAX);
    let mut lines: Vec<String> = told
        .flat_map(|(wait, count)| lines_about(history, wait, *count))
        .collect();
    let left = slowest.len().saturating_sub(TOLD_MAX);
    if left > 0 {
        lines.push(format!("slow      and {left} more deaths"));
    }
    lines
}

fn lines_about(history: &History, wait: &Wait, count: usize) -> Vec<String> {
    let Wait {
        dead,
        span,
        task,
        worker,
    } = wait;
    let mut lines = vec![format!(
        "slow      {dead} was killed at {:.3}: task {task} began on {worker} after {:.1} s ({count} so slow)",
        seconds(history.began, span.from),
        span.length().as_secs_f64()
    )];
    let mut happened = happened(history, wait);
    happened.sort();
    let left = happened.len().saturating_sub(LINES_MAX);
    let told = happened.into_iter().take(LINES_MAX);
    lines.extend(told.map(|(at, what)| format!("  {:>9.3} {what}", seconds(history.began, at))));
    if left > 0 {
        lines.push(format!("  and {left} more lines"));
    }
    lines
}

fn happened(history: &History, wait: &Wait) -> Vec<(Moment, String)> {
    let span = wait.span;
    let within = |at: Moment| span.from <= at && at <= span.to;
    let faults = history.faults.iter().filter(|fact| {
        fact.skipped.is_none() && fact.span.meets(span) && delays(&fact.fault, wait.worker.place)
    });
    let faults = faults.map(|fact| {
        let until = seconds(history.began, fact.span.to);
        (
            fact.span.from,
            format!("FAULT {}, over at {until:.3}", fact.fault),
        )
    });
    let leaders = history.leaders.iter().filter(|(at, _)| within(*at));
    let leaders = leaders.map(|(at, life)| (*at, format!("{life} leads")));
    let again = history.redelivered.iter();
    let again = again.filter(|(at, task)| *task == wait.task && within(*at));
    let again = again.map(|(at, _)| (*at, "a scheduler has the task again".to_owned()));
    let still = standstills(history, span).into_iter().map(|still| {
        let length = still.length().as_secs_f64();
        (
            still.from,
            format!("nothing begins anywhere for {length:.1} s"),
        )
    });
    faults.chain(leaders).chain(again).chain(still).collect()
}

/// Whether a fault can delay what begins on a worker.
fn delays(fault: &Fault, worker: Place) -> bool {
    let ends = matches!(fault, Fault::Kill(place) | Fault::Drain(place) if *place == worker);
    ends || touches_path(fault, &[worker])
}

/// When no execution began for long, within a span.
fn standstills(history: &History, span: Span) -> Vec<Span> {
    let begins = history.executions.iter().map(|ran| ran.begin);
    let begins = begins.filter(|at| span.from < *at && *at < span.to);
    let mut last = span.from;
    let mut standstills = Vec::new();
    for at in begins.chain([span.to]) {
        if at.since(last) > STANDSTILL {
            standstills.push(Span { from: last, to: at });
        }
        last = at;
    }
    standstills
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Execution, FaultFact};
    use crate::fault::Which;

    fn at(s: u64) -> Moment {
        Moment(s * 1_000_000)
    }

    fn span(seconds: std::ops::Range<u64>) -> Span {
        Span {
            from: at(seconds.start),
            to: at(seconds.end),
        }
    }

    fn life(text: &str) -> Life {
        Life::parse(text).unwrap()
    }

    fn wait(seconds: std::ops::Range<u64>) -> Wait {
        Wait {
            dead: life("worker1.1"),
            span: span(seconds),
            task: "7".to_owned(),
            worker: life("worker2.1"),
        }
    }

    fn history(faults: Vec<(Fault, std::ops::Range<u64>)>, begins: &[u64]) -> History {
        let fact = |(fault, seconds)| FaultFact {
            fault,
            span: span(seconds),
            server: None,
            skipped: None,
        };
        let ran = |begin: &u64| Execution {
            task: "8".to_owned(),
            attempt: 1,
            worker: life("worker3.1"),
            begin: at(*begin),
            end: None,
        };
        History {
            faults: faults.into_iter().map(fact).collect(),
            executions: begins.iter().map(ran).collect(),
            ..History::default()
        }
    }

    #[test]
    fn a_slow_one_is_told_with_what_held_meanwhile() {
        let server = Fault::KillServer(Which::Number(1), Duration::from_secs(3));
        let mut history = history(vec![(server, 8..13)], &[11, 12, 13, 14, 15, 20]);
        history.leaders.push((at(14), life("scheduler2.3")));
        history.redelivered.push((at(19), "7".to_owned()));
        let told = lines(&history, &[wait(10..20)]).join("\n");
        for part in [
            "worker1.1 was killed at 10.000: task 7 began on worker2.1 after 10.0 s",
            "8.000 FAULT server1 killed, back after 3s, over at 13.000",
            "14.000 scheduler2.3 leads",
            "15.000 nothing begins anywhere for 5.0 s",
            "19.000 a scheduler has the task again",
        ] {
            assert!(told.contains(part), "{part}:\n{told}");
        }
    }

    #[test]
    fn faults_of_others_and_of_other_times_are_not_told() {
        let cut = |name: &str| Fault::Cut(life(name).place, Duration::from_secs(1));
        let faults = vec![
            (cut("worker3.1"), 12..13),
            (cut("submitter1.1"), 12..13),
            (cut("worker2.1"), 12..13),
            (cut("scheduler1.1"), 2..3),
        ];
        let told = lines(&history(faults, &[]), &[wait(10..20)]).join("\n");
        assert_eq!(told.matches("FAULT").count(), 1, "{told}");
        assert!(told.contains("FAULT worker2 cut off"), "{told}");
    }

    #[test]
    fn quick_ones_are_not_told_and_those_of_one_death_once() {
        let waits = [wait(10..20), wait(10..18), wait(30..34)];
        let told = lines(&history(Vec::new(), &[]), &waits);
        let heads: Vec<_> = told
            .iter()
            .filter(|line| line.starts_with("slow"))
            .collect();
        assert_eq!(heads.len(), 1, "{told:?}");
        assert!(heads[0].ends_with("after 10.0 s (2 so slow)"), "{told:?}");
    }
}
