//! What is written into a lease, and what is none although it stands where a lease should.
//!
//! `<holder> [<term> [<dialect>]]`. A client that may only submit can have the server write its own answers there,
//! by naming the key as the reply of a request: an answer of JetStream, or a copy of a message that it may read.

use rota_wire::{Dialect, Headers, Term};

/// A copy of a stored message names its stream.
const COPIED_FROM: &str = "Nats-Stream";

/// What stands in a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseText {
    pub(super) holder: String,
    pub(super) term: Option<Term>,
    pub(super) dialect: Dialect,
}

impl LeaseText {
    /// Reads what a holder wrote; nothing when it was another.
    pub(super) fn parse(headers: &Headers, value: &[u8]) -> Option<Self> {
        if headers.value(COPIED_FROM).is_some() {
            return None;
        }
        let mut words = std::str::from_utf8(value).ok()?.split(' ');
        let holder = words.next().filter(|word| is_holder(word))?;
        let term = match words.next() {
            None => None,
            Some(word) => Some(Term(word.parse().ok()?)),
        };
        let dialect = Dialect::parse(words.next());
        Some(Self {
            holder: holder.to_owned(),
            term,
            dialect,
        })
    }

    /// Writes it.
    pub(super) fn write(holder: &str, term: Term) -> String {
        format!("{holder} {term} {}", Dialect::default())
    }
}

/// Whether a text can be a holder's name: it is a token of a subject.
fn is_holder(text: &str) -> bool {
    let mut bytes = text.bytes();
    (1..=128).contains(&text.len())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<LeaseText> {
        LeaseText::parse(&Headers::new(), value.as_bytes())
    }

    #[test]
    fn a_lease_reads_back_and_one_of_the_first_dialect_is_read_too() {
        let text = parse(&LeaseText::write("77-1", Term(9))).expect("ours");
        assert_eq!((text.holder.as_str(), text.term), ("77-1", Some(Term(9))));
        assert_eq!(text.dialect, Dialect::V2);
        let old = parse("77-1 9").expect("an old one");
        assert_eq!(old.dialect, Dialect::V1);
        assert_eq!(parse("77-1").expect("a new one").term, None);
    }

    #[test]
    fn an_answer_of_the_server_and_a_copy_are_no_lease() {
        for foreign in [
            r#"{"stream":"ROTA_INTAKE","seq":3}"#,
            "",
            "a b",
            "a.b 3",
            "a  3",
            "\u{fffd}",
        ] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
        let copied = [(COPIED_FROM, "ROTA_RESULTS")].into_iter().collect();
        assert_eq!(LeaseText::parse(&copied, b"evil 99 2"), None);
    }
}
