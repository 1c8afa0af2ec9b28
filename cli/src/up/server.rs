//! The NATS side of `rota up`: a nats-server of its own that is kept running, or one that is there.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use rota_local::{NatsServer, Orphaned, ServerError, ServerOptions};
use rota_service::{ConnectOptions, Failure};
use tokio::time::sleep;

use super::args::Args;
use super::console::{Console, SERVER_NAME};
use super::port_taken;

/// The waits before a server that ended is started again, doubled from the first to the last.
const RESTART_WAIT_FIRST: Duration = Duration::from_millis(200);
const RESTART_WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Server {
    /// Started here: ends with this process.
    Own(Box<NatsServer>),
    /// There already: left alone.
    Given,
}

impl Server {
    pub(super) async fn start(args: &Args) -> Result<Self, Failure> {
        let Some(port) = args.own_server()? else {
            return Ok(Self::Given);
        };
        let store = args.store_folder()?;
        if port != 0 {
            check_free(port)?;
        }
        let options = ServerOptions {
            port: (port != 0).then_some(port),
            store: Some(store),
            // Started, also again, by the future that the main thread runs.
            orphaned: Orphaned::Ends,
            ..ServerOptions::default()
        };
        let server = NatsServer::start(options).await.map_err(not_started)?;
        Ok(Self::Own(Box::new(server)))
    }

    pub(super) fn connect_options(&self, args: &Args) -> ConnectOptions {
        let nats = match self {
            Self::Own(server) => vec![server.url().parse().expect("a server tells a good address")],
            Self::Given => args.nats.clone(),
        };
        ConnectOptions {
            nats,
            creds: args.creds.clone(),
            prefix: args.prefix.clone(),
            inbox_prefix: args.inbox_prefix.clone(),
        }
    }

    /// Pending for ever, but for a system that cannot tell whether the server runs.
    pub(super) async fn keep_running(&mut self, console: &Console) -> Failure {
        let Self::Own(server) = self else {
            return std::future::pending().await;
        };
        loop {
            let status = match server.exited().await {
                Ok(status) => status,
                Err(error) => return Failure::internal(error),
            };
            console.warn(
                SERVER_NAME,
                &format!("ended with {status}, starting it again"),
            );
            let mut wait = RESTART_WAIT_FIRST;
            while let Err(error) = server.start_again().await {
                console.warn(SERVER_NAME, &format!("cannot be started again: {error}"));
                sleep(wait).await;
                wait = (wait * 2).min(RESTART_WAIT_MAX);
            }
            let pid = server.pid().unwrap_or_default();
            console.tell(
                SERVER_NAME,
                &format!("runs again as process {pid}, same port, same store"),
            );
        }
    }

    pub(super) async fn stop(&mut self, console: &Console) {
        if let Self::Own(server) = self {
            match server.stop().await {
                Ok(()) => console.say("nats-server stopped; what was submitted is kept"),
                Err(error) => console.warn(SERVER_NAME, &format!("cannot be stopped: {error}")),
            }
        }
    }
}

/// What is wrong with the folder is the user's to mend.
fn not_started(error: ServerError) -> Failure {
    match error {
        ServerError::File { .. }
        | ServerError::StoreInUse { .. }
        | ServerError::PathNotUtf8 { .. } => Failure::usage(
            anyhow::Error::new(error).context("tasks cannot be kept there, see --store"),
        ),
        ServerError::Binary(_)
        | ServerError::Spawn { .. }
        | ServerError::Ended { .. }
        | ServerError::NotReady { .. }
        | ServerError::Process { .. } => Failure::internal(error),
    }
}

/// nats-server would say it too, in its log.
fn check_free(port: u16) -> Result<(), Failure> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(port_taken(port)),
        // Any other trouble is the server's to tell.
        Ok(_) | Err(_) => Ok(()),
    }
}
