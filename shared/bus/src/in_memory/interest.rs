//! Who listens where.

use std::collections::BTreeMap;

/// A client's own number for one of its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SubscriptionId {
    pub(super) client: usize,
    pub(super) number: u64,
}

/// All subscriptions that the server knows of.
#[derive(Debug, Default)]
pub(super) struct Interest {
    exact: BTreeMap<String, Vec<SubscriptionId>>,
    wild: Vec<(String, SubscriptionId)>,
}

impl Interest {
    pub(super) fn add(&mut self, pattern: &str, id: SubscriptionId) {
        if is_wild(pattern) {
            self.wild.push((pattern.to_owned(), id));
        } else {
            self.exact.entry(pattern.to_owned()).or_default().push(id);
        }
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) {
        self.retain(|other| other != id);
    }

    /// The client is gone, with all that it listened to.
    pub(super) fn remove_client(&mut self, client: usize) {
        self.retain(|other| other.client != client);
    }

    pub(super) fn listeners(&self, subject: &str) -> Vec<SubscriptionId> {
        let mut found = self.exact.get(subject).cloned().unwrap_or_default();
        let wild = self.wild.iter().filter(|(p, _)| matches(p, subject));
        found.extend(wild.map(|(_, id)| *id));
        found
    }

    pub(super) fn is_heard(&self, subject: &str) -> bool {
        self.exact.contains_key(subject) || self.wild.iter().any(|(p, _)| matches(p, subject))
    }

    fn retain(&mut self, keep: impl Fn(SubscriptionId) -> bool) {
        self.wild.retain(|(_, id)| keep(*id));
        self.exact.retain(|_, ids| {
            ids.retain(|id| keep(*id));
            !ids.is_empty()
        });
    }
}

pub(super) fn is_wild(pattern: &str) -> bool {
    pattern.split('.').any(|token| token == "*" || token == ">")
}

/// Whether a subject falls under a pattern.
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_token_and_an_arrow_is_at_least_one() {
        assert!(matches("a.*.c", "a.b.c") && !matches("a.*.c", "a.b.b.c"));
        assert!(matches("a.>", "a.b.c") && !matches("a.>", "a"));
        assert!(matches("a.b", "a.b") && !matches("a.b", "a.b.c") && !matches("a.b.c", "a.b"));
    }

    #[test]
    fn a_client_that_is_gone_is_heard_of_no_more() {
        let mut interest = Interest::default();
        let id = |client| SubscriptionId { client, number: 1 };
        interest.add("a.b", id(1));
        interest.add("a.*", id(2));
        assert_eq!(interest.listeners("a.b"), [id(1), id(2)]);
        interest.remove_client(1);
        assert_eq!(interest.listeners("a.b"), [id(2)]);
        interest.remove(id(2));
        assert!(!interest.is_heard("a.b"));
    }
}
