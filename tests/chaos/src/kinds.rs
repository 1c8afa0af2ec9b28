//! The kinds of the storm's tasks, and the handlers file for those that are commands.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Kinds with large inputs: more than a server's buffer for one client has room for, were each lane read
/// without regard to the others.
const LARGE: usize = 12;

/// A small task that is a command.
pub const COMMAND: &str = "command";
/// Small tasks that are commands.
const COMMANDS: [&str; 3] = [COMMAND, "resize", "convert"];
/// A command with a child of its own, which must not outlive it.
pub const FAMILY: &str = "family";
/// Small tasks that are Rust functions.
const FUNCTIONS: [&str; 3] = ["function", "count", "sum"];

/// The kinds that Rust functions handle.
#[must_use]
pub fn functions() -> [&'static str; 3] {
    FUNCTIONS
}

/// All kinds of small tasks, none of them rarer than the others.
#[must_use]
pub fn small() -> Vec<String> {
    let all = COMMANDS.into_iter().chain([FAMILY]).chain(FUNCTIONS);
    all.map(str::to_owned).collect()
}

/// All kinds of large tasks.
#[must_use]
pub fn large() -> Vec<String> {
    (0..LARGE).map(|number| format!("large{number}")).collect()
}

/// Writes a handlers file in which all commands are the given program.
///
/// # Errors
/// When it cannot be written.
pub fn write_handlers(folder: &Path, program: &Path) -> io::Result<PathBuf> {
    let path = folder.join("handlers.toml");
    fs::write(&path, handlers_file(program))?;
    Ok(path)
}

fn handlers_file(program: &Path) -> String {
    // A string of JSON is one of TOML too.
    let program = serde_json::Value::from(program.display().to_string());
    let mut text = String::new();
    for kind in COMMANDS.into_iter().map(str::to_owned).chain(large()) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "[handlers.{kind}]\ncommand = [{program}]\ngrace = \"500ms\"\n"
        );
    }
    let _ = writeln!(
        text,
        "[handlers.{FAMILY}]\ncommand = [\"sh\", \"-c\", 'sleep 900 & exec \"$0\"', {program}]\n\
         grace = \"500ms\""
    );
    text
}
