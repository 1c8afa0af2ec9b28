//! Everything that the demo runs: a server with a temporary store, the services, three workers.
//!
//! What must hold: all of it ends and disappears with the value, however the demo ends.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use rota_bus::Bus;
use rota_local::{
    Backoff, Colour, LogLine, NatsServer, PrefixPrinter, ProcessHandle, Restart, ServerOptions,
    Signal, Supervisor,
};
use rota_service::{ConnectOptions, Failure, Installation};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Args, Logs};
use crate::children::{Builtin, Children, SINGLE, handler_flags};

/// The workers and their slots: unlike, so that it shows where tasks go.
pub(super) const WORKERS: [(&str, u32); 3] = [("small", 2), ("medium", 4), ("large", 8)];

/// How long the killed worker stays away: until after it was found to be lost.
const WORKER_AWAY: Duration = Duration::from_millis(2_500);
const LINES_MAX: usize = 4_096;
/// Lines of the services that are shown when something went wrong.
const LAST_LINES_MAX: usize = 60;
const STOP_GRACE: Duration = Duration::from_secs(5);
const READ_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Fleet {
    supervisor: Supervisor,
    children: Children,
    handlers: TempDir,
    reading: JoinHandle<VecDeque<LogLine>>,
    server: NatsServer,
    bus: Bus,
}

impl Fleet {
    /// The server and a connection to it; the services follow by [`Fleet::start_services`], so that
    /// whoever wants to see them from the first moment can subscribe before.
    pub(super) async fn start(args: &Args) -> Result<Self, Failure> {
        let handlers = handlers_folder()?;
        let server = NatsServer::start(ServerOptions::default()).await?;
        let connect = ConnectOptions {
            nats: vec![server.url().parse()?],
            ..ConnectOptions::default()
        };
        let children = Children::new(&connect, Vec::new())?;
        let installation = Installation {
            connect,
            ..Installation::default()
        };
        let bus = installation.connect("demo").await?;
        let (supervisor, lines) = Supervisor::new(LINES_MAX);
        Ok(Self {
            supervisor,
            children,
            handlers,
            reading: tokio::spawn(read(lines, args.logs())),
            server,
            bus,
        })
    }

    pub(super) fn start_services(&mut self) -> Result<(), Failure> {
        for name in SINGLE {
            self.supervisor
                .start(self.children.service(name, Vec::new()))?;
        }
        let file = self.handlers.path().join("handlers.toml");
        for (name, slots) in WORKERS {
            let mut flags = handler_flags(Some(&file), Builtin::Handled);
            flags.extend(["--slots".into(), OsString::from(slots.to_string())]);
            let mut spec = self.children.worker("demo-worker", name, flags);
            spec.restart = Restart::Always(Backoff {
                first: WORKER_AWAY,
                ..Backoff::default()
            });
            self.supervisor.start(spec)?;
        }
        Ok(())
    }

    pub(super) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// As the kernel does when memory runs out: no goodbye, nothing handed back.
    pub(super) async fn kill(&self, worker: &str) -> Result<u32, Failure> {
        let process: &ProcessHandle = self.supervisor.process(worker).context("no such worker")?;
        let pid = process.pid().context("the worker does not run")?;
        process.signal(Signal::Kill).await?;
        Ok(pid)
    }

    /// Ends everything; the last lines of the services are returned.
    pub(super) async fn end(mut self) -> VecDeque<LogLine> {
        let order = ["submitter", "scheduler", "monitor"];
        let workers: Vec<&str> = WORKERS.iter().map(|(name, _)| *name).collect();
        // Workers first: nothing that they hold matters any more, and they need nobody to end.
        self.supervisor.stop_together(&workers, STOP_GRACE).await;
        self.supervisor.stop_together(&order, STOP_GRACE).await;
        drop(self.supervisor);
        // A server that cannot be stopped is killed when it is dropped.
        let _ = self.server.stop().await;
        let read = tokio::time::timeout(READ_LIMIT, self.reading).await;
        read.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// The commands of the kinds `hash` and `words`, as a person would declare them.
fn handlers_folder() -> Result<TempDir, anyhow::Error> {
    let hashing = if is_on_path("sha256sum") {
        r#"["sha256sum"]"#
    } else if is_on_path("shasum") {
        r#"["shasum", "-a", "256"]"#
    } else {
        bail!("the demo needs the command sha256sum or shasum");
    };
    if !is_on_path("awk") {
        bail!("the demo needs the command awk");
    }
    let text = format!(
        "[handlers.hash]\ncommand = {hashing}\n\n\
         [handlers.words]\ncommand = [\"awk\", \"{{ n += NF }} END {{ print n + 0 }}\"]\n\
         env = {{ LC_ALL = \"C\" }}\n"
    );
    let folder = tempfile::Builder::new().prefix("rota-demo-").tempdir();
    let folder = folder.context("cannot create a temporary folder")?;
    let file = folder.path().join("handlers.toml");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(folder)
}

fn is_on_path(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

/// Reads what the services print, for as long as they do.
async fn read(mut lines: mpsc::Receiver<LogLine>, logs: Logs) -> VecDeque<LogLine> {
    let mut names: Vec<&str> = SINGLE.to_vec();
    names.extend(WORKERS.iter().map(|(name, _)| *name));
    let mut printer = PrefixPrinter::new(&names, Colour::for_stdout());
    let mut last = VecDeque::with_capacity(LAST_LINES_MAX);
    while let Some(line) = lines.recv().await {
        if logs == Logs::Shown {
            // Nobody is left to tell when the terminal is gone.
            let _ = printer.write(&mut std::io::stdout().lock(), &line);
        }
        if last.len() == LAST_LINES_MAX {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}
