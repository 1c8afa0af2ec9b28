//! What is to happen, drawn from a seed: who submits what, which processes there are, and what goes wrong when.

use std::time::Duration;

use rota_bus::in_memory::{Dice, Weather};

/// What a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Nothing goes wrong but that messages take their time.
    Calm,
    /// Schedulers and servers change, workers do not: no attempt may run twice or be stopped.
    Leaders,
    /// Copies of tasks come about: acks are lost, consumers are reset, tasks submitted again.
    Lineage,
    /// Everything.
    Storm,
}

/// A task that people submit.
#[derive(Debug, Clone)]
pub(crate) struct TaskPlan {
    pub(crate) at: Duration,
    pub(crate) kind: &'static str,
    pub(crate) priority: u8,
    /// The id, if people chose one.
    pub(crate) name: Option<String>,
    /// The first attempts, which fail.
    pub(crate) fails: u32,
    pub(crate) attempts: u32,
    pub(crate) runs: Duration,
    /// The first pause before another attempt; the longest is twice as long.
    pub(crate) backoff: Duration,
    /// When it is submitted again, under the same name.
    pub(crate) again: Option<Duration>,
}

/// One of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Scheduler(usize),
    Submitter(usize),
    Worker(usize),
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is gone, and another takes its place after a pause.
    Kill(Role, Duration),
    /// It is told to stop, and another takes its place.
    Drain(Role),
    /// It stands still.
    Freeze(Role, Duration),
    /// Its connection breaks.
    Cut(Role, Duration),
    /// A stream has no leader.
    StepDownStream(&'static str, Duration),
    /// The consumer of a lane has none; which, the number says.
    StepDownLane(u64, Duration),
    /// The submitters' consumer has none.
    StepDownFeed(&'static str, Duration),
    /// A stranger resets the consumer of a lane.
    ResetLane(u64),
    /// The server restarts.
    Restart(Duration),
    /// A stranger has the server write over the lease.
    ForgeLease,
    /// Or where the result of a named task is to be; of which, the number says.
    ForgeResult(u64),
    /// Its wall clock steps by so many milliseconds.
    StepClock(i64),
}

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) profile: Profile,
    pub(crate) tasks: Vec<TaskPlan>,
    pub(crate) processes: Vec<Role>,
    pub(crate) slots: u32,
    pub(crate) weather: Weather,
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// Nothing goes wrong any more.
    pub(crate) calm_from: Duration,
    /// How long the server remembers ids: less than on NATS, so that what happens after it happens soon.
    pub(crate) duplicate_window: Duration,
}

const KINDS: [&str; 3] = ["mail", "image", "report"];
const STREAMS: [&str; 5] = [
    "ROTA_INTAKE",
    "ROTA_READY",
    "ROTA_RESULTS",
    "ROTA_SCHEDULE",
    "KV_rota_leases",
];
/// Ids are forgotten after so long.
const WINDOW: Duration = Duration::from_secs(6);

impl Scenario {
    pub(crate) fn draw(seed: u64, profile: Option<Profile>) -> Self {
        let mut dice = Dice::new(seed);
        let drawn = match dice.below(20) {
            0 => Profile::Calm,
            1..=6 => Profile::Leaders,
            7..=12 => Profile::Lineage,
            _ => Profile::Storm,
        };
        let profile = profile.unwrap_or(drawn);
        let span = dice.between(8, 20);
        let tasks = draw_tasks(&mut dice, profile, span);
        let processes = draw_processes(&mut dice);
        let calm_from = Duration::from_secs(span);
        Self {
            profile,
            tasks,
            slots: u32::try_from(dice.between(2, 8)).unwrap_or(2),
            weather: draw_weather(&mut dice, profile),
            faults: draw_faults(&mut dice, profile, &processes, calm_from),
            processes,
            calm_from,
            duplicate_window: WINDOW,
        }
    }
}

fn draw_tasks(dice: &mut Dice, profile: Profile, span: u64) -> Vec<TaskPlan> {
    let count = dice.between(5, 25);
    let tasks = (0..count).map(|number| {
        let at = ms(dice.between(0, span * 800));
        let is_named = dice.happens(if profile == Profile::Lineage {
            700
        } else {
            400
        });
        let is_long = dice.happens(if profile == Profile::Leaders {
            600
        } else {
            150
        });
        let runs = if is_long {
            dice.between(2_000, 9_000)
        } else {
            dice.between(0, 400)
        };
        let fails = if dice.happens(450) {
            dice.between(1, 3)
        } else {
            0
        };
        let attempts = dice.between(1, 4);
        let backoff = dice.choose(&[300, 1_000, 4_000, 9_000]);
        let window = WINDOW.as_millis() as u64;
        let again = (is_named && dice.happens(500)).then(|| {
            if dice.happens(700) {
                at + ms(window + dice.between(1, 5_000))
            } else {
                at + ms(dice.between(0, window))
            }
        });
        TaskPlan {
            at,
            kind: dice.choose(&KINDS),
            priority: dice.choose(&[0, 5, 5, 5, 9]),
            name: is_named.then(|| format!("named-{number}")),
            fails: u32::try_from(fails).unwrap_or(0),
            attempts: u32::try_from(attempts).unwrap_or(1),
            runs: ms(runs),
            backoff: ms(backoff),
            again,
        }
    });
    tasks.collect()
}

fn draw_processes(dice: &mut Dice) -> Vec<Role> {
    let (schedulers, submitters) = (dice.between(1, 2), dice.between(1, 2));
    let workers = dice.between(2, 3);
    let numbered = |count: u64, role: fn(usize) -> Role| (0..count as usize).map(role);
    numbered(submitters, Role::Submitter)
        .chain(numbered(schedulers, Role::Scheduler))
        .chain(numbered(workers, Role::Worker))
        .collect()
}

fn draw_weather(dice: &mut Dice, profile: Profile) -> Weather {
    let latency_ms = u32::try_from(dice.between(1, 30)).unwrap_or(1);
    let fair = Weather {
        latency_ms,
        ..Weather::default()
    };
    let mut some = |most: u64| {
        let is_drawn = dice.happens(500);
        if is_drawn {
            u32::try_from(dice.below(most)).unwrap_or(0)
        } else {
            0
        }
    };
    match profile {
        Profile::Calm | Profile::Leaders => fair,
        Profile::Lineage => Weather {
            lost_acks: some(300),
            doubled_acks: some(300),
            late_acks: some(300),
            unanswered_stores: some(60),
            failed_stores: some(60),
            late_stores: some(60),
            ..fair
        },
        Profile::Storm => Weather {
            lost_messages: some(100),
            lost_acks: some(200),
            doubled_acks: some(200),
            late_acks: some(200),
            lost_stores: some(60),
            unanswered_stores: some(60),
            failed_stores: some(60),
            late_stores: some(60),
            lost_calls: some(60),
            unanswered_calls: some(60),
            failed_calls: some(60),
            lost_deliveries: some(100),
            stale_reads: some(500),
            ..fair
        },
    }
}

fn draw_faults(
    dice: &mut Dice,
    profile: Profile,
    processes: &[Role],
    calm_from: Duration,
) -> Vec<(Duration, Fault)> {
    let count = match profile {
        Profile::Calm => 0,
        Profile::Leaders | Profile::Lineage => dice.between(2, 10),
        Profile::Storm => dice.between(3, 14),
    };
    let end = calm_from.as_millis() as u64;
    let mut faults = Vec::new();
    for _ in 0..count {
        let at = ms(dice.between(500, end));
        let fault = draw_fault(dice, profile, processes);
        faults.push((at, fault));
        if changes_leader(fault) && dice.happens(600) {
            draw_troubled_succession(dice, at, &mut faults);
        }
    }
    faults.retain(|(at, _)| *at < calm_from);
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// Whether another scheduler may lead after it, or the same one anew.
fn changes_leader(fault: Fault) -> bool {
    match fault {
        Fault::Kill(role, _)
        | Fault::Drain(role)
        | Fault::Freeze(role, _)
        | Fault::Cut(role, _) => {
            matches!(role, Role::Scheduler(_))
        }
        Fault::Restart(_) => true,
        _ => false,
    }
}

/// While a new leader opens its lanes, they change theirs.
fn draw_troubled_succession(dice: &mut Dice, at: Duration, faults: &mut Vec<(Duration, Fault)>) {
    for _ in 0..dice.between(1, 6) {
        let after = ms(dice.between(0, 1_500));
        let pause = ms(dice.between(1, 600));
        let fault = Fault::StepDownLane(dice.roll(), pause);
        faults.push((at + after, fault));
    }
}

fn draw_fault(dice: &mut Dice, profile: Profile, processes: &[Role]) -> Fault {
    let is_ours = |role: &&Role| match profile {
        Profile::Storm => true,
        _ => matches!(role, Role::Scheduler(_)),
    };
    let ours: Vec<Role> = processes.iter().filter(is_ours).copied().collect();
    let role = dice.choose(&ours);
    let short = ms(dice.between(1, 1_500));
    let pause = ms(dice.between(1, 5_000));
    let stream = dice.choose(&STREAMS);
    match (profile, dice.below(14)) {
        (Profile::Lineage, 0..=3) => Fault::StepDownLane(dice.roll(), short),
        (Profile::Lineage, 4..=6) => Fault::ResetLane(dice.roll()),
        (Profile::Lineage, 7) => {
            let feed = dice.choose(&["ROTA_INTAKE", "ROTA_SCHEDULE"]);
            Fault::StepDownFeed(feed, short)
        }
        (Profile::Lineage, 8 | 9) => Fault::ForgeResult(dice.roll()),
        (_, 0 | 1) => Fault::Kill(role, pause),
        (_, 2) => Fault::Drain(role),
        (_, 3 | 4) => Fault::Freeze(role, pause),
        (_, 5) => Fault::Cut(role, short),
        (_, 6 | 7) => Fault::StepDownLane(dice.roll(), short),
        (_, 8) => Fault::ForgeLease,
        (_, 9 | 10) => Fault::Restart(ms(dice.between(1, 1_000))),
        (Profile::Storm, 11) => Fault::ResetLane(dice.roll()),
        (Profile::Storm, 12) => Fault::ForgeResult(dice.roll()),
        (Profile::Storm, 13) => {
            let by = i64::try_from(dice.below(20_000)).unwrap_or(0) - 10_000;
            Fault::StepClock(by)
        }
        (_, _) => Fault::StepDownStream(stream, short),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
