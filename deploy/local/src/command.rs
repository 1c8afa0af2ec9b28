//! Runs a tool to its end, within a time limit and with bounded memory for what it prints.
//!
//! Fetching a nats-server leans on curl, tar, apt and go. Each of them may hang on a network that
//! swallows packets, so none is awaited without a limit; and when one fails, the end of what it
//! printed is the reason.

use std::{
    ffi::OsStr,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::signal::{Signal, signal_process};

/// How much of each output stream is kept: its end.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// How much of it an error message quotes.
const REASON_BYTES_MAX: usize = 700;
/// A tool that ran out of time gets this long to end its own children (apt and go have some).
const TERMINATE_GRACE: Duration = Duration::from_secs(2);
/// How often, and how far apart, to try a file that another thread's fork still holds open for
/// writing.
const BUSY_TRIES: u32 = 20;
const BUSY_WAIT: Duration = Duration::from_millis(50);

/// Why a tool gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started: not installed, or not executable.
    #[error("cannot run {program}")]
    Spawn {
        /// The program as it was named.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its output could not be read.
    #[error("cannot read the output of {program}")]
    Output {
        /// The program as it was named.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended, but not well.
    #[error("{program} ended with {status}: {reason}")]
    Failed {
        /// The program as it was named.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed to stderr.
        reason: String,
    },
    /// It did not end in time and was stopped.
    #[error("{program} was stopped after {}s", limit.as_secs_f32())]
    TimedOut {
        /// The program as it was named.
        program: String,
        /// How long it was given.
        limit: Duration,
    },
}

/// Runs `command` without input and returns the end of its stdout when it exits with 0.
pub(crate) async fn run(mut command: Command, limit: Duration) -> Result<String, CommandError> {
    let program = name_of(command.as_std().get_program());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = spawn_patiently(&mut command)
        .await
        .map_err(|source| CommandError::Spawn {
            program: program.clone(),
            source,
        })?;
    let Ok(ended) = timeout(limit, finish(&mut child)).await else {
        terminate(&mut child).await;
        return Err(CommandError::TimedOut { program, limit });
    };
    let ended = ended.map_err(|source| CommandError::Output {
        program: program.clone(),
        source,
    })?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let said = if ended.stderr.trim().is_empty() {
        ended.stdout
    } else {
        ended.stderr
    };
    Err(CommandError::Failed {
        program,
        status: ended.status,
        reason: one_line(&said),
    })
}

/// A file that was just written can be "busy" for a moment: a thread that forked while it was open
/// for writing has a copy of the descriptor until its own exec.
async fn spawn_patiently(command: &mut Command) -> io::Result<Child> {
    for _ in 1..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                sleep(BUSY_WAIT).await;
            }
            other => return other,
        }
    }
    command.spawn()
}

struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

async fn finish(child: &mut Child) -> io::Result<Ended> {
    let stdout = child.stdout.take().expect("run() asked for a pipe");
    let stderr = child.stderr.take().expect("run() asked for a pipe");
    let (stdout, stderr, status) = tokio::try_join!(tail(stdout), tail(stderr), child.wait())?;
    Ok(Ended {
        status,
        stdout,
        stderr,
    })
}

/// Reads to the end and keeps the last [`OUTPUT_BYTES_MAX`] bytes.
async fn tail(mut stream: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        kept.extend_from_slice(&chunk[..read]);
        let excess = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        kept.drain(..excess);
    }
}

async fn terminate(child: &mut Child) {
    if let Some(pid) = child.id() {
        // It is not reaped yet; should the signal fail all the same, the kill below ends it.
        let _ = signal_process(pid, Signal::Terminate);
    }
    if timeout(TERMINATE_GRACE, child.wait()).await.is_err() {
        // Fails only for a child that has ended, which is what is wanted.
        let _ = child.kill().await;
    }
}

fn name_of(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}

/// The end of a tool's output as one line that fits into a message.
fn one_line(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let joined = lines.join(" / ");
    let excess = joined.len().saturating_sub(REASON_BYTES_MAX);
    let start = (excess..joined.len()).find(|at| joined.is_char_boundary(*at));
    match start {
        Some(0) => joined,
        Some(start) => format!("…{}", &joined[start..]),
        None => "it printed nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_output_of_a_tool_that_succeeds_comes_back() {
        assert_eq!(
            run(shell("echo one; echo two >&2"), LIMIT).await.unwrap(),
            "one\n"
        );
    }

    #[tokio::test]
    async fn a_tool_that_fails_is_quoted() {
        let error = run(shell("echo fine; echo no such host >&2; exit 6"), LIMIT)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "sh ended with exit status: 6: no such host"
        );
    }

    #[tokio::test]
    async fn a_tool_that_hangs_is_stopped_at_its_limit() {
        let error = run(shell("exec sleep 60"), Duration::from_millis(100))
            .await
            .unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_tool_that_is_not_there_is_named() {
        let error = run(Command::new("/no/such/tool"), LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot run /no/such/tool");
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_output_is_kept() {
        let output = run(shell("seq 1 20000"), LIMIT).await.unwrap();
        assert_eq!(output.len(), OUTPUT_BYTES_MAX);
        assert!(
            output.ends_with("20000\n"),
            "{}",
            &output[output.len() - 20..]
        );
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let reason = one_line(&"ä".repeat(REASON_BYTES_MAX));
        assert!(reason.starts_with('…') && reason.len() <= REASON_BYTES_MAX + '…'.len_utf8());
        assert_eq!(one_line("\n \n"), "it printed nothing");
    }
}
