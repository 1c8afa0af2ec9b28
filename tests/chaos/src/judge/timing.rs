//! How long it took to go on after a death.

use std::time::Duration;

use crate::clock::Moment;
use crate::facts::{Execution, History};
use crate::fault::{Life, Role};
use crate::spread::Spread;

/// What was assigned before a leader died still begins for so long.
const ON_ITS_WAY: Duration = Duration::from_millis(30);

/// How long it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the SIGKILL of a worker to the beginning of each of its tasks elsewhere.
    pub worker_killed: Spread,
    /// From the SIGKILL of the leading scheduler to the next execution anywhere.
    pub leader_killed: Spread,
}

pub(super) fn measure(history: &History) -> Timings {
    let (mut worker_killed, mut leader_killed) = (Vec::new(), Vec::new());
    let by_task = history.by_task();
    for (life, fact) in &history.lives {
        let Some(at) = fact.killed() else { continue };
        match life.place.role {
            Role::Worker => {
                let cut_short = history.executions.iter().filter(|ran| ran.worker == *life);
                let next = cut_short.filter(|ran| ran.runs_at(at)).filter_map(|ran| {
                    let all = &by_task[ran.task.as_str()];
                    next_after(all.iter().copied(), at)
                });
                worker_killed.extend(next.map(|next| next.since(at)));
            }
            Role::Scheduler if leads(history, *life, at) => {
                let next = next_after(history.executions.iter(), at + ON_ITS_WAY);
                leader_killed.extend(next.map(|next| next.since(at)));
            }
            Role::Scheduler | Role::Submitter | Role::Monitor => {}
        }
    }
    Timings {
        worker_killed: worker_killed.into_iter().collect(),
        leader_killed: leader_killed.into_iter().collect(),
    }
}

fn next_after<'a>(executions: impl Iterator<Item = &'a Execution>, at: Moment) -> Option<Moment> {
    executions.map(|ran| ran.begin).find(|begin| *begin > at)
}

fn leads(history: &History, life: Life, at: Moment) -> bool {
    let known = history.leaders.iter().filter(|(since, _)| *since <= at);
    known
        .max_by_key(|(since, _)| *since)
        .is_some_and(|(_, leader)| *leader == life)
}
