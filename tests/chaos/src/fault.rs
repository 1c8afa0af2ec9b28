//! The faults there are, and where they strike.

use std::fmt;
use std::time::Duration;

/// What a process of the installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The front door.
    Submitter,
    /// Leads or stands by.
    Scheduler,
    /// Runs tasks.
    Worker,
    /// Watches.
    Monitor,
}

/// One process of the installation, through all its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What it is.
    pub role: Role,
    /// Which of them, from 1.
    pub number: usize,
}

/// One life of a process: it is another one each time it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// Whose.
    pub place: Place,
    /// Which, from 1.
    pub number: usize,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; it is started again.
    Kill(Place),
    /// SIGKILL for the scheduler that leads at that time.
    KillLeading,
    /// SIGTERM; it is started again once it has ended.
    Drain(Place),
    /// SIGSTOP, and SIGCONT later.
    Stop(Place, Duration),
    /// Its connections are closed, and new ones refused for a while.
    Cut(Place, Duration),
    /// Everything takes longer on its connections, in both directions.
    Slow(Place, Duration),
    /// Nothing passes in one direction, or in none; then all goes on.
    Stall(Place, Direction, Duration),
    /// Its wall clock steps, by milliseconds, and stays so.
    StepClock(Place, i64),
    /// Nobody reads its log.
    LeaveLog(Place, Duration),
    /// A server is killed, and started again after a while.
    KillServer(Which, Duration),
    /// A server is told to end, and started again after a while.
    EndServer(Which, Duration),
    /// A server stands still.
    StopServer(Which, Duration),
    /// The disk below a server's store has no room for a while; the server is started again then.
    FillDisk(Which, Duration),
    /// The leader of a stream gives it to another server.
    StepDownStream(&'static str),
    /// The leaders of all consumers of a stream do.
    StepDownConsumers(&'static str),
    /// A client has the server store its answer where the result of a task belongs.
    Forge,
}

/// Faults of one sort, to have a storm of them alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// SIGKILL of services.
    Kill,
    /// SIGTERM of services.
    Drain,
    /// SIGSTOP of services.
    Stop,
    /// Connections cut, slowed, and cut in one direction.
    Line,
    /// Wall clocks that step.
    Clock,
    /// Logs that nobody reads.
    Log,
    /// Servers killed, ended and stopped.
    Server,
    /// Full disks.
    Disk,
    /// Leaders of streams and consumers that step down.
    Leader,
    /// Forged results.
    Forge,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the service to the server.
    Up,
    /// From the server to the service.
    Down,
    /// Neither way.
    Both,
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// By number, from 1.
    Number(usize),
    /// The one that leads a stream at that time.
    LeaderOf(&'static str),
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Submitter,
        Self::Scheduler,
        Self::Worker,
        Self::Monitor,
    ];

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitter => "submitter",
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
            Self::Monitor => "monitor",
        }
    }
}

impl Place {
    /// The place of that name, such as `worker3`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Role::ALL.into_iter().find_map(|role| {
            let number = text.strip_prefix(role.as_str())?.parse().ok()?;
            Some(Self { role, number })
        })
    }
}

impl Life {
    /// The life of that name, such as `worker3.2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (place, number) = text.split_once('.')?;
        Some(Self {
            place: Place::parse(place)?,
            number: number.parse().ok()?,
        })
    }
}

impl Fault {
    /// What sort it is, for counting.
    #[must_use]
    pub fn sort(&self) -> String {
        let one = |what: &str, place: &Place| format!("{what} {}", place.role.as_str());
        match self {
            Self::Kill(place) => one("kill", place),
            Self::KillLeading => "kill leading scheduler".to_owned(),
            Self::Drain(place) => one("drain", place),
            Self::Stop(place, span) if *span > Duration::from_secs(1) => one("stop long", place),
            Self::Stop(place, _) => one("stop", place),
            Self::Cut(place, _) => one("cut", place),
            Self::Slow(place, _) => one("slow", place),
            Self::Stall(place, Direction::Both, _) => one("stall", place),
            Self::Stall(place, Direction::Up | Direction::Down, _) => one("half-cut", place),
            Self::StepClock(place, _) => one("step clock of", place),
            Self::LeaveLog(place, _) => one("leave log of", place),
            Self::KillServer(Which::LeaderOf(_), _) => "kill server that leads a stream".to_owned(),
            Self::KillServer(Which::Number(_), _) => "kill server".to_owned(),
            Self::EndServer(..) => "end server".to_owned(),
            Self::StopServer(..) => "stop server".to_owned(),
            Self::FillDisk(..) => "fill disk".to_owned(),
            Self::StepDownStream(_) => "step down stream".to_owned(),
            Self::StepDownConsumers(_) => "step down consumers".to_owned(),
            Self::Forge => "forge result".to_owned(),
        }
    }

    /// Whether a server is not there, or not whole, because of it.
    #[must_use]
    pub const fn downs_server(&self) -> Option<Duration> {
        match self {
            Self::KillServer(_, span)
            | Self::EndServer(_, span)
            | Self::StopServer(_, span)
            | Self::FillDisk(_, span) => Some(*span),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.role.as_str(), self.number)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.number)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "server{number}"),
            Self::LeaderOf(stream) => write!(f, "the server that leads {stream}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(place) => write!(f, "{place} killed"),
            Self::KillLeading => write!(f, "the leading scheduler killed"),
            Self::Drain(place) => write!(f, "{place} told to end"),
            Self::Stop(place, span) => write!(f, "{place} stands still for {span:?}"),
            Self::Cut(place, span) => write!(f, "{place} cut off for {span:?}"),
            Self::Slow(place, span) => write!(f, "{place} on a slow line for {span:?}"),
            Self::Stall(place, direction, span) => {
                let way = match direction {
                    Direction::Up => "from",
                    Direction::Down => "to",
                    Direction::Both => "to or from",
                };
                write!(f, "nothing passes {way} {place} for {span:?}")
            }
            Self::StepClock(place, by) => write!(f, "clock of {place} steps by {by} ms"),
            Self::LeaveLog(place, span) => {
                write!(f, "nobody reads the log of {place} for {span:?}")
            }
            Self::KillServer(which, span) => write!(f, "{which} killed, back after {span:?}"),
            Self::EndServer(which, span) => write!(f, "{which} ended, back after {span:?}"),
            Self::StopServer(which, span) => write!(f, "{which} stands still for {span:?}"),
            Self::FillDisk(which, span) => write!(f, "disk of {which} full for {span:?}"),
            Self::StepDownStream(stream) => write!(f, "leader of {stream} steps down"),
            Self::StepDownConsumers(stream) => {
                write!(f, "leaders of consumers of {stream} step down")
            }
            Self::Forge => write!(f, "a client writes where a result belongs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_reads_back_from_its_name() {
        for role in Role::ALL {
            let place = Place { role, number: 12 };
            let life = Life { place, number: 3 };
            assert_eq!(Life::parse(&life.to_string()), Some(life));
        }
        assert_eq!(Life::parse("worker.1"), None);
        assert_eq!(Life::parse("walker1.1"), None);
    }
}
