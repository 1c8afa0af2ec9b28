//! Fetches the distribution's own package of nats-server from a newer suite, and unpacks it.
//!
//! It exists for machines that reach a mirror of their distribution but not the rest of the world.
//! apt does the work, with a state of its own in a work folder: the sources, lists, packages, pins
//! and hooks of the system are neither used nor changed, and nothing is installed. Its signature
//! check stays on, against the distribution's keys; a suite whose key is too new for this machine's
//! keyring fails with that reason, and the next is tried.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use super::{
    cache::{Lock, file_error},
    error::StepError,
    sources::{Archive, Release, read_archives},
};
use crate::command::run;

const PACKAGE: &str = "nats-server";
/// More mirrors than this are not worth the wait.
const ARCHIVES_MAX: usize = 2;
const PROBE_LIMIT: Duration = Duration::from_secs(10);
const UPDATE_LIMIT: Duration = Duration::from_secs(120);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(120);
const UNPACK_LIMIT: Duration = Duration::from_secs(60);

/// What may be configured on the machine and must not act here: hooks that touch the system's
/// caches, and a default release that the private sources do not have.
const CONFIG: &str = "#clear APT::Update::Pre-Invoke;\n\
                      #clear APT::Update::Post-Invoke;\n\
                      #clear APT::Update::Post-Invoke-Success;\n\
                      #clear APT::Default-Release;\n";

const OPTIONS: [&str; 12] = [
    "Dir::Etc::sourceparts=/dev/null",
    "Dir::Etc::preferences=/dev/null",
    "Dir::Etc::preferencesparts=/dev/null",
    "Acquire::AllowInsecureRepositories=false",
    "Acquire::AllowWeakRepositories=false",
    "APT::Get::AllowUnauthenticated=false",
    "APT::Update::Error-Mode=any",
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "Acquire::http::Timeout=15",
    "Acquire::https::Timeout=15",
    "Acquire::Retries=1",
];

pub(super) async fn fetch(lock: &Lock) -> Result<PathBuf, StepError> {
    for tool in ["apt-get", "dpkg-deb"] {
        let mut probe = Command::new(tool);
        probe.arg("--version");
        if run(probe, PROBE_LIMIT).await.is_err() {
            return Err(StepError::NotHere {
                reason: format!("there is no {tool}"),
            });
        }
    }
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = Release::parse(&os_release).ok_or_else(|| StepError::NotHere {
        reason: "this is neither Debian nor Ubuntu".to_owned(),
    })?;
    let archives = read_archives(Path::new("/etc/apt"), &release);
    if archives.is_empty() {
        let reason = "no mirror of the distribution among the apt sources".to_owned();
        return Err(StepError::NotHere { reason });
    }
    try_suites(lock, &release, &archives).await
}

async fn try_suites(
    lock: &Lock,
    release: &Release,
    archives: &[Archive],
) -> Result<PathBuf, StepError> {
    let mut failed = Vec::new();
    for suite in release.distribution.newer_suites() {
        for archive in archives.iter().take(ARCHIVES_MAX) {
            let source = source_line(archive, release, suite, Path::new("/usr/share/keyrings"));
            match fetch_from(lock, &source).await {
                Ok(path) => return Ok(path),
                Err(error) => failed.push(((*suite).to_owned(), Box::new(error))),
            }
        }
    }
    Err(StepError::Suites { failed })
}

/// The one line of the private sources. The distribution's whole keyring is named where the machine
/// has it: an entry may name the key of its own suite alone, or none.
fn source_line(archive: &Archive, release: &Release, suite: &str, keyrings: &Path) -> String {
    let distribution = release.distribution;
    let whole = distribution.keyring_names().map(|name| keyrings.join(name));
    let whole = whole
        .iter()
        .find(|file| file.is_file())
        .map(|file| file.display().to_string());
    let options = match whole.or_else(|| archive.keyring.clone()) {
        Some(keyring) => format!("[signed-by={keyring}] "),
        None => String::new(),
    };
    let components = distribution.components();
    format!("deb {options}{} {suite} {components}\n", archive.uri)
}

async fn fetch_from(lock: &Lock, source: &str) -> Result<PathBuf, StepError> {
    let work = lock.work_folder()?;
    let apt = PrivateApt::create(work.path(), source)?;
    apt.get(&["update"], UPDATE_LIMIT).await?;
    apt.get(&["download", PACKAGE], DOWNLOAD_LIMIT).await?;
    let package = find_package(work.path())?;
    let unpacked = work.path().join("unpacked");
    let mut command = Command::new("dpkg-deb");
    command.arg("--extract").arg(&package).arg(&unpacked);
    run(command, UNPACK_LIMIT)
        .await
        .map_err(|source| StepError::Tool {
            action: "unpack the package".to_owned(),
            source,
        })?;
    let places = ["usr/sbin", "usr/bin"].map(|folder| unpacked.join(folder).join("nats-server"));
    match places.iter().find(|place| place.is_file()) {
        Some(server) => lock.install(server).await,
        None => Err(StepError::Incomplete),
    }
}

fn find_package(folder: &Path) -> Result<PathBuf, StepError> {
    let entries = fs::read_dir(folder).map_err(file_error("list", folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|it| it == "deb"))
        .ok_or(StepError::Incomplete)
}

/// apt with a state of its own below one folder.
struct PrivateApt {
    folder: PathBuf,
    options: Vec<OsString>,
}

impl PrivateApt {
    fn create(folder: &Path, source: &str) -> Result<Self, StepError> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(file_error("create", &path))?;
        }
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(file_error("write", &path))?;
            Ok(path)
        };
        let mut options = vec!["-c".into(), write("apt.conf", CONFIG)?.into_os_string()];
        let mut set = |key: &str, path: PathBuf| {
            let mut option = OsString::from(format!("{key}="));
            option.push(path);
            options.extend(["-o".into(), option]);
        };
        set("Dir::Etc::sourcelist", write("sources.list", source)?);
        set("Dir::State::status", write("status", "")?);
        set("Dir::State", folder.join("state"));
        set("Dir::Cache", folder.join("cache"));
        for option in OPTIONS {
            options.extend(["-o".into(), option.into()]);
        }
        if rustix::process::geteuid().is_root() {
            // apt would step down to a user that cannot write into the work folder.
            options.extend(["-o".into(), "APT::Sandbox::User=root".into()]);
        }
        Ok(Self {
            folder: folder.to_owned(),
            options,
        })
    }

    async fn get(&self, arguments: &[&str], limit: Duration) -> Result<(), StepError> {
        let mut command = Command::new("apt-get");
        command.args(&self.options).arg("-q").args(arguments);
        command.current_dir(&self.folder).env("LC_ALL", "C");
        match run(command, limit).await {
            Ok(_) => Ok(()),
            Err(source) => {
                let action = format!("apt-get {}", arguments.join(" "));
                Err(StepError::Tool { action, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noble() -> Release {
        Release::parse("ID=ubuntu\nVERSION_CODENAME=noble\n").unwrap()
    }

    fn archive(keyring: Option<&str>) -> Archive {
        let uri = "http://mirror.test/ubuntu".to_owned();
        Archive {
            uri,
            keyring: keyring.map(str::to_owned),
        }
    }

    #[test]
    fn the_distributions_whole_keyring_is_preferred_to_what_the_entry_names() {
        let keyrings = tempfile::tempdir().unwrap();
        let line = |keyring| source_line(&archive(keyring), &noble(), "devel", keyrings.path());
        let rest = "http://mirror.test/ubuntu devel main universe\n";
        assert_eq!(line(None), format!("deb {rest}"));
        assert_eq!(
            line(Some("/k/own.gpg")),
            format!("deb [signed-by=/k/own.gpg] {rest}")
        );
        let whole = keyrings.path().join("ubuntu-archive-keyring.gpg");
        fs::write(&whole, "").unwrap();
        let expected = format!("deb [signed-by={}] {rest}", whole.display());
        assert_eq!(
            (line(None), line(Some("/k/own.gpg"))),
            (expected.clone(), expected)
        );
    }

    /// Where apt is installed, it is asked for what it would use.
    #[tokio::test]
    async fn apt_takes_nothing_from_the_system_but_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let apt = PrivateApt::create(folder.path(), "deb http://mirror.test/debian sid main\n");
        let mut command = Command::new("apt-config");
        command.args(apt.unwrap().options).arg("dump");
        let Ok(dump) = run(command, PROBE_LIMIT).await else {
            return;
        };
        let own = folder.path().display();
        for line in [
            format!("Dir::State \"{own}/state\";"),
            format!("Dir::Cache \"{own}/cache\";"),
            format!("Dir::Etc::sourcelist \"{own}/sources.list\";"),
            "Dir::Etc::sourceparts \"/dev/null\";".to_owned(),
            "APT::Get::AllowUnauthenticated \"false\";".to_owned(),
        ] {
            assert!(dump.contains(&line), "{line} is missing in {dump}");
        }
        assert!(!dump.contains("APT::Update::Post-Invoke:: "), "{dump}");
    }
}
