//! The three pipes of a command, moved by one future that can be dropped and made again.
//!
//! All state lies in [`Pipes`], none in the future of [`pump`](Pipes::pump): whoever waits for
//! the command can look at the clock and at orders in between, and loses nothing.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tracing::debug;

use super::group::ChildPipes;
use super::stderr::StderrLog;
use crate::handler::task::Task;

/// How much is read at once; also how much is set aside before the first byte has come.
const READ_BYTES: usize = 16 * 1024;

pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    input: Bytes,
    stdout: Option<ChildStdout>,
    output: Output,
    stderr: Option<ChildStderr>,
    log: StderrLog,
}

/// Why there is nothing left to move.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    Closed,
    OverLimit,
}

/// What the command wrote to stdout, at most one byte more than allowed.
struct Output {
    bytes: BytesMut,
    bytes_max: usize,
}

impl Pipes {
    pub(super) fn new(pipes: ChildPipes, task: &Task, output_bytes_max: usize) -> Self {
        Self {
            stdin: Some(pipes.stdin),
            input: task.input().clone(),
            stdout: Some(pipes.stdout),
            output: Output {
                bytes: BytesMut::new(),
                bytes_max: output_bytes_max,
            },
            stderr: Some(pipes.stderr),
            log: StderrLog::new(task),
        }
    }

    /// Moves bytes until all pipes are closed, or the output is over its limit.
    pub(super) async fn pump(&mut self) -> Pumped {
        loop {
            if self.output.is_over() {
                return Pumped::OverLimit;
            }
            if self.stdin.is_none() && self.stdout.is_none() && self.stderr.is_none() {
                return Pumped::Closed;
            }
            tokio::select! {
                () = feed(&mut self.stdin, &mut self.input) => {}
                () = self.output.read(&mut self.stdout) => {}
                () = self.log.read(&mut self.stderr) => {}
            }
        }
    }

    /// The output, unless it was over its limit, and the tail of stderr.
    pub(super) fn finish(self) -> (Option<Bytes>, String) {
        let output = (!self.output.is_over()).then(|| self.output.bytes.freeze());
        (output, self.log.finish())
    }
}

impl Output {
    async fn read(&mut self, stdout: &mut Option<ChildStdout>) {
        self.bytes.reserve(READ_BYTES);
        let left = self.bytes_max.saturating_add(1) - self.bytes.len();
        let mut room = (&mut self.bytes).limit(left);
        let count = opened(stdout).await.read_buf(&mut room).await;
        close_at_end(stdout, count);
    }

    fn is_over(&self) -> bool {
        self.bytes.len() > self.bytes_max
    }
}

impl StderrLog {
    async fn read(&mut self, stderr: &mut Option<ChildStderr>) {
        let mut chunk = [0; 4096];
        let count = opened(stderr).await.read(&mut chunk).await;
        self.push(&chunk[..*count.as_ref().unwrap_or(&0)]);
        close_at_end(stderr, count);
    }
}

/// Writes one piece of the input. A command that does not read it is free not to.
async fn feed(stdin: &mut Option<ChildStdin>, input: &mut Bytes) {
    let pipe = opened(stdin).await;
    let count = if input.is_empty() {
        Ok(0)
    } else {
        pipe.write_buf(input).await
    };
    close_at_end(stdin, count);
}

/// A closed pipe has nothing to offer, ever.
async fn opened<P>(pipe: &mut Option<P>) -> &mut P {
    match pipe {
        Some(pipe) => pipe,
        None => std::future::pending().await,
    }
}

fn close_at_end<P>(pipe: &mut Option<P>, count: io::Result<usize>) {
    match count {
        Ok(1..) => return,
        Ok(0) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => debug!(%error, "lost a pipe of the command"),
    }
    *pipe = None;
}
