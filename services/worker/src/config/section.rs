//! One table of the handlers file while it is taken apart.
//!
//! Reading a key takes it out, so what is left in the end is what nobody knows.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Fault;

/// How much of a wrong value is shown.
const VALUE_CHARS_MAX: usize = 120;

pub(super) struct Section<'a> {
    name: &'a str,
    table: Table,
    read: Vec<&'static str>,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Section<'a> {
    /// A table by its full name; the file itself has an empty one.
    pub(super) fn new(name: &'a str, table: Table, faults: &'a mut Vec<Fault>) -> Self {
        Self {
            name,
            table,
            read: Vec::new(),
            faults,
        }
    }

    /// Takes a key out. `parse` gives `None` when the rule is broken.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        rule: &str,
        parse: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        self.read.push(key);
        let value = self.table.remove(key)?;
        let parsed = parse(value.clone());
        if parsed.is_none() {
            self.faults
                .push(Fault::new(self.key(key), Some(&value), rule));
        }
        parsed
    }

    /// Takes out a table whose keys are free names.
    pub(super) fn read_each<T>(
        &mut self,
        key: &'static str,
        rule: &str,
        parse: impl Fn(&str, Value) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let table = self.read(key, "must be a table", |value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        let mut parsed = BTreeMap::new();
        for (name, value) in table.unwrap_or_default() {
            match parse(&name, value.clone()) {
                Some(value) => drop(parsed.insert(name, value)),
                None => {
                    let key = self.key(&format!("{key}.{name}"));
                    self.faults.push(Fault::new(key, Some(&value), rule));
                }
            }
        }
        parsed
    }

    /// Reports that a key is missing, unless what is wrong with it was reported already.
    pub(super) fn missing(&mut self, key: &str, rule: &str) {
        let key = self.key(key);
        if self.faults.iter().all(|fault| fault.key != key) {
            self.faults
                .push(Fault::new(key, None, format!("is missing; {rule}")));
        }
    }

    /// Reports what was not read.
    pub(super) fn finish(self) {
        let known = self.read.join(", ");
        for (key, value) in &self.table {
            let rule = format!("unknown key; known here: {known}");
            self.faults
                .push(Fault::new(self.key(key), Some(value), rule));
        }
    }

    fn key(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

impl Fault {
    pub(super) fn new(key: String, value: Option<&Value>, rule: impl Into<String>) -> Self {
        let shown = |value: &Value| value.to_string().chars().take(VALUE_CHARS_MAX).collect();
        Self {
            key,
            value: value.map(shown),
            rule: rule.into(),
        }
    }
}
