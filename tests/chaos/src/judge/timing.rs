//! How long it took to go on after a death.

use std::time::Duration;

use crate::clock::Moment;
use crate::facts::{Execution, History, Span};
use crate::fault::{Life, Role};

/// What was assigned before a leader died still begins for so long.
const ON_ITS_WAY: Duration = Duration::from_millis(30);

/// Every wait after a death, in the order of the deaths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the SIGKILL of a worker to the beginning of each of its tasks elsewhere.
    pub worker_killed: Vec<Wait>,
    /// From the SIGKILL of the leading scheduler to the next execution anywhere.
    pub leader_killed: Vec<Wait>,
}

/// From a death to what followed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Who died.
    pub dead: Life,
    /// When it died, and when it went on.
    pub span: Span,
    /// The task that began then.
    pub task: String,
    /// Where.
    pub worker: Life,
}

pub(super) fn measure(history: &History) -> Timings {
    let mut timings = Timings::default();
    let by_task = history.by_task();
    for (dead, fact) in &history.lives {
        let Some(at) = fact.killed() else { continue };
        match dead.place.role {
            Role::Worker => {
                let cut_short = history.executions.iter().filter(|ran| ran.worker == *dead);
                let next = cut_short.filter(|ran| ran.runs_at(at)).filter_map(|ran| {
                    let all = &by_task[ran.task.as_str()];
                    next_after(all.iter().copied(), at)
                });
                let waits = next.map(|next| Wait::new(*dead, at, next));
                timings.worker_killed.extend(waits);
            }
            Role::Scheduler if leads(history, *dead, at) => {
                let next = next_after(history.executions.iter(), at + ON_ITS_WAY);
                let wait = next.map(|next| Wait::new(*dead, at, next));
                timings.leader_killed.extend(wait);
            }
            Role::Scheduler | Role::Submitter | Role::Monitor => {}
        }
    }
    timings.worker_killed.sort_by_key(|wait| wait.span);
    timings.leader_killed.sort_by_key(|wait| wait.span);
    timings
}

impl Wait {
    fn new(dead: Life, at: Moment, next: &Execution) -> Self {
        Self {
            dead,
            span: Span {
                from: at,
                to: next.begin,
            },
            task: next.task.clone(),
            worker: next.worker,
        }
    }
}

fn next_after<'a>(
    mut executions: impl Iterator<Item = &'a Execution>,
    at: Moment,
) -> Option<&'a Execution> {
    executions.find(|ran| ran.begin > at)
}

fn leads(history: &History, life: Life, at: Moment) -> bool {
    let known = history.leaders.iter().filter(|(since, _)| *since <= at);
    known
        .max_by_key(|(since, _)| *since)
        .is_some_and(|(_, leader)| *leader == life)
}
