//! A storm from its beginning to its end: everything is started, loaded and hurt as planned; then it calms
//! down, and what was seen becomes a [`History`].

mod strike;
mod watch;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::clock::Moment;
use crate::crew::{Manner, Running, Setting};
use crate::facts::{FaultFact, History, Left, Span, executions};
use crate::fault::Family;
use crate::folder::Folder;
use crate::harvest::{Harvest, dead_letters, ids_in};
use crate::load::{Load, Sender};
use crate::logs::Logs;
use crate::plan::{Crew, PlanOptions, plan};
use crate::programs::Programs;
use crate::servers::{Disk, Servers};
use crate::wall::WallClocks;
use crate::{kinds, ledger};
use strike::Striker;
use watch::Watch;

/// Streams that must be empty in the end.
const EMPTIED: [&str; 3] = ["ROTA_INTAKE", "ROTA_READY", "ROTA_SCHEDULE"];
const POLL: Duration = Duration::from_millis(250);
const START_LIMIT: Duration = Duration::from_secs(30);
/// What was under way when the storm ended is submitted for so long.
const LAST_SUBMISSIONS: Duration = Duration::from_secs(8);
const TRIES: usize = 20;

/// What a storm is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed of the faults and the load.
    pub seed: u64,
    /// How many faults.
    pub faults: usize,
    /// How many in a second, on average.
    pub rate: f64,
    /// Tasks in a second, on average.
    pub load: f64,
    /// nats-servers: one or three.
    pub servers: usize,
    /// How many processes.
    pub crew: Crew,
    /// Sorts of faults.
    pub families: Vec<Family>,
    /// The folder of the services' programs; built here when there is none.
    pub binaries: Option<PathBuf>,
    /// The folder of an older release's, to be mixed in.
    pub old_binaries: Option<PathBuf>,
    /// How long it may take until all is done once the storm is over.
    pub calm_limit: Duration,
    /// Where stores, logs and the ledger are kept: an empty folder; in a temporary one when there is none.
    pub folder: Option<PathBuf>,
}

/// A storm that is over.
#[derive(Debug)]
pub struct Storm {
    /// What was seen.
    pub history: History,
    /// Where the logs are.
    pub logs: PathBuf,
    /// What this machine does not allow.
    pub skipped: Vec<String>,
    _folder: Folder,
}

/// Everything that runs.
struct Stage {
    servers: Arc<Servers>,
    running: Arc<Running>,
    sender: Sender,
    harvest: Arc<Mutex<Harvest>>,
    watch: Watch,
}

/// Makes a storm.
///
/// # Errors
/// When something of the storm itself fails, such as a server that cannot be started.
pub async fn blow(options: &Options) -> anyhow::Result<Storm> {
    let kept = Folder::open(options.folder.as_deref())?;
    let folder = kept.path();
    let (families, clocks, skipped) = possible(options, folder);
    ensure!(!families.is_empty(), "no sort of faults is left");
    let disks = families.contains(&Family::Disk);
    let planned = plan(&PlanOptions {
        seed: options.seed,
        faults: options.faults,
        rate: options.rate,
        servers: options.servers,
        crew: options.crew,
        families,
    });
    let began = Moment::now();
    let logs = Logs::new(folder.join("logs"))?;
    let setting = setting(options, folder, logs.clone(), clocks.clone()).await?;
    let ledger = setting.ledger.clone();
    let stage = Stage::set(options, folder, setting, disks).await?;
    let (over, told) = tokio::sync::oneshot::channel::<()>();
    let load = Load::new(options.seed, options.load);
    let over_told = async move { drop(told.await) };
    let loading = tokio::spawn(stage.sender.clone().run(load, over_told, LAST_SUBMISSIONS));
    let reading = stage.read_results();
    let striker = Striker {
        servers: stage.servers.clone(),
        running: stage.running.clone(),
        sender: stage.sender.clone(),
        logs: logs.clone(),
        clocks,
    };
    let faults = striker.strike_all(planned).await;
    drop(over);
    fs::write(folder.join("faults"), fault_lines(began, &faults))?;
    stage.servers.all_up().await?;
    loading.await?;
    let calm = Moment::now();
    stage.until_calm(options.calm_limit).await;
    reading.abort();
    let mut history = History {
        began,
        calm,
        faults,
        ..History::default()
    };
    stage.gather(&mut history).await?;
    history.executions = executions(ledger::read(&ledger)?);
    let noticed = std::mem::take(&mut *logs.noticed());
    history.leaders = noticed.leaders;
    history.redelivered = noticed.redelivered;
    history.panics = noticed.panics;
    history.repeats = noticed.repeats.into_values().collect();
    history.ended = Moment::now();
    Ok(Storm {
        history,
        logs: logs.folder().to_owned(),
        skipped,
        _folder: kept,
    })
}

/// The sorts of faults that are wanted and that this machine allows, with a word on those that it does not.
fn possible(options: &Options, folder: &Path) -> (Vec<Family>, Option<WallClocks>, Vec<String>) {
    let mut families = options.families.clone();
    // One server leads everything.
    families.retain(|family| *family != Family::Leader || options.servers > 1);
    let mut skipped = Vec::new();
    let mut leave_out = |family: Family, error: anyhow::Error| {
        families.retain(|wanted| *wanted != family);
        skipped.push(format!("{family:?} is left out: {error:#}"));
    };
    if options.old_binaries.is_some() {
        let why = "the older release may take a forged result for its own";
        leave_out(Family::Forge, anyhow::anyhow!(why));
    }
    if let Err(error) = Disk::try_out(folder) {
        leave_out(Family::Disk, error);
    }
    let clocks = WallClocks::build(folder);
    let clocks = clocks.map_err(|error| leave_out(Family::Clock, error)).ok();
    (families, clocks, skipped)
}

/// For who looks into the folder of a storm.
fn fault_lines(began: Moment, faults: &[FaultFact]) -> String {
    let lines = faults.iter().map(|fact| {
        let since = |at: Moment| at.since(began).as_secs_f64();
        let (from, to) = (since(fact.span.from), since(fact.span.to));
        let skipped = fact
            .skipped
            .as_deref()
            .map_or(String::new(), |why| format!(" NOT DONE: {why}"));
        format!("{from:9.3} {to:9.3} {}{skipped}\n", fact.fault)
    });
    lines.collect()
}

async fn setting(
    options: &Options,
    folder: &Path,
    logs: Logs,
    clocks: Option<WallClocks>,
) -> anyhow::Result<Arc<Setting>> {
    let (binaries, old) = (options.binaries.clone(), options.old_binaries.clone());
    let programs = Programs::prepare(binaries, old, options.seed).await?;
    let handlers = kinds::write_handlers(folder, &programs.task())?;
    Ok(Arc::new(Setting {
        manner: Manner::STORM,
        folder: folder.to_owned(),
        ledger: folder.join("ledger"),
        handlers,
        replicas: options.servers,
        programs,
        logs,
        clocks,
    }))
}

impl Stage {
    async fn set(
        options: &Options,
        folder: &Path,
        setting: Arc<Setting>,
        disks: bool,
    ) -> anyhow::Result<Self> {
        let servers = Arc::new(Servers::start(options.servers, folder, disks).await?);
        let logs = setting.logs.clone();
        let running = Arc::new(Running::start(setting, options.crew, servers.ports()).await?);
        let deadline = Instant::now() + START_LIMIT;
        while logs.noticed().leaders.is_empty() {
            ensure!(
                Instant::now() < deadline,
                "no leader within {START_LIMIT:?}"
            );
            sleep(POLL).await;
        }
        Ok(Self {
            sender: Sender::new(servers.client().clone()),
            harvest: Arc::default(),
            watch: Watch::start(running.clone()),
            servers,
            running,
        })
    }

    fn read_results(&self) -> AbortHandle {
        let (harvest, client) = (self.harvest.clone(), self.servers.client().clone());
        let reading = tokio::spawn(async move {
            loop {
                harvest.lock().await.read_on(&client).await;
                sleep(POLL).await;
            }
        });
        reading.abort_handle()
    }

    /// Waits until every confirmed task has its result and the streams are empty, or nothing helps.
    async fn until_calm(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let left = self.left().await;
            let empty = left
                .iter()
                .all(|left| left.messages == Some(0) && left.unacked == 0);
            if empty && self.without_result().await == 0 {
                return;
            }
            sleep(POLL).await;
        }
    }

    async fn without_result(&self) -> usize {
        let harvest = self.harvest.lock().await;
        let ids: BTreeSet<&str> = harvest.genuine_ids().collect();
        let submitted = self.sender.submitted();
        submitted
            .tasks
            .keys()
            .filter(|id| !ids.contains(id.as_str()))
            .count()
    }

    async fn left(&self) -> Vec<Left> {
        let mut left = Vec::new();
        for stream in EMPTIED {
            let info = self.servers.stream(stream).await;
            let consumers = self.servers.consumers(stream).await.unwrap_or_default();
            let unacked = consumers
                .iter()
                .filter_map(|consumer| consumer["num_ack_pending"].as_u64());
            left.push(Left {
                stream: stream.to_owned(),
                messages: info.and_then(|info| info["state"]["messages"].as_u64()),
                unacked: unacked.sum(),
                ids: Vec::new(),
            });
        }
        left
    }

    async fn gather(self, history: &mut History) -> anyhow::Result<()> {
        let client = self.servers.client();
        history.left = self.left().await;
        for left in history
            .left
            .iter_mut()
            .filter(|left| left.messages != Some(0))
        {
            left.ids = ids_in(client, &left.stream).await.unwrap_or_default();
        }
        let mut harvest = self.harvest.lock().await;
        let harvest = &mut *harvest;
        retry("the results", async || {
            harvest.read_all(client).await.then_some(())
        })
        .await?;
        history.dead = retry("the dead letters", async || dead_letters(client).await).await?;
        let results = retry("the stream of results", async || {
            self.servers.stream("ROTA_RESULTS").await
        });
        let last = results.await?["state"]["last_seq"].as_u64().unwrap_or(0);
        history.results_unseen = last.saturating_sub(harvest.count() as u64);
        history.results = std::mem::take(harvest).into_results();
        let submitted = self.sender.submitted().clone();
        history.tasks = submitted.tasks;
        history.unconfirmed = submitted.unconfirmed;
        let now = Moment::now();
        for (place, seat) in self.running.seats() {
            let gaps = seat.proxy.gaps().into_iter().map(|gap| Span {
                from: gap.from,
                to: gap.to.unwrap_or(now),
            });
            history.gaps.extend(gaps.map(|span| (place, span)));
        }
        let (stalls, leftovers) = self.watch.stop().await;
        history.machine_stalls = stalls;
        history.leftovers = leftovers;
        history.lives = self.running.lives();
        if let Ok(running) = Arc::try_unwrap(self.running) {
            running.end().await;
        }
        Ok(())
    }
}

async fn retry<T>(what: &str, mut read: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    for _ in 0..TRIES {
        if let Some(found) = read().await {
            return Ok(found);
        }
        sleep(POLL).await;
    }
    anyhow::bail!("{what} cannot be read")
}
