//! Words for people, which nobody has to read.
//!
//! `println!` panics when the other end of a pipe is gone, as in `rota demo | head`. What is only told goes
//! through here; what a script waits for goes through `client`, which says when it cannot be written.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on the standard output.
pub(crate) fn say(line: impl Display) {
    // A reader that has seen enough is no failure.
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on the standard error.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
