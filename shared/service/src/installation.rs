//! Finding one's installation: from the flags to a connection whose server and streams are as they must be.

use rota_bus::{Bus, BusOptions, ConnectError, Prefix, StreamError, StreamOptions};

use crate::connect_options::{ConnectOptions, ServerUrl};
use crate::run::Failure;

/// The flags that every service has: where its installation is, and how its streams are kept.
#[derive(Debug, Clone, clap::Args)]
pub struct Installation {
    /// Where the servers are.
    #[command(flatten)]
    pub connect: ConnectOptions,

    /// Servers that keep each stream: 1, 3 or 5
    #[arg(
        long,
        help_heading = "NATS",
        env = "ROTA_REPLICAS",
        value_name = "COUNT",
        default_value = "1",
        value_parser = replicas
    )]
    pub replicas: usize,
}

impl Installation {
    /// Connects as a client that touches no stream's settings.
    ///
    /// # Errors
    /// [`Failure::usage`] for what a flag can mend, [`Failure::unavailable`] for what a restart can.
    pub async fn connect_only(&self, service: &str) -> Result<Bus, Failure> {
        let servers: Vec<&str> = self.connect.nats.iter().map(ServerUrl::expose).collect();
        let options = BusOptions {
            servers: servers.join(","),
            credentials: self.connect.creds.clone(),
            name: format!("rota-{service}"),
            prefix: Prefix::parse(&self.connect.prefix).map_err(Failure::usage)?,
        };
        Bus::connect(options).await.map_err(|error| match error {
            ConnectError::Credentials { .. } => Failure::usage(error),
            _ => Failure::unavailable(error),
        })
    }

    /// Connects, and creates or compares the streams.
    ///
    /// # Errors
    /// As [`Installation::connect_only`]; a stream that differs is for a person to mend.
    pub async fn connect(&self, service: &str) -> Result<Bus, Failure> {
        let bus = self.connect_only(service).await?;
        let replicas = self.replicas;
        let ensured = bus.ensure_streams(StreamOptions { replicas }).await;
        ensured.map_err(|error| match error {
            StreamError::Differs { .. } => Failure::usage(error),
            _ => Failure::unavailable(error),
        })?;
        Ok(bus)
    }
}

fn replicas(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count @ (1 | 3 | 5)) => Ok(count),
        _ => Err("must be 1, 3 or 5"),
    }
}
