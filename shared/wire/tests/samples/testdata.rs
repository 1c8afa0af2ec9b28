//! Golden files: text that a person can review, in sections named by `[shape]`.
//!
//! With `ROTA_GOLDEN=write` in the environment they are written instead of compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use rota_wire::Headers;

const BYTES_IN_A_LINE: usize = 16;
const HOW: &str = "\
If no change of the format was meant, mend the code: another version of Rota reads these.
If it was meant and this version was ever released, give it the next version first (`VERSION` of the \
frame) and keep the old decoder; headers may only be added.
Then write the files with `ROTA_GOLDEN=write cargo test --package rota-wire --test golden` and review \
their diff.";

/// The sections of a file: what each shape is written as.
pub(crate) type Sections = BTreeMap<String, String>;

/// The folder of golden files.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Compares what the code writes with the golden file, and gives back what that says.
pub(crate) fn compare(name: &str, written: &[(&str, String)]) -> Sections {
    let path = folder().join(name);
    if std::env::var_os("ROTA_GOLDEN").is_some_and(|value| value == "write") {
        let text: Vec<String> = written
            .iter()
            .map(|(shape, lines)| format!("[{shape}]\n{lines}"))
            .collect();
        std::fs::write(&path, text.join("\n")).expect("testdata can be written");
    }
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("testdata/{name}: {error}\n\n{HOW}\n"));
    let golden = sections(&text);
    for (shape, lines) in written {
        let expected = golden.get(*shape).map_or("(nothing)\n", String::as_str);
        assert!(
            lines == expected,
            "[{shape}] is not written as testdata/{name} says.\n\ngolden:\n{expected}\n\
             written:\n{lines}\n{HOW}\n"
        );
    }
    let shapes = written.len();
    assert_eq!(
        golden.len(),
        shapes,
        "testdata/{name} has shapes that no test writes.\n\n{HOW}\n"
    );
    golden
}

fn sections(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut lines = String::new();
    let mut shape = None;
    for line in text.lines() {
        let name = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
        if let Some(name) = name {
            if let Some(before) = shape.replace(name.to_owned()) {
                sections.insert(before, std::mem::take(&mut lines));
            }
        } else if !line.is_empty() {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    sections.extend(shape.map(|shape| (shape, lines)));
    sections
}

/// Bytes in hex with their characters beside them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(BYTES_IN_A_LINE) {
        let pairs: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        };
        let shown: String = line.iter().map(shown).collect();
        let width = BYTES_IN_A_LINE * 3 - 1;
        writeln!(text, "{:width$}  |{shown}|", pairs.join(" ")).expect("a string takes all");
    }
    text
}

/// Reads [`hex`].
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let pairs = text.lines().flat_map(|line| {
        let (pairs, _) = line.split_once("  |").expect("characters follow the hex");
        pairs.split_whitespace()
    });
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("two digits in hex"))
        .collect()
}

/// One line for each header.
pub(crate) fn lines(headers: &Headers) -> String {
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect()
}

/// Reads [`lines`].
pub(crate) fn headers(text: &str) -> Headers {
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once(": ").expect("a name and a value");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}
