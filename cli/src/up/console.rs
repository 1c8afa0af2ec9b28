//! The terminal of `rota up`: the lines of all services and our own, in one order.
//!
//! For people each line has the name of its service in front; for machines a line of JSON stays a line
//! of JSON. What must hold: a terminal that does not read holds up the services that print, but never
//! the one who restarts and stops them.

use std::io::{self, Write};

use jiff::Timestamp;
use rota_local::{Colour, LogLine, PrefixPrinter};
use rota_service::LogFormat;
use serde_json::json;
use tokio::sync::mpsc;

/// What our own lines are named.
pub(super) const OWN_NAME: &str = "rota";
pub(super) const SERVER_NAME: &str = "nats-server";

/// Our own lines that wait; more are dropped, because whoever says them has more to do than to speak.
const OWN_LINES_MAX: usize = 256;

/// Says our own lines. Clones share one terminal.
#[derive(Debug, Clone)]
pub(super) struct Console {
    own: mpsc::Sender<LogLine>,
    format: LogFormat,
}

impl Console {
    /// A console, and the future that prints: it ends when all that print have ended.
    pub(super) fn new(
        names: &[&str],
        format: LogFormat,
        services: mpsc::Receiver<LogLine>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (own, said) = mpsc::channel(OWN_LINES_MAX);
        let colour = Colour::for_stdout();
        let out = Output {
            printer: PrefixPrinter::new(names, colour),
            colour,
            format,
        };
        (Self { own, format }, print_all(out, services, said))
    }

    /// Says something in our own name.
    pub(super) fn say(&self, text: &str) {
        self.tell(OWN_NAME, text);
    }

    /// Says something about a process.
    pub(super) fn tell(&self, process: &str, text: &str) {
        self.send(process, "INFO", text);
    }

    /// Says something about a process that a person should see.
    pub(super) fn warn(&self, process: &str, text: &str) {
        self.send(process, "WARN", text);
    }

    fn send(&self, process: &str, level: &str, text: &str) {
        let now = Timestamp::now();
        let line = match self.format {
            LogFormat::Pretty => format!("{} {level:<5} {text}", now.strftime("%H:%M:%S.%3f")),
            LogFormat::Json => json!({
                "timestamp": now.to_string(),
                "level": level,
                "target": "rota::up",
                "service": process,
                "message": text,
            })
            .to_string(),
        };
        let process = process.into();
        // A terminal that does not read must not stop us.
        let _ = self.own.try_send(LogLine { process, line });
    }
}

async fn print_all(
    mut out: Output,
    mut services: mpsc::Receiver<LogLine>,
    mut own: mpsc::Receiver<LogLine>,
) {
    loop {
        let line = tokio::select! {
            Some(line) = own.recv() => line,
            Some(line) = services.recv() => line,
            else => return,
        };
        // Writing to a terminal blocks. Whatever else waits for this thread goes on elsewhere.
        tokio::task::block_in_place(|| out.print(&line));
    }
}

struct Output {
    printer: PrefixPrinter,
    colour: Colour,
    format: LogFormat,
}

impl Output {
    fn print(&mut self, line: &LogLine) {
        let mut stdout = io::stdout().lock();
        // Nobody is left to tell when the terminal is gone.
        let _ = match self.format {
            LogFormat::Json => writeln!(stdout, "{}", line.line),
            LogFormat::Pretty => {
                let shown = LogLine {
                    process: line.process.clone(),
                    line: highlighted(&line.line, self.colour),
                };
                self.printer.write(&mut stdout, &shown)
            }
        };
    }
}

/// The services write into a pipe, so without colour: trouble gets it back here.
fn highlighted(line: &str, colour: Colour) -> String {
    let levels = [(" WARN  ", 33), (" ERROR ", 31)];
    let found = levels
        .into_iter()
        .find_map(|(level, code)| Some((line.split_once(level)?, level, code)));
    match (colour, found) {
        // Right after the time, and nowhere else, stands a level.
        (Colour::On, Some(((time, rest), level, code))) if !time.contains(' ') => {
            format!("{time}\x1b[{code}m{level}\x1b[0m{rest}")
        }
        (Colour::On | Colour::Off, _) => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_coloured_where_it_stands_and_not_within_a_text() {
        let line = "09:12:13.456 WARN  worker lost";
        let coloured = "09:12:13.456\x1b[33m WARN  \x1b[0mworker lost";
        assert_eq!(highlighted(line, Colour::On), coloured);
        assert_eq!(highlighted(line, Colour::Off), line);
        let within = "09:12:13.456 INFO  said ERROR twice";
        assert_eq!(highlighted(within, Colour::On), within);
    }
}
