//! The demo's tasks and their right answers: real files of this repository, hashed and counted, and
//! sleeps of uneven length between them.
//!
//! What must hold: the same number of tasks gives the same tasks in the same order, as long as the files
//! are the same; each answer is computed here, apart from the handlers.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Folders of this repository whose files are worked on; there are none where only the executable is.
const FOLDERS: [&str; 6] = ["shared", "services", "deploy", "cli", "tests", "docs"];
const ENDINGS: [&str; 3] = ["rs", "toml", "md"];
const FILES_MAX: usize = 1_000;
const FILE_BYTES_MAX: usize = 256 * 1024;
/// With fewer files than this, texts are made up instead.
const FILES_MIN: usize = 20;
const SLEEP_MS_MIN: u32 = 20;
const SLEEP_MS_MAX: u32 = 900;

/// The kinds that the demo's workers handle, and by what.
pub(super) const KINDS: [(&str, &str); 5] = [
    ("hash", "sha256sum, a command"),
    ("words", "awk, a command"),
    ("hash-rust", "a Rust function"),
    ("words-rust", "a Rust function"),
    ("sleep", "20 to 900 ms, built in"),
];

/// One task of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DemoTask {
    pub(super) kind: &'static str,
    pub(super) input: Bytes,
    /// The first word of the right output; none when there must be no output.
    answer: Option<String>,
}

/// All tasks, and what they are about.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) tasks: Vec<DemoTask>,
    pub(super) source: String,
}

impl Work {
    /// So many tasks: every third one sleeps, the others go through the files.
    pub(super) fn new(count: usize) -> Self {
        let (texts, source) = texts();
        let mut on_files = texts.iter().enumerate().flat_map(on_file).cycle();
        let tasks = (0..count).map(|number| match number % 3 {
            2 => sleep(number),
            _ => on_files.next().expect("there are always some texts"),
        });
        Self {
            tasks: tasks.collect(),
            source,
        }
    }
}

impl DemoTask {
    /// Commands end their output with a newline or the name of a file; the first word is the answer.
    pub(super) fn is_right(&self, output: &[u8]) -> bool {
        let output = String::from_utf8_lossy(output);
        output.split_ascii_whitespace().next() == self.answer.as_deref()
    }
}

/// The words as awk counts them.
pub(super) fn count_words(text: &[u8]) -> usize {
    let words = text.split(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
    words.filter(|word| !word.is_empty()).count()
}

pub(super) fn hash(text: &[u8]) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each file is hashed and counted, the one by a command and the other in Rust.
fn on_file((number, text): (usize, &Bytes)) -> [DemoTask; 2] {
    let (hashing, counting) = if number % 2 == 0 {
        ("hash", "words-rust")
    } else {
        ("hash-rust", "words")
    };
    let task = |kind, answer| DemoTask {
        kind,
        input: text.clone(),
        answer: Some(answer),
    };
    [
        task(hashing, hash(text)),
        task(counting, count_words(text).to_string()),
    ]
}

/// Uneven, and the same each time: squares leave scattered remainders.
fn sleep(number: usize) -> DemoTask {
    let number = u32::try_from(number).unwrap_or(u32::MAX) % 10_000;
    let ms =
        SLEEP_MS_MIN + (number * number * 37 + number * 211) % (SLEEP_MS_MAX - SLEEP_MS_MIN + 1);
    DemoTask {
        kind: "sleep",
        input: format!("{ms}ms").into(),
        answer: None,
    }
}

fn texts() -> (Vec<Bytes>, String) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut found = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut found);
    }
    if found.len() >= FILES_MIN {
        let source = format!("{} files of this repository", found.len());
        return (found, source);
    }
    let made =
        (0..FILES_MIN * 4).map(|number| format!("made-up text {number}\n").repeat(number + 1));
    (made.map(Bytes::from).collect(), "made-up texts".to_owned())
}

/// What cannot be read is left out: the demo does not depend on any one file.
fn collect(folder: &Path, found: &mut Vec<Bytes>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_symlink() || found.len() >= FILES_MAX {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if path
            .extension()
            .is_some_and(|ending| ENDINGS.iter().any(|e| ending == *e))
            && let Ok(text) = fs::read(&path)
            && (1..=FILE_BYTES_MAX).contains(&text.len())
            && !text.contains(&0)
        {
            found.push(text.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_are_the_same_each_time_and_of_all_kinds() {
        let work = Work::new(400);
        assert_eq!(work.tasks, Work::new(400).tasks);
        for (kind, _) in KINDS {
            assert!(
                work.tasks.iter().filter(|task| task.kind == kind).count() > 30,
                "{kind}"
            );
        }
    }

    #[test]
    fn sleeps_stay_within_their_bounds_and_differ() {
        let lengths: std::collections::BTreeSet<u32> = (0..400)
            .map(|number| {
                let input = sleep(number).input;
                let text = std::str::from_utf8(&input).unwrap();
                text.strip_suffix("ms").unwrap().parse().unwrap()
            })
            .collect();
        assert!(lengths.len() > 150, "{}", lengths.len());
        assert!(
            lengths
                .iter()
                .all(|ms| (SLEEP_MS_MIN..=SLEEP_MS_MAX).contains(ms))
        );
    }

    #[test]
    fn the_first_word_of_an_output_is_the_answer() {
        let text = Bytes::from_static(b"two  words\n");
        let [hashing, counting] = on_file((0, &text));
        assert!(hashing.is_right(format!("{}  -\n", hash(&text)).as_bytes()));
        assert!(counting.is_right(b"2") && !counting.is_right(b"3") && !counting.is_right(b""));
        assert!(sleep(2).is_right(b"") && !sleep(2).is_right(b"done"));
    }
}
