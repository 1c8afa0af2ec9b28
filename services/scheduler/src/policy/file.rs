//! The policy file: the keys of the flags at the top, and tables for kinds that differ.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use rota_service::{ConfigError, Faults, load_optional_toml};
use rota_wire::{Kind, Span};
use serde::Deserialize;

use super::{Ageing, Choices, parse_quantum, parse_reserve_after};

/// What a file says, as far as it is good.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PolicyFile {
    pub(super) all: Choices,
    pub(super) kinds: BTreeMap<Kind, Choices>,
    pub(super) suspended_max: Option<u32>,
    pub(super) reserve_after: Option<Span>,
}

/// The file as it is written. Values are texts, so that all that are wrong can be told at once.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    allocation: Option<String>,
    binding: Option<String>,
    order: Option<String>,
    ageing: Option<String>,
    quantum: Option<String>,
    min_run: Option<String>,
    suspended_max: Option<u32>,
    reserve_after: Option<String>,
    kinds: BTreeMap<String, WrittenKind>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenKind {
    allocation: Option<String>,
    binding: Option<String>,
    order: Option<String>,
    ageing: Option<String>,
    quantum: Option<String>,
    min_run: Option<String>,
}

impl PolicyFile {
    /// Reads a file; without one nothing is said. Values that break a rule become faults.
    pub(super) fn read(path: Option<&Path>, faults: &mut Faults) -> Result<Self, ConfigError> {
        let mut written: Written = load_optional_toml(path)?;
        let suspended_max = written.suspended_max;
        let mut top_keys = Keys { table: "", faults };
        let reserve_after = written.reserve_after.take();
        let reserve_after = top_keys.read("reserve_after", reserve_after, parse_reserve_after);
        let (top, tables) = written.into_parts();
        let all = top.choices("", faults);
        let mut kinds = BTreeMap::new();
        for (name, table) in tables {
            let choices = table.choices(&format!("kinds.{name}."), faults);
            match Kind::parse(&name) {
                Ok(kind) => drop(kinds.insert(kind, choices)),
                Err(error) => faults.push(format!("kinds.{name}"), &name, error.to_string()),
            }
        }
        Ok(Self {
            all,
            kinds,
            suspended_max,
            reserve_after,
        })
    }
}

impl Written {
    fn into_parts(self) -> (WrittenKind, BTreeMap<String, WrittenKind>) {
        let top = WrittenKind {
            allocation: self.allocation,
            binding: self.binding,
            order: self.order,
            ageing: self.ageing,
            quantum: self.quantum,
            min_run: self.min_run,
        };
        (top, self.kinds)
    }
}

impl WrittenKind {
    fn choices(self, table: &str, faults: &mut Faults) -> Choices {
        let mut keys = Keys { table, faults };
        Choices {
            allocation: keys.read("allocation", self.allocation, FromStr::from_str),
            binding: keys.read("binding", self.binding, FromStr::from_str),
            order: keys.read("order", self.order, FromStr::from_str),
            ageing: keys.read("ageing", self.ageing, Ageing::parse),
            quantum: keys.read("quantum", self.quantum, parse_quantum),
            min_run: keys.read("min_run", self.min_run, Span::parse),
        }
    }
}

/// Reads the keys of one table.
struct Keys<'a> {
    table: &'a str,
    faults: &'a mut Faults,
}

impl Keys<'_> {
    fn read<T, E: Display>(
        &mut self,
        key: &str,
        text: Option<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = text?;
        let refused = match parse(&text) {
            Ok(value) => return Some(value),
            Err(error) => error.to_string(),
        };
        self.faults
            .push(format!("{}{key}", self.table), text, refused);
        None
    }
}
