//! Why a server does not run.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use crate::fetch::FetchError;

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no binary.
    #[error("no nats-server to start")]
    Binary(#[source] FetchError),
    /// A file or folder could not be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another server, perhaps one left by a parent that was killed, uses the store.
    #[error("{store} is in use by a nats-server{}; end it or choose another store", named(*pid))]
    StoreInUse {
        /// The store folder.
        store: PathBuf,
        /// The process id of that server, where its ports file tells it.
        pid: Option<u32>,
    },
    /// A path cannot be written into a configuration.
    #[error("the path {path} is not UTF-8, which nats-server's configuration needs")]
    PathNotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// The process could not be started.
    #[error("cannot run {binary}")]
    Spawn {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process ended before it was ready: a taken port, a wrong line in the configuration.
    #[error("nats-server ended with {status} while starting: {log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The process runs but did not become ready.
    #[error("nats-server was not ready after {}s: {log}", limit.as_secs())]
    NotReady {
        /// How long it was given.
        limit: Duration,
        /// The end of its log.
        log: String,
    },
    /// The process could not be signalled or waited for.
    #[error("cannot {action} nats-server with process id {pid}")]
    Process {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Its process id.
        pid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn named(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" with process id {pid}"))
        .unwrap_or_default()
}

pub(super) fn file_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ServerError + use<> {
    let path = path.to_owned();
    move |source| ServerError::File {
        action,
        path,
        source,
    }
}

pub(super) fn process_error(
    action: &'static str,
    pid: u32,
) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::Process {
        action,
        pid,
        source,
    }
}
