//! What a command writes to stderr: its lines go to the log, its tail into the outcome.
//!
//! Bounded on all sides, for a command may write without end: the length of a line, the number of
//! lines that an attempt may log, and the tail.

use std::collections::VecDeque;

use tracing::info;

use crate::handler::task::Task;

/// A longer line is cut here.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// An attempt that writes more lines than this keeps only its tail.
const LINES_MAX: u32 = 1000;

const TAIL_BYTES_MAX: usize = 4 * 1024;

/// Takes the bytes of one attempt's stderr.
pub(super) struct StderrLog {
    task: String,
    kind: String,
    attempt: u32,
    lines: Lines,
    lines_logged: u32,
    tail: Tail,
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    /// The line that has begun, as far as it is kept.
    begun: Vec<u8>,
}

/// The last bytes of many.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl StderrLog {
    pub(super) fn new(task: &Task) -> Self {
        Self {
            task: task.id().to_owned(),
            kind: task.kind().to_owned(),
            attempt: task.attempt(),
            lines: Lines::default(),
            lines_logged: 0,
            tail: Tail::default(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.log(line));
        self.lines = lines;
    }

    /// Logs a last line that did not end, and gives the tail.
    pub(super) fn finish(mut self) -> String {
        let last = std::mem::take(&mut self.lines).begun;
        if !last.is_empty() {
            self.log(&last);
        }
        self.tail.into_text()
    }

    fn log(&mut self, line: &[u8]) {
        let (task, kind, attempt) = (&self.task, &self.kind, self.attempt);
        self.lines_logged = self.lines_logged.saturating_add(1);
        if self.lines_logged <= LINES_MAX {
            let line = String::from_utf8_lossy(line);
            info!(target: "rota_worker::stderr", %task, %kind, attempt, "{line}");
        } else if self.lines_logged == LINES_MAX + 1 {
            info!(target: "rota_worker::stderr", %task, %kind, attempt, "(more is not logged)");
        }
    }
}

impl Lines {
    /// Calls `each` for every line that ends in `bytes`.
    fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LINE_BYTES_MAX - self.begun.len();
            self.begun.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                each(self.begun.strip_suffix(b"\r").unwrap_or(&self.begun));
                self.begun.clear();
            }
        }
    }
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(TAIL_BYTES_MAX);
        let bytes = &bytes[skipped..];
        let over = (self.bytes.len() + bytes.len()).saturating_sub(TAIL_BYTES_MAX);
        self.cut |= skipped + over > 0;
        self.bytes.drain(..over);
        self.bytes.extend(bytes);
    }

    fn into_text(self) -> String {
        let bytes = Vec::from(self.bytes);
        // A cut may fall into a character: the rest of it, at most three bytes, goes too.
        let torn = |&&byte: &&u8| byte & 0b1100_0000 == 0b1000_0000;
        let skipped = if self.cut {
            bytes.iter().take(3).take_while(torn).count()
        } else {
            0
        };
        String::from_utf8_lossy(&bytes[skipped..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| {
                seen.push(String::from_utf8_lossy(line).into_owned())
            });
        }
        (seen, lines.begun)
    }

    fn tail(chunks: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        chunks.iter().for_each(|chunk| tail.push(chunk));
        tail.into_text()
    }

    #[test]
    fn lines_are_put_together_from_chunks() {
        let (seen, begun) = lines(&[b"on", b"e\ntwo\r\n\nth", b"ree"]);
        assert_eq!(seen, ["one", "two", ""]);
        assert_eq!(begun, b"three");
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let endless = vec![b'x'; 3 * LINE_BYTES_MAX];
        let (seen, begun) = lines(&[&endless, &endless, b"\nnext\n"]);
        assert_eq!(seen[0].len(), LINE_BYTES_MAX);
        assert_eq!(seen[1..], ["next"]);
        assert!(begun.is_empty());
    }

    #[test]
    fn a_short_text_is_its_own_tail() {
        assert_eq!(tail(&[b"disk ", b"", b"full\n"]), "disk full\n");
        assert_eq!(tail(&[]), "");
    }

    #[test]
    fn the_tail_keeps_the_last_bytes_of_many_chunks() {
        let chunks: Vec<_> = (0..5000).map(|number| format!("{number:04}\n")).collect();
        let text = chunks.concat();
        let chunks: Vec<_> = chunks.iter().map(String::as_bytes).collect();
        assert_eq!(tail(&chunks), text[text.len() - TAIL_BYTES_MAX..]);
    }

    #[test]
    fn the_tail_keeps_the_last_bytes_of_one_long_chunk() {
        let text = "0123456789".repeat(1000);
        assert_eq!(
            tail(&[b"before", text.as_bytes()]),
            text[text.len() - TAIL_BYTES_MAX..]
        );
    }

    #[test]
    fn a_character_torn_by_the_cut_is_left_out() {
        let text = "é".repeat(TAIL_BYTES_MAX) + "x";
        assert_eq!(
            tail(&[text.as_bytes()]),
            "é".repeat(TAIL_BYTES_MAX / 2 - 1) + "x"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(tail(&[b"\x80a\xff"]), "\u{fffd}a\u{fffd}");
    }
}
