//! Why there is no nats-server: one reason for each way that was tried, and what to do by hand.

use std::{error::Error, fmt::Write, io, path::PathBuf};

use super::version::{VERSION_MIN, Version};
use crate::command::CommandError;

/// There is no nats-server to run.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The user named a binary, and it will not do. No other is taken in its place.
    #[error("ROTA_NATS_SERVER names {path}, which cannot be used; unset it or name a good one")]
    Explicit {
        /// What the variable says.
        path: PathBuf,
        /// Why it will not do.
        #[source]
        source: BinaryError,
    },
    /// Every way failed.
    #[error("{}", not_found(failed))]
    NotFound {
        /// The ways in the order in which they were tried.
        failed: Vec<FailedStep>,
    },
}

/// One way to a nats-server that led nowhere.
#[derive(Debug)]
pub struct FailedStep {
    /// The way: `PATH`, `cache`, `release`, `apt` or `go`.
    pub step: &'static str,
    /// Why it failed.
    pub error: StepError,
}

impl FailedStep {
    /// The reason with everything that caused it, in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        chain(&self.error)
    }
}

/// Why one way led nowhere.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// None on PATH.
    #[error("no nats-server there")]
    NotInstalled,
    /// Nowhere to put a fetched binary.
    #[error("no folder to keep a fetched server in; set XDG_CACHE_HOME or HOME")]
    NoCacheFolder,
    /// Another process holds the lock and does not let go.
    #[error("another process has been fetching for {seconds} s; its lock is {lock}")]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// How long this process waited.
        seconds: u64,
    },
    /// This way does not exist on this machine.
    #[error("not possible here: {reason}")]
    NotHere {
        /// What is missing.
        reason: String,
    },
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
    /// A tool failed.
    #[error("cannot {action}")]
    Tool {
        /// What it was to do, as a verb with its object.
        action: String,
        /// How it failed.
        #[source]
        source: CommandError,
    },
    /// What was downloaded is not what the release lists.
    #[error("the SHA-256 of {file} is {actual}, but the release says {expected}")]
    Digest {
        /// The downloaded file.
        file: String,
        /// Its digest.
        actual: String,
        /// The digest in the release's list.
        expected: String,
    },
    /// The release's list of digests does not name the file.
    #[error("the release's list of digests does not name {file}")]
    DigestMissing {
        /// The downloaded file.
        file: String,
    },
    /// The file is not where the package or archive should have it.
    #[error("no nats-server in what was fetched")]
    Incomplete,
    /// The binary will not do.
    #[error("{path} cannot be used")]
    Binary {
        /// The binary.
        path: PathBuf,
        /// Why not.
        #[source]
        source: BinaryError,
    },
    /// Each suite of the distribution failed, for its own reason.
    #[error("{}", suites(failed))]
    Suites {
        /// Suite and reason, in the order tried.
        failed: Vec<(String, Box<StepError>)>,
    },
}

/// Why a binary is no nats-server for Rota.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It does not run.
    #[error("it does not tell its version")]
    Run(#[source] CommandError),
    /// It runs and is something else.
    #[error("it answers --version with {output:?}, not with a version of nats-server")]
    NotNats {
        /// What it printed.
        output: String,
    },
    /// It is nats-server, but too old.
    #[error("{version} is older than {VERSION_MIN}")]
    TooOld {
        /// Its version.
        version: Version,
    },
}

fn not_found(failed: &[FailedStep]) -> String {
    let mut text = format!("no nats-server {VERSION_MIN} or newer could be found or fetched");
    for failure in failed {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {:<8} {}", failure.step, failure.reason());
    }
    text.push_str("\ninstall one on PATH, or set ROTA_NATS_SERVER to the path of one");
    text
}

fn suites(failed: &[(String, Box<StepError>)]) -> String {
    let reasons: Vec<String> = failed
        .iter()
        .map(|(suite, error)| format!("suite {suite}: {}", chain(error)))
        .collect();
    reasons.join("; ")
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_error_lists_each_way_with_its_causes_and_what_to_do() {
        let source = BinaryError::TooOld {
            version: Version::parse("v2.9.0").unwrap(),
        };
        let binary = StepError::Binary {
            path: "/bin/nats-server".into(),
            source,
        };
        let missing = StepError::NotHere {
            reason: "there is no go on PATH".to_owned(),
        };
        let suites = StepError::Suites {
            failed: vec![("sid".to_owned(), Box::new(missing))],
        };
        let failed = vec![
            FailedStep {
                step: "PATH",
                error: binary,
            },
            FailedStep {
                step: "apt",
                error: suites,
            },
        ];
        let expected = "no nats-server 2.14.0 or newer could be found or fetched\
            \n  PATH     /bin/nats-server cannot be used: 2.9.0 is older than 2.14.0\
            \n  apt      suite sid: not possible here: there is no go on PATH\
            \ninstall one on PATH, or set ROTA_NATS_SERVER to the path of one";
        assert_eq!(FetchError::NotFound { failed }.to_string(), expected);
    }
}
