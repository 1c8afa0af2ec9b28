//! The logs of the processes: kept in files with the storm's time before each line, and watched as they come.
//!
//! Of a line only what the judge wants to know stays in memory: that it tells of a panic or of a new leader,
//! and that the same line, but for its time, came less than ten seconds before.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use crate::clock::Moment;
use crate::facts::Repeat;
use crate::fault::Life;

/// Nothing is to be repeated faster; the filter's own clock may be a little ahead.
const REPEAT_MIN: Duration = Duration::from_millis(9_500);
/// Lines that are remembered of one process to be compared; then they are forgotten together.
const REMEMBERED_MAX: usize = 4_096;
const PANICS_MAX: usize = 100;

/// What was noticed in all logs.
#[derive(Debug, Default)]
pub struct Noticed {
    /// Who said that it leads, and when.
    pub leaders: Vec<(Moment, Life)>,
    /// Of which task a scheduler said that it has it again, and when.
    pub redelivered: Vec<(Moment, String)>,
    /// Lines that tell of a panic.
    pub panics: Vec<(Life, String)>,
    /// Lines that came again too soon.
    pub repeats: HashMap<(Life, String), Repeat>,
}

/// All logs of a storm.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: PathBuf,
    noticed: Arc<Mutex<Noticed>>,
}

/// What one process has said lately.
#[derive(Debug, Default)]
struct Memory {
    last: HashMap<String, Moment>,
}

impl Logs {
    /// Logs in files of a folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            noticed: Arc::default(),
        })
    }

    /// Where the files are, one for each life.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was noticed so far.
    pub fn noticed(&self) -> std::sync::MutexGuard<'_, Noticed> {
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what a process says until it has closed its end, but for the times in which nobody reads.
    pub async fn read(
        self,
        life: Life,
        pipe: impl AsyncRead + Unpin,
        mut unread: watch::Receiver<u32>,
    ) -> io::Result<()> {
        let path = self.folder.join(format!("{life}.log"));
        let file = File::options().create(true).append(true).open(path)?;
        let mut file = BufWriter::new(file);
        let mut lines = BufReader::new(pipe).lines();
        let mut memory = Memory::default();
        loop {
            // Closed is as good as wanted: the storm is over.
            let _ = unread.wait_for(|faults| *faults == 0).await;
            let Some(line) = lines.next_line().await? else {
                break;
            };
            let now = Moment::now();
            writeln!(file, "{now} {line}")?;
            memory.notice(&self, life, now, &line);
            if lines.get_ref().buffer().is_empty() {
                file.flush()?;
            }
        }
        file.flush()
    }
}

impl Memory {
    fn notice(&mut self, logs: &Logs, life: Life, now: Moment, line: &str) {
        let Some((level, text)) = parse(line) else {
            if line.contains("panicked at") {
                logs.noticed().panicked(life, line);
            }
            return;
        };
        if text.starts_with("panicked") {
            logs.noticed().panicked(life, line);
        }
        if text.starts_with("leading term=") {
            logs.noticed().leaders.push((now, life));
        }
        if let Some(rest) = text.strip_prefix("redelivered task=") {
            let task = rest.split(' ').next().unwrap_or_default();
            logs.noticed().redelivered.push((now, task.to_owned()));
        }
        if !matches!(level, "INFO" | "WARN" | "ERROR") {
            return;
        }
        if self.last.len() == REMEMBERED_MAX {
            self.last.clear();
        }
        let Some(last) = self.last.insert(text.to_owned(), now) else {
            return;
        };
        let between = now.since(last);
        if between < REPEAT_MIN {
            logs.noticed().repeated(life, text, between);
        }
    }
}

impl Noticed {
    /// When a scheduler first said after that time that it has a task again.
    #[must_use]
    pub fn redelivered(&self, task: &str, after: Moment) -> Option<Moment> {
        let mut later = self.redelivered.iter().filter(|(at, _)| *at > after);
        later.find(|(_, other)| other == task).map(|(at, _)| *at)
    }

    fn panicked(&mut self, life: Life, line: &str) {
        if self.panics.len() < PANICS_MAX {
            self.panics.push((life, line.to_owned()));
        }
    }

    fn repeated(&mut self, life: Life, text: &str, between: Duration) {
        let key = (life, text.to_owned());
        let repeat = self.repeats.entry(key).or_insert_with(|| Repeat {
            life,
            line: text.to_owned(),
            times: 0,
            shortest: between,
        });
        repeat.times += 1;
        repeat.shortest = repeat.shortest.min(between);
    }
}

/// Level and text of a line: `09:12:13.456 INFO  redelivered task=17`.
fn parse(line: &str) -> Option<(&str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let is_time = time.len() == 12 && time.as_bytes()[2] == b':' && time.as_bytes()[8] == b'.';
    let (level, text) = rest.trim_start().split_once(' ')?;
    is_time.then_some((level, text.trim_start()))
}

/// The lines of all logs that name a task, as `(time, "life: line")`.
#[must_use]
pub fn lines_about(folder: &Path, task: &str) -> Vec<(Moment, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read(entry.path()).unwrap_or_default();
        for line in String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| names(line, task))
        {
            let (time, rest) = line.split_once(' ').unwrap_or(("0", line));
            let time = time.parse().unwrap_or(0);
            let who = name.trim_end_matches(".log");
            found.push((Moment(time), format!("{who:<14} {rest}")));
        }
    }
    found
}

/// Whether a line has `task=<id>` as a whole word.
fn names(line: &str, task: &str) -> bool {
    let wanted = format!("task={task}");
    let mut words = line.split(' ');
    words.any(|word| word == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Place, Role};

    const LIFE: Life = Life {
        place: Place {
            role: Role::Scheduler,
            number: 1,
        },
        number: 1,
    };

    fn noticed(lines: &[(u64, &str)]) -> Noticed {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path().to_owned()).unwrap();
        let mut memory = Memory::default();
        for (ms, line) in lines {
            memory.notice(&logs, LIFE, Moment(ms * 1_000), line);
        }
        std::mem::take(&mut *logs.noticed())
    }

    #[test]
    fn the_same_line_within_ten_seconds_is_noticed_and_later_it_is_not() {
        let warn = "09:12:13.456 WARN  trying again error=x";
        let noticed = noticed(&[(0, warn), (1_000, warn), (1_200, warn), (20_000, warn)]);
        let repeats: Vec<_> = noticed.repeats.values().collect();
        assert_eq!(repeats.len(), 1);
        assert_eq!(repeats[0].times, 2);
        assert_eq!(repeats[0].shortest, Duration::from_millis(200));
    }

    #[test]
    fn other_words_and_finer_levels_are_no_repetition() {
        let lines = [
            (0, "09:12:13.456 WARN  trying again task=1"),
            (1, "09:12:13.457 WARN  trying again task=2"),
            (2, "09:12:13.456 DEBUG the same"),
            (3, "09:12:13.456 DEBUG the same"),
        ];
        assert!(noticed(&lines).repeats.is_empty());
    }

    #[test]
    fn panics_and_leaders_are_noticed() {
        let lines = [
            (0, "09:12:13.456 INFO  leading term=9"),
            (1, "09:12:13.456 ERROR panicked location=x.rs:1"),
            (2, "thread 'main' panicked at x.rs:1"),
        ];
        let noticed = noticed(&lines);
        assert_eq!(noticed.leaders, [(Moment(0), LIFE)]);
        assert_eq!(noticed.panics.len(), 2);
    }

    #[test]
    fn it_is_noticed_when_a_task_is_had_again() {
        let lines = [
            (
                1,
                "09:12:13.456 DEBUG redelivered task=7 kind=x worker=worker1-aaaaaa",
            ),
            (
                2,
                "09:12:13.456 DEBUG redelivered task=71 kind=x worker=worker1-aaaaaa",
            ),
            (
                9,
                "09:12:13.456 DEBUG redelivered task=7 kind=x worker=worker2-bbbbbb",
            ),
        ];
        let noticed = noticed(&lines);
        let redelivered = |after_ms: u64| noticed.redelivered("7", Moment(after_ms * 1_000));
        let at = |ms: u64| Some(Moment(ms * 1_000));
        assert_eq!((redelivered(0), redelivered(1)), (at(1), at(9)));
        assert_eq!(redelivered(9), None);
    }

    #[test]
    fn a_task_is_found_by_its_whole_id() {
        assert!(names(
            "5 09:12:13.456 INFO  redelivered task=17 attempt=2",
            "17"
        ));
        assert!(!names("5 09:12:13.456 INFO  redelivered task=171", "17"));
    }
}
