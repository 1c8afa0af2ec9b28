//! Finds a nats-server that is new enough for Rota, or fetches one into the user's cache folder.
//!
//! It exists so that `rota up` and `cargo test` work on a machine that has only Rust. Every way is
//! tried in order, and the first good binary wins:
//!
//! ```text
//! ROTA_NATS_SERVER ─► PATH ─► cache ─► [lock, cache again] ─► release ─► apt ─► go ─► error
//!    (set: final)                       archive, checked ┘     │         └ build from source
//!                                  distribution's package, signed ┘
//! ```
//!
//! What must hold: a binary is only handed out after it answered `--version` with at least
//! [`VERSION_MIN`]; what is fetched is checked by a digest or a signature; nothing of the system is
//! changed; two processes that fetch at once do not harm each other; each step has a time limit;
//! and when all fail, the error says for each way why.

mod apt;
mod binary;
mod cache;
mod error;
mod golang;
mod release;
mod sources;
mod version;

use std::{
    env,
    ffi::OsString,
    future::Future,
    path::{Path, PathBuf},
};

use tokio::sync::OnceCell;
use tracing::{info, warn};

pub use self::{
    error::{BinaryError, FailedStep, FetchError, StepError},
    version::{VERSION_MIN, Version},
};

/// Names a nats-server binary to use instead of any other.
const EXPLICIT_ENV: &str = "ROTA_NATS_SERVER";
/// Where Debian's and Ubuntu's package puts the server; not on every user's PATH.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];

/// The path of a nats-server of at least [`VERSION_MIN`], found or fetched.
///
/// The first call of a process may take minutes when it has to fetch; later ones are free. Callers
/// that run at the same time, in this process or in others, wait for the one that fetches.
pub async fn nats_server() -> Result<PathBuf, FetchError> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND
        .get_or_try_init(|| async { Search::from_env().find().await })
        .await
        .cloned()
}

/// Where to look, taken from the environment once.
struct Search {
    explicit: Option<PathBuf>,
    path: Option<OsString>,
    cache: Option<PathBuf>,
}

impl Search {
    fn from_env() -> Self {
        Self {
            explicit: non_empty_env(EXPLICIT_ENV).map(PathBuf::from),
            path: env::var_os("PATH"),
            cache: cache::default_root(),
        }
    }

    async fn find(&self) -> Result<PathBuf, FetchError> {
        let mut failed = Vec::new();
        if let Some(found) = self.find_installed(&mut failed).await? {
            return Ok(found);
        }
        let Some(root) = &self.cache else {
            failed.push(FailedStep {
                step: "cache",
                error: StepError::NoCacheFolder,
            });
            return Err(FetchError::NotFound { failed });
        };
        match fetch_into(root, &mut failed).await {
            Some(found) => Ok(found),
            None => Err(FetchError::NotFound { failed }),
        }
    }

    /// Everything that needs no network: the explicit path, PATH, and the cache.
    async fn find_installed(
        &self,
        failed: &mut Vec<FailedStep>,
    ) -> Result<Option<PathBuf>, FetchError> {
        if let Some(path) = &self.explicit {
            return match binary::check(path).await {
                Ok(_) => Ok(Some(path.clone())),
                Err(source) => Err(FetchError::Explicit {
                    path: path.clone(),
                    source,
                }),
            };
        }
        for path in self.on_path() {
            match binary::check(&path).await {
                Ok(_) => return Ok(Some(path)),
                Err(source) => note(failed, "PATH", StepError::Binary { path, source }),
            }
        }
        if failed.is_empty() {
            failed.push(FailedStep {
                step: "PATH",
                error: StepError::NotInstalled,
            });
        }
        match &self.cache {
            Some(root) => Ok(cache::newest(root).await),
            None => Ok(None),
        }
    }

    fn on_path(&self) -> Vec<PathBuf> {
        let path = self.path.as_ref();
        let folders = path.into_iter().flat_map(env::split_paths);
        let system = SYSTEM_FOLDERS
            .into_iter()
            .map(PathBuf::from)
            .filter(|_| path.is_some());
        let mut found: Vec<PathBuf> = Vec::new();
        for file in folders
            .chain(system)
            .map(|folder| folder.join("nats-server"))
        {
            if file.is_file() && !found.contains(&file) {
                found.push(file);
            }
        }
        found
    }
}

/// Tries each way over the network, under the lock of the cache folder.
async fn fetch_into(root: &Path, failed: &mut Vec<FailedStep>) -> Option<PathBuf> {
    let lock = match cache::Lock::acquire(root).await {
        Ok(lock) => lock,
        Err(error) => {
            note(failed, "cache", error);
            return None;
        }
    };
    // Another process may have fetched while this one waited for the lock.
    if let Some(found) = cache::newest(root).await {
        return Some(found);
    }
    info!(folder = %root.display(), "no nats-server here that is new enough, fetching one");
    if let Some(found) = attempt("release", Box::pin(release::fetch(&lock)), failed).await {
        return Some(found);
    }
    if let Some(found) = attempt("apt", Box::pin(apt::fetch(&lock)), failed).await {
        return Some(found);
    }
    attempt("go", Box::pin(golang::fetch(&lock)), failed).await
}

async fn attempt(
    step: &'static str,
    fetch: impl Future<Output = Result<PathBuf, StepError>>,
    failed: &mut Vec<FailedStep>,
) -> Option<PathBuf> {
    info!(step, "fetching nats-server");
    match fetch.await {
        Ok(path) => {
            info!(step, path = %path.display(), "fetched nats-server");
            Some(path)
        }
        Err(error) => {
            note(failed, step, error);
            None
        }
    }
}

fn note(failed: &mut Vec<FailedStep>, step: &'static str, error: StepError) {
    let failure = FailedStep { step, error };
    warn!(step, error = %failure.reason(), "no nats-server this way");
    failed.push(failure);
}

fn non_empty_env(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{binary::fake_server, *};

    fn search_in(folder: &Path) -> Search {
        // An empty PATH folder, and no system folders: those of this machine are not under test.
        Search {
            explicit: None,
            path: None,
            cache: Some(folder.join("cache")),
        }
    }

    async fn installed(search: &Search) -> Option<PathBuf> {
        search.find_installed(&mut Vec::new()).await.unwrap()
    }

    #[tokio::test]
    async fn an_explicit_binary_comes_before_path_and_path_before_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let (explicit, on_path) = (
            folder.path().join("mine"),
            folder.path().join("bin/nats-server"),
        );
        let cached = folder.path().join("cache/2.99.0/nats-server");
        let mut search = search_in(folder.path());
        assert_eq!(installed(&search).await, None);

        fake_server(&cached, "nats-server: v2.99.0");
        assert_eq!(installed(&search).await, Some(cached));
        fake_server(&on_path, "nats-server: v2.15.0");
        search.path = Some(folder.path().join("bin").into_os_string());
        assert_eq!(installed(&search).await, Some(on_path));
        fake_server(&explicit, "nats-server: v2.14.0");
        search.explicit = Some(explicit.clone());
        assert_eq!(installed(&search).await, Some(explicit));
    }

    #[tokio::test]
    async fn an_explicit_binary_that_is_too_old_is_an_error_even_when_another_would_do() {
        let folder = tempfile::tempdir().unwrap();
        let explicit = folder.path().join("old");
        fake_server(&explicit, "nats-server: v2.9.1");
        fake_server(
            &folder.path().join("cache/2.15.1/nats-server"),
            "nats-server: v2.15.1",
        );
        let search = Search {
            explicit: Some(explicit),
            ..search_in(folder.path())
        };
        let error = search.find().await.unwrap_err();
        assert!(matches!(error, FetchError::Explicit { .. }), "{error}");
        assert!(error.to_string().contains(EXPLICIT_ENV), "{error}");
    }

    #[tokio::test]
    async fn an_old_server_on_path_is_passed_over_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let (old, cached) = (
            folder.path().join("nats-server"),
            "cache/2.15.1/nats-server",
        );
        fake_server(&old, "nats-server: v2.10.4");
        fake_server(&folder.path().join(cached), "nats-server: v2.15.1");
        let path = Some(folder.path().as_os_str().to_owned());
        let search = Search {
            path,
            ..search_in(folder.path())
        };
        let mut failed = Vec::new();
        let found = search.find_installed(&mut failed).await.unwrap();
        // A server of the system may have been found first where one is installed.
        assert!(found.is_some_and(|path| path != old));
        assert!(
            failed[0].reason().contains("2.10.4 is older than 2.14.0"),
            "{}",
            failed[0].reason()
        );
    }

    #[tokio::test]
    async fn a_user_without_a_cache_folder_is_told_what_to_do() {
        let search = Search {
            explicit: None,
            path: None,
            cache: None,
        };
        let error = search.find().await.unwrap_err().to_string();
        assert!(
            error.contains("XDG_CACHE_HOME") && error.contains(EXPLICIT_ENV),
            "{error}"
        );
    }

    /// On a fresh machine this fetches, which is what every other test then stands on.
    #[tokio::test]
    async fn the_server_found_or_fetched_here_is_new_enough() {
        let path = nats_server().await.unwrap();
        assert!(fs::metadata(&path).unwrap().is_file());
        assert!(binary::check(&path).await.unwrap() >= VERSION_MIN);
    }
}
