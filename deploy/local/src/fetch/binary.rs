//! Asks a binary whether it is a nats-server that Rota can work with.

use std::{path::Path, time::Duration};

use tokio::process::Command;

use super::{
    error::BinaryError,
    version::{VERSION_MIN, Version},
};
use crate::command::run;

/// A server prints its version in milliseconds; the rest is for a busy machine.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// The version of the server at `path`, if it is at least [`VERSION_MIN`].
pub(super) async fn check(path: &Path) -> Result<Version, BinaryError> {
    let mut command = Command::new(path);
    command.arg("--version");
    let output = run(command, VERSION_LIMIT)
        .await
        .map_err(BinaryError::Run)?;
    let is_nats = output.starts_with("nats-server");
    let version = Version::parse(&output).filter(|_| is_nats);
    let version = version.ok_or_else(|| BinaryError::NotNats {
        output: shorten(&output),
    })?;
    if version < VERSION_MIN {
        return Err(BinaryError::TooOld { version });
    }
    Ok(version)
}

fn shorten(output: &str) -> String {
    output.trim().chars().take(80).collect()
}

/// A script that answers `--version` as a server would.
#[cfg(test)]
pub(super) fn fake_server(path: &Path, answer: &str) {
    use std::{fs, os::unix::fs::PermissionsExt};
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_binary_that_is_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats-server");
        fake_server(&path, "mysqld 8.4.0");
        assert!(matches!(
            check(&path).await,
            Err(BinaryError::NotNats { .. })
        ));
        fake_server(&path, "nats-server: v2.14.0");
        assert_eq!(check(&path).await.unwrap(), VERSION_MIN);
        fake_server(&path, "nats-server: v2.13.9");
        assert!(matches!(
            check(&path).await,
            Err(BinaryError::TooOld { .. })
        ));
        assert!(matches!(
            check(folder.path()).await,
            Err(BinaryError::Run(_))
        ));
    }
}
