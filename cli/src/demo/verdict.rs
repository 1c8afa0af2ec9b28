//! Whether the demo went well: each stored result against the right answer, and the table at the end.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use rota_bus::{Bus, StoredResult};
use rota_service::Failure;
use rota_wire::result::FinalState;
use rota_wire::{TaskId, WorkerId};

use super::course::Story;
use super::work::{DemoTask, KINDS, Work};

/// Results that are looked up at the same time.
const LOOK_UPS_MAX: usize = 32;
/// The longest wait that is told apart, in microseconds: an hour, far beyond the demo's own limits.
const WAIT_MICROS_MAX: u64 = 3_600 * 1_000_000;
/// Wrong results that are named.
const NAMED_MAX: usize = 5;

#[derive(Debug)]
pub(super) struct Verdict {
    story: Story,
    tasks: usize,
    by_kind: BTreeMap<&'static str, usize>,
    by_worker: BTreeMap<WorkerId, u64>,
    completed: u64,
    lost: Vec<TaskId>,
    wrong: Vec<String>,
    /// From the submission to the start of the last attempt, in microseconds.
    waits: Histogram<u64>,
}

impl Verdict {
    /// Reads every result from where it is stored: what was heard while it ran is not trusted.
    pub(super) async fn reach(bus: &Bus, work: &Work, story: Story) -> Result<Self, Failure> {
        let look_ups = story.submitted.iter().map(|(id, number)| async move {
            let found = bus.result(id).await?;
            Ok::<_, Failure>((id.clone(), *number, found))
        });
        let found: Vec<_> = stream::iter(look_ups)
            .buffered(LOOK_UPS_MAX)
            .try_collect()
            .await?;
        let mut verdict = Self::new(work, story);
        for (id, number, found) in found {
            match found {
                Some(found) => verdict.judge(&id, &work.tasks[number], &found),
                None => verdict.lost.push(id),
            }
        }
        Ok(verdict)
    }

    fn new(work: &Work, story: Story) -> Self {
        let mut by_kind = BTreeMap::new();
        for task in &work.tasks {
            *by_kind.entry(task.kind).or_default() += 1;
        }
        Self {
            story,
            tasks: work.tasks.len(),
            by_kind,
            by_worker: BTreeMap::new(),
            completed: 0,
            lost: Vec::new(),
            wrong: Vec::new(),
            waits: no_waits(),
        }
    }

    fn judge(&mut self, id: &TaskId, task: &DemoTask, found: &StoredResult) {
        let Some(result) = &found.result else {
            self.wrong
                .push(format!("task {id}: a result that Rota did not write"));
            return;
        };
        if result.state != FinalState::Completed {
            let reason = result.reason.as_deref().unwrap_or("no reason given");
            self.wrong.push(format!(
                "task {id} of kind {}: {}, {reason}",
                task.kind, result.state
            ));
            return;
        }
        self.completed += 1;
        if !task.is_right(&found.body) {
            self.wrong.push(format!(
                "task {id} of kind {}: the answer is wrong",
                task.kind
            ));
        }
        if let Some(worker) = &result.worker {
            *self.by_worker.entry(worker.clone()).or_default() += 1;
        }
        if let (Some(submitted), Some(started)) = (result.submitted, result.started) {
            self.waits
                .saturating_record(started.0.saturating_sub(submitted.0));
        }
    }

    /// Whether every task was submitted, ended once and well, and a worker was killed on the way.
    pub(super) fn is_good(&self) -> bool {
        let all = self.completed == self.tasks as u64;
        all && self.lost.is_empty() && self.wrong.is_empty() && self.story.killed.is_some()
    }

    fn note_of(&self, worker: &WorkerId) -> &'static str {
        if self.story.killed.as_ref() == Some(worker) {
            "  killed half-way"
        } else {
            ""
        }
    }
}

/// With bounds of its own: one that grows by itself does not do so for `saturating_record`, which would
/// then record every wait as next to nothing.
fn no_waits() -> Histogram<u64> {
    Histogram::new_with_bounds(1, WAIT_MICROS_MAX, 3).expect("the bounds are in order")
}

/// The table at the end.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = KINDS.map(|(kind, _)| {
            let count = self.by_kind.get(kind).copied().unwrap_or_default();
            format!("{kind} {count}")
        });
        let row = |f: &mut fmt::Formatter<'_>, name: &str, count: u64, note: &str| {
            let line = format!("  {name:<22}{count:>6}  {note}");
            writeln!(f, "{}", line.trim_end())
        };
        row(f, "tasks", self.tasks as u64, &kinds.join(", "))?;
        row(f, "completed", self.completed, "each answer checked")?;
        row(
            f,
            "redelivered",
            self.story.redelivered,
            "went to another worker",
        )?;
        row(f, "lost", self.lost.len() as u64, "")?;
        row(f, "wrong", self.wrong.len() as u64, "")?;
        writeln!(f)?;
        for (worker, slots) in &self.story.slots {
            let count = self.by_worker.get(worker).copied().unwrap_or_default();
            let note = format!("{slots} slots{}", self.note_of(worker));
            row(f, &format!("by {worker}"), count, &note)?;
        }
        let ms = |micros: u64| format!("{:.1} ms", micros as f64 / 1_000.0);
        let waited = |quantile| ms(self.waits.value_at_quantile(quantile));
        writeln!(f)?;
        for (name, value) in [
            ("time", format!("{:.1} s ", self.story.took.as_secs_f64())),
            ("submit to start, p50", waited(0.50)),
            ("submit to start, p99", waited(0.99)),
            ("submit to start, max", ms(self.waits.max())),
        ] {
            writeln!(f, "  {name:<22}{value:>9}")?;
        }
        for wrong in self.wrong.iter().take(NAMED_MAX) {
            writeln!(f, "\n  wrong: {wrong}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rota_wire::result::TaskResult;
    use rota_wire::{Headers, Micros};

    use super::*;

    fn story(killed: Option<&str>) -> Story {
        Story {
            submitted: BTreeMap::new(),
            redelivered: 1,
            killed: killed.map(|id| WorkerId::parse(id).unwrap()),
            slots: BTreeMap::new(),
            took: std::time::Duration::from_secs(1),
        }
    }

    fn found(state: FinalState, waited_micros: u64, body: &'static str) -> StoredResult {
        let result = TaskResult {
            id: TaskId::from_sequence(1),
            state,
            kind: "sleep".to_owned(),
            attempts: 1,
            worker: WorkerId::parse("small-aaaaaa").ok(),
            exit: None,
            reason: None,
            submitted: Some(Micros(10)),
            started: Some(Micros(10 + waited_micros)),
            finished: Micros(20 + waited_micros),
            ran: None,
            estimate: None,
            traceparent: None,
        };
        StoredResult {
            headers: Headers::new(),
            result: Some(result),
            genuine: true,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    /// 100 sleeps, of which the last two waited for a redelivery.
    fn verdict(killed: Option<&str>) -> Verdict {
        let mut work = Work::new(300);
        work.tasks.retain(|task| task.kind == "sleep");
        let mut verdict = Verdict::new(&work, story(killed));
        for (number, task) in work.tasks.iter().enumerate() {
            let waited = if number < 98 { 5_000 } else { 1_500_000 };
            let found = found(FinalState::Completed, waited, "");
            verdict.judge(&TaskId::from_sequence(1), task, &found);
        }
        verdict
    }

    #[test]
    fn waits_are_told_as_long_as_they_were() {
        let told = verdict(Some("large-aaaaaa")).to_string();
        assert!(told.contains("submit to start, p50     5.0 ms"), "{told}");
        assert!(told.contains("submit to start, p99  1500."), "{told}");
    }

    #[test]
    fn only_a_run_with_every_answer_right_and_a_worker_killed_is_good() {
        assert!(verdict(Some("large-aaaaaa")).is_good());
        assert!(!verdict(None).is_good());
        let mut lost = verdict(Some("large-aaaaaa"));
        lost.lost.push(TaskId::from_sequence(7));
        assert!(!lost.is_good());
        let task = &Work::new(3).tasks[2];
        for bad in [
            found(FinalState::Completed, 0, "not empty"),
            found(FinalState::Failed, 0, ""),
        ] {
            let mut wrong = verdict(Some("large-aaaaaa"));
            wrong.judge(&TaskId::from_sequence(1), task, &bad);
            assert!(!wrong.is_good());
        }
    }
}
