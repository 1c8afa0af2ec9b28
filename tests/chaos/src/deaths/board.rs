//! What runs where, as the ledger tells it while it is written. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::fault::Life;
use crate::job::Ending;
use crate::ledger::{Entry, Outcome};

/// The executions of all tasks so far.
#[derive(Debug, Default)]
pub(super) struct Board {
    tasks: BTreeMap<String, Vec<Run>>,
    done: BTreeSet<String>,
    losses: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Run {
    name: String,
    worker: Life,
    begin: Moment,
    end: Option<Moment>,
}

impl Board {
    /// Takes in a line.
    pub(super) fn take(&mut self, entry: Entry) {
        let Some(worker) = Life::parse(&entry.worker) else {
            return;
        };
        let runs = self.tasks.entry(entry.task.clone()).or_default();
        match entry.outcome {
            None => runs.push(Run {
                name: entry.run,
                worker,
                begin: entry.at,
                end: None,
            }),
            Some(outcome) => {
                if let Some(run) = runs.iter_mut().find(|run| run.name == entry.run) {
                    run.end = Some(entry.at);
                }
                if outcome == Outcome::Ended(Ending::Done) {
                    self.done.insert(entry.task);
                }
            }
        }
    }

    /// How many tasks have said that they are done.
    pub(super) fn done(&self) -> usize {
        self.done.len()
    }

    /// The lives that have run anything.
    pub(super) fn workers(&self) -> BTreeSet<Life> {
        let runs = self.tasks.values().flatten();
        runs.map(|run| run.worker).collect()
    }

    /// The tasks that a life runs at a time.
    pub(super) fn running_on(&self, life: Life, at: Moment) -> Vec<&str> {
        let runs =
            |run: &Run| run.worker == life && run.begin <= at && run.end.is_none_or(|end| end > at);
        let tasks = self.tasks.iter();
        let running = tasks.filter(|(_, all)| all.iter().any(runs));
        running.map(|(task, _)| task.as_str()).collect()
    }

    /// Notes that a task was running on a worker that was killed.
    pub(super) fn note_loss(&mut self, task: &str) {
        *self.losses.entry(task.to_owned()).or_default() += 1;
    }

    /// How often that was.
    pub(super) fn losses(&self, task: &str) -> u32 {
        self.losses.get(task).copied().unwrap_or(0)
    }

    /// When a task first began after that time on any life but one.
    pub(super) fn begins_after(&self, task: &str, at: Moment, but: Life) -> Option<Moment> {
        let runs = self.tasks.get(task).into_iter().flatten();
        let later = runs.filter(|run| run.begin > at && run.worker != but);
        later.map(|run| run.begin).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(lines: &[&str]) -> Board {
        let mut board = Board::default();
        for line in lines {
            board.take(Entry::parse(line).unwrap());
        }
        board
    }

    fn life(text: &str) -> Life {
        Life::parse(text).unwrap()
    }

    #[test]
    fn a_task_runs_from_its_beginning_to_its_end() {
        let board = board(&["begin 10 a 1 worker1.1 r", "end 20 a 1 worker1.1 r done"]);
        let running = |at| board.running_on(life("worker1.1"), Moment(at));
        assert_eq!((running(9).len(), running(10).len()), (0, 1));
        assert_eq!((running(19).len(), running(20).len()), (1, 0));
        assert_eq!(board.done(), 1);
    }

    #[test]
    fn what_begins_elsewhere_is_found_and_not_what_the_dead_one_has_begun() {
        let board = board(&[
            "begin 10 a 1 worker1.1 r",
            "begin 31 a 1 worker1.1 s",
            "begin 70 a 1 worker2.1 t",
        ]);
        let next = board.begins_after("a", Moment(30), life("worker1.1"));
        assert_eq!(next, Some(Moment(70)));
        let never = board.begins_after("a", Moment(70), life("worker1.1"));
        assert_eq!(never, None);
    }

    #[test]
    fn another_life_of_a_worker_is_another_worker() {
        let board = board(&["begin 10 a 1 worker1.1 r", "begin 40 a 1 worker1.2 r"]);
        assert_eq!(board.running_on(life("worker1.1"), Moment(50)), ["a"]);
        let next = board.begins_after("a", Moment(30), life("worker1.1"));
        assert_eq!(next, Some(Moment(40)));
        assert_eq!(board.workers().len(), 2);
    }
}
