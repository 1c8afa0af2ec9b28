//! The folder in which fetched servers are kept: `<user's
//! cache>/rota/nats-server/<version>/nats-server`.
//!
//! What must hold: a binary appears there whole or not at all (it is renamed into place after it
//! was checked), and only the holder of the [`Lock`] writes. The lock is the kernel's, on an open
//! file: a process that dies lets go of it.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::sleep;

use super::{binary, error::StepError, non_empty_env, version::Version};

const BINARY: &str = "nats-server";
const LOCK: &str = "lock";
/// Work folders lie beside the result, so that a rename suffices to install.
const WORK_PREFIX: &str = "work-";
/// Longer than all ways to fetch together, each at its limit.
const LOCK_LIMIT: Duration = Duration::from_secs(30 * 60);
const LOCK_POLL: Duration = Duration::from_millis(200);

/// The cache folder of this user, if there is one.
pub(super) fn default_root() -> Option<PathBuf> {
    let base = match non_empty_env("XDG_CACHE_HOME").map(PathBuf::from) {
        // The XDG rules: a relative path is invalid and to be ignored.
        Some(folder) if folder.is_absolute() => folder,
        Some(_) | None => env::home_dir()
            .filter(|home| home.is_absolute())?
            .join(".cache"),
    };
    Some(base.join("rota").join("nats-server"))
}

/// The newest good server in the cache.
pub(super) async fn newest(root: &Path) -> Option<PathBuf> {
    for version in versions(root) {
        let path = root.join(version.to_string()).join(BINARY);
        if binary::check(&path).await.is_ok() {
            return Some(path);
        }
    }
    None
}

/// The versions that have a folder, newest first. A folder that cannot be read holds none.
fn versions(root: &Path) -> Vec<Version> {
    let names = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let mut versions: Vec<Version> = names
        .filter_map(|name| Version::parse(name.to_str()?))
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions
}

/// The right to write into the cache folder, held until dropped.
pub(super) struct Lock {
    root: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for other processes that fetch, up to [`LOCK_LIMIT`].
    pub(super) async fn acquire(root: &Path) -> Result<Self, StepError> {
        Self::acquire_within(root, LOCK_LIMIT).await
    }

    async fn acquire_within(root: &Path, limit: Duration) -> Result<Self, StepError> {
        fs::create_dir_all(root).map_err(file_error("create", root))?;
        let path = root.join(LOCK);
        let file = File::create(&path).map_err(file_error("open", &path))?;
        let deadline = Instant::now() + limit;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(file_error("lock", &path)(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(StepError::Locked {
                        lock: path,
                        seconds: limit.as_secs(),
                    });
                }
                Err(TryLockError::WouldBlock) => sleep(LOCK_POLL).await,
            }
        }
        sweep(root);
        Ok(Self {
            root: root.to_owned(),
            _file: file,
        })
    }

    /// An empty folder to fetch into, gone when dropped.
    pub(super) fn work_folder(&self) -> Result<TempDir, StepError> {
        let folder = tempfile::Builder::new()
            .prefix(WORK_PREFIX)
            .tempdir_in(&self.root);
        folder.map_err(file_error("create a folder in", &self.root))
    }

    /// Checks the binary at `path` and moves it to its place.
    pub(super) async fn install(&self, path: &Path) -> Result<PathBuf, StepError> {
        let version = binary::check(path)
            .await
            .map_err(|source| StepError::Binary {
                path: path.to_owned(),
                source,
            })?;
        let folder = self.root.join(version.to_string());
        fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
        let target = folder.join(BINARY);
        fs::rename(path, &target).map_err(file_error("move the server to", &target))?;
        Ok(target)
    }
}

/// Removes what processes that were killed while fetching have left behind. Only under the lock:
/// no one else has a work folder then. What cannot be removed is in nobody's way.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

pub(super) fn file_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StepError + use<> {
    let path = path.to_owned();
    move |source| StepError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::binary::fake_server, *};

    #[tokio::test]
    async fn the_newest_good_server_of_the_cache_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let server = |version: &str| root.path().join(version).join(BINARY);
        fake_server(&server("2.9.9"), "nats-server: v2.9.9");
        assert_eq!(newest(root.path()).await, None);
        fake_server(&server("2.14.2"), "nats-server: v2.14.2");
        fake_server(&server("2.15.1"), "nats-server: v2.15.1");
        fake_server(&server("2.16.0"), "damaged");
        assert_eq!(newest(root.path()).await, Some(server("2.15.1")));
    }

    #[tokio::test]
    async fn a_checked_binary_is_moved_to_the_folder_of_its_version() {
        let root = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(root.path()).await.unwrap();
        let work = lock.work_folder().unwrap();
        let fetched = work.path().join("fetched");
        fake_server(&fetched, "nats-server: v2.10.0");
        assert!(matches!(
            lock.install(&fetched).await,
            Err(StepError::Binary { .. })
        ));
        assert_eq!(newest(root.path()).await, None);
        fake_server(&fetched, "nats-server: v2.15.1");
        let installed = lock.install(&fetched).await.unwrap();
        assert_eq!(installed, root.path().join("2.15.1/nats-server"));
        assert_eq!(newest(root.path()).await, Some(installed));
    }

    #[tokio::test]
    async fn one_lock_at_a_time_and_the_next_holder_sweeps_what_was_left() {
        let root = tempfile::tempdir().unwrap();
        let first = Lock::acquire(root.path()).await.unwrap();
        let left_behind = first.work_folder().unwrap().keep();
        let refused = Lock::acquire_within(root.path(), Duration::ZERO).await;
        assert!(matches!(refused, Err(StepError::Locked { .. })));
        assert!(left_behind.exists());
        drop(first);
        Lock::acquire_within(root.path(), Duration::from_secs(20))
            .await
            .unwrap();
        assert!(!left_behind.exists());
    }
}
