//! The folder that a server lives in: its configuration, log, ports file and data.
//!
//! What must hold: two servers never use one folder. It is locked through the file that takes the
//! server's stdout. The server inherits that open file, and the lock with it: should the parent be
//! killed, a server that is still running keeps the next one out.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::sleep;

use super::{
    ServerOptions, config,
    error::{ServerError, file_error},
    probe,
};

pub(super) const OUTPUT_FILE: &str = "nats-server.out";
pub(super) const LOG_FILE: &str = "nats-server.log";
pub(super) const CONFIG_FILE: &str = "nats-server.conf";
pub(super) const PORTS_FOLDER: &str = "ports";

/// How much of the log an error quotes.
const LOG_LINES_QUOTED: usize = 8;
/// A lock that was just let go can live on for a moment in a child of this process that has been
/// forked and has not yet become its program.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// The folder that a server lives in, locked for as long as this or the server lives.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) folder: PathBuf,
    /// Takes the server's stdout and stderr, and carries the lock.
    pub(super) output: File,
    /// Removes the folder when dropped; none for a folder that the user named.
    _temporary: Option<TempDir>,
}

impl Home {
    pub(super) async fn open(store: Option<&Path>) -> Result<Self, ServerError> {
        let (folder, temporary) = match store {
            Some(store) => {
                fs::create_dir_all(store).map_err(file_error("create", store))?;
                let store = store.canonicalize().map_err(file_error("find", store))?;
                (store, None)
            }
            None => {
                let folder = tempfile::Builder::new().prefix("rota-nats-").tempdir();
                let folder = folder.map_err(file_error("create", &std::env::temp_dir()))?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let file = folder.join(OUTPUT_FILE);
        let output = File::options().create(true).append(true).open(&file);
        let output = output.map_err(file_error("open", &file))?;
        let home = Self {
            folder,
            output,
            _temporary: temporary,
        };
        home.lock().await?;
        Ok(home)
    }

    async fn lock(&self) -> Result<(), ServerError> {
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            match self.output.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    let pid = probe::read_pid(&self.folder.join(PORTS_FOLDER));
                    let store = self.folder.clone();
                    return Err(ServerError::StoreInUse { store, pid });
                }
                Err(TryLockError::WouldBlock) => sleep(LOCK_POLL).await,
                Err(TryLockError::Error(error)) => {
                    return Err(file_error("lock", &self.folder.join(OUTPUT_FILE))(error));
                }
            }
        }
    }

    /// Writes the configuration and removes what an earlier run has left of its ports and output.
    pub(super) fn prepare(&self, port: u16, options: &ServerOptions) -> Result<(), ServerError> {
        let ports = self.folder.join(PORTS_FOLDER);
        match fs::remove_dir_all(&ports) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", &ports)(error));
            }
            Ok(()) | Err(_) => fs::create_dir(&ports).map_err(file_error("create", &ports))?,
        }
        self.output
            .set_len(0)
            .map_err(file_error("empty", &self.folder.join(OUTPUT_FILE)))?;
        let file = self.folder.join(CONFIG_FILE);
        let text = config::text(&self.folder, port, options)?;
        fs::write(&file, text).map_err(file_error("write", &file))
    }

    /// The end of what the server wrote; a fault in the configuration goes to its output, the rest
    /// to its log.
    pub(super) fn last_words(&self) -> String {
        let read = |name: &str| {
            let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (output, log) = (read(OUTPUT_FILE), read(LOG_FILE));
        let text = if output.trim().is_empty() {
            log
        } else {
            output
        };
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let first = lines.len().saturating_sub(LOG_LINES_QUOTED);
        lines[first..].join(" / ")
    }
}
