//! Executions: attempts in their order, and every second one explained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::explain::{Explainer, Explanation};
use super::{Class, Rules, Verdict, ms};
use crate::clock::Moment;
use crate::facts::{Execution, History, Span};

/// The server's stamp and the ledger's may be this far apart, and an attempt is on its way for a moment.
const AFTER_RESULT: Duration = Duration::from_secs(1);

pub(super) fn judge(history: &History, rules: &Rules, verdict: &mut Verdict) {
    let explainer = Explainer::new(history);
    let mut ended: BTreeMap<&str, Moment> = BTreeMap::new();
    for result in history
        .results
        .iter()
        .filter(|result| result.genuine.is_some())
    {
        let at = ended.entry(&result.id).or_insert(result.at);
        *at = result.at.min(*at);
    }
    // Who looks for the result of these may find that they have none.
    let strange = history
        .results
        .iter()
        .filter(|result| result.genuine.is_none());
    let forged: BTreeSet<&str> = strange.map(|result| result.id.as_str()).collect();
    ended.retain(|id, _| !forged.contains(id));
    let tasks = history.known_tasks();
    for (id, executions) in history.by_task() {
        let allowed = tasks.get(id).map_or(u32::MAX, |task| task.attempts_max);
        judge_attempts(allowed, id, &executions, verdict);
        judge_repeated(
            &explainer,
            rules,
            (id, forged.contains(id)),
            &executions,
            verdict,
        );
        if let Some(end) = ended.get(id) {
            judge_late(&explainer, id, *end, &executions, verdict);
        }
    }
}

fn judge_attempts(allowed: u32, id: &str, executions: &[&Execution], verdict: &mut Verdict) {
    let mut told = 0;
    for execution in executions {
        let attempt = execution.attempt;
        if attempt > allowed {
            let what = format!("attempt {attempt} of {allowed}");
            verdict.find(Class::Attempts, Some(id), what);
        }
        let failed_before = executions.iter().any(|before| {
            before.attempt + 1 == attempt && before.begin <= execution.begin && before.failed()
        });
        if attempt > 1 && attempt > told && !failed_before {
            let what = format!(
                "attempt {attempt} began, but attempt {} did not fail",
                attempt - 1
            );
            verdict.find(Class::Attempts, Some(id), what);
        }
        told = told.max(attempt);
    }
}

fn judge_repeated(
    explainer: &Explainer<'_>,
    rules: &Rules,
    (id, forged): (&str, bool),
    executions: &[&Execution],
    verdict: &mut Verdict,
) {
    let mut last: BTreeMap<u32, &Execution> = BTreeMap::new();
    for second in executions.iter().copied() {
        let Some(first) = last.insert(second.attempt, second) else {
            continue;
        };
        let explanation = explainer.explain(first, second);
        let what = format!(
            "attempt {} began on {}, and {} later on {}",
            second.attempt,
            first.worker,
            ms(second.begin.since(first.begin)),
            second.worker
        );
        let key = match explanation {
            Explanation::Path if first.runs_at(second.begin) => {
                let what = format!("{what}, while it ran and its worker was well");
                verdict.note(rules.disturbed, Class::Disturbed, Some(id), what);
                "only its path failed, and it was still running (disturbed)"
            }
            Explanation::Ended | Explanation::Silent | Explanation::Path => explanation.as_str(),
            Explanation::Nothing if forged => "somebody else wrote where its result belongs",
            Explanation::Nothing => {
                verdict.find(Class::Unexplained, Some(id), what);
                explanation.as_str()
            }
        };
        *verdict.reruns.entry(key).or_default() += 1;
    }
}

fn judge_late(
    explainer: &Explainer<'_>,
    id: &str,
    end: Moment,
    executions: &[&Execution],
    verdict: &mut Verdict,
) {
    for late in executions
        .iter()
        .filter(|ran| ran.begin > end + AFTER_RESULT)
    {
        let span = Span {
            from: end.before(AFTER_RESULT),
            to: late.begin,
        };
        if explainer.was_silent(late.worker.place, span) {
            continue;
        }
        let what = format!(
            "attempt {} began on {} {} after the result was stored",
            late.attempt,
            late.worker,
            ms(late.begin.since(end))
        );
        verdict.find(Class::AfterResult, Some(id), what);
    }
}
