//! What `rota up` says first: what runs where, and what to try.

use std::fmt::Write as _;
use std::io::Write as _;

use rota_bus::Bus;
use rota_service::{Failure, LogFormat, ServerUrl};
use rota_wire::Kind;

use super::args::Args;
use super::server::Server;

/// What a person without flags connects to.
const USUAL_URL: &str = "nats://127.0.0.1:4222";
const USUAL_PREFIX: &str = "rota";

pub(super) struct Banner<'a> {
    pub(super) args: &'a Args,
    pub(super) bus: &'a Bus,
    pub(super) server: &'a Server,
    pub(super) workers: &'a [String],
    pub(super) kinds: &'a [String],
}

impl Banner<'_> {
    /// For machines there is none.
    pub(super) fn print(&self, format: LogFormat) -> Result<(), Failure> {
        match format {
            LogFormat::Json => Ok(()),
            LogFormat::Pretty => Ok(std::io::stdout().write_all(self.text().as_bytes())?),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "\nRota {} runs on this machine:\n\n",
            env!("CARGO_PKG_VERSION")
        );
        for (name, what) in [
            ("nats-server", self.server_line()),
            ("services", "submitter, scheduler, monitor".to_owned()),
            ("workers", self.workers_line()),
        ] {
            writeln!(text, "  {name:<12} {what}").expect("a string takes all");
        }
        text.push_str("\nTry in another terminal:\n\n");
        for line in self.commands() {
            writeln!(text, "  {line}").expect("a string takes all");
        }
        text.push_str("\nCtrl-C stops everything in order.\n\n");
        text
    }

    fn server_line(&self) -> String {
        let found = self.bus.server();
        let found = found.strip_prefix("nats-server ").unwrap_or(&found);
        match self.server {
            Server::Own(server) => format!(
                "{found}\n{:15}tasks are kept in {}",
                "",
                server.store().display()
            ),
            Server::Given => format!("{found}, not started here"),
        }
    }

    fn workers_line(&self) -> String {
        if self.kinds.is_empty() {
            return "none, because no kind of task is handled: start again with --builtin to try it out, \
                    or with --handlers FILE"
                .to_owned();
        }
        let slots = match self.args.slots {
            Some(slots) => format!("{slots} slots each"),
            None => "as many slots each as there are cores".to_owned(),
        };
        match self.workers {
            [] => "none, as you said".to_owned(),
            [one] => format!("{one}, {slots}; kinds {}", self.kinds.join(", ")),
            [first, .., last] => format!(
                "{first} to {last}, {slots}; kinds {}",
                self.kinds.join(", ")
            ),
        }
    }

    fn commands(&self) -> [String; 3] {
        let (kind, input) = match self
            .kinds
            .iter()
            .find(|kind| *kind == "echo")
            .or(self.kinds.first())
        {
            Some(kind) if kind == "echo" => (kind.as_str(), "hello"),
            Some(kind) => (kind.as_str(), "'its input'"),
            None => ("echo", "hello"),
        };
        let urls: Vec<String> = self.connect_urls();
        let url = urls.join(",");
        let (mut ours, mut theirs) = (String::new(), String::new());
        if url != USUAL_URL {
            ours = format!(" --nats {url}");
            theirs = format!(" -s {url}");
        }
        if self.args.prefix != USUAL_PREFIX {
            ours.push_str(&format!(" --prefix {}", self.args.prefix));
        }
        let subjects = self.bus.subjects();
        let submit = Kind::parse(kind).map(|kind| subjects.submit(&kind).to_string());
        let submit = submit.unwrap_or_default();
        [
            format!("{} submit {kind} {input} --wait{ours}", program()),
            format!("nats{theirs} pub {submit} {input}"),
            format!("nats{theirs} sub '{}'", subjects.results()),
        ]
    }

    /// Without users and passwords.
    fn connect_urls(&self) -> Vec<String> {
        let connect = self.server.connect_options(self.args);
        connect.nats.iter().map(ServerUrl::to_string).collect()
    }
}

/// This program as it was called, so that the line can be copied.
fn program() -> String {
    let called = std::env::args_os().next();
    let called = called.and_then(|called| called.into_string().ok());
    called.unwrap_or_else(|| "rota".to_owned())
}
