//! What a task of the storm is told to do, in the first line of its input, and how it does it.
//!
//! ```text
//! job <number> run=<ms> fails=<attempts> then=<complete|die> bytes=<input> sum=<hash>
//! ..... the rest of the input, up to 900 KB ....
//! ```
//!
//! The same rules hold for the command, for the Rust handlers and for the judge. An input that does not
//! match its own sum was damaged on its way: the task says so in the ledger, and fails for good.

use std::fmt::Write as _;
use std::time::Duration;

/// A task's orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Which submission it is, in the order of the load.
    pub number: u64,
    /// How long each attempt runs.
    pub run: Duration,
    /// How many attempts fail before one does not.
    pub fails: u32,
    /// What the first attempt after these does.
    pub then: Then,
    /// The length of the whole input.
    pub bytes: usize,
}

/// How a job ends that has failed as often as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Well.
    Complete,
    /// With the word that it can never succeed.
    Die,
}

/// What an attempt does in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It completes.
    Done,
    /// It fails, and may be tried again.
    Failed,
    /// It fails for good.
    Died,
}

impl Job {
    /// The input of its task.
    #[must_use]
    pub fn input(&self) -> Vec<u8> {
        let body = self.padding();
        let mut head = self.head();
        // Writing to a string cannot fail.
        let _ = writeln!(head, " sum={:016x}", sum(&body));
        let mut input = head.into_bytes();
        input.extend_from_slice(&body);
        input
    }

    /// Reads an input; nothing when it is not what was submitted.
    #[must_use]
    pub fn parse(input: &[u8]) -> Option<Self> {
        let end = input.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&input[..end]).ok()?;
        let mut words = line.strip_prefix("job ")?.split(' ');
        let number = words.next()?.parse().ok()?;
        let mut value = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let job = Self {
            number,
            run: Duration::from_millis(value("run")?.parse().ok()?),
            fails: value("fails")?.parse().ok()?,
            then: match value("then")? {
                "complete" => Then::Complete,
                "die" => Then::Die,
                _ => return None,
            },
            bytes: value("bytes")?.parse().ok()?,
        };
        let told = u64::from_str_radix(value("sum")?, 16).ok()?;
        let body = &input[end + 1..];
        (body.len() == job.bytes && sum(body) == told).then_some(job)
    }

    /// What the attempt of that number does in the end.
    #[must_use]
    pub fn ending(&self, attempt: u32) -> Ending {
        match self.then {
            _ if attempt <= self.fails => Ending::Failed,
            Then::Complete => Ending::Done,
            Then::Die => Ending::Died,
        }
    }

    /// What it puts out when it completes.
    #[must_use]
    pub fn output(&self) -> String {
        format!("done {}", self.number)
    }

    fn head(&self) -> String {
        let then = match self.then {
            Then::Complete => "complete",
            Then::Die => "die",
        };
        format!(
            "job {} run={} fails={} then={then} bytes={}",
            self.number,
            self.run.as_millis(),
            self.fails,
            self.bytes
        )
    }

    /// Bytes that are another job's only by chance.
    fn padding(&self) -> Vec<u8> {
        let mut state = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let mut bytes: Vec<u8> = words.take(self.bytes / 8 + 1).flatten().collect();
        bytes.truncate(self.bytes);
        bytes
    }
}

/// FNV-1a over words: quick in a debug build too, and any cut or swap changes it.
fn sum(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        hash ^= hash >> 29;
    }
    hash ^ bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Job = Job {
        number: 7,
        run: Duration::from_millis(20),
        fails: 2,
        then: Then::Complete,
        bytes: 1_003,
    };

    #[test]
    fn a_job_reads_back_from_its_input() {
        for bytes in [0, 1, 8, 1_003] {
            let job = Job { bytes, ..JOB };
            assert_eq!(Job::parse(&job.input()), Some(job));
        }
    }

    #[test]
    fn a_damaged_input_is_noticed() {
        let input = JOB.input();
        for at in [70, 200, input.len() - 1] {
            let mut damaged = input.clone();
            damaged[at] ^= 1;
            assert_eq!(Job::parse(&damaged), None, "byte {at}");
        }
        assert_eq!(Job::parse(&input[..input.len() - 1]), None, "cut");
        assert_eq!(Job::parse(b"hello"), None, "not a job");
    }

    #[test]
    fn a_job_fails_as_often_as_told_and_then_ends() {
        let endings = |job: Job| [1, 2, 3].map(|attempt| job.ending(attempt));
        use Ending::{Died, Done, Failed};
        assert_eq!(endings(JOB), [Failed, Failed, Done]);
        let dies = Job {
            fails: 1,
            then: Then::Die,
            ..JOB
        };
        assert_eq!(endings(dies), [Failed, Died, Died]);
    }
}
