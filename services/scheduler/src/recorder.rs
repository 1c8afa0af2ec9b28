//! `--record`: what really arrived, as a trace that `rota simulate` reads.
//!
//! One CSV line for each completed task, in the order of completion. Lines are written behind the scheduler's
//! back: between it and the file stands a bounded queue. When the disk is slower than the tasks, lines are left
//! out, counted and told; a file that cannot be written ends the record and not the scheduler.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rota_wire::{Span, TaskSpec};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// The first line of a trace.
const HEADER: &str = "arrival_s,duration_s,kind,priority,cpu,memory\n";
/// Tasks that wait to be written.
const WAITING_MAX: usize = 65_536;
/// Lines written at once.
const BATCH_MAX: usize = 4_096;
/// A disk that takes no bytes for so long is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
#[error("the record {} cannot be written", path.display())]
pub(crate) struct RecordError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// A completed task.
struct Completed {
    task: Arc<TaskSpec>,
    ran: Span,
}

/// Takes completed tasks, never waits.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    lines: mpsc::Sender<Completed>,
}

/// Writes them down.
pub(crate) struct Record {
    path: PathBuf,
    file: File,
    lines: mpsc::Receiver<Completed>,
}

impl Recorder {
    /// Opens the file, or goes on with one that is there.
    pub(crate) async fn open(path: &Path) -> Result<(Self, Record), RecordError> {
        let failed = |source| RecordError {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let opening = options.create(true).append(true).open(path);
        let mut file = opening.await.map_err(failed)?;
        if file.metadata().await.map_err(failed)?.len() == 0 {
            file.write_all(HEADER.as_bytes()).await.map_err(failed)?;
            file.flush().await.map_err(failed)?;
        }
        let (sender, lines) = mpsc::channel(WAITING_MAX);
        let path = path.to_owned();
        Ok((Self { lines: sender }, Record { path, file, lines }))
    }

    /// Notes a task. Tells whether there was room.
    pub(crate) fn note(&self, task: Arc<TaskSpec>, ran: Span) -> Result<(), LeftOut> {
        let completed = Completed { task, ran };
        self.lines.try_send(completed).map_err(|_| LeftOut)
    }
}

/// A task is not in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut;

impl Record {
    /// Writes until nobody records any more.
    pub(crate) async fn run(mut self) {
        info!(path = %self.path.display(), "recording completed tasks");
        let mut batch = Vec::new();
        while self.lines.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let mut text = String::new();
            for completed in batch.drain(..) {
                line(&mut text, &completed);
            }
            let writing = async {
                self.file.write_all(text.as_bytes()).await?;
                self.file.flush().await
            };
            let written = tokio::time::timeout(WRITE_LIMIT, writing).await;
            if let Err(error) = written.map_err(Into::into).flatten() {
                warn!(path = %self.path.display(), %error, "the record ends here");
                return;
            }
        }
    }
}

fn line(text: &mut String, Completed { task, ran }: &Completed) {
    let arrival = task.submitted.0;
    let options = &task.options;
    let written = writeln!(
        text,
        "{}.{:06},{}.{:03},{},{},{},{}",
        arrival / 1_000_000,
        arrival % 1_000_000,
        ran.ms() / 1_000,
        ran.ms() % 1_000,
        task.kind,
        options.priority,
        options.demand.cpu,
        options.demand.memory,
    );
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use rota_wire::task::Recheck;
    use rota_wire::{Cpu, Kind, Memory, Micros, Resources, TaskId, TaskOptions};

    use super::*;

    fn task(seq: u64) -> Arc<TaskSpec> {
        Arc::new(TaskSpec {
            id: TaskId::from_sequence(seq),
            kind: Kind::parse("thumbnail").expect("good"),
            submitted: Micros(1_795_000_000_000_000 + seq),
            attempt: 1,
            recheck: Recheck::Fresh,
            options: TaskOptions {
                demand: Resources {
                    cpu: Cpu(500),
                    memory: Memory(256 << 20),
                },
                ..TaskOptions::default()
            },
        })
    }

    #[tokio::test]
    async fn a_record_is_gone_on_with_and_has_one_header() {
        let folder = tempfile::tempdir().expect("room for a folder");
        let path = folder.path().join("trace.csv");
        for seq in 1..=2 {
            let (recorder, record) = Recorder::open(&path).await.expect("it can be written");
            recorder
                .note(task(seq), Span::from_ms(1_250))
                .expect("there is room");
            drop(recorder);
            record.run().await;
        }
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(
            text,
            format!(
                "{HEADER}1795000000.000001,1.250,thumbnail,5,0.5,256MiB\n\
                 1795000000.000002,1.250,thumbnail,5,0.5,256MiB\n"
            )
        );
    }

    #[tokio::test]
    async fn a_record_that_is_not_written_leaves_out_what_it_has_no_room_for() {
        let folder = tempfile::tempdir().expect("room for a folder");
        let path = folder.path().join("trace.csv");
        let (recorder, _record) = Recorder::open(&path).await.expect("it can be written");
        for seq in 0..WAITING_MAX as u64 {
            assert_eq!(recorder.note(task(seq), Span::from_ms(1)), Ok(()));
        }
        assert_eq!(recorder.note(task(0), Span::from_ms(1)), Err(LeftOut));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error_that_names_the_path() {
        let error = Recorder::open(Path::new("/nowhere/at/all.csv")).await;
        let error = error.map(drop).expect_err("there is no such folder");
        assert!(error.to_string().contains("/nowhere/at/all.csv"), "{error}");
    }
}
