//! This executable as supervised processes: what `rota up` and `rota demo` start.
//!
//! What must hold: addresses, which may hold a password, reach a child through its environment and never
//! through its arguments, which everybody on the machine can read; and a child ends with this process,
//! also when this one is killed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rota_local::{ProcessSpec, Stdin};
use rota_service::{ConnectOptions, LIFELINE, ServerUrl};

/// How long a service that holds no tasks may take to end.
const SERVICE_GRACE: Duration = Duration::from_secs(15);
/// A worker lets attempts go on for its own grace and ends the rest, which takes theirs.
const WORKER_GRACE: Duration = Duration::from_secs(30);

/// The services of which one is enough.
pub(crate) const SINGLE: [&str; 3] = ["submitter", "scheduler", "monitor"];

/// Makes processes of one installation.
#[derive(Debug)]
pub(crate) struct Children {
    program: PathBuf,
    env: Vec<(OsString, OsString)>,
    log_flags: Vec<OsString>,
}

impl Children {
    /// Of this executable, for the installation that `connect` means.
    pub(crate) fn new(
        connect: &ConnectOptions,
        log_flags: Vec<OsString>,
    ) -> Result<Self, anyhow::Error> {
        let program = std::env::current_exe().context("cannot find this executable")?;
        let servers: Vec<&str> = connect.nats.iter().map(ServerUrl::expose).collect();
        let mut env: Vec<(OsString, OsString)> = vec![
            ("ROTA_NATS_URL".into(), servers.join(",").into()),
            ("ROTA_PREFIX".into(), connect.prefix.clone().into()),
            (LIFELINE.into(), "1".into()),
        ];
        if let Some(file) = &connect.creds {
            env.push(("ROTA_NATS_CREDS".into(), file.into()));
        }
        if let Some(prefix) = &connect.inbox_prefix {
            env.push(("ROTA_INBOX_PREFIX".into(), prefix.into()));
        }
        Ok(Self {
            program,
            env,
            log_flags,
        })
    }

    /// One of [`SINGLE`].
    pub(crate) fn service(&self, name: &'static str, flags: Vec<OsString>) -> ProcessSpec {
        self.process(name, name, flags, SERVICE_GRACE)
    }

    /// A worker of that name, by the subcommand that runs it.
    pub(crate) fn worker(
        &self,
        subcommand: &'static str,
        name: &str,
        mut flags: Vec<OsString>,
    ) -> ProcessSpec {
        flags.extend(["--name".into(), name.into()]);
        self.process(subcommand, name, flags, WORKER_GRACE)
    }

    fn process(
        &self,
        subcommand: &'static str,
        name: &str,
        flags: Vec<OsString>,
        stop_grace: Duration,
    ) -> ProcessSpec {
        let mut args = vec![subcommand.into()];
        args.extend(flags);
        args.extend(self.log_flags.iter().cloned());
        ProcessSpec {
            args,
            env: self.env.clone(),
            stdin: Stdin::Lifeline,
            stop_grace,
            ..ProcessSpec::new(name, &self.program)
        }
    }
}

/// The longest that any of them may take to end.
pub(crate) const fn stop_grace() -> Duration {
    WORKER_GRACE
}

/// The flags by which a worker finds its handlers.
pub(crate) fn handler_flags(file: Option<&Path>, builtin: Builtin) -> Vec<OsString> {
    let mut flags = Vec::new();
    if let Some(file) = file {
        flags.extend(["--handlers".into(), file.into()]);
    }
    if builtin == Builtin::Handled {
        flags.push("--builtin".into());
    }
    flags
}

/// Whether workers handle the built-in kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Handled,
    Absent,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        connect: ConnectOptions,
    }

    #[test]
    fn a_password_is_not_among_the_arguments_of_a_child() {
        let flags = ["test", "--nats", "nats://me:secret@host:4222"];
        let connect = Flags::try_parse_from(flags).unwrap().connect;
        let children = Children::new(&connect, Vec::new()).unwrap();
        let spec = children.worker("worker", "w1", Vec::new());
        assert!(!format!("{:?}", spec.args).contains("secret"));
        assert!(format!("{:?}", spec.env).contains("secret"));
        assert_eq!(spec.args, ["worker", "--name", "w1"]);
    }
}
