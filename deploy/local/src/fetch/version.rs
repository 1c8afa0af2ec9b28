//! The version of a nats-server, read from what it prints.

use std::fmt;

/// The oldest server that Rota works with: message schedules with cron and the reset of a consumer
/// came with it.
pub const VERSION_MIN: Version = Version {
    major: 2,
    minor: 14,
    patch: 0,
    released: true,
};

/// A version as nats-server counts them. A pre-release sorts below the release it leads up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    released: bool,
}

impl Version {
    /// Reads `nats-server: v2.15.1`, or any text whose last word is a version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().next_back()?;
        let word = word.strip_prefix('v').unwrap_or(word);
        let (numbers, suffix) = word.split_once('-').unwrap_or((word, ""));
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        let version = Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next()??,
            released: suffix.is_empty(),
        };
        numbers.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.released { "" } else { "-pre" };
        write!(
            formatter,
            "{}.{}.{}{suffix}",
            self.major, self.minor, self.patch
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn what_a_server_prints_is_read() {
        assert_eq!(version("nats-server: v2.15.1\n").to_string(), "2.15.1");
        assert_eq!(version("nats-server version 2.14.0").to_string(), "2.14.0");
        assert_eq!(version("2.15.0-preview.2").to_string(), "2.15.0-pre");
    }

    #[test]
    fn versions_order_by_number_and_a_preview_is_older_than_its_release() {
        assert!(version("v2.9.25") < version("v2.14.0"));
        assert!(version("v2.14.0-RC.3") < VERSION_MIN);
        assert!(version("v2.14.0") >= VERSION_MIN && version("v3.0.0") > VERSION_MIN);
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "nats-server:",
            "v2.15",
            "2.15.1.4",
            "2.x.1",
            "2.-1.0",
            "99999999999.0.0",
        ] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }
}
