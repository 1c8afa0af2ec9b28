//! Splits what a process prints into lines, with bounded memory.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader},
    sync::mpsc,
};
use tracing::warn;

/// The longest line in bytes; the rest of a longer one is cut off.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What is put in place of the part that was cut off.
const CUT_MARK: &str = "…";

/// One line that a process printed, to stdout or stderr, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The name of the process.
    pub process: Arc<str>,
    /// The line; bytes that are not UTF-8 are replaced.
    pub line: String,
}

/// Reads `stream` to its end and sends each line. Waits while the queue is full; when nobody
/// listens any more it reads on and discards, so that the process does not hang on a full pipe.
pub(super) async fn forward(
    process: Arc<str>,
    stream: impl AsyncRead + Unpin,
    lines: mpsc::Sender<LogLine>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        match next_line(&mut stream).await {
            Ok(Some(line)) => {
                let _ = lines
                    .send(LogLine {
                        process: Arc::clone(&process),
                        line,
                    })
                    .await;
            }
            Ok(None) => return,
            Err(error) => {
                warn!(%process, %error, "the output of a process cannot be read any more");
                return;
            }
        }
    }
}

/// The next line, or `None` at the end. A last line without an end counts.
async fn next_line(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut is_cut = false;
    loop {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Ok((!line.is_empty()).then(|| finish(&line, is_cut)));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = LINE_BYTES_MAX - line.len();
        is_cut |= part.len() > room;
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        stream.consume(used);
        if end.is_some() {
            return Ok(Some(finish(&line, is_cut)));
        }
    }
}

fn finish(line: &[u8], is_cut: bool) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut line = String::from_utf8_lossy(line).into_owned();
    if is_cut {
        line.push_str(CUT_MARK);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut bytes).await.unwrap() {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn lines_are_split_at_their_ends_and_the_last_needs_none() {
        assert_eq!(
            lines_of(b"a\r\n\nb\xffc\nlast").await,
            ["a", "", "b\u{fffd}c", "last"]
        );
        assert!(lines_of(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = "x".repeat(3 * LINE_BYTES_MAX) + "\nnext\n";
        // Small pieces, as a pipe gives them.
        let mut stream = BufReader::with_capacity(1000, long.as_bytes());
        let first = next_line(&mut stream).await.unwrap().unwrap();
        assert_eq!(first.len(), LINE_BYTES_MAX + CUT_MARK.len());
        assert!(first.ends_with(CUT_MARK));
        assert_eq!(next_line(&mut stream).await.unwrap().unwrap(), "next");
        let whole = "y".repeat(LINE_BYTES_MAX);
        assert_eq!(lines_of(format!("{whole}\n").as_bytes()).await, [whole]);
    }

    #[tokio::test]
    async fn reading_goes_on_when_nobody_listens() {
        let (lines, received) = mpsc::channel(1);
        drop(received);
        forward("deaf".into(), &b"one\ntwo\nthree\n"[..], lines).await;
    }
}
