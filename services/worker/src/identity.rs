//! Who a worker is: its name, and the id that it draws from it at each start.
//!
//! A process is one worker: started again it is another one, so that nobody takes what the new one
//! says for the old one's word.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rota_wire::WorkerId;
use rota_wire::ids::ID_BYTES_MAX;

const SUFFIX_CHARS: usize = 6;
const SUFFIX_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Room for a dash and the suffix behind the name.
const NAME_BYTES_MAX: usize = ID_BYTES_MAX - 1 - SUFFIX_CHARS;

/// What a worker is called: 1 to 57 of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerName(String);

/// Why a text is not the name of a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a worker's name must be 1 to 57 of A-Z a-z 0-9 _ -")]
pub struct InvalidName;

impl WorkerName {
    /// The name of the machine, as far as the rules for names allow.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::of_host(&rustix::system::uname().nodename().to_string_lossy())
    }

    /// Only the first part of a full domain name tells machines apart.
    fn of_host(host: &str) -> Self {
        let first = host.split('.').next().unwrap_or_default();
        let name = first.chars().map(|c| if is_id_char(c) { c } else { '-' });
        let name: String = name.take(NAME_BYTES_MAX).collect();
        if name.is_empty() {
            Self("worker".to_owned())
        } else {
            Self(name)
        }
    }

    /// An id with this name that no other process has.
    #[must_use]
    pub(crate) fn draw_id(&self) -> WorkerId {
        let mut rng = rand::rng();
        let mut draw = || char::from(SUFFIX_ALPHABET[rng.random_range(..SUFFIX_ALPHABET.len())]);
        let suffix: String = std::iter::repeat_with(&mut draw)
            .take(SUFFIX_CHARS)
            .collect();
        let id = format!("{}-{suffix}", self.0);
        WorkerId::parse(&id).expect("a name leaves room for the suffix")
    }
}

impl FromStr for WorkerName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_id_char);
        good.then(|| Self(text.to_owned())).ok_or(InvalidName)
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_name_and_six_characters_that_differ_each_time() {
        let name: WorkerName = "thumbs".parse().expect("good");
        let (first, second) = (name.draw_id(), name.draw_id());
        assert_ne!(first, second);
        let suffix = first.as_str().strip_prefix("thumbs-").expect("the name");
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        assert!(suffix.len() == 6 && suffix.bytes().all(lower), "{suffix}");
    }

    #[test]
    fn the_longest_name_still_makes_an_id() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        let name: WorkerName = longest.parse().expect("good");
        assert_eq!(name.draw_id().as_str().len(), ID_BYTES_MAX);
        assert_eq!(
            format!("{longest}x").parse::<WorkerName>(),
            Err(InvalidName)
        );
    }

    #[test]
    fn the_name_of_any_machine_becomes_a_valid_one() {
        let long = "h".repeat(200);
        for (host, name) in [
            ("web-1.example.org", "web-1"),
            ("büro", "b-ro"),
            ("", "worker"),
            (".", "worker"),
            (&long, &long[..NAME_BYTES_MAX]),
        ] {
            let made = WorkerName::of_host(host);
            assert_eq!(made.to_string(), name, "{host}");
            assert_eq!(made.to_string().parse(), Ok(made));
        }
    }
}
