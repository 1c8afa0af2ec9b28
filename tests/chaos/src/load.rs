//! The load: which tasks are submitted when, drawn from the seed, and what the server said to each.

mod sender;

use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use crate::job::{Job, Then};
use crate::kinds;
pub(crate) use sender::job_of;
pub use sender::{Sender, Submitted};

const KIB: usize = 1024;
/// As much as a server takes by default, less what is kept for headers.
const LARGE_BYTES: std::ops::Range<usize> = 100 * KIB..900 * KIB;
/// One in so many tasks begins a burst of large inputs of all kinds, or of small ones.
const BURST_EVERY: u32 = 600;
const BURST_SMALL: usize = 120;

/// A task to be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// How long after the one before.
    pub after: Duration,
    /// Its kind.
    pub kind: String,
    /// What it does.
    pub job: Job,
    /// An id chosen for it.
    pub name: Option<String>,
    /// 0 to 9.
    pub priority: u8,
    /// Attempts in all.
    pub attempts_max: u32,
    /// First wait and cap.
    pub backoff: &'static str,
    /// When it is submitted again under the same id.
    pub again: Vec<Again>,
}

/// Another submission of a named task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// How long after the first was confirmed.
    pub after: Duration,
    /// Whether the door itself can recognise it. Written in small letters, the id's header means the same to
    /// Rota and nothing to the server, so that a copy really comes in; else only after its window is over.
    pub hidden: bool,
}

/// Draws orders for ever. The same seed gives the same ones.
#[derive(Debug)]
pub struct Load {
    random: Pcg64,
    seed: u64,
    mean: Duration,
    number: u64,
    burst: Vec<Order>,
}

impl Order {
    /// A task of middle priority, to be submitted once and at once.
    #[must_use]
    pub fn plain(kind: String, job: Job) -> Self {
        Self {
            after: Duration::ZERO,
            kind,
            job,
            name: None,
            priority: 5,
            attempts_max: 5,
            backoff: "50ms..1s",
            again: Vec::new(),
        }
    }
}

impl Load {
    /// A load of so many tasks a second on average.
    #[must_use]
    pub fn new(seed: u64, rate: f64) -> Self {
        Self {
            // Another stream of numbers than the plan of faults has.
            random: Pcg64::seed_from_u64(seed ^ 0x10ad),
            seed,
            mean: Duration::from_secs_f64(1.0 / rate),
            number: 0,
            burst: Vec::new(),
        }
    }

    /// A small task that nothing else is submitted with.
    #[must_use]
    pub fn forger(number: u64) -> Order {
        let mut load = Self::new(number, 1.0);
        let mut order = load.plain(kinds::small().remove(0));
        order.job.number = number;
        order
    }

    fn draw(&mut self) -> Order {
        let kinds = kinds::small();
        let kind = kinds[self.random.random_range(0..kinds.len())].clone();
        let mut order = self.plain(kind);
        match self.random.random_range(0..100) {
            // Fails some times, and then does not, or has used up its attempts.
            0..12 => {
                order.job.fails = self.random.random_range(1..=3);
                order.attempts_max = self.random.random_range(2..=5);
                order.backoff = ["10ms..100ms", "100ms..1s", "1s..3s", "4s..6s"]
                    [self.random.random_range(0..4)];
            }
            12..15 => order.job.then = Then::Die,
            15..21 => order.job.run = self.ms(1_500..6_000),
            // Long, and fails once: its second attempt meets whatever has happened since.
            21..23 => {
                order.job.run = self.ms(1_000..3_000);
                order.job.fails = 1;
                order.backoff = "100ms..1s";
            }
            23..27 => self.enlarge(&mut order),
            27..40 => order.job.run = self.ms(100..800),
            _ => {}
        }
        if self.random.random_range(0..4) == 0 {
            order.name = Some(format!("n{}-{}", self.seed, order.job.number));
            self.submit_again(&mut order);
        }
        order
    }

    fn plain(&mut self, kind: String) -> Order {
        self.number += 1;
        let priority = match self.random.random_range(0..10) {
            0 => 9,
            1 => 1,
            _ => 5,
        };
        let after = self.mean.mul_f64(self.random.random_range(0.0..2.0));
        let job = Job {
            number: self.number,
            run: self.ms(0..30),
            fails: 0,
            then: Then::Complete,
            bytes: self.random.random_range(0..300),
        };
        Order {
            after,
            priority,
            ..Order::plain(kind, job)
        }
    }

    fn enlarge(&mut self, order: &mut Order) {
        let kinds = kinds::large();
        order.kind = kinds[self.random.random_range(0..kinds.len())].clone();
        order.job.bytes = self.random.random_range(LARGE_BYTES);
        order.priority = 5;
    }

    fn submit_again(&mut self, order: &mut Order) {
        if self.random.random_range(0..3) > 0 {
            return;
        }
        for _ in 0..self.random.random_range(1..=3) {
            let after = match self.random.random_range(0..10) {
                0..3 => self.ms(0..50),
                3..7 => self.ms(50..3_000),
                7..9 => self.ms(3_000..9_000),
                // When the door has forgotten the id.
                _ => self.ms(121_000..126_000),
            };
            let hidden = self.random.random_range(0..3) > 0;
            order.again.push(Again { after, hidden });
        }
    }

    /// Two large inputs of each kind, or many small tasks, all at once.
    fn draw_burst(&mut self) {
        if self.random.random_bool(0.5) {
            for kind in kinds::large().into_iter().cycle().take(24) {
                let mut order = self.plain(kind);
                order.job.bytes = self.random.random_range(LARGE_BYTES);
                order.priority = 5;
                order.after = Duration::ZERO;
                self.burst.push(order);
            }
        } else {
            for _ in 0..BURST_SMALL {
                let mut order = self.draw();
                order.after = Duration::ZERO;
                self.burst.push(order);
            }
        }
    }

    fn ms(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }
}

impl Iterator for Load {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        if self.burst.is_empty() && self.random.random_ratio(1, BURST_EVERY) {
            self.draw_burst();
        }
        let waiting = self.burst.pop();
        Some(waiting.unwrap_or_else(|| self.draw()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_load() {
        let load = |seed| Load::new(seed, 60.0).take(2_000).collect::<Vec<_>>();
        assert_eq!(load(5), load(5));
        assert_ne!(load(5), load(6));
    }

    #[test]
    fn the_load_has_everything_in_it() {
        let orders: Vec<_> = Load::new(1, 60.0).take(5_000).collect();
        let has = |what: &str, is: &dyn Fn(&Order) -> bool| {
            let count = orders.iter().filter(|order| is(order)).count();
            assert!(count >= 20, "{what}: {count}");
        };
        has("used up", &|order| order.job.fails >= order.attempts_max);
        has("retried", &|order| {
            (1..order.attempts_max).contains(&order.job.fails)
        });
        has("dying", &|order| order.job.then == Then::Die);
        has("long", &|order| order.job.run > Duration::from_secs(3));
        has("large", &|order| order.job.bytes > 500 * KIB);
        has("hidden", &|order| {
            order.again.iter().any(|again| again.hidden)
        });
        let spans = orders.iter().map(|order| order.after).sum::<Duration>();
        let rate = orders.len() as f64 / spans.as_secs_f64();
        assert!((50.0..90.0).contains(&rate), "{rate} a second");
    }
}
