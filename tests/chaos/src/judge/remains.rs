//! What is left when all is calm: in streams, of processes, in memory and in the logs.

use std::collections::BTreeMap;

use super::{Class, Rules, Verdict, ms};
use crate::facts::{History, Repeat};
use crate::fault::{Life, Role};

/// Violations of one sort that are told one by one.
const TOLD_MAX: usize = 20;

pub(super) fn judge(history: &History, rules: &Rules, verdict: &mut Verdict) {
    judge_streams(history, verdict);
    judge_processes(history, rules, verdict);
    judge_logs(history, rules, verdict);
}

fn judge_streams(history: &History, verdict: &mut Verdict) {
    for left in &history.left {
        let stream = &left.stream;
        match left.messages {
            None => verdict.find(Class::Left, None, format!("{stream} does not answer")),
            Some(0) => {}
            Some(count) => {
                let ids: Vec<&str> = left.ids.iter().map(String::as_str).take(TOLD_MAX).collect();
                let what = format!("{count} messages are left in {stream}: {}", ids.join(" "));
                // The timeline of one of them says what the others' would.
                verdict.find(Class::Left, ids.first().copied(), what);
            }
        }
        if left.unacked > 0 {
            let what = format!("{} messages of {stream} are not acked", left.unacked);
            verdict.find(Class::Left, None, what);
        }
    }
}

fn judge_processes(history: &History, rules: &Rules, verdict: &mut Verdict) {
    let leftovers = history.leftovers.iter();
    for left in leftovers.filter(|left| !is_old(history, left.worker)) {
        let what = format!(
            "process {} of it lives {} after {} was gone",
            left.pid,
            ms(left.after),
            left.worker
        );
        verdict.find(Class::LeftBehind, Some(&left.task), what);
    }
    for (life, fact) in history.lives.iter().filter(|(_, fact)| !fact.old) {
        let bound = match life.place.role {
            Role::Scheduler => rules.scheduler_bytes_max,
            Role::Submitter | Role::Worker | Role::Monitor => rules.service_bytes_max,
        };
        if fact.peak_bytes > bound {
            let (peak, bound) = (fact.peak_bytes >> 20, bound >> 20);
            let what = format!("{life} used {peak} MiB of memory, more than {bound} MiB");
            verdict.find(Class::Memory, None, what);
        }
        if fact.told.is_none() && fact.ended.is_some() && !is_allowed_end(&fact.how) {
            let what = format!("{life} ended by itself: {}", fact.how);
            verdict.find(Class::Crashed, None, what);
        }
    }
}

/// A service may end because it finds no server (69); it is started again until there is one.
fn is_allowed_end(how: &str) -> bool {
    how.ends_with(": 69")
}

/// What a process of the older release does by itself cannot be mended any more.
fn is_old(history: &History, life: Life) -> bool {
    history.lives.get(&life).is_some_and(|fact| fact.old)
}

fn judge_logs(history: &History, rules: &Rules, verdict: &mut Verdict) {
    let panics = history
        .panics
        .iter()
        .filter(|(life, _)| !is_old(history, *life));
    for (life, line) in panics.take(TOLD_MAX) {
        verdict.find(Class::Panic, None, format!("{life}: {line}"));
    }
    // What one place in the code says of many things, in many lives, is one finding.
    let mut lines: BTreeMap<(bool, &str), (u64, &Repeat)> = BTreeMap::new();
    for repeat in history
        .repeats
        .iter()
        .filter(|repeat| !is_old(history, repeat.life))
    {
        let (times, shortest) = lines
            .entry((is_monitors(repeat), message(&repeat.line)))
            .or_insert((0, repeat));
        *times += repeat.times;
        if repeat.shortest < shortest.shortest {
            *shortest = repeat;
        }
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(_, (times, _))| std::cmp::Reverse(*times));
    for (_, (times, repeat)) in lines.into_iter().take(TOLD_MAX) {
        let what = format!(
            "{times} times within 10 s of the one before, {} in the shortest, of {}: {}",
            ms(repeat.shortest),
            repeat.life,
            repeat.line
        );
        let severity = if is_monitors(repeat) {
            rules.monitor_repeats
        } else {
            rules.repeats
        };
        verdict.note(severity, Class::Repeated, None, what);
    }
}

fn is_monitors(repeat: &Repeat) -> bool {
    repeat.life.place.role == Role::Monitor
}

/// A line without its fields.
fn message(line: &str) -> &str {
    let is_field = |word: &str| word.contains('=');
    let mut end = 0;
    for word in line.split_inclusive(' ') {
        if is_field(word) {
            break;
        }
        end += word.len();
    }
    line[..end].trim_end()
}
