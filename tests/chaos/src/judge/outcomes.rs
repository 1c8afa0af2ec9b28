//! Results: one for each submission, the right one, and none that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::explain::killed_between;
use super::{Class, Severity, Verdict};
use crate::clock::Moment;
use crate::facts::{Execution, Genuine, History, StoredResult, Task};
use crate::fault::Role;
use crate::job::{Ending, Then};
use crate::ledger::Outcome;

/// Workers that a task must have taken down to be poison, and how many of them while it ran there.
const POISON_WORKERS: usize = 3;
const POISON_SEEN: usize = 2;

pub(super) fn judge(history: &History, verdict: &mut Verdict) {
    let mut results: BTreeMap<&str, Vec<&StoredResult>> = BTreeMap::new();
    for result in &history.results {
        results.entry(&result.id).or_default().push(result);
    }
    let by_task = history.by_task();
    let none = Vec::new();
    for (id, task) in &history.tasks {
        let stored = results.get(id.as_str()).unwrap_or(&none);
        let ran = by_task.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        judge_task(history, id, task, stored, ran, verdict);
    }
    judge_strangers(history, &results, &by_task, verdict);
    // What a forger's message replaced, or was replaced by, may never have been seen.
    let unseen = history.results_unseen.saturating_sub(history.forgeries());
    if unseen > 0 {
        let what = format!("{unseen} results were replaced before they were seen");
        verdict.find(Class::TwoResults, None, what);
    }
    judge_dead_letters(history, &results, &by_task, verdict);
}

fn judge_task(
    history: &History,
    id: &str,
    task: &Task,
    stored: &[&StoredResult],
    ran: &[&Execution],
    verdict: &mut Verdict,
) {
    let genuine: Vec<_> = stored
        .iter()
        .filter(|result| result.genuine.is_some())
        .collect();
    // What a forger has overwritten is not there for who looks, so it may come to a result anew.
    let forged = genuine.len() < stored.len();
    if genuine.len() > 1 && !forged {
        let seqs: Vec<u64> = genuine.iter().map(|result| result.seq).collect();
        verdict.find(Class::TwoResults, Some(id), format!("results at {seqs:?}"));
    }
    let newest = genuine.into_iter().max_by_key(|result| result.seq);
    let Some((result, said)) = newest.and_then(|result| Some((result, result.genuine.as_ref()?)))
    else {
        let (executed, lies_in) = (ran.len(), history.lies_in(id));
        if lies_in.is_none() && was_overwritten(stored, ran) {
            let what = "a forged message came after its last attempt had ended, over its result";
            verdict.note(Severity::Warning, Class::Overwritten, Some(id), what);
            return;
        }
        let (class, what) = match lies_in {
            Some(stream) => (Class::Unfinished, format!("it still lies in {stream}")),
            None if forged => (
                Class::Lost,
                "a forged message in place of its result".to_owned(),
            ),
            None => (Class::Lost, "no result, and it lies nowhere".to_owned()),
        };
        verdict.find(
            class,
            Some(id),
            format!("{what}; executed {executed} times"),
        );
        return;
    };
    if said.job != Some(task.job.number) {
        let what = format!(
            "the result is of job {:?}, not {}",
            said.job, task.job.number
        );
        verdict.find(Class::WrongOutcome, Some(id), what);
        return;
    }
    judge_outcome(history, id, task, (result, said), ran, verdict);
    if ran.is_empty() && said.state == "completed" {
        verdict.find(Class::NeverRan, Some(id), "completed, and never ran");
    }
    if ran.iter().any(|ran| is_damaged(history, ran)) {
        verdict.find(
            Class::Damaged,
            Some(id),
            "its input was not what was submitted",
        );
    }
}

/// A command whose worker is killed may have got only a part of its input.
fn is_damaged(history: &History, ran: &Execution) -> bool {
    let Some((at, Outcome::Damaged)) = ran.end else {
        return false;
    };
    let killed = history
        .lives
        .get(&ran.worker)
        .and_then(|life| life.killed());
    killed.is_none_or(|killed| killed > at)
}

/// Whether what somebody else wrote came when the task had done its work.
fn was_overwritten(stored: &[&StoredResult], ran: &[&Execution]) -> bool {
    let forged = stored.iter().filter(|result| result.genuine.is_none());
    let first = forged.map(|result| result.at).min();
    let done = ran.iter().filter_map(|ran| match ran.end {
        Some((at, Outcome::Ended(Ending::Done | Ending::Died))) => Some(at),
        _ => None,
    });
    matches!((first, done.min()), (Some(forged), Some(done)) if done <= forged)
}

fn judge_outcome(
    history: &History,
    id: &str,
    task: &Task,
    (result, said): (&StoredResult, &Genuine),
    ran: &[&Execution],
    verdict: &mut Verdict,
) {
    let (state, attempts) = task.expected();
    if said.state == state && said.attempts == attempts {
        if state == "completed" && said.output != task.job.output() {
            let what = format!("puts out {:?}", said.output);
            verdict.find(Class::WrongOutcome, Some(id), what);
        }
        return;
    }
    if said.state == "failed" && said.reason.contains("poison") {
        let (killed, here) = taken_down(history, task, result.at, ran);
        if looks_poisonous(killed, here) {
            return;
        }
        let what = format!(
            "buried as poison, but {killed} workers were killed in its time, {here} while they \
             ran it: {}",
            said.reason
        );
        verdict.find(Class::FalsePoison, Some(id), what);
        return;
    }
    let dies = match task.job.then {
        Then::Complete => "completes",
        Then::Die => "dies",
    };
    let what = format!(
        "{} after {} attempts ({}), but it fails {} times, then {dies}, with {} attempts",
        said.state, said.attempts, said.reason, task.job.fails, task.attempts_max
    );
    verdict.find(Class::WrongOutcome, Some(id), what);
}

/// Workers that were killed until then, and how many of them while they ran the task.
fn taken_down(history: &History, task: &Task, until: Moment, ran: &[&Execution]) -> (usize, usize) {
    let killed = killed_between(history, Role::Worker, task.sent, until);
    let here = ran.iter().filter(|ran| {
        let life = history.lives.get(&ran.worker);
        life.is_some_and(|life| life.killed().is_some_and(|at| ran.runs_at(at)))
    });
    (killed, here.count())
}

fn looks_poisonous(killed: usize, here: usize) -> bool {
    killed >= POISON_WORKERS && here >= POISON_SEEN
}

/// Results and executions of ids that nobody confirmed.
fn judge_strangers(
    history: &History,
    results: &BTreeMap<&str, Vec<&StoredResult>>,
    by_task: &BTreeMap<&str, Vec<&Execution>>,
    verdict: &mut Verdict,
) {
    let known = |id: &str| history.tasks.contains_key(id);
    let mut came: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for (id, stored) in results.iter().filter(|(id, _)| !known(id)) {
        let jobs = stored
            .iter()
            .filter_map(|result| result.genuine.as_ref()?.job);
        match jobs
            .into_iter()
            .find(|job| history.unconfirmed.contains_key(job))
        {
            Some(job) => {
                came.entry(job).or_default().insert(id);
            }
            None => verdict.find(
                Class::Unsubmitted,
                Some(id),
                "a result without a submission",
            ),
        }
    }
    for (job, ids) in came.iter().filter(|(_, ids)| ids.len() > 1) {
        let what = format!("job {job} was submitted once and has results as {ids:?}");
        verdict.find(Class::TwoResults, None, what);
    }
    for id in by_task
        .keys()
        .filter(|id| !known(id) && !results.contains_key(*id))
    {
        let what = "ran, but has no result; its submission was not confirmed";
        verdict.find(Class::Lost, Some(id), what);
    }
}

fn judge_dead_letters(
    history: &History,
    results: &BTreeMap<&str, Vec<&StoredResult>>,
    by_task: &BTreeMap<&str, Vec<&Execution>>,
    verdict: &mut Verdict,
) {
    let failed = results.iter().filter(|(_, stored)| {
        let mut said = stored.iter().filter_map(|result| result.genuine.as_ref());
        said.any(|said| said.state == "failed")
    });
    let failed: BTreeSet<&str> = failed.map(|(id, _)| *id).collect();
    let dead = history.dead_ids();
    for id in failed.difference(&dead) {
        verdict.find(
            Class::DeadLetters,
            Some(id),
            "failed for good without a dead letter",
        );
    }
    for id in dead.difference(&failed) {
        let ran = by_task.get(id).map_or(&[][..], Vec::as_slice);
        let (severity, what) = match results.get(id).and_then(|stored| stored.last()) {
            Some(result) if is_orphan(history, id, result, ran) => (
                Severity::Warning,
                "a dead letter of a scheduler that died before it stored the result; the next let it run on",
            ),
            _ => (
                Severity::Violation,
                "a dead letter, but it did not fail for good",
            ),
        };
        verdict.note(severity, Class::DeadLetters, Some(id), what);
    }
}

/// The letter is stored before the result, so a scheduler that dies in between leaves a letter alone, and
/// what it knew of losses may die with it. So there must have been cause for the letter, and such a death.
fn is_orphan(history: &History, id: &str, result: &StoredResult, ran: &[&Execution]) -> bool {
    let Some(task) = history.tasks.get(id) else {
        return false;
    };
    let (killed, here) = taken_down(history, task, result.at, ran);
    let died = killed_between(history, Role::Scheduler, task.sent, result.at);
    looks_poisonous(killed, here) && died > 0
}
