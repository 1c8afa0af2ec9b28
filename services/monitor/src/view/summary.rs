//! The figures of an interval, and how they read as a line.

use std::fmt;

use rota_wire::Span;

use super::backlog::KindWaiting;
use super::fleet::{Figures, Service};
use super::flow::Rate;
use super::leadership::Leader;
use super::tally::{Declared, Since};
use crate::utilisation::Load;

/// The longest queues are named, the others counted.
pub(super) const SHOWN_KINDS_MAX: usize = 8;

/// The figures of an interval. What is not known is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Submissions.
    pub(crate) in_rate: Option<Rate>,
    /// Results.
    pub(crate) out_rate: Option<Rate>,
    /// Submissions that no submitter has passed on yet.
    pub(crate) at_the_door: Option<u64>,
    /// Tasks in their lanes that no scheduler has been given.
    pub(crate) waiting: Option<u64>,
    /// The age of the oldest of them.
    pub(crate) oldest: Option<Span>,
    /// The longest queues.
    pub(crate) kinds: Vec<KindLine>,
    /// Kinds that wait beside those.
    pub(crate) kinds_more: usize,
    /// What the leader counted since the last summary.
    pub(crate) since: Since,
    /// What the workers add up to.
    pub(crate) fleet: Figures,
    /// What they declare, and what of it is promised.
    pub(crate) declared: Declared,
    pub(crate) leader: Leader,
}

/// What waits of a kind, and whether anybody will take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KindLine {
    pub(crate) waiting: KindWaiting,
    pub(crate) workers: Service,
}

/// What is worth a new line although nothing flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    workers: u32,
    draining: u32,
    silent: u32,
    leader: Leader,
}

impl Summary {
    /// How things stand, if nothing at all happens.
    pub(super) fn quiet_standing(&self) -> Option<Standing> {
        let still = |rate: Option<Rate>| rate.is_none_or(|rate| rate.per_1000_s == 0);
        let is_quiet = still(self.in_rate)
            && still(self.out_rate)
            && self.at_the_door.unwrap_or(0) == 0
            && self.waiting == Some(0)
            && self.fleet.running == 0
            && self.fleet.suspended == 0
            && self.since == Since::default();
        is_quiet.then_some(Standing {
            workers: self.fleet.workers,
            draining: self.fleet.draining,
            silent: self.fleet.silent,
            leader: self.leader,
        })
    }

    fn write_waiting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.waiting {
            None => return write!(f, "  waiting ?"),
            Some(0) => return write!(f, "  waiting 0"),
            Some(_) => write!(f, "  waiting ")?,
        }
        for (index, KindLine { waiting, workers }) in self.kinds.iter().enumerate() {
            let (comma, oldest) = if index == 0 {
                ("", "oldest ")
            } else {
                (", ", "")
            };
            write!(f, "{comma}{} {}", waiting.kind, waiting.waiting)?;
            let remark = match workers {
                Service::NoWorker if self.fleet.workers > 0 => "no worker",
                // Without any worker at all, the end of the line says it.
                Service::NoWorker | Service::Handled => "",
            };
            match (waiting.oldest, remark) {
                (None, "") => {}
                (None, remark) => write!(f, " ({remark})")?,
                (Some(age), "") => write!(f, " ({oldest}{})", Short(age))?,
                (Some(age), remark) => write!(f, " ({oldest}{}, {remark})", Short(age))?,
            }
        }
        match self.kinds_more {
            0 => Ok(()),
            more => write!(f, ", +{more} more"),
        }
    }

    fn write_workers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            workers,
            draining,
            silent,
            slots,
            cpu,
            memory,
            ..
        } = self.fleet;
        if let Some(shares) = slots.shares() {
            let (used, free) = (Percent(shares.used_permille), Percent(shares.free_permille));
            let (taken, all) = (slots.demand(), slots.capacity());
            write!(f, "  slots {taken}/{all} used {used} free {free}")?;
        }
        write_declared(f, "cpu", self.declared.cpu)?;
        write_declared(f, "memory", self.declared.memory)?;
        write_share(f, "cpu", cpu)?;
        write_share(f, "memory", memory)?;
        write!(f, "  workers {workers}")?;
        if draining > 0 {
            write!(f, " ({draining} draining)")?;
        }
        if silent > 0 {
            write!(f, "  silent {silent}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "in {}  out {}",
            PerSecond(self.in_rate),
            PerSecond(self.out_rate)
        )?;
        write!(f, "  running {}", self.fleet.running)?;
        if self.fleet.suspended > 0 {
            write!(f, "  suspended {}", self.fleet.suspended)?;
        }
        if let Some(count @ 1..) = self.at_the_door {
            write!(f, "  at the door {count}")?;
        }
        self.write_waiting(f)?;
        write!(f, "  failed {}", self.since.failed)?;
        if self.since.dead > 0 {
            write!(f, "  dead {}", self.since.dead)?;
        }
        write!(f, "  redelivered {}", self.since.redelivered)?;
        if self.since.preempted > 0 {
            write!(f, "  preempted {}", self.since.preempted)?;
        }
        self.write_workers(f)?;
        match self.leader {
            Leader::Absent => write!(f, "  no leader"),
            Leader::Unknown | Leader::Leading(_) => Ok(()),
        }
    }
}

/// What is promised is known exactly. Where nothing is, nobody asks for it.
fn write_declared(f: &mut fmt::Formatter<'_>, name: &str, load: Load) -> fmt::Result {
    let shares = load.shares().filter(|shares| shares.used_permille > 0);
    shares.map_or(Ok(()), |shares| {
        let (used, free) = (Percent(shares.used_permille), Percent(shares.free_permille));
        write!(f, "  declared {name} used {used} free {free}")
    })
}

fn write_share(f: &mut fmt::Formatter<'_>, name: &str, load: Load) -> fmt::Result {
    // Measured figures are no better than a whole percent.
    load.shares().map_or(Ok(()), |shares| {
        write!(f, "  {name} {}% used", (shares.used_permille + 5) / 10)
    })
}

/// `812/s`; below ten with one decimal.
struct PerSecond(Option<Rate>);

impl fmt::Display for PerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|rate| rate.per_1000_s) {
            None => f.write_str("?"),
            Some(0) => f.write_str("0/s"),
            Some(rate @ 1..50) => write!(f, "0.{:02}/s", rate.div_ceil(10)),
            Some(rate @ ..9_950) => write!(f, "{}/s", Tenths((rate + 50) / 100)),
            Some(rate) => write!(f, "{}/s", rate.saturating_add(500) / 1_000),
        }
    }
}

/// `87.5%`.
struct Percent(u16);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", Tenths(self.0.into()))
    }
}

/// `87.5`, and `50` where there is nothing behind the point.
struct Tenths(u64);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, tenth) => write!(f, "{whole}.{tenth}"),
        }
    }
}

/// An age in as many figures as a person reads: `40ms`, `1.2s`, `35s`, `3m05s`, `2h10m`, `4d3h`.
struct Short(Span);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.ms();
        let secs = ms / 1_000;
        let (minutes, hours, days) = (secs / 60, secs / 3_600, secs / 86_400);
        match ms {
            0..1_000 => write!(f, "{ms}ms"),
            1_000..10_000 => write!(f, "{secs}.{}s", ms % 1_000 / 100),
            10_000..60_000 => write!(f, "{secs}s"),
            60_000..3_600_000 => write!(f, "{minutes}m{:02}s", secs % 60),
            3_600_000..86_400_000 => write!(f, "{hours}h{:02}m", minutes % 60),
            _ => write!(f, "{days}d{}h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use rota_wire::{Kind, Term};

    use super::*;

    const fn rate(per_1000_s: u64) -> Option<Rate> {
        Some(Rate { per_1000_s })
    }

    fn waiting(kind: &str, waiting: u64, oldest_ms: u64) -> KindLine {
        KindLine {
            waiting: KindWaiting {
                kind: Kind::parse(kind).expect("a good kind"),
                waiting,
                oldest: Some(Span::from_ms(oldest_ms)),
            },
            workers: Service::Handled,
        }
    }

    fn load(capacity: u64, demand: u64) -> Load {
        let mut load = Load::default();
        load.add(capacity, demand);
        load
    }

    fn quiet() -> Summary {
        Summary {
            in_rate: rate(0),
            out_rate: rate(0),
            at_the_door: Some(0),
            waiting: Some(0),
            oldest: None,
            kinds: Vec::new(),
            kinds_more: 0,
            since: Since::default(),
            fleet: Figures::default(),
            declared: Declared::default(),
            leader: Leader::Leading(Term(3)),
        }
    }

    fn busy() -> Summary {
        Summary {
            in_rate: rate(812_000),
            out_rate: rate(804_600),
            waiting: Some(123),
            kinds: vec![waiting("echo", 120, 1_250), waiting("report", 3, 40)],
            fleet: Figures {
                workers: 3,
                running: 14,
                slots: load(16, 14),
                cpu: load(1_000, 630),
                memory: load(1_000, 406),
                ..Figures::default()
            },
            ..quiet()
        }
    }

    #[test]
    fn a_busy_interval_is_one_tidy_line() {
        assert_eq!(
            busy().to_string(),
            "in 812/s  out 805/s  running 14  waiting echo 120 (oldest 1.2s), report 3 (40ms)  \
             failed 0  redelivered 0  slots 14/16 used 87.5% free 12.5%  cpu 63% used  \
             memory 41% used  workers 3"
        );
    }

    #[test]
    fn an_empty_installation_has_no_shares_to_tell() {
        assert_eq!(
            quiet().to_string(),
            "in 0/s  out 0/s  running 0  waiting 0  failed 0  redelivered 0  workers 0"
        );
    }

    #[test]
    fn trouble_is_named_only_where_there_is_some() {
        let mut summary = quiet();
        summary.in_rate = None;
        summary.waiting = None;
        summary.at_the_door = Some(7);
        summary.leader = Leader::Absent;
        summary.since.dead = 2;
        summary.fleet.workers = 3;
        summary.fleet.draining = 1;
        summary.fleet.silent = 4;
        assert_eq!(
            summary.to_string(),
            "in ?  out 0/s  running 0  at the door 7  waiting ?  failed 0  dead 2  redelivered 0  \
             workers 3 (1 draining)  silent 4  no leader"
        );
    }

    #[test]
    fn what_is_declared_suspended_and_preempted_is_told_where_there_is_any() {
        let mut summary = busy();
        summary.fleet.suspended = 2;
        summary.since.preempted = 5;
        summary.declared.cpu = load(8_000, 3_000);
        summary.declared.memory = load(16, 4);
        let line = summary.to_string();
        for told in [
            "running 14  suspended 2  waiting",
            "redelivered 0  preempted 5  slots",
            "free 12.5%  declared cpu used 37.5% free 62.5%  declared memory used 25% free 75%  cpu 63%",
        ] {
            assert!(line.contains(told), "{told}: {line}");
        }
    }

    #[test]
    fn a_kind_that_nobody_handles_is_marked_and_further_kinds_are_counted() {
        let mut summary = busy();
        summary.kinds[1].workers = Service::NoWorker;
        summary.kinds_more = 5;
        let line = summary.to_string();
        assert!(
            line.contains("echo 120 (oldest 1.2s), report 3 (40ms, no worker), +5 more  failed"),
            "{line}"
        );
    }

    #[test]
    fn without_any_worker_no_kind_is_marked() {
        let mut summary = busy();
        summary.kinds[1].workers = Service::NoWorker;
        summary.fleet = Figures::default();
        let line = summary.to_string();
        assert!(
            line.contains("report 3 (40ms)  ") && line.ends_with("workers 0"),
            "{line}"
        );
    }

    #[test]
    fn only_an_interval_in_which_nothing_happens_is_quiet() {
        assert!(quiet().quiet_standing().is_some());
        let changes: [fn(&mut Summary); 8] = [
            |s| s.in_rate = rate(1),
            |s| s.out_rate = rate(1),
            |s| s.at_the_door = Some(1),
            |s| s.waiting = Some(1),
            |s| s.fleet.running = 1,
            |s| s.fleet.suspended = 1,
            |s| s.since.failed = 1,
            |s| s.waiting = None,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut summary = quiet();
            change(&mut summary);
            assert_eq!(summary.quiet_standing(), None, "change {index}");
        }
    }

    #[test]
    fn rates_have_as_many_figures_as_they_are_worth() {
        for (per_1000_s, text) in [
            (0, "0/s"),
            (3, "0.01/s"),
            (16, "0.02/s"),
            (49, "0.05/s"),
            (200, "0.2/s"),
            (3_250, "3.3/s"),
            (5_000, "5/s"),
            (9_949, "9.9/s"),
            (9_950, "10/s"),
            (812_499, "812/s"),
        ] {
            assert_eq!(
                PerSecond(rate(per_1000_s)).to_string(),
                text,
                "{per_1000_s}"
            );
        }
    }

    #[test]
    fn ages_are_short() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_250, "1.2s"),
            (35_900, "35s"),
            (185_000, "3m05s"),
            (7_800_000, "2h10m"),
            (356_400_000, "4d3h"),
        ] {
            assert_eq!(Short(Span::from_ms(ms)).to_string(), text);
        }
    }

    #[test]
    fn percents_have_a_decimal_only_where_it_says_something() {
        let texts: Vec<_> = [0, 5, 125, 500, 1_000]
            .map(|n| Percent(n).to_string())
            .into();
        assert_eq!(texts, ["0%", "0.5%", "12.5%", "50%", "100%"]);
    }
}
