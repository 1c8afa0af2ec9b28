//! Log lines on their way to the standard output, on a thread of their own: a reader that does not read
//! must not stop a service.
//!
//! A line is put into a queue and never waited for. What finds no room is dropped and counted, and the log
//! says so as soon as it is read again. tracing-appender has such a writer too, but one that cannot say
//! what it dropped, and whose last word goes through the very output that is stuck.
//!
//! What must hold: neither a line nor the end of the process waits for the reader longer than
//! [`FLUSH_MAX`], and the queue is bounded in lines and bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::LEFT_OUT_TARGET;
use super::repeats::{LeftOut, Repeats};

/// How long the lines that are left are waited for when the process ends.
pub(super) const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Lines that wait for their reader.
const LINES_MAX: usize = 8 * 1024;
/// And their bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// So many bytes are written at a time.
const BATCH_BYTES: usize = 64 * 1024;
/// That lines are missing is said no more often than this.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// An output that says "not now" instead of blocking is asked again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The queue's entrance. Clones share one queue.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    shared: Arc<Shared>,
}

/// The entrance for one line.
pub(super) struct LineWriter<'a>(&'a Shared);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was put in.
    filled: Condvar,
    /// All of it is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines and of what is being written.
    bytes: usize,
    dropped: u64,
}

impl LogWriter {
    /// Starts the thread that writes to the standard output, and tells what `repeats` has left out.
    ///
    /// # Errors
    /// When there is no standard output, or no thread to be had.
    pub(super) fn to_stdout(repeats: Arc<Repeats>) -> io::Result<Self> {
        // Not through `io::stdout`, whose lock would be held while the reader does not read.
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Self::start(output, repeats)
    }

    fn start(output: impl Write + Send + 'static, repeats: Arc<Repeats>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writing = Writing {
            shared: shared.clone(),
            output,
            repeats,
            told_dropped: None,
            looked: Instant::now(),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writing.run())?;
        Ok(Self { shared })
    }

    /// Waits until all lines are written, at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let queue = self.shared.lock();
        // At the limit the lines stay unwritten: nobody reads them.
        let _ = self
            .shared
            .emptied
            .wait_timeout_while(queue, limit, |queue| queue.bytes > 0);
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(&self.shared)
    }
}

impl Write for LineWriter<'_> {
    /// A line comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.lock();
        if queue.lines.len() < LINES_MAX && queue.bytes + line.len() <= BYTES_MAX {
            queue.bytes += line.len();
            queue.lines.push_back(line.to_vec());
            self.0.filled.notify_one();
        } else {
            queue.dropped += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next lines as one piece; nothing when none came for a while.
    fn next_batch(&self, limit: Duration) -> Option<Vec<u8>> {
        let queue = self.lock();
        let waited = self
            .filled
            .wait_timeout_while(queue, limit, |queue| queue.lines.is_empty());
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut batch = queue.lines.pop_front()?;
        while let Some(line) = queue.lines.front()
            && batch.len() + line.len() <= BATCH_BYTES
        {
            batch.extend_from_slice(line);
            queue.lines.pop_front();
        }
        Some(batch)
    }

    /// How many lines were dropped, once there is room again to say so.
    fn take_dropped(&self) -> u64 {
        let mut queue = self.lock();
        if queue.lines.len() < LINES_MAX / 2 {
            std::mem::take(&mut queue.dropped)
        } else {
            0
        }
    }

    /// So many bytes are written.
    fn handle_written(&self, bytes: usize) {
        let mut queue = self.lock();
        queue.bytes -= bytes;
        if queue.bytes == 0 {
            self.emptied.notify_all();
        }
    }
}

/// The thread that writes.
struct Writing<W> {
    shared: Arc<Shared>,
    output: W,
    repeats: Arc<Repeats>,
    /// When it was last told that lines are missing.
    told_dropped: Option<Instant>,
    /// When it was last looked whether repeats were left out.
    looked: Instant,
}

impl<W: Write> Writing<W> {
    /// As long as the process lives.
    fn run(mut self) {
        loop {
            if let Some(batch) = self.shared.next_batch(TELL_INTERVAL) {
                // Without a reader there is nobody to tell.
                let _ = write_all(&mut self.output, &batch);
                self.shared.handle_written(batch.len());
            }
            self.tell_dropped();
            if self.looked.elapsed() >= TELL_INTERVAL {
                self.looked = Instant::now();
                say_left_out(self.repeats.take_left_out(self.looked));
            }
        }
    }

    /// Tells, through the log itself, what was dropped.
    fn tell_dropped(&mut self) {
        let is_soon = |told: Instant| told.elapsed() < TELL_INTERVAL;
        if self.told_dropped.is_some_and(is_soon) {
            return;
        }
        let dropped = self.shared.take_dropped();
        if dropped > 0 {
            self.told_dropped = Some(Instant::now());
            let told = "log lines are missing: they were not read in time";
            warn!(target: LEFT_OUT_TARGET, dropped, "{told}");
        }
    }
}

/// Tells of lines that were left out because they repeat.
pub(super) fn say_left_out(left_out: Vec<LeftOut>) {
    for LeftOut { line, suppressed } in left_out {
        warn!(target: LEFT_OUT_TARGET, line, suppressed, "more lines like this were left out");
    }
}

fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BUSY_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Blocks in each write until it is allowed, and gives what was written.
    struct Gate {
        allowed: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without one who allows, all is allowed.
            let _ = self.allowed.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (LogWriter, Sender<()>, Receiver<Vec<u8>>) {
        let (allow, allowed) = channel();
        let (written, got) = channel();
        let gate = Gate { allowed, written };
        let writer = LogWriter::start(gate, Arc::default()).unwrap();
        (writer, allow, got)
    }

    fn push(writer: &LogWriter, line: &[u8]) {
        writer.make_writer().write_all(line).unwrap();
    }

    #[test]
    fn lines_that_nobody_reads_are_bounded_in_number_and_counted() {
        let (writer, _allow, _got) = gated();
        for _ in 0..LINES_MAX * 2 {
            push(&writer, b"line\n");
        }
        let queue = writer.shared.lock();
        assert!(queue.lines.len() <= LINES_MAX);
        assert!(queue.dropped > 0, "{}", queue.dropped);
    }

    #[test]
    fn lines_that_nobody_reads_are_bounded_in_bytes() {
        let (writer, _allow, _got) = gated();
        let line = vec![b'x'; 64 * 1024];
        for _ in 0..1_000 {
            push(&writer, &line);
        }
        let queue = writer.shared.lock();
        assert!(queue.bytes <= BYTES_MAX, "{}", queue.bytes);
        assert!(queue.dropped >= 1_000 - 65, "{}", queue.dropped);
    }

    #[test]
    fn a_flush_waits_for_the_reader_only_so_long() {
        let (writer, _allow, _got) = gated();
        push(&writer, b"line\n");
        let start = Instant::now();
        writer.flush(Duration::from_millis(50));
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(50) && waited < DEADLINE);
    }

    #[test]
    fn what_waits_is_written_in_order_and_a_flush_sees_it_through() {
        let (writer, allow, got) = gated();
        for line in [&b"one\n"[..], b"two\n", b"three\n"] {
            push(&writer, line);
        }
        drop(allow);
        writer.flush(DEADLINE);
        let written: Vec<u8> = got.try_iter().flatten().collect();
        assert_eq!(written, b"one\ntwo\nthree\n");
    }
}
