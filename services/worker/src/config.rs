//! The handlers file: which commands a worker runs for which kinds.
//!
//! ```toml
//! [handlers.thumbnail]
//! command = ["convert", "-", "-resize", "320x320", "png:-"]   # needed; all else is optional
//! concurrency = 4               # attempts at once on this worker; default: all its slots
//! timeout = "30s"               # the longest that one attempt may run; default: as the task says
//! grace = "5s"                  # from TERM to KILL
//! output_max = "900KiB"         # a longer output fails for good
//! working_dir = "/srv/photos"   # where it runs; default: where the worker runs
//! env = { MAGICK_THREAD_LIMIT = "1" }
//! ```
//!
//! A program with a `/` in it and `working_dir` count from the folder of the file, wherever the worker was
//! started; a program without is looked up in `PATH`.
//!
//! What must hold: all faults of a file are reported at once, each with its place, its value and
//! the rule; a key that nobody knows is a fault, and so is a command that cannot be started; a file with a
//! fault yields no handler at all.

mod section;

use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::command::look::Unfit;
use crate::command::{CommandHandler, is_private};
use crate::handler::registry::{Entry, HandlerKind, Limits, Registry};
use crate::span::{SPAN_RULE, parse_span};
use section::Section;

const COMMAND_RULE: &str = "must be a list of texts, first the program: [\"convert\", \"-\"]";
const CONCURRENCY_MAX: u32 = 1024;
/// NATS itself carries no message above this.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;
const ENV_RULE: &str = "must be a text without NUL, and its name not ROTA_*, NATS_*, TRACEPARENT, \
                        empty or with a = in it";

/// Why a handlers file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("could not read handlers file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("handlers file {} is not TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// It breaks rules; all of them are listed.
    #[error("handlers file {} has {} fault(s){}", path.display(), faults.len(), listed(faults))]
    Faults {
        /// The file.
        path: PathBuf,
        /// What is wrong, in the order of the file.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong in a handlers file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The full key, such as `handlers.thumbnail.timeout`.
    pub key: String,
    /// What stands there, as TOML; `None` when it is missing.
    pub value: Option<String>,
    /// What should stand there.
    pub rule: String,
}

/// Reads a handlers file.
pub fn load(path: impl AsRef<Path>) -> Result<Registry, ConfigError> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.into(),
        source,
    })?;
    let table: Table = text.parse().map_err(|source| ConfigError::Syntax {
        path: path.into(),
        source: Box::new(source),
    })?;
    let (registry, mut faults) = registry(table, &folder_of(path));
    faults.extend(unfit(&registry, &faults));
    if faults.is_empty() {
        Ok(registry)
    } else {
        let path = path.into();
        Err(ConfigError::Faults { path, faults })
    }
}

/// From which the paths in a file count. One that cannot be told is left as it is.
fn folder_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    path.parent().unwrap_or(&path).into()
}

/// What the commands lack to be started. Those with other faults say enough already.
fn unfit(registry: &Registry, faults: &[Fault]) -> Vec<Fault> {
    let mut found = Vec::new();
    for (kind, entry) in registry.iter() {
        let HandlerKind::Command(handler) = &entry.handler else {
            continue;
        };
        for unfit in handler.look() {
            let (setting, value, why) = match unfit {
                Unfit::Program { program, why } => ("command", program, why),
                Unfit::WorkingDir { folder, why } => {
                    ("working_dir", folder.display().to_string(), why)
                }
            };
            let (key, value) = (format!("handlers.{kind}.{setting}"), value.into());
            if faults.iter().all(|fault| fault.key != key) {
                found.push(Fault::new(key, Some(&value), why));
            }
        }
    }
    found
}

fn registry(table: Table, folder: &Path) -> (Registry, Vec<Fault>) {
    let (mut registry, mut faults) = (Registry::new(), Vec::new());
    let mut root = Section::new("", table, &mut faults);
    let handlers = root.read(
        "handlers",
        "must be a table of handlers",
        |value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        },
    );
    root.finish();
    for (kind, value) in handlers.unwrap_or_default() {
        let key = format!("handlers.{kind}");
        let Value::Table(table) = value else {
            faults.push(Fault::new(
                key,
                Some(&value),
                "must be a table with a command",
            ));
            continue;
        };
        // An entry with faults is inserted too: a bad name is then reported along with them.
        let entry = entry(Section::new(&key, table, &mut faults), folder);
        if let Err(error) = registry.insert(&kind, entry) {
            faults.push(Fault::new(key, None, error.to_string()));
        }
    }
    (registry, faults)
}

fn entry(mut section: Section<'_>, folder: &Path) -> Entry {
    let command = section.read("command", COMMAND_RULE, command);
    if command.is_none() {
        section.missing("command", COMMAND_RULE);
    }
    let (program, args) = command.unwrap_or_default();
    let working_dir = section.read("working_dir", "must be a path", text);
    let env = section.read_each("env", ENV_RULE, |name, value| {
        let proper = !name.is_empty() && !name.contains(['=', '\0']) && !is_private(name);
        text(value).filter(|_| proper)
    });
    let working_dir = working_dir.map(|path| folder.join(path));
    let program = if program.contains('/') {
        folder.join(program).to_string_lossy().into_owned()
    } else {
        program
    };
    let mut entry = Entry::command(CommandHandler {
        program,
        args,
        env,
        working_dir,
    });
    let rule = format!("must be a whole number from 1 to {CONCURRENCY_MAX}");
    entry.concurrency = section.read("concurrency", &rule, concurrency);
    entry.limits = limits(&mut section);
    section.finish();
    entry
}

fn limits(section: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    let span_rule = format!("must be {SPAN_RULE}");
    let span = |value| parse_span(&text(value)?);
    let output_rule = "must be a size from 1B to 64MiB, such as \"4MiB\"";
    Limits {
        timeout: section.read("timeout", &span_rule, span),
        grace: section
            .read("grace", &span_rule, span)
            .unwrap_or(default.grace),
        output_bytes_max: section
            .read("output_max", output_rule, output_bytes)
            .unwrap_or(default.output_bytes_max),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.contains('\0') => Some(text),
        _ => None,
    }
}

fn command(value: Value) -> Option<(String, Vec<String>)> {
    let Value::Array(words) = value else {
        return None;
    };
    let mut words: Vec<_> = words.into_iter().map(text).collect::<Option<_>>()?;
    let program = (!words.is_empty()).then(|| words.remove(0))?;
    (!program.trim().is_empty()).then_some((program, words))
}

fn concurrency(value: Value) -> Option<u32> {
    let number = u32::try_from(value.as_integer()?).ok()?;
    (1..=CONCURRENCY_MAX).contains(&number).then_some(number)
}

fn output_bytes(value: Value) -> Option<usize> {
    let size = text(value)?.parse::<bytesize::ByteSize>().ok()?.as_u64();
    (1..=OUTPUT_BYTES_MAX)
        .contains(&size)
        .then(|| size.try_into().ok())?
}

fn listed(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: {}", self.key, self.rule),
            None => write!(f, "{}: {}", self.key, self.rule),
        }
    }
}

#[cfg(test)]
mod tests;
