//! What `rota up` is told, and what follows from it without starting anything.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use rota_bus::Prefix;
use rota_service::{Failure, LogOptions, Replicas, ServerUrl};

use crate::children::{Builtin, handler_flags};

/// Where everybody looks for a server.
const USUAL_PORT: u16 = 4222;
/// More workers than anybody starts on one machine on purpose.
const WORKERS_MAX: i64 = 64;
const SLOTS_MAX: i64 = 4_096;

/// Run all of Rota on this machine: nats-server, submitter, scheduler, workers, monitor
///
/// Each is a process of its own; one that dies is started again. Ctrl-C drains them in order, a second
/// Ctrl-C ends them at once. A nats-server of 2.14 or newer is taken from PATH or fetched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many workers
    #[arg(long, value_name = "COUNT", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(0..=WORKERS_MAX))]
    pub(super) workers: u32,

    /// How many attempts each worker runs at once; by default as many as there are cores
    #[arg(long, env = "ROTA_WORKER_SLOTS", value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=SLOTS_MAX))]
    pub(super) slots: Option<u32>,

    /// File that declares which commands run for which kinds
    #[arg(long, env = "ROTA_WORKER_HANDLERS", value_name = "FILE")]
    pub(super) handlers: Option<PathBuf>,

    /// Also run the built-in kinds: echo, fail, noop, sha256 and sleep
    #[arg(long)]
    pub(super) builtin: bool,

    /// Port of the nats-server on 127.0.0.1; 0 is any free one
    ///
    /// By default 4222.
    #[arg(long, help_heading = "NATS", value_name = "PORT")]
    pub(super) port: Option<u16>,

    /// Folder of the nats-server, where tasks are kept from one start to the next
    ///
    /// By default rota/store in $XDG_DATA_HOME or ~/.local/share.
    #[arg(long, help_heading = "NATS", value_name = "DIR")]
    pub(super) store: Option<PathBuf>,

    /// Use these NATS servers instead of starting one, separated by commas
    #[arg(
        long,
        help_heading = "NATS",
        env = "ROTA_NATS_URL",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(super) nats: Vec<ServerUrl>,

    /// NATS credentials file (.creds) for --nats
    #[arg(
        long,
        help_heading = "NATS",
        env = "ROTA_NATS_CREDS",
        value_name = "FILE"
    )]
    pub(super) creds: Option<PathBuf>,

    /// What the subjects start with on which answers come [default: _INBOX]
    #[arg(
        long,
        help_heading = "NATS",
        env = "ROTA_INBOX_PREFIX",
        value_name = "SUBJECT"
    )]
    pub(super) inbox_prefix: Option<String>,

    /// First token of all subjects and, in capitals, of all streams
    #[arg(
        long,
        help_heading = "NATS",
        env = "ROTA_PREFIX",
        value_name = "NAME",
        default_value = "rota"
    )]
    pub(super) prefix: String,

    #[command(flatten)]
    pub(super) policy: rota_scheduler::PolicyArgs,

    #[command(flatten)]
    pub(crate) log: LogOptions,
}

impl Args {
    /// The kinds that each worker will handle. Faults are told here, before a worker or a scheduler would
    /// start, fail and be started again for ever.
    pub(super) fn kinds(&self) -> Result<Vec<String>, Failure> {
        Prefix::parse(&self.prefix).map_err(Failure::usage)?;
        self.policy.check()?;
        let mut registry = match &self.handlers {
            Some(file) => rota_worker::load(file).map_err(Failure::usage)?,
            None => rota_worker::Registry::new(),
        };
        if self.builtin {
            let merged = registry.merge(rota_worker::builtins());
            merged.map_err(Failure::usage)?;
        }
        Ok(registry
            .iter()
            .map(|(kind, _)| kind.as_str().to_owned())
            .collect())
    }

    /// Whether a server is to be started here, and on which port; 0 is any free one.
    pub(super) fn own_server(&self) -> Result<Option<u16>, Failure> {
        if self.nats.is_empty() {
            return Ok(Some(self.port.unwrap_or(USUAL_PORT)));
        }
        if self.port.is_some() || self.store.is_some() {
            return Err(Failure::usage(anyhow!(
                "--port and --store are for a nats-server that is started here, and cannot be used with --nats or \
                 ROTA_NATS_URL, which name one that is there: leave out one or the other"
            )));
        }
        Ok(None)
    }

    /// Where tasks are kept.
    pub(super) fn store_folder(&self) -> Result<PathBuf, Failure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let data = || {
            let home = || Some(PathBuf::from(set("HOME")?).join(".local/share"));
            set("XDG_DATA_HOME").map(PathBuf::from).or_else(home)
        };
        let default = || Some(data()?.join("rota").join("store"));
        self.store.clone().or_else(default).ok_or_else(|| {
            let told =
                "neither XDG_DATA_HOME nor HOME is set: say with --store DIR where to keep tasks";
            Failure::usage(anyhow!(told))
        })
    }

    pub(super) fn worker_flags(&self) -> Vec<OsString> {
        let builtin = if self.builtin {
            Builtin::Handled
        } else {
            Builtin::Absent
        };
        let mut flags = handler_flags(self.handlers.as_deref(), builtin);
        if let Some(slots) = self.slots {
            flags.extend(["--slots".into(), slots.to_string().into()]);
        }
        flags
    }

    /// Flags of a service of which there is one.
    pub(super) fn service_flags(&self, name: &str) -> Vec<OsString> {
        match name {
            "scheduler" => self.policy.to_flags(),
            _ => Vec::new(),
        }
    }

    pub(super) fn log_flags(&self) -> Vec<OsString> {
        let format = self.log.log_format.to_possible_value();
        let format = format.expect("no format is hidden").get_name().to_owned();
        vec![
            "--log-format".into(),
            format.into(),
            "--log-level".into(),
            self.log.log_level.to_string().into(),
        ]
    }
}

/// The services read it as a flag of theirs.
pub(super) fn replicas_from_env() -> Result<Replicas, Failure> {
    const NAME: &str = "ROTA_REPLICAS";
    match std::env::var(NAME) {
        Ok(text) => text.parse().context(NAME).map_err(Failure::usage),
        Err(std::env::VarError::NotPresent) => Ok(Replicas::default()),
        Err(error) => Err(error).context(NAME).map_err(Failure::usage),
    }
}
