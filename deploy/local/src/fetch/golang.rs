//! Builds the server from its source with `go install`, where there is a Go tool chain.
//!
//! The last way, because it takes a minute or two. Go checks the sources against its own
//! checksum database; caches and proxies are the user's own.

use std::{path::PathBuf, time::Duration};

use tokio::process::Command;

use super::{cache::Lock, error::StepError};
use crate::command::run;

const MODULE: &str = "github.com/nats-io/nats-server/v2@v2.15.1";
const PROBE_LIMIT: Duration = Duration::from_secs(20);
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);

pub(super) async fn fetch(lock: &Lock) -> Result<PathBuf, StepError> {
    let mut probe = Command::new("go");
    probe.arg("version");
    if let Err(error) = run(probe, PROBE_LIMIT).await {
        return Err(StepError::NotHere {
            reason: format!("no Go tool chain ({error})"),
        });
    }
    let work = lock.work_folder()?;
    let mut install = Command::new("go");
    // The user's GOFLAGS may suit their own modules (-mod=vendor), but not this one.
    install
        .args(["install", MODULE])
        .env("GOBIN", work.path())
        .env("GOFLAGS", "-mod=mod");
    install.current_dir(work.path());
    match run(install, BUILD_LIMIT).await {
        Ok(_) => lock.install(&work.path().join("nats-server")).await,
        Err(source) => Err(StepError::Tool {
            action: format!("build {MODULE}"),
            source,
        }),
    }
}
