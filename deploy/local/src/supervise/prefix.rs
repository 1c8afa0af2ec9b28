//! Puts the name of its process before each line, in one colour a process.

use std::{
    collections::BTreeMap,
    env,
    io::{self, IsTerminal, Write},
};

use super::LogLine;

/// ANSI colours that read well on dark and light ground; red is left to what the lines say.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 96];

/// Whether to print in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI colours.
    On,
    /// Plain.
    Off,
}

impl Colour {
    /// On when stdout is a terminal and `NO_COLOR` is not set (no-color.org).
    #[must_use]
    pub fn for_stdout() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !refused {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// Prints lines as `[worker-1 ] line`, the names padded to the longest.
#[derive(Debug)]
pub struct PrefixPrinter {
    colour: Colour,
    width: usize,
    colours: BTreeMap<String, u8>,
}

impl PrefixPrinter {
    /// A printer for the processes of these names. Another name gets a colour when it first prints.
    #[must_use]
    pub fn new(names: &[&str], colour: Colour) -> Self {
        let width = names
            .iter()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0);
        let mut printer = Self {
            colour,
            width,
            colours: BTreeMap::new(),
        };
        for name in names {
            printer.colour_of(name);
        }
        printer
    }

    /// Writes one line with its prefix and its end.
    pub fn write(&mut self, out: &mut impl Write, line: &LogLine) -> io::Result<()> {
        let (name, width) = (&*line.process, self.width);
        match self.colour {
            Colour::On => {
                let colour = self.colour_of(name);
                writeln!(out, "\x1b[{colour}m[{name:<width$}]\x1b[0m {}", line.line)
            }
            Colour::Off => writeln!(out, "[{name:<width$}] {}", line.line),
        }
    }

    fn colour_of(&mut self, name: &str) -> u8 {
        if let Some(colour) = self.colours.get(name) {
            return *colour;
        }
        let colour = COLOURS[self.colours.len() % COLOURS.len()];
        self.colours.insert(name.to_owned(), colour);
        colour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(printer: &mut PrefixPrinter, process: &str, line: &str) -> String {
        let mut out = Vec::new();
        let line = LogLine {
            process: process.into(),
            line: line.to_owned(),
        };
        printer.write(&mut out, &line).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_padded_to_the_longest() {
        let mut printer = PrefixPrinter::new(&["scheduler", "worker-1"], Colour::Off);
        assert_eq!(
            print(&mut printer, "worker-1", "hello"),
            "[worker-1 ] hello\n"
        );
        assert_eq!(print(&mut printer, "scheduler", ""), "[scheduler] \n");
    }

    #[test]
    fn each_process_keeps_a_colour_of_its_own() {
        let mut printer = PrefixPrinter::new(&["a", "b"], Colour::On);
        assert_eq!(print(&mut printer, "b", "x"), "\x1b[33m[b]\x1b[0m x\n");
        assert_eq!(
            print(&mut printer, "late", "x"),
            "\x1b[32m[late]\x1b[0m x\n"
        );
        assert_eq!(print(&mut printer, "a", "x"), "\x1b[36m[a]\x1b[0m x\n");
        assert_eq!(
            print(&mut printer, "late", "y"),
            "\x1b[32m[late]\x1b[0m y\n"
        );
    }
}
