//! Finding one's installation: from the flags to a connection whose server and streams are as they must
//! be.
//!
//! It exists so that the flags, their rules and the exit codes of what can go wrong are in one place.
//! What must hold: streams are created or compared, never changed.

mod replicas;

use rota_bus::{Bus, BusOptions, ConnectError, InvalidPrefix, Prefix, StreamError, StreamOptions};

use crate::connect_options::{ConnectOptions, ServerUrl};
use crate::run::Exit;
pub use replicas::{InvalidReplicas, Replicas};

/// The flags that every service has: where its installation is, and how its streams are kept.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Installation {
    /// Where the servers are.
    #[command(flatten)]
    pub connect: ConnectOptions,

    /// Servers that keep each stream: 1, 3 or 5
    ///
    /// The first service to start makes the streams so, and those that find them otherwise refuse to
    /// work.
    #[arg(
        long,
        help_heading = "NATS",
        env = "ROTA_REPLICAS",
        value_name = "COUNT",
        default_value_t
    )]
    pub replicas: Replicas,
}

/// Why an installation is not there, or not fit to work in.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// The prefix is against the rule.
    #[error(transparent)]
    Prefix(#[from] InvalidPrefix),
    /// No connection, or no server that is fit for Rota.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The streams are not as they must be.
    #[error(transparent)]
    Streams(#[from] StreamError),
}

impl Installation {
    /// Connects as a client that touches no stream; `name` follows `rota-` in the server's list of
    /// connections.
    ///
    /// # Errors
    /// [`InstallationError::Prefix`] and [`InstallationError::Connect`].
    pub async fn connect_only(&self, name: &str) -> Result<Bus, InstallationError> {
        let servers: Vec<&str> = self.connect.nats.iter().map(ServerUrl::expose).collect();
        let options = BusOptions {
            servers: servers.join(","),
            credentials: self.connect.creds.clone(),
            name: format!("rota-{name}"),
            prefix: Prefix::parse(&self.connect.prefix)?,
            inbox_prefix: self.connect.inbox_prefix.clone(),
        };
        Ok(Bus::connect(options).await?)
    }

    /// Creates or compares the streams.
    ///
    /// # Errors
    /// [`InstallationError::Streams`]; a stream that differs is for a person to mend.
    pub async fn ensure_streams(&self, bus: &Bus) -> Result<(), InstallationError> {
        let replicas = self.replicas.count();
        Ok(bus.ensure_streams(StreamOptions { replicas }).await?)
    }

    /// Connects, and creates or compares the streams.
    ///
    /// # Errors
    /// [`InstallationError`].
    pub async fn connect(&self, name: &str) -> Result<Bus, InstallationError> {
        let bus = self.connect_only(name).await?;
        self.ensure_streams(&bus).await?;
        Ok(bus)
    }
}

impl InstallationError {
    /// What a process ends with for which this is the end: [`Exit::Usage`] for what a person must mend,
    /// [`Exit::Unavailable`] where a restart can help. `?` into a [`Failure`](crate::Failure) does that.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Prefix(_)
            | Self::Connect(
                ConnectError::Credentials { .. }
                | ConnectError::Address { .. }
                | ConnectError::InboxPrefix { .. },
            )
            | Self::Streams(StreamError::Differs { .. }) => Exit::Usage,
            Self::Connect(_) | Self::Streams(_) => Exit::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Failure;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        installation: Installation,
    }

    fn parse(flags: &[&str]) -> Result<Installation, String> {
        let flags = std::iter::once("rota-test").chain(flags.iter().copied());
        let parsed = Flags::try_parse_from(flags);
        parsed
            .map(|flags| flags.installation)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_the_default_is_meant() {
        let installation = parse(&[]).expect("the defaults are good");
        assert_eq!(installation.replicas, Replicas::default());
        assert_eq!(installation.connect, ConnectOptions::default());
    }

    #[test]
    fn replicas_are_a_number_that_can_vote() {
        let three = parse(&["--replicas", "3"]).expect("three can vote");
        assert_eq!(three.replicas.count(), 3);
        assert!(parse(&["--replicas", "2"]).is_err_and(|told| told.contains("1, 3 or 5")));
    }

    #[tokio::test]
    async fn what_a_person_must_mend_ends_with_the_code_for_wrong_use() {
        for flags in [["--prefix", "No.Prefix"], ["--creds", "no/such/file"]] {
            let installation = parse(&flags).expect("the flags alone do not show it");
            let failed = installation.connect("test").await;
            let failure = Failure::from(failed.expect_err("it cannot connect"));
            assert_eq!(failure.exit(), Exit::Usage, "{failure}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_may_be_there_later() {
        // Nothing listens on the port that is kept for that.
        let installation = parse(&["--nats", "127.0.0.1:1"]).expect("an address");
        let failed = installation.connect_only("test").await;
        let failure = Failure::from(failed.expect_err("nobody is there"));
        assert_eq!(failure.exit(), Exit::Unavailable, "{failure}");
    }
}
