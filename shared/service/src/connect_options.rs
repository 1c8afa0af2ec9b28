//! The flags by which every service finds its NATS servers.
//!
//! What must hold: a password within an address is never shown, neither in a log nor in the help text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rota_bus::Prefix;

const HEADING: &str = "NATS";
const SCHEMES: [&str; 2] = ["nats", "tls"];

/// Where the servers are, how to log in, and which installation is meant.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ConnectOptions {
    /// NATS servers, separated by commas
    ///
    /// One is enough: it names the others of its cluster. A login goes before the host, as in
    /// nats://user:password@host or nats://token@host.
    // The environment may hold a password, which help would print.
    #[arg(
        long,
        help_heading = HEADING,
        env = "ROTA_NATS_URL",
        value_name = "URL",
        default_values_t = [ServerUrl::default()],
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub nats: Vec<ServerUrl>,

    /// NATS credentials file (.creds); none by default
    #[arg(long, help_heading = HEADING, env = "ROTA_NATS_CREDS", value_name = "FILE")]
    pub creds: Option<PathBuf>,

    /// First token of all subjects and, in capitals, of all streams
    ///
    /// Tells installations apart that share a server.
    #[arg(
        long,
        help_heading = HEADING,
        env = "ROTA_PREFIX",
        value_name = "NAME",
        default_value_t = Prefix::default().as_str().to_owned()
    )]
    pub prefix: String,

    /// What the subjects start with on which answers come [default: _INBOX]
    ///
    /// With one of its own for each user, the server can be told that nobody reads another's answers:
    /// such a user may subscribe to its own prefix and not to `_INBOX.>`.
    #[arg(long, help_heading = HEADING, env = "ROTA_INBOX_PREFIX", value_name = "SUBJECT")]
    pub inbox_prefix: Option<String>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            nats: vec![ServerUrl::default()],
            creds: None,
            prefix: Prefix::default().as_str().to_owned(),
            inbox_prefix: None,
        }
    }
}

/// The address of a NATS server, with its scheme. Shown without its user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

/// Why an address was refused. The address itself is not repeated, as it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    #[error("a NATS address has no host, write for example nats://127.0.0.1:4222")]
    NoHost,
    #[error("a NATS address holds a space or a control character")]
    Whitespace,
    #[error("a NATS address starts with nats:// or tls://, or has no scheme")]
    Scheme,
}

impl ServerUrl {
    /// The whole address with its user and password: to connect, never to log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The server on this machine.
impl Default for ServerUrl {
    fn default() -> Self {
        Self("nats://127.0.0.1:4222".to_owned())
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
        if !SCHEMES.contains(&scheme) {
            return Err(ServerUrlError::Scheme);
        }
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(ServerUrlError::Whitespace);
        }
        if without_user(rest).is_empty() {
            return Err(ServerUrlError::NoHost);
        }
        Ok(Self(format!("{scheme}://{rest}")))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").expect("parsing adds the scheme");
        write!(f, "{scheme}://{}", without_user(rest))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Cuts at the last `@`: a password may hold one that nobody escaped.
fn without_user(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        connect: ConnectOptions,
    }

    fn parse(flags: &[&str]) -> Result<ConnectOptions, clap::Error> {
        let args = std::iter::once("rota-test").chain(flags.iter().copied());
        Args::try_parse_from(args).map(|args| args.connect)
    }

    fn urls(options: &ConnectOptions) -> Vec<&str> {
        options.nats.iter().map(ServerUrl::expose).collect()
    }

    #[test]
    fn without_flags_the_local_server_and_the_prefix_rota_are_meant() {
        let options = parse(&[]).unwrap();
        assert_eq!(urls(&options), ["nats://127.0.0.1:4222"]);
        assert_eq!((options.creds, options.prefix.as_str()), (None, "rota"));
        assert_eq!(options.inbox_prefix, None, "the client's own");
    }

    #[test]
    fn answers_come_where_they_are_told_to() {
        let options = parse(&["--inbox-prefix", "_INBOX_w1"]).unwrap();
        assert_eq!(options.inbox_prefix.as_deref(), Some("_INBOX_w1"));
    }

    #[test]
    fn servers_are_separated_by_commas_and_get_a_scheme() {
        let options = parse(&["--nats", "a:1, tls://b:2"]).unwrap();
        assert_eq!(urls(&options), ["nats://a:1", "tls://b:2"]);
    }

    #[test]
    fn an_address_that_cannot_be_one_is_refused() {
        let parse = |text: &str| text.parse::<ServerUrl>().unwrap_err();
        assert_eq!(parse("http://a"), ServerUrlError::Scheme);
        assert_eq!(parse(" "), ServerUrlError::NoHost);
        assert_eq!(parse("nats://me:secret@"), ServerUrlError::NoHost);
        assert_eq!(parse("nats://a b"), ServerUrlError::Whitespace);
    }

    #[test]
    fn a_password_is_kept_for_connecting_and_shown_nowhere() {
        let options = parse(&["--nats", "nats://me:se@cret@host:4222"]).unwrap();
        assert_eq!(urls(&options), ["nats://me:se@cret@host:4222"]);
        assert_eq!(options.nats[0].to_string(), "nats://host:4222");
        assert!(!format!("{options:?}").contains("cret"), "{options:?}");
    }

    #[test]
    fn help_names_the_defaults_and_the_environment_without_its_values() {
        let help = Args::command().render_long_help().to_string();
        for text in [
            "[default: nats://127.0.0.1:4222]",
            "[env: ROTA_NATS_URL]",
            "[default: rota]",
        ] {
            assert!(help.contains(text), "{text} is missing in {help}");
        }
    }
}
