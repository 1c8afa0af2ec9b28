//! The services' binaries, built once before the first of them is started.
//!
//! `cargo test` builds no binaries of other packages. So this asks the same cargo for them, with the
//! profile and the target folder of the running test; when all is fresh that takes a moment.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// A service of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The front door.
    Submitter,
    /// Leads or stands by.
    Scheduler,
    /// Runs tasks.
    Worker,
    /// Watches.
    Monitor,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Submitter,
        Self::Scheduler,
        Self::Worker,
        Self::Monitor,
    ];

    const fn binary_name(self) -> &'static str {
        match self {
            Self::Submitter => "rota-submitter",
            Self::Scheduler => "rota-scheduler",
            Self::Worker => "rota-worker",
            Self::Monitor => "rota-monitor",
        }
    }

    pub(crate) fn binary(self) -> PathBuf {
        FOLDER.join(self.binary_name())
    }
}

static FOLDER: LazyLock<PathBuf> =
    LazyLock::new(|| build_packages(&Service::ALL.map(Service::binary_name)));

/// Builds the binaries unless that is done. Before connecting: a server takes a client that does nothing
/// for so long for dead.
pub(crate) async fn built() {
    let building = tokio::task::spawn_blocking(|| LazyLock::force(&FOLDER));
    building.await.expect("the services can be built");
}

/// Builds the binaries of packages, and gives their folder.
///
/// # Panics
/// When that fails.
#[must_use]
pub fn build_packages(packages: &[&str]) -> PathBuf {
    let folder = profile_folder();
    let target = folder.parent().expect("a profile's folder has a parent");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("no profile in {}", folder.display()),
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "build",
        "--quiet",
        "--profile",
        profile,
    ]);
    for package in packages {
        command.args(["--package", package]);
    }
    command.arg("--target-dir").arg(target);
    // Cargo has told these to the test. Build scripts that look at them would run again, and once more in
    // the next `cargo test`.
    for (variable, _) in env::vars_os() {
        let name = variable.as_encoded_bytes();
        if name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_") {
            command.env_remove(variable);
        }
    }
    let output = command.output().expect("cargo can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "building the services failed:\n{errors}"
    );
    folder
}

/// `target/<profile>`: a program lies there, a test in its `deps`.
fn profile_folder() -> PathBuf {
    let own = env::current_exe().expect("a process knows its own file");
    let folder = own.parent().expect("a file lies in a folder");
    match folder.parent() {
        Some(profile) if folder.ends_with("deps") => profile.to_owned(),
        Some(_) | None => folder.to_owned(),
    }
}
