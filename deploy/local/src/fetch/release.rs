//! Fetches the official release archive, with whichever of curl and wget there is.
//!
//! Their use spares this crate a TLS stack, and both know the proxies and certificates of the
//! machine. The archive is checked against the digests published beside it: that shows a damaged or
//! cut download; that it is the project's own rests on HTTPS.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::{
    cache::{Lock, file_error},
    error::StepError,
};
use crate::command::{CommandError, run};

const VERSION: &str = "2.15.1";
const RELEASES: &str = "https://github.com/nats-io/nats-server/releases/download";
const DIGESTS: &str = "SHA256SUMS";

const CONNECT_SECONDS: &str = "5";
/// The list of digests comes first: where there is no network, this is how soon it is known.
const DIGESTS_LIMIT: Duration = Duration::from_secs(20);
/// The archive has some 7 MB.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(180);
const UNPACK_LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn fetch(lock: &Lock) -> Result<PathBuf, StepError> {
    let name = archive_name(env::consts::OS, env::consts::ARCH)?;
    let archive = format!("{name}.tar.gz");
    let work = lock.work_folder()?;
    let digests = work.path().join(DIGESTS);
    download(DIGESTS, &digests, DIGESTS_LIMIT).await?;
    let digests = fs::read_to_string(&digests).map_err(file_error("read", &digests))?;
    let expected = find_digest(&digests, &archive)?;

    let file = work.path().join(&archive);
    download(&archive, &file, ARCHIVE_LIMIT).await?;
    let actual = digest(&file).map_err(file_error("read", &file))?;
    if actual != expected {
        return Err(StepError::Digest {
            file: archive,
            actual,
            expected,
        });
    }
    let member = format!("{name}/nats-server");
    unpack(&file, &member, work.path()).await?;
    lock.install(&work.path().join(member)).await
}

/// The name of the archive for a machine, in the words of the release.
fn archive_name(system: &str, processor: &str) -> Result<String, StepError> {
    let system = match system {
        "linux" => Some("linux"),
        "macos" => Some("darwin"),
        _ => None,
    };
    let processor_name = match processor {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        _ => None,
    };
    match (system, processor_name) {
        (Some(system), Some(processor)) => {
            Ok(format!("nats-server-v{VERSION}-{system}-{processor}"))
        }
        _ => Err(StepError::NotHere {
            reason: format!("no archive for {processor} is known"),
        }),
    }
}

async fn download(name: &str, target: &Path, limit: Duration) -> Result<(), StepError> {
    let url = format!("{RELEASES}/v{VERSION}/{name}");
    let result = match run(curl(&url, target), limit).await {
        Err(error) if is_missing(&error) => match run(wget(&url, target), limit).await {
            Err(error) if is_missing(&error) => {
                let reason = "there is neither curl nor wget on PATH".to_owned();
                return Err(StepError::NotHere { reason });
            }
            other => other,
        },
        other => other,
    };
    match result {
        Ok(_) => Ok(()),
        Err(source) => Err(StepError::Tool {
            action: format!("download {url}"),
            source,
        }),
    }
}

fn curl(url: &str, target: &Path) -> Command {
    let mut command = Command::new("curl");
    command
        .args([
            "--fail",
            "--location",
            "--silent",
            "--show-error",
            "--proto",
            "=https",
        ])
        .args(["--connect-timeout", CONNECT_SECONDS, "--output"])
        .args([target.as_os_str(), url.as_ref()]);
    command
}

fn wget(url: &str, target: &Path) -> Command {
    let mut command = Command::new("wget");
    command
        .args([
            "--no-verbose",
            "--https-only",
            "--tries=1",
            "--read-timeout=20",
        ])
        .args([
            "--dns-timeout",
            CONNECT_SECONDS,
            "--connect-timeout",
            CONNECT_SECONDS,
        ])
        .arg("--output-document")
        .args([target.as_os_str(), url.as_ref()]);
    command
}

fn is_missing(error: &CommandError) -> bool {
    matches!(error, CommandError::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Finds a file in a list as `sha256sum` writes it: digest, two spaces (or space and star), name.
fn find_digest(digests: &str, file: &str) -> Result<String, StepError> {
    let mut listed = digests.lines().filter_map(|line| {
        let (digest, name) = line.trim().split_once(char::is_whitespace)?;
        let name = name.trim_start();
        (name.strip_prefix('*').unwrap_or(name) == file).then(|| digest.to_ascii_lowercase())
    });
    let is_digest =
        |digest: &String| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = listed.find(is_digest);
    found.ok_or_else(|| StepError::DigestMissing {
        file: file.to_owned(),
    })
}

fn digest(file: &Path) -> io::Result<String> {
    let bytes = fs::read(file)?;
    Ok(Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

async fn unpack(archive: &Path, member: &str, target: &Path) -> Result<(), StepError> {
    let mut command = Command::new("tar");
    command
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(target)
        .arg(member);
    match run(command, UNPACK_LIMIT).await {
        Ok(_) => Ok(()),
        Err(source) => Err(StepError::Tool {
            action: format!("unpack {member}"),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn each_supported_machine_has_its_archive() {
        let name = |system, processor| archive_name(system, processor).unwrap();
        assert_eq!(
            name("linux", "x86_64"),
            format!("nats-server-v{VERSION}-linux-amd64")
        );
        assert_eq!(
            name("macos", "aarch64"),
            format!("nats-server-v{VERSION}-darwin-arm64")
        );
        assert!(archive_name("linux", "riscv64").is_err());
        assert!(archive_name("freebsd", "x86_64").is_err());
    }

    #[test]
    fn a_digest_is_found_by_the_whole_name_of_its_file() {
        let list = format!(
            "{}  x-a.tar.gz.sig\n{ABC}  a.tar.gz\n{ABC} *b.zip\n",
            "0".repeat(64)
        );
        assert_eq!(find_digest(&list, "a.tar.gz").unwrap(), ABC);
        assert_eq!(find_digest(&list.to_uppercase(), "A.TAR.GZ").unwrap(), ABC);
        assert_eq!(find_digest(&list, "b.zip").unwrap(), ABC);
        assert!(find_digest(&list, "tar.gz").is_err());
        assert!(find_digest("404: Not Found  a.tar.gz", "a.tar.gz").is_err());
    }

    #[test]
    fn the_digest_of_a_file_is_its_sha_256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        assert_eq!(digest(file.path()).unwrap(), ABC);
    }

    #[tokio::test]
    async fn the_server_is_unpacked_from_an_archive_as_the_release_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (packed, target) = (
            folder.path().join("x/nats-server"),
            folder.path().join("out"),
        );
        super::super::binary::fake_server(&packed, "nats-server: v2.15.1");
        fs::create_dir(&target).unwrap();
        let archive = folder.path().join("x.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(folder.path())
            .arg("x");
        run(tar, UNPACK_LIMIT).await.unwrap();
        unpack(&archive, "x/nats-server", &target).await.unwrap();
        assert!(
            super::super::binary::check(&target.join("x/nats-server"))
                .await
                .is_ok()
        );
        assert!(unpack(&archive, "y/nats-server", &target).await.is_err());
    }
}
