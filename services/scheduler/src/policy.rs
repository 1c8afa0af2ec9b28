//! How tasks are scheduled: what flags and a file say, and what follows from both.
//!
//! ```toml
//! order = "srtf"            # each key as its flag, `-` written `_`; all are optional
//! quantum = "200ms"
//!
//! [kinds.report]            # what differs for one kind
//! order = "fifo"
//! ```
//!
//! What must hold: a flag wins over the same key of the file, a kind's table over both, for its kind; and
//! whatever is wrong is told at once, each fault with its key, its value and the rule.

mod file;

use std::ffi::OsString;
use std::path::PathBuf;

use rota_scheduler_core::{Allocation, Binding, Options, Order, Policy};
use rota_service::{ConfigError, Failure, Faults};
use rota_wire::{Kind, Span};
use tracing::info;

use self::file::PolicyFile;

const HEADING: &str = "Scheduling";
const QUANTUM_MAX: Span = Span::from_secs(24 * 3_600);
const QUANTUM_RULE: &str = "must be a span from 1ms to 24h, such as 1s";
const RESERVE_AFTER_MAX: Span = Span::from_secs(24 * 3_600);
const RESERVE_AFTER_RULE: &str = "must be a span from 1ms to 24h, such as 1m";
const AGEING_RULE: &str = "must be a span of at least 1ms, such as 5m, or never";
const NEVER: &str = "never";
/// How much of a lane must be known when its head says enough.
const LOOK_AHEAD: u32 = 64;
/// And when the next task may be any of those that wait: the most that is allowed.
const LOOK_AHEAD_FAR: u32 = 10_000;

/// How tasks are scheduled, as flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PolicyArgs {
    /// File that says how tasks are scheduled, and for which kinds differently
    #[arg(long, help_heading = HEADING, env = "ROTA_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Which worker a task goes to [default: least-loaded]
    ///
    /// One of random, round-robin, least-loaded, power-of-two and resource.
    #[arg(long, help_heading = HEADING, env = "ROTA_ALLOCATION", value_name = "STRATEGY")]
    pub allocation: Option<Allocation>,

    /// When it is bound to that worker: late, once the worker can start it, or early [default: late]
    #[arg(long, help_heading = HEADING, env = "ROTA_BINDING", value_name = "WHEN")]
    pub binding: Option<Binding>,

    /// Which task is next [default: priority]
    ///
    /// One of fifo, priority, sjf, srtf, time-slice and las; the last three suspend running attempts.
    #[arg(long, help_heading = HEADING, env = "ROTA_ORDER", value_name = "STRATEGY")]
    pub order: Option<Order>,

    /// How long a task waits to gain one level of priority, or never [default: 5m]
    #[arg(long, help_heading = HEADING, env = "ROTA_AGEING", value_name = "SPAN",
        value_parser = Ageing::parse)]
    pub ageing: Option<Ageing>,

    /// The slice of time-slice, and how far las lets one task run ahead of another [default: 1s]
    #[arg(long, help_heading = HEADING, env = "ROTA_QUANTUM", value_name = "SPAN",
        value_parser = parse_quantum)]
    pub quantum: Option<Span>,

    /// How long an attempt runs at least before it may be suspended [default: 100ms]
    #[arg(long, help_heading = HEADING, env = "ROTA_MIN_RUN", value_name = "SPAN",
        value_parser = Span::parse)]
    pub min_run: Option<Span>,

    /// Suspended attempts on one worker, at most [default: 64]
    #[arg(long, help_heading = HEADING, env = "ROTA_SUSPENDED_MAX", value_name = "COUNT")]
    pub suspended_max: Option<u32>,

    /// How long a task that asks for much is passed by others before a worker is kept for it [default: 1m]
    #[arg(long, help_heading = HEADING, env = "ROTA_RESERVE_AFTER", value_name = "SPAN",
        value_parser = parse_reserve_after)]
    pub reserve_after: Option<Span>,
}

/// How long a task waits to gain a level; nothing means that it gains none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ageing(Option<Span>);

impl Ageing {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim() == NEVER {
            return Ok(Self(None));
        }
        let span = Span::parse(text).ok().filter(|span| span.ms() > 0);
        span.map(|span| Self(Some(span))).ok_or(AGEING_RULE)
    }
}

impl std::fmt::Display for Ageing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(span) => span.fmt(f),
            None => f.write_str(NEVER),
        }
    }
}

fn parse_reserve_after(text: &str) -> Result<Span, &'static str> {
    let span = Span::parse(text).ok();
    let good = span.filter(|span| (1..=RESERVE_AFTER_MAX.ms()).contains(&span.ms()));
    good.ok_or(RESERVE_AFTER_RULE)
}

fn parse_quantum(text: &str) -> Result<Span, &'static str> {
    let span = Span::parse(text).ok();
    let good = span.filter(|span| (1..=QUANTUM_MAX.ms()).contains(&span.ms()));
    good.ok_or(QUANTUM_RULE)
}

/// What was said of a policy, by flags or by one table of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Choices {
    allocation: Option<Allocation>,
    binding: Option<Binding>,
    order: Option<Order>,
    ageing: Option<Ageing>,
    quantum: Option<Span>,
    min_run: Option<Span>,
}

impl Choices {
    /// The policy with these choices in place of its own.
    fn over(self, policy: Policy) -> Policy {
        Policy {
            allocation: self.allocation.unwrap_or(policy.allocation),
            binding: self.binding.unwrap_or(policy.binding),
            order: self.order.unwrap_or(policy.order),
            ageing: self.ageing.map_or(policy.ageing, |ageing| ageing.0),
            quantum: self.quantum.unwrap_or(policy.quantum),
            min_run: self.min_run.unwrap_or(policy.min_run),
        }
    }
}

impl PolicyArgs {
    /// Looks whether a scheduler would take these, so that who starts one can say so before.
    ///
    /// # Errors
    /// The file cannot be read, or something breaks a rule; all faults are told at once.
    pub fn check(&self) -> Result<(), Failure> {
        let (mut options, mut faults) = (Options::default(), Faults::new());
        self.apply(&mut options, &mut faults)?;
        Ok(push_broken(&options, faults).into_result()?)
    }

    /// The flags that say the same to a scheduler.
    #[must_use]
    pub fn to_flags(&self) -> Vec<OsString> {
        let mut flags = Vec::new();
        if let Some(file) = &self.policy {
            flags.extend(["--policy".into(), file.into()]);
        }
        let texts = [
            ("--allocation", self.allocation.map(|it| it.to_string())),
            ("--binding", self.binding.map(|it| it.to_string())),
            ("--order", self.order.map(|it| it.to_string())),
            ("--ageing", self.ageing.map(|it| it.to_string())),
            ("--quantum", self.quantum.map(as_ms)),
            ("--min-run", self.min_run.map(as_ms)),
            (
                "--suspended-max",
                self.suspended_max.map(|it| it.to_string()),
            ),
            ("--reserve-after", self.reserve_after.map(as_ms)),
        ];
        for (flag, text) in texts {
            if let Some(text) = text {
                flags.extend([flag.into(), text.into()]);
            }
        }
        flags
    }

    /// Writes into the options what flags and file say.
    pub(crate) fn apply(
        &self,
        options: &mut Options,
        faults: &mut Faults,
    ) -> Result<(), ConfigError> {
        let file = PolicyFile::read(self.policy.as_deref(), faults)?;
        let policy = self.choices().over(file.all.over(options.policy));
        options.policy = policy;
        let kinds = file.kinds.into_iter();
        options.kinds = kinds
            .map(|(kind, choices)| (kind, choices.over(policy)))
            .collect();
        let suspended_max = self.suspended_max.or(file.suspended_max);
        options.suspended_max = suspended_max.unwrap_or(options.suspended_max);
        let reserve_after = self.reserve_after.or(file.reserve_after);
        options.reserve_after = reserve_after.unwrap_or(options.reserve_after);
        Ok(())
    }

    fn choices(&self) -> Choices {
        Choices {
            allocation: self.allocation,
            binding: self.binding,
            order: self.order,
            ageing: self.ageing,
            quantum: self.quantum,
            min_run: self.min_run,
        }
    }
}

/// A span as a flag, whatever it is.
fn as_ms(span: Span) -> String {
    format!("{}ms", span.ms())
}

/// Adds the rules of the core that the options break.
pub(crate) fn push_broken(options: &Options, mut faults: Faults) -> Faults {
    for (key, value, rule) in options.faults() {
        faults.push(key, value, rule);
    }
    faults
}

/// How far a scheduler looks into its lanes, if nothing was said: an order that needs to know more than
/// the head of a lane is only as good as what it knows.
pub(crate) fn look_ahead(options: &Options) -> u32 {
    let mut policies = options.kinds.values().chain([&options.policy]);
    let needs_more = policies.any(|policy| match (policy.binding, policy.order) {
        (Binding::Late, Order::Fifo | Order::Priority) => false,
        (Binding::Early, _) | (_, Order::Sjf | Order::Srtf | Order::TimeSlice | Order::Las) => true,
    });
    if needs_more {
        LOOK_AHEAD_FAR
    } else {
        LOOK_AHEAD
    }
}

/// Says what was chosen.
pub(crate) fn announce(options: &Options) {
    let (look_ahead, suspended_max) = (options.look_ahead, options.suspended_max);
    let reserve_after_ms = options.reserve_after.ms();
    info!(
        look_ahead,
        suspended_max, reserve_after_ms, "scheduling as follows"
    );
    say(None, &options.policy);
    for (kind, policy) in &options.kinds {
        say(Some(kind), policy);
    }
}

fn say(kind: Option<&Kind>, policy: &Policy) {
    info!(
        kind = kind.map(Kind::as_str),
        allocation = %policy.allocation,
        binding = %policy.binding,
        order = %policy.order,
        ageing = %Ageing(policy.ageing),
        quantum_ms = policy.quantum.ms(),
        min_run_ms = policy.min_run.ms(),
        "policy"
    );
}

#[cfg(test)]
mod tests;
