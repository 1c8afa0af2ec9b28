//! The ledger: a file into which every execution writes its beginning and its end, one line each.
//!
//! ```text
//! begin <time> <task> <attempt> <worker> <run>
//! end   <time> <task> <attempt> <worker> <run> <done|failed|died|damaged|stopped>
//! ```
//!
//! What must hold: a line is one write to a file opened for appending, so lines of processes that write
//! at the same time, or are killed, are whole or not there. A worker's name in it is its place in the
//! storm and which of its lives it was: `worker3.2`. A run is a process, for a Rust handler with a number.

mod tail;

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;
use crate::job::Ending;
pub use tail::Tail;

/// Names the ledger to workers and commands.
pub const LEDGER_ENV: &str = "CHAOS_LEDGER";
/// Names the worker and its life to itself and to its commands.
pub const WORKER_ENV: &str = "CHAOS_WORKER";

static RUNS: AtomicU64 = AtomicU64::new(0);

/// A ledger to write into.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
    worker: String,
}

/// How an execution ended, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As its orders say.
    Ended(Ending),
    /// Its input was not what was submitted.
    Damaged,
    /// It was told to stop.
    Stopped,
}

/// One line of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// The task's id.
    pub task: String,
    /// Which attempt.
    pub attempt: u32,
    /// Who runs it.
    pub worker: String,
    /// Which execution of all of that worker's.
    pub run: String,
    /// How it ended; nothing at its beginning.
    pub outcome: Option<Outcome>,
}

/// An execution that has begun.
#[derive(Debug)]
pub struct Begun<'a> {
    ledger: &'a Ledger,
    task: String,
    attempt: u32,
    run: String,
}

impl Ledger {
    /// The ledger that the environment names.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn from_env() -> io::Result<Self> {
        let variable = |name: &str| {
            let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no {name}"));
            env::var(name).map_err(|_| missing())
        };
        Ok(Self {
            path: variable(LEDGER_ENV)?.into(),
            worker: variable(WORKER_ENV)?,
        })
    }

    /// Writes the beginning of an execution.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(&self, task: &str, attempt: u32) -> io::Result<Begun<'_>> {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let begun = Begun {
            ledger: self,
            task: task.to_owned(),
            attempt,
            run: format!("{}-{number}", std::process::id()),
        };
        begun.write("begin", "")?;
        Ok(begun)
    }
}

impl Begun<'_> {
    /// Writes its end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(self, outcome: Outcome) -> io::Result<()> {
        self.write("end", outcome.as_str())
    }

    fn write(&self, what: &str, outcome: &str) -> io::Result<()> {
        let Self {
            ledger,
            task,
            attempt,
            run,
        } = self;
        let (now, worker) = (Moment::now(), &ledger.worker);
        let line = format!("{what} {now} {task} {attempt} {worker} {run} {outcome}");
        let mut file = open(&ledger.path)?;
        file.write_all(format!("{}\n", line.trim_end()).as_bytes())
    }
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Ended(Ending::Done),
        Self::Ended(Ending::Failed),
        Self::Ended(Ending::Died),
        Self::Damaged,
        Self::Stopped,
    ];

    /// Its word in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended(Ending::Done) => "done",
            Self::Ended(Ending::Failed) => "failed",
            Self::Ended(Ending::Died) => "died",
            Self::Damaged => "damaged",
            Self::Stopped => "stopped",
        }
    }
}

impl Entry {
    /// Reads a line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let what = words.next()?;
        let at = Moment(words.next()?.parse().ok()?);
        let (task, attempt) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let (worker, run) = (words.next()?.to_owned(), words.next()?.to_owned());
        let outcome = match (what, words.next()) {
            ("begin", None) => None,
            ("end", Some(word)) => {
                let mut all = Outcome::ALL.into_iter();
                Some(all.find(|outcome| outcome.as_str() == word)?)
            }
            _ => return None,
        };
        Some(Self {
            at,
            task,
            attempt,
            worker,
            run,
            outcome,
        })
    }
}

/// Reads all lines of a ledger; none when nobody has written yet.
///
/// # Errors
/// When it cannot be read, or a line cannot be understood.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let entries = text
        .lines()
        .map(|line| Entry::parse(line).ok_or_else(|| strange(line)));
    entries.collect()
}

fn strange(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("ledger: {line:?}"))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger {
            path: folder.path().join("ledger"),
            worker: "worker1.1".to_owned(),
        };
        let begun = ledger.begin("17", 2).unwrap();
        let unended = ledger.begin("18", 1).unwrap();
        begun.end(Outcome::Ended(Ending::Failed)).unwrap();
        drop(unended);
        let entries = read(&ledger.path).unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.task.as_str(), entry.attempt, entry.outcome))
            .collect();
        let failed = Some(Outcome::Ended(Ending::Failed));
        assert_eq!(told, [("17", 2, None), ("18", 1, None), ("17", 2, failed)]);
        assert_eq!(entries[0].run, entries[2].run);
        assert_ne!(entries[0].run, entries[1].run);
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for line in [
            "",
            "begin 1 t 1 w",
            "end 1 t 1 w r",
            "end 1 t 1 w r odd",
            "x 1 t 1 w r",
        ] {
            assert_eq!(Entry::parse(line), None, "{line:?}");
        }
    }
}
