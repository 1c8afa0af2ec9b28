//! The plan of a storm: which faults, when. The same seed gives the same plan.
//!
//! Faults are drawn from a deck that holds each sort as often as it weighs, without putting back, so that a
//! short storm has some of each. About every third draw brings company: one to three more within a third of
//! a second, and now and then a process that stands still and is killed, or drained and cut off. So faults
//! combine.
//!
//! What must hold: of three servers at most one is away at a time, with time to catch up before the next,
//! because a majority is what the promise rests on. Everything else may fall together.

use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use crate::fault::{Direction, Family, Fault, Place, Role, Which};

/// Streams whose leaders step down or are killed.
const LED: [&str; 4] = ["ROTA_READY", "ROTA_INTAKE", "ROTA_RESULTS", "ROTA_SCHEDULE"];
/// Streams with durable consumers.
const CONSUMED: [&str; 3] = ["ROTA_READY", "ROTA_INTAKE", "ROTA_SCHEDULE"];
/// A server that is back catches up for so long before another goes, and clients come back to it.
const CATCH_UP: Duration = Duration::from_secs(4);
const COMPANY_WITHIN_MS: u64 = 300;

/// What decides a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanOptions {
    /// The seed.
    pub seed: u64,
    /// How many faults.
    pub faults: usize,
    /// How many in a second, on average.
    pub rate: f64,
    /// nats-servers: one or three.
    pub servers: usize,
    /// How many of each there are.
    pub crew: Crew,
    /// Sorts of faults that there are. Leaders step down only where there are three servers.
    pub families: Vec<Family>,
}

/// How many processes of each role there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crew {
    /// Submitters.
    pub submitters: usize,
    /// Schedulers.
    pub schedulers: usize,
    /// Workers.
    pub workers: usize,
    /// Monitors.
    pub monitors: usize,
}

/// A fault and its time, counted from the beginning of the storm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl Default for Crew {
    /// Two of each, and five workers.
    fn default() -> Self {
        Self {
            submitters: 2,
            schedulers: 2,
            workers: 5,
            monitors: 2,
        }
    }
}

impl Crew {
    /// Every process's place.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let all = Role::ALL.into_iter();
        all.flat_map(|role| (1..=self.count(role)).map(move |number| Place { role, number }))
            .collect()
    }

    const fn count(&self, role: Role) -> usize {
        match role {
            Role::Submitter => self.submitters,
            Role::Scheduler => self.schedulers,
            Role::Worker => self.workers,
            Role::Monitor => self.monitors,
        }
    }
}

/// Draws a plan.
#[must_use]
pub fn plan(options: &PlanOptions) -> Vec<Planned> {
    let mut planner = Planner::new(options);
    while planner.planned.len() < options.faults {
        planner.next_scene();
    }
    let mut planned = planner.planned;
    planned.truncate(options.faults);
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// What is drawn from the deck; the details are drawn later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Card {
    Kill(Role),
    KillLeading,
    Drain(Role),
    StopShort(Role),
    StopLong(Role),
    Cut(Role),
    Slow(Role),
    Stall(Role),
    StepClock(Role),
    LeaveLog(Role),
    KillServer,
    KillLeader,
    EndServer,
    StopServer,
    FillDisk,
    StepDownStream,
    StepDownConsumers,
    Forge,
}

struct Planner<'a> {
    options: &'a PlanOptions,
    random: Pcg64,
    deck: Vec<Card>,
    planned: Vec<Planned>,
    at: Duration,
    servers_busy_until: Duration,
}

impl<'a> Planner<'a> {
    fn new(options: &'a PlanOptions) -> Self {
        Self {
            options,
            random: Pcg64::seed_from_u64(options.seed),
            deck: Vec::new(),
            planned: Vec::new(),
            at: Duration::ZERO,
            servers_busy_until: Duration::ZERO,
        }
    }

    fn next_scene(&mut self) {
        let before = self.planned.len();
        let card = self.draw();
        self.add(self.at, card);
        match self.random.random_range(0..10) {
            0..3 => self.add_company(),
            3 if self.options.families.contains(&Family::Kill) => self.add_blow(),
            _ => {}
        }
        // Company counts, so that the rate holds whatever comes together.
        let count = u32::try_from(self.planned.len() - before).unwrap_or(1);
        let mean = Duration::from_secs_f64(f64::from(count) / self.options.rate);
        self.at += mean.mul_f64(self.random.random_range(0.5..1.5));
    }

    fn add_company(&mut self) {
        for _ in 0..self.random.random_range(1..=3) {
            let card = self.draw();
            let at = self.at + self.ms(0..=COMPANY_WITHIN_MS);
            self.add(at, card);
        }
    }

    /// A process that stands still, or is cut off, and is killed or told to end before that is over.
    fn add_blow(&mut self) {
        let roles = [Role::Worker, Role::Worker, Role::Scheduler, Role::Submitter];
        let role = roles[self.random.random_range(0..roles.len())];
        let place = self.place(role);
        let span = self.ms(1_200..=3_000);
        let (first, second) = match self.random.random_range(0..4) {
            0 => (Fault::Stop(place, span), Fault::Kill(place)),
            1 => (Fault::Cut(place, span), Fault::Kill(place)),
            2 => (
                Fault::Stall(place, Direction::Both, span),
                Fault::Drain(place),
            ),
            _ => (Fault::Cut(place, span), Fault::Drain(place)),
        };
        let later = self.at + span.mul_f64(self.random.random_range(0.3..0.9));
        let at = self.at;
        self.planned.push(Planned { at, fault: first });
        self.planned.push(Planned {
            at: later,
            fault: second,
        });
    }

    /// While servers are busy their cards stay in the deck for later.
    fn draw(&mut self) -> Card {
        loop {
            let busy = self.at < self.servers_busy_until;
            let now: Vec<usize> = (0..self.deck.len())
                .filter(|&card| !(busy && is_server_card(self.deck[card])))
                .collect();
            if !now.is_empty() {
                let card = now[self.random.random_range(0..now.len())];
                return self.deck.swap_remove(card);
            }
            // What is left is given up: at a high rate it would pile up until the deck is all servers.
            self.deck = deck(self.options);
            if self.deck.iter().copied().all(is_server_card) {
                // A deck of nothing but servers has to wait for them.
                self.at = self.at.max(self.servers_busy_until);
            }
        }
    }

    fn add(&mut self, at: Duration, card: Card) {
        let fault = self.fault(card);
        if let Some(span) = fault.downs_server() {
            self.servers_busy_until = at + span + CATCH_UP;
        }
        self.planned.push(Planned { at, fault });
    }

    fn fault(&mut self, card: Card) -> Fault {
        let direction = [
            Direction::Up,
            Direction::Down,
            Direction::Up,
            Direction::Both,
        ];
        match card {
            Card::Kill(role) => Fault::Kill(self.place(role)),
            Card::KillLeading => Fault::KillLeading,
            Card::Drain(role) => Fault::Drain(self.place(role)),
            Card::StopShort(role) => Fault::Stop(self.place(role), self.ms(100..=600)),
            Card::StopLong(role) => Fault::Stop(self.place(role), self.ms(1_800..=4_000)),
            Card::Cut(role) => Fault::Cut(self.place(role), self.ms(0..=2_500)),
            Card::Slow(role) => Fault::Slow(self.place(role), self.ms(1_000..=4_000)),
            Card::Stall(role) => {
                let direction = direction[self.random.random_range(0..direction.len())];
                Fault::Stall(self.place(role), direction, self.ms(200..=3_500))
            }
            Card::StepClock(role) => {
                let steps = [-20_000, -1_500, 1_500, 10_000, 3_600_000];
                let by = steps[self.random.random_range(0..steps.len())];
                Fault::StepClock(self.place(role), by)
            }
            Card::LeaveLog(role) => Fault::LeaveLog(self.place(role), self.ms(3_000..=8_000)),
            Card::KillServer => Fault::KillServer(self.server(), self.ms(0..=2_500)),
            Card::KillLeader => {
                let stream = LED[self.random.random_range(0..LED.len())];
                Fault::KillServer(Which::LeaderOf(stream), self.ms(200..=2_500))
            }
            Card::EndServer => Fault::EndServer(self.server(), self.ms(0..=1_500)),
            Card::StopServer => Fault::StopServer(self.server(), self.ms(300..=3_000)),
            Card::FillDisk => Fault::FillDisk(self.server(), self.ms(1_000..=3_000)),
            Card::StepDownStream => {
                Fault::StepDownStream(LED[self.random.random_range(0..LED.len())])
            }
            Card::StepDownConsumers => {
                Fault::StepDownConsumers(CONSUMED[self.random.random_range(0..CONSUMED.len())])
            }
            Card::Forge => Fault::Forge,
        }
    }

    fn place(&mut self, role: Role) -> Place {
        let count = self.options.crew.count(role);
        let number = self.random.random_range(1..=count);
        Place { role, number }
    }

    fn server(&mut self) -> Which {
        Which::Number(self.random.random_range(1..=self.options.servers))
    }

    fn ms(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }
}

/// Whether a fault of this sort takes a server away for a while.
fn is_server_card(card: Card) -> bool {
    matches!(
        card,
        Card::KillServer | Card::KillLeader | Card::EndServer | Card::StopServer | Card::FillDisk
    )
}

/// Each sort of fault as often as it weighs.
fn deck(options: &PlanOptions) -> Vec<Card> {
    let families = options.families.iter();
    let weights = families.flat_map(|family| weights(*family, options.servers));
    let copies = |(card, count)| std::iter::repeat_n(card, count);
    weights.flat_map(copies).collect()
}

fn weights(family: Family, servers: usize) -> Vec<(Card, usize)> {
    use Role::{Monitor, Scheduler, Submitter, Worker};
    match family {
        Family::Kill => vec![
            (Card::Kill(Worker), 7),
            (Card::Kill(Scheduler), 2),
            (Card::KillLeading, 3),
            (Card::Kill(Submitter), 3),
            (Card::Kill(Monitor), 1),
        ],
        Family::Drain => vec![
            (Card::Drain(Worker), 4),
            (Card::Drain(Scheduler), 2),
            (Card::Drain(Submitter), 2),
            (Card::Drain(Monitor), 1),
        ],
        Family::Stop => vec![
            (Card::StopShort(Worker), 4),
            (Card::StopShort(Scheduler), 2),
            (Card::StopShort(Submitter), 1),
            (Card::StopLong(Worker), 4),
            (Card::StopLong(Scheduler), 3),
            (Card::StopLong(Submitter), 2),
            (Card::StopLong(Monitor), 1),
        ],
        Family::Line => vec![
            (Card::Cut(Worker), 4),
            (Card::Cut(Scheduler), 3),
            (Card::Cut(Submitter), 2),
            (Card::Slow(Worker), 2),
            (Card::Slow(Scheduler), 2),
            (Card::Slow(Submitter), 1),
            (Card::Stall(Worker), 3),
            (Card::Stall(Scheduler), 3),
            (Card::Stall(Submitter), 2),
        ],
        Family::Clock => [Worker, Scheduler, Submitter]
            .map(|role| (Card::StepClock(role), 1))
            .into(),
        Family::Log => [Worker, Scheduler, Submitter]
            .map(|role| (Card::LeaveLog(role), 1))
            .into(),
        Family::Server if servers == 1 => {
            vec![
                (Card::KillServer, 2),
                (Card::EndServer, 1),
                (Card::StopServer, 1),
            ]
        }
        Family::Server => vec![
            (Card::KillServer, 2),
            (Card::KillLeader, 2),
            (Card::EndServer, 1),
            (Card::StopServer, 1),
        ],
        Family::Leader if servers == 1 => Vec::new(),
        Family::Leader => vec![(Card::StepDownStream, 6), (Card::StepDownConsumers, 6)],
        Family::Disk => vec![(Card::FillDisk, 1)],
        Family::Forge => vec![(Card::Forge, 2)],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use super::*;

    fn options(seed: u64, servers: usize) -> PlanOptions {
        PlanOptions {
            seed,
            faults: 500,
            rate: 2.0,
            servers,
            crew: Crew::default(),
            families: Family::value_variants().to_vec(),
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_another() {
        assert_eq!(plan(&options(7, 3)), plan(&options(7, 3)));
        assert_ne!(plan(&options(7, 3)), plan(&options(8, 3)));
    }

    #[test]
    fn a_plan_has_as_many_faults_as_asked_for_at_about_the_rate() {
        let planned = plan(&options(1, 1));
        assert_eq!(planned.len(), 500);
        let last = planned.last().map(|planned| planned.at).unwrap();
        let bounds = Duration::from_secs(200)..Duration::from_secs(320);
        assert!(bounds.contains(&last), "{last:?}");
    }

    #[test]
    fn servers_are_away_one_at_a_time_with_time_to_catch_up() {
        for seed in 0..50 {
            let mut free_at = Duration::ZERO;
            for Planned { at, fault } in plan(&options(seed, 3)) {
                if let Some(span) = fault.downs_server() {
                    // Company may come a little before what it was drawn after.
                    let slack = Duration::from_millis(COMPANY_WITHIN_MS);
                    assert!(at + slack >= free_at, "seed {seed}: {fault} at {at:?}");
                    free_at = at + span + CATCH_UP;
                }
            }
        }
    }

    #[test]
    fn at_a_high_rate_a_long_plan_is_made_and_servers_have_their_part() {
        let planned = plan(&PlanOptions {
            faults: 10_000,
            rate: 6.0,
            ..options(101, 1)
        });
        let servers = planned
            .iter()
            .filter(|planned| planned.fault.downs_server().is_some());
        let servers = servers.count();
        assert!(servers > 100, "{servers} of {}", planned.len());
        let last = planned.last().map(|planned| planned.at).unwrap();
        assert!(last < Duration::from_secs(10_000 / 4), "{last:?}");
    }

    #[test]
    fn every_sort_of_fault_is_in_a_plan_of_some_length() {
        let sorts = |servers| -> BTreeSet<String> {
            let planned = plan(&options(3, servers));
            planned.iter().map(|planned| planned.fault.sort()).collect()
        };
        let (one, three) = (sorts(1), sorts(3));
        for sort in [
            "fill disk",
            "kill server",
            "stop long worker",
            "half-cut worker",
        ] {
            assert!(
                one.contains(sort) && three.contains(sort),
                "{sort}: {one:?}"
            );
        }
        for sort in ["step down consumers", "kill server that leads a stream"] {
            assert!(!one.contains(sort) && three.contains(sort), "{sort}");
        }
    }
}
