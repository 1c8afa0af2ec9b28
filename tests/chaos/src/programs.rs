//! Which program a process is started from: this build, another folder, or now and then an older release.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::RngExt;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use crate::fault::{Life, Role};

const OWN: &str = "rota-chaos";
const SERVICES: [&str; 4] = [
    "rota-submitter",
    "rota-scheduler",
    "rota-worker",
    "rota-monitor",
];

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    services: PathBuf,
    own: PathBuf,
    old: Option<PathBuf>,
    seed: u64,
}

impl Programs {
    /// Programs of a folder, or built here when there is none; with older ones mixed in if they have one.
    ///
    /// # Errors
    /// When something cannot be built, or is not there.
    pub async fn prepare(
        services: Option<PathBuf>,
        old: Option<PathBuf>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let preparing = move || Self::new(services.as_deref(), old.as_deref(), seed);
        let prepared = tokio::task::spawn_blocking(preparing).await?;
        prepared.context("no programs")
    }

    fn new(services: Option<&Path>, old: Option<&Path>, seed: u64) -> anyhow::Result<Self> {
        let own = match services {
            Some(folder) if folder.join("rota-chaos-worker").is_file() => folder.to_owned(),
            Some(_) | None => rota_tests::build_packages(&[OWN]),
        };
        let services = match services {
            Some(folder) => folder.to_owned(),
            None => rota_tests::build_packages(&SERVICES),
        };
        let programs = Self {
            services,
            own,
            old: old.map(Path::to_owned),
            seed,
        };
        let folders = [Some(&programs.services), programs.old.as_ref()];
        for folder in folders.into_iter().flatten() {
            for service in SERVICES {
                let file = folder.join(service);
                std::fs::metadata(&file).with_context(|| format!("no {}", file.display()))?;
            }
        }
        Ok(programs)
    }

    /// The program of the tasks that are commands.
    #[must_use]
    pub fn task(&self) -> PathBuf {
        self.own.join("rota-chaos-task")
    }

    /// The program for a life of a process, and whether it is the older release.
    #[must_use]
    pub fn choose(&self, life: Life) -> (PathBuf, bool) {
        let name = match life.place.role {
            Role::Submitter => SERVICES[0],
            Role::Scheduler => SERVICES[1],
            Role::Worker => SERVICES[2],
            Role::Monitor => SERVICES[3],
        };
        match &self.old {
            Some(old) if self.picks_old(life) => (old.join(name), true),
            // Every other worker has Rust functions, too.
            _ if life.place.role == Role::Worker && life.place.number % 2 == 1 => {
                (self.own.join("rota-chaos-worker"), false)
            }
            Some(_) | None => (self.services.join(name), false),
        }
    }

    /// Decided by the seed and the life alone, in whatever order processes are started.
    fn picks_old(&self, Life { place, number }: Life) -> bool {
        let role = place.role as u64;
        let which = (role << 48) | ((place.number as u64) << 32) | number as u64;
        Pcg64::seed_from_u64(self.seed ^ which.rotate_left(17)).random_bool(0.5)
    }
}
