//! Which kinds a worker handles, and how.
//!
//! A kind is handled in exactly one way: naming it twice is refused, whether it comes from the
//! configuration, from Rust or from the built-in kinds. The order is fixed (by name).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rota_wire::Kind;

use super::Handler;
use crate::command::CommandHandler;
use crate::command::look::Unfit;
use crate::ended::Verdict;

/// The longest output if nothing else is said. A result travels in one NATS message, whose bound
/// is 1 MiB by default; the rest is room for the headers.
const OUTPUT_BYTES_MAX: usize = 960 * 1024;

/// The time to end in if nothing else is said.
const GRACE: Duration = Duration::from_secs(5);

/// All kinds that a worker handles.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: BTreeMap<Kind, Arc<Entry>>,
}

/// How one kind is handled.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What does the work.
    pub handler: HandlerKind,
    /// How many attempts of this kind may run at once on this worker; `None`: all its slots.
    pub concurrency: Option<u32>,
    /// What one attempt may use.
    pub limits: Limits,
}

/// What one attempt may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest that one attempt may run; a task may ask for less.
    pub timeout: Option<Duration>,
    /// How long an attempt that was asked to end may take before it is killed.
    pub grace: Duration,
    /// The longest output. More is a failure for good.
    pub output_bytes_max: usize,
}

/// What does the work.
#[derive(Clone)]
pub enum HandlerKind {
    /// A program, started for each attempt.
    Command(CommandHandler),
    /// A Rust function.
    Function(Arc<dyn Handler>),
}

/// Why a kind was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The name breaks the rule for kinds.
    #[error("kind {0:?} must be {rule}", rule = Kind::RULE)]
    BadKind(String),
    /// The kind is handled already.
    #[error("kind {0} already has a handler")]
    Twice(Kind),
}

impl Registry {
    /// No kinds yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind.
    pub fn insert(&mut self, kind: &str, entry: Entry) -> Result<(), RegistryError> {
        let bad = |_| RegistryError::BadKind(kind.to_owned());
        self.insert_shared(Kind::parse(kind).map_err(bad)?, Arc::new(entry))
    }

    /// Adds all kinds of another registry. Stops at the first that is there already.
    pub fn merge(&mut self, other: Self) -> Result<(), RegistryError> {
        other
            .entries
            .into_iter()
            .try_for_each(|(kind, entry)| self.insert_shared(kind, entry))
    }

    /// How a kind is handled, if it is.
    pub fn get(&self, kind: &str) -> Option<&Arc<Entry>> {
        self.entry(&Kind::parse(kind).ok()?)
    }

    pub(crate) fn entry(&self, kind: &Kind) -> Option<&Arc<Entry>> {
        self.entries.get(kind)
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Kind, &Arc<Entry>)> {
        self.entries.iter()
    }

    /// The same kinds, none with an output above `bytes_max`.
    pub(crate) fn with_output_limit(&self, bytes_max: usize) -> Self {
        let limited = |(kind, entry): (&Kind, &Arc<Entry>)| {
            let mut entry = Entry::clone(entry);
            entry.limits.output_bytes_max = entry.limits.output_bytes_max.min(bytes_max);
            (kind.clone(), Arc::new(entry))
        };
        Self {
            entries: self.entries.iter().map(limited).collect(),
        }
    }

    /// Whether it has no kinds.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn insert_shared(&mut self, kind: Kind, entry: Arc<Entry>) -> Result<(), RegistryError> {
        if self.entries.contains_key(&kind) {
            return Err(RegistryError::Twice(kind));
        }
        self.entries.insert(kind, entry);
        Ok(())
    }
}

impl Entry {
    /// An entry for a Rust function.
    pub fn function(handler: impl Handler) -> Self {
        Self::new(HandlerKind::Function(Arc::new(handler)))
    }

    /// An entry for a command.
    pub fn command(command: CommandHandler) -> Self {
        Self::new(HandlerKind::Command(command))
    }

    /// Limits how many attempts of the kind may run at once.
    pub fn with_concurrency(self, concurrency: u32) -> Self {
        Self {
            concurrency: Some(concurrency),
            ..self
        }
    }

    /// Limits how long one attempt may run.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = Some(timeout);
        self
    }

    /// Why its attempts cannot be started; nothing if they seem to.
    pub(crate) fn look(&self) -> Vec<String> {
        match &self.handler {
            HandlerKind::Command(command) => command.look().iter().map(Unfit::to_string).collect(),
            HandlerKind::Function(_) => Vec::new(),
        }
    }

    fn new(handler: HandlerKind) -> Self {
        Self {
            handler,
            concurrency: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: None,
            grace: GRACE,
            output_bytes_max: OUTPUT_BYTES_MAX,
        }
    }
}

impl Limits {
    pub(crate) fn over_time(&self) -> Verdict {
        let limit = self.timeout.unwrap_or_default();
        Verdict::retry(format!("ran longer than the time limit of {limit:?}"))
    }

    pub(crate) fn over_output(&self) -> Verdict {
        let limit = self.output_bytes_max;
        Verdict::fatal(format!("output is longer than the limit of {limit} bytes"))
    }
}

impl fmt::Debug for HandlerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => command.fmt(f),
            Self::Function(_) => f.write_str("Function"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::failure::Failure;
    use crate::handler::task::Task;

    fn entry() -> Entry {
        Entry::function(|task: Task| async move { Ok::<_, Failure>(task.input().clone()) })
    }

    #[test]
    fn a_kind_has_one_handler_only() {
        let mut registry = Registry::new();
        registry.insert("resize", entry()).unwrap();
        let twice = RegistryError::Twice(Kind::parse("resize").unwrap());
        assert_eq!(registry.insert("resize", entry()), Err(twice.clone()));
        assert_eq!(registry.clone().merge(registry), Err(twice));
    }

    #[test]
    fn a_kind_is_one_token_of_a_subject() {
        let long = "a".repeat(65);
        for bad in ["", "a.b", "Resize", "re size", "*", ">", "é", &long] {
            let mut registry = Registry::new();
            assert_eq!(
                registry.insert(bad, entry()),
                Err(RegistryError::BadKind(bad.to_owned()))
            );
        }
        let mut registry = Registry::new();
        for good in ["re_size-2", &"a".repeat(64)] {
            registry.insert(good, entry()).unwrap();
            assert!(registry.get(good).is_some());
        }
    }
}
