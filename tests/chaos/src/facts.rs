//! What was seen of a storm: plain data, gathered while it blows, judged when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Moment;
use crate::fault::{Fault, Life, Place};
use crate::job::{Ending, Job, Then};
use crate::ledger::{Entry, Outcome};

/// Everything that the judge knows.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// When the first process was started.
    pub began: Moment,
    /// When the last fault was over and all processes ran.
    pub calm: Moment,
    /// When the judge was called.
    pub ended: Moment,
    /// What was submitted and confirmed, by id.
    pub tasks: BTreeMap<String, Task>,
    /// Jobs whose submission nobody confirmed: they may have been stored, or not.
    pub unconfirmed: BTreeMap<u64, Task>,
    /// What ran.
    pub executions: Vec<Execution>,
    /// What was ever seen in ROTA_RESULTS.
    pub results: Vec<StoredResult>,
    /// Messages of ROTA_RESULTS that were replaced before they were seen.
    pub results_unseen: u64,
    /// The ids of the letters in ROTA_DEAD.
    pub dead: Vec<String>,
    /// What is left in the streams that must be empty.
    pub left: Vec<Left>,
    /// The processes.
    pub lives: BTreeMap<Life, LifeFact>,
    /// What went wrong, and when it really did.
    pub faults: Vec<FaultFact>,
    /// When a process had no connection.
    pub gaps: Vec<(Place, Span)>,
    /// When this whole machine stood still, as the storm's own clock noticed.
    pub machine_stalls: Vec<Span>,
    /// Processes of tasks that outlived their worker.
    pub leftovers: Vec<Leftover>,
    /// Who led, since when.
    pub leaders: Vec<(Moment, Life)>,
    /// Of which task a scheduler said that it has it again, and when.
    pub redelivered: Vec<(Moment, String)>,
    /// Lines that tell of a panic.
    pub panics: Vec<(Life, String)>,
    /// Lines that came again too soon.
    pub repeats: Vec<Repeat>,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Its beginning.
    pub from: Moment,
    /// Its end.
    pub to: Moment,
}

/// A task as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What it was told.
    pub job: Job,
    /// Its kind.
    pub kind: String,
    /// Attempts in all.
    pub attempts_max: u32,
    /// When it was first sent.
    pub sent: Moment,
    /// How often its id was submitted, the first time counted.
    pub submissions: u32,
}

/// One execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Which task.
    pub task: String,
    /// Which attempt.
    pub attempt: u32,
    /// The life of the worker that ran it.
    pub worker: Life,
    /// When it began.
    pub begin: Moment,
    /// When and how it ended, if it did.
    pub end: Option<(Moment, Outcome)>,
}

/// A message of ROTA_RESULTS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// The id in its subject.
    pub id: String,
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub at: Moment,
    /// What Rota wrote; nothing when it was somebody else.
    pub genuine: Option<Genuine>,
}

/// What a result says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genuine {
    /// Its `Rota-State`.
    pub state: String,
    /// Its `Rota-Attempts`.
    pub attempts: u32,
    /// Its `Rota-Reason`.
    pub reason: String,
    /// The job in its trace context.
    pub job: Option<u64>,
    /// Whether the body is what the job puts out.
    pub output: String,
}

/// What a stream holds that should be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub stream: String,
    /// Messages in it; nothing when nobody told.
    pub messages: Option<u64>,
    /// Messages delivered and not acked, by all its consumers.
    pub unacked: u64,
    /// The ids of the tasks in it.
    pub ids: Vec<String>,
}

/// One life of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifeFact {
    /// Its process id.
    pub pid: u32,
    /// Whether it is of the older release.
    pub old: bool,
    /// When it was started.
    pub started: Moment,
    /// When it was first told to end, or killed.
    pub told: Option<(Moment, Told)>,
    /// When it ended.
    pub ended: Option<Moment>,
    /// How, in words.
    pub how: String,
    /// The most memory that it was seen to use.
    pub peak_bytes: u64,
}

/// How a process was made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Drain,
}

/// A fault that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultFact {
    /// What.
    pub fault: Fault,
    /// From when to when it held; what only strikes holds for a moment.
    pub span: Span,
    /// Which server it was, of faults that strike one.
    pub server: Option<usize>,
    /// Why it was not done, if it was not.
    pub skipped: Option<String>,
}

/// A process that carries the mark of a worker that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Whose it was.
    pub worker: Life,
    /// Its process id.
    pub pid: u32,
    /// Which task it worked on.
    pub task: String,
    /// How long after the worker's end it was seen.
    pub after: Duration,
}

/// A line that a process wrote again too soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// Who.
    pub life: Life,
    /// The line without its time.
    pub line: String,
    /// How often it came too soon.
    pub times: u64,
    /// The shortest time between two.
    pub shortest: Duration,
}

impl Span {
    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }

    /// Whether the two have a moment in common.
    #[must_use]
    pub fn meets(&self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

impl Task {
    /// How it must end: with `completed` after so many attempts, or with `failed`.
    #[must_use]
    pub fn expected(&self) -> (&'static str, u32) {
        let ending = self.job.fails + 1;
        match self.job.then {
            _ if ending > self.attempts_max => ("failed", self.attempts_max),
            Then::Complete => ("completed", ending),
            Then::Die => ("failed", ending),
        }
    }
}

impl LifeFact {
    /// When it was first touched by what ended it.
    #[must_use]
    pub fn end_began(&self) -> Option<Moment> {
        let told = self.told.map(|(at, _)| at);
        told.into_iter().chain(self.ended).min()
    }

    /// When it was killed, if it was.
    #[must_use]
    pub fn killed(&self) -> Option<Moment> {
        match self.told {
            Some((at, Told::Kill)) => Some(at),
            Some((_, Told::Drain)) | None => None,
        }
    }
}

/// Puts beginnings and ends together.
#[must_use]
pub fn executions(entries: Vec<Entry>) -> Vec<Execution> {
    let mut open: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut executions: Vec<Execution> = Vec::new();
    for entry in entries {
        let Some(worker) = Life::parse(&entry.worker) else {
            continue;
        };
        let key = (entry.worker, entry.run);
        match entry.outcome {
            None => {
                open.insert(key, executions.len());
                executions.push(Execution {
                    task: entry.task,
                    attempt: entry.attempt,
                    worker,
                    begin: entry.at,
                    end: None,
                });
            }
            Some(outcome) => {
                if let Some(index) = open.remove(&key) {
                    executions[index].end = Some((entry.at, outcome));
                }
            }
        }
    }
    executions.sort_by_key(|execution| execution.begin);
    executions
}

impl Execution {
    /// Whether it ended as an attempt that failed, so that another may follow.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.end, Some((_, Outcome::Ended(Ending::Failed))))
    }

    /// Whether it was under way at that time.
    #[must_use]
    pub fn runs_at(&self, at: Moment) -> bool {
        self.begin <= at && self.end.is_none_or(|(end, _)| end > at)
    }
}

impl History {
    /// The submitted tasks by id, also those whose submission was not confirmed but came to a result.
    #[must_use]
    pub fn known_tasks(&self) -> BTreeMap<&str, &Task> {
        let came = self.results.iter().filter_map(|result| {
            let job = result.genuine.as_ref()?.job?;
            Some((result.id.as_str(), self.unconfirmed.get(&job)?))
        });
        let confirmed = self.tasks.iter().map(|(id, task)| (id.as_str(), task));
        // What was confirmed is known best, so it comes last.
        came.chain(confirmed).collect()
    }

    /// The executions of each task, in the order of their beginnings.
    #[must_use]
    pub fn by_task(&self) -> BTreeMap<&str, Vec<&Execution>> {
        let mut by_task: BTreeMap<&str, Vec<&Execution>> = BTreeMap::new();
        for execution in &self.executions {
            by_task.entry(&execution.task).or_default().push(execution);
        }
        by_task
    }

    /// The stream in which a task still lies.
    #[must_use]
    pub fn lies_in(&self, id: &str) -> Option<&str> {
        let mut left = self.left.iter();
        let holding = left.find(|left| left.ids.iter().any(|other| other == id));
        holding.map(|left| left.stream.as_str())
    }

    /// How often a client wrote where a result belongs.
    #[must_use]
    pub fn forgeries(&self) -> u64 {
        let forged = self.faults.iter().filter(|fact| fact.fault == Fault::Forge);
        forged.filter(|fact| fact.skipped.is_none()).count() as u64
    }

    /// Ids of all that was seen in ROTA_DEAD.
    #[must_use]
    pub fn dead_ids(&self) -> BTreeSet<&str> {
        self.dead.iter().map(String::as_str).collect()
    }
}
