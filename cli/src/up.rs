//! `rota up`: everything on one machine, each its own process, until Ctrl-C.
//!
//! ```text
//! nats-server ─► streams ─► submitter, scheduler, monitor, workers ─► run ─► drain
//!      ▲                                 ▲                             │
//!      └──────── one that dies is started again ────────┘◄─────────────┘
//! ```
//!
//! What must hold: before anything is started, what the user gave was checked; nothing outlives this
//! process but a store that is kept; the drain ends the services before the server that they talk through.

mod args;
mod banner;
mod console;
mod server;
mod watch;

use std::time::Duration;

use anyhow::anyhow;
use rota_bus::Bus;
use rota_local::{Force, ProcessHandle, Status, Stopped, Supervisor};
use rota_service::{ConnectOptions, Failure, Installation, Shutdown};
use tracing::debug;

pub(crate) use self::args::Args;
use self::banner::Banner;
use self::console::{Console, OWN_NAME, SERVER_NAME};
use self::server::Server;
use crate::children::{self, Children, SINGLE};

/// Lines that wait to be printed; then the services that print wait.
const LINES_MAX: usize = 4_096;
const STOPPING: &str = "stopping: submitter, then workers, scheduler, monitor, nats-server; \
                        Ctrl-C again ends at once";
/// How long the last lines may take to be printed.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(2);

/// Starts everything, runs it until it is told to stop, and drains it.
pub(crate) async fn run(args: Args, shutdown: Shutdown) -> Result<(), Failure> {
    let kinds = args.kinds()?;
    let server = Server::start(&args).await?;
    let connect = server.connect_options(&args);
    let bus = ensure(&connect).await?;
    let workers = if kinds.is_empty() { 0 } else { args.workers };
    let workers: Vec<String> = (1..=workers).map(|number| format!("w{number}")).collect();

    let (supervisor, lines) = Supervisor::new(LINES_MAX);
    let mut names: Vec<&str> = vec![OWN_NAME, SERVER_NAME];
    names.extend(SINGLE);
    names.extend(workers.iter().map(String::as_str));
    let (console, printing) = Console::new(&names, args.log.log_format, lines);
    let printer = tokio::spawn(printing);

    let banner = Banner {
        args: &args,
        bus: &bus,
        server: &server,
        workers: &workers,
        kinds: &kinds,
    };
    banner.print(args.log.log_format)?;
    let mut up = Up {
        supervisor,
        server,
        console,
        workers,
    };
    let ended = match up.start(&args, &connect) {
        Ok(()) => up.keep(&shutdown).await,
        Err(failure) => Err(failure),
    };
    up.drain().await;
    drop(up);
    // Something that left its process group can hold its end of a pipe for ever.
    if tokio::time::timeout(LAST_LINES_LIMIT, printer)
        .await
        .is_err()
    {
        debug!("the last lines were not printed in time");
    }
    ended
}

/// What the services would each find out for themselves, said once and before they start: a server that
/// is not there, too old or without JetStream, and streams that differ.
async fn ensure(connect: &ConnectOptions) -> Result<Bus, Failure> {
    let installation = Installation {
        connect: connect.clone(),
        replicas: args::replicas_from_env()?,
    };
    Ok(installation.connect("up").await?)
}

/// All that runs.
struct Up {
    supervisor: Supervisor,
    server: Server,
    console: Console,
    workers: Vec<String>,
}

impl Up {
    fn start(&mut self, args: &Args, connect: &ConnectOptions) -> Result<(), Failure> {
        let children = Children::new(connect, args.log_flags())?;
        let mut specs: Vec<_> = SINGLE
            .into_iter()
            .map(|name| children.service(name, args.service_flags(name)))
            .collect();
        for name in &self.workers {
            specs.push(children.worker("worker", name, args.worker_flags()));
        }
        for spec in specs {
            let handle: ProcessHandle = self.supervisor.start(spec)?;
            tokio::spawn(watch::tell_restarts(handle, self.console.clone()));
        }
        Ok(())
    }

    /// Until a signal comes. The supervisor restarts services, this the server.
    async fn keep(&mut self, shutdown: &Shutdown) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = shutdown.draining().cancelled() => Ok(()),
            failure = self.server.keep_running(&self.console) => Err(failure),
        }
    }

    /// In the order in which work flows: no new tasks, then those that run, then those who record it.
    async fn drain(&mut self) {
        self.console.say(STOPPING);
        let workers: Vec<&str> = self.workers.iter().map(String::as_str).collect();
        for names in [&["submitter"][..], &workers, &["scheduler"], &["monitor"]] {
            let running: Vec<&str> = names
                .iter()
                .copied()
                .filter(|name| self.supervisor.process(name).is_some())
                .collect();
            let grace = children::stop_grace();
            for stopped in self.supervisor.stop_together(&running, grace).await {
                self.console.say(&told(&stopped));
            }
        }
        self.server.stop(&self.console).await;
    }
}

fn told(stopped: &Stopped) -> String {
    let name = &stopped.process;
    match stopped.status {
        Status::Stopped {
            force: Force::Killed,
            ..
        } => format!("{name} did not end in time and was killed"),
        Status::Stopped {
            status: Some(status),
            ..
        } if !status.success() => format!("{name} stopped with {status}"),
        Status::Stopped { .. } | Status::Exited { .. } => format!("{name} stopped"),
        Status::Running { .. } | Status::Waiting { .. } => format!("{name} still runs"),
    }
}

/// A port that something else listens on is a wish that cannot be met, and there are two ways out.
fn port_taken(port: u16) -> Failure {
    Failure::usage(anyhow!(
        "port {port} is in use on this machine; if a nats-server runs there, use it with \
         --nats nats://127.0.0.1:{port}, else choose another port with --port N (0: any free one)"
    ))
}
