//! A measurement of deaths: how soon the tasks of a killed worker begin elsewhere, and how soon the standby has a task
//! begin when the leader is killed.
//!
//! ```text
//!  SIGKILL to one worker's process ─► guardian ─► obituary ─► leader ─► another worker ─► LEDGER begin
//!  SIGKILL to the leader's process; a task is submitted ─► standby ─► a worker ─────────► LEDGER begin
//! ```
//!
//! One server, a submitter, two schedulers and many workers run as real processes without a proxy between; half of
//! the tasks are commands, half are Rust functions. Times are those of the machine's monotonic clock: just before the
//! signal is sent, and as the execution itself writes it into the ledger.
//!
//! What must hold: one death at a time; a task is lost once at most, because one that was lost twice is suspected of
//! being poison and kept apart; a task that does not begin again in time is told of, and never left out in silence.

mod board;
mod stage;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Moment;
use crate::fault::Life;
use crate::folder::Folder;
use crate::logs::Noticed;
use crate::spread::Spread;
use stage::Stage;

/// What is promised of a worker's death.
const WORKER_MEDIAN_MAX: Duration = Duration::from_millis(100);
const WORKER_P99_MAX: Duration = Duration::from_millis(300);
/// What is promised of a leader's death.
const LEADER_MEDIAN_MAX: Duration = Duration::from_millis(300);
/// After two losses a task is suspected of being poison, and waits for a worker without another suspect.
const LOSSES_MAX: u32 = 1;
/// What has not begun again by then is said to be missing.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);
/// From one death to the next: the one before is started again and heard by then.
const WORKER_EVERY: Duration = Duration::from_millis(600);
/// A standby has to be started, and to have heard all workers.
const LEADER_EVERY: Duration = Duration::from_millis(2_200);
/// What is told one by one.
const SLOW: Duration = Duration::from_millis(300);
const SLOW_TOLD_MAX: usize = 20;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Workers.
    pub workers: usize,
    /// Tasks that run on each, on average.
    pub tasks: usize,
    /// Deaths of workers.
    pub rounds: usize,
    /// Deaths of leaders.
    pub leader_rounds: usize,
    /// Says who dies when.
    pub seed: u64,
    /// The folder of the services' programs; built here when there is none.
    pub binaries: Option<PathBuf>,
    /// Where logs and the ledger are kept: an empty folder; in a temporary one when there is none.
    pub folder: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Measured {
    began: Moment,
    waits: Vec<Wait>,
    leader_waits: Vec<Wait>,
    /// The load of the machine before and after.
    load: [String; 2],
}

/// How long one task waited after a death.
#[derive(Debug, Clone)]
struct Wait {
    dead: Life,
    task: String,
    died: Moment,
    /// When a scheduler said that it has the task again; of a leader's death, that it leads.
    known: Option<Moment>,
    begun: Option<Moment>,
}

/// Measures.
///
/// # Errors
/// When something of the measurement itself fails, such as a process that cannot be started.
pub async fn measure(options: &Options) -> anyhow::Result<Measured> {
    let folder = Folder::open(options.folder.as_deref())?;
    let before = load_average();
    let mut stage = Stage::set(options, folder.path()).await?;
    let mut measured = Measured {
        began: Moment::now(),
        ..Measured::default()
    };
    stage.go_on(LEADER_EVERY).await?;
    for _ in 0..options.rounds {
        let next = Instant::now() + WORKER_EVERY;
        measured.waits.extend(lose_worker(&mut stage).await?);
        stage.go_on(next - Instant::now()).await?;
    }
    for _ in 0..options.leader_rounds {
        stage.go_on(LEADER_EVERY).await?;
        measured.leader_waits.push(lose_leader(&mut stage).await?);
    }
    measured.load = [before, load_average()];
    measured.note_known(&stage.logs.noticed());
    stage.running.end().await;
    Ok(measured)
}

async fn lose_worker(stage: &mut Stage) -> anyhow::Result<Vec<Wait>> {
    let (dead, died, tasks) = stage.kill_worker().await?;
    let begun = |stage: &Stage, task: &str| stage.board.begins_after(task, died, dead);
    let all = |stage: &Stage| tasks.iter().all(|task| begun(stage, task).is_some());
    stage.until(BEGIN_LIMIT, all).await?;
    let waits = tasks.iter().map(|task| Wait {
        dead,
        task: task.clone(),
        died,
        known: None,
        begun: begun(stage, task),
    });
    Ok(waits.collect())
}

async fn lose_leader(stage: &mut Stage) -> anyhow::Result<Wait> {
    let (dead, died) = stage.kill_leader().await?;
    let task = stage.submit_probe().await?;
    let begun = |stage: &Stage| stage.board.begins_after(&task, died, dead);
    stage
        .until(BEGIN_LIMIT, |stage| begun(stage).is_some())
        .await?;
    Ok(Wait {
        begun: begun(stage),
        dead,
        task,
        died,
        known: None,
    })
}

/// Of this machine, over a minute, five and fifteen.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

impl Wait {
    fn whole(&self) -> Option<Duration> {
        Some(self.begun?.since(self.died))
    }

    fn until_known(&self) -> Option<Duration> {
        Some(self.known?.since(self.died))
    }

    fn after_known(&self) -> Option<Duration> {
        Some(self.begun?.since(self.known?))
    }
}

impl Measured {
    /// Whether deaths were acted upon as soon as is promised.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let workers = spread(&self.waits, Wait::whole);
        let leaders = spread(&self.leader_waits, Wait::whole);
        self.missing() == 0
            && workers.permille(500) <= WORKER_MEDIAN_MAX
            && workers.permille(990) <= WORKER_P99_MAX
            && leaders.permille(500) <= LEADER_MEDIAN_MAX
    }

    /// How many tasks have waited for another worker.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all().count()
    }

    /// How many of them never began again.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.all().filter(|wait| wait.begun.is_none()).count()
    }

    fn all(&self) -> impl Iterator<Item = &Wait> {
        self.waits.iter().chain(&self.leader_waits)
    }

    /// Once all that was said has been read.
    fn note_known(&mut self, noticed: &Noticed) {
        for wait in &mut self.waits {
            wait.known = noticed.redelivered(&wait.task, wait.died);
        }
        for wait in &mut self.leader_waits {
            let mut leaders = noticed.leaders.iter().map(|(at, _)| *at);
            wait.known = leaders.find(|at| *at > wait.died);
        }
    }

    fn write_slow(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slow = self
            .all()
            .filter(|wait| wait.whole().is_none_or(|whole| whole > SLOW));
        for wait in slow.take(SLOW_TOLD_MAX) {
            let at = wait.died.since(self.began).as_secs_f64();
            let (dead, task) = (wait.dead, &wait.task);
            let known = wait.until_known();
            let known = known.map_or("never".to_owned(), |span| format!("{span:.0?}"));
            match wait.whole() {
                Some(whole) => writeln!(
                    f,
                    "slow      at {at:.3} s {dead} died, known after {known}: task {task} began after {whole:.0?}"
                )?,
                None => writeln!(
                    f,
                    "MISSING   at {at:.3} s {dead} died, known after {known}: task {task} never began"
                )?,
            }
        }
        Ok(())
    }
}

fn spread(waits: &[Wait], span: impl Fn(&Wait) -> Option<Duration>) -> Spread {
    waits.iter().filter_map(span).collect()
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = &self.load;
        writeln!(f, "machine   load {before} before, {after} after")?;
        let sides = [
            ("worker killed, its tasks begin elsewhere", &self.waits),
            (
                "leader killed, a task submitted then begins",
                &self.leader_waits,
            ),
        ];
        for (what, waits) in sides {
            writeln!(f, "{what}   {}", spread(waits, Wait::whole))?;
            writeln!(
                f,
                "    until it is known   {}",
                spread(waits, Wait::until_known)
            )?;
            writeln!(
                f,
                "    from then on        {}",
                spread(waits, Wait::after_known)
            )?;
        }
        self.write_slow(f)?;
        let kept = if self.is_kept() { "kept" } else { "NOT KEPT" };
        write!(
            f,
            "{kept}: a worker's median {} ms and 99 % {} ms, a leader's median {} ms",
            WORKER_MEDIAN_MAX.as_millis(),
            WORKER_P99_MAX.as_millis(),
            LEADER_MEDIAN_MAX.as_millis()
        )
    }
}

#[cfg(test)]
mod tests;
