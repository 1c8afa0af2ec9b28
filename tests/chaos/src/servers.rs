//! The nats-servers: one, or three that keep each stream together. They are killed, ended, stopped and started
//! again, and told to give up leading; their disks are filled, where they have small ones of their own.

mod disk;

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rota_local::{NatsServer, ServerOptions, Signal};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::fault::Which;
pub use disk::Disk;

/// Limits of streams are set aside by the server, however small the disk is.
const STORE_BYTES: u64 = 64 << 30;
const READY_LIMIT: Duration = Duration::from_secs(20);
const API_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// The servers of a storm.
#[derive(Debug)]
pub struct Servers {
    servers: Vec<Mutex<NatsServer>>,
    disks: Vec<Option<Disk>>,
    ports: Vec<u16>,
    client: Client,
}

impl Servers {
    /// Starts one or three, with their stores below a folder.
    ///
    /// # Errors
    /// When one cannot be started, or they do not find each other.
    pub async fn start(count: usize, folder: &Path, disks: bool) -> anyhow::Result<Self> {
        let routes = free_ports(count)?;
        let mut small = Vec::new();
        let mut starting = Vec::new();
        for number in 1..=count {
            let store = folder.join(format!("server{number}"));
            std::fs::create_dir_all(&store)?;
            small.push(disks.then(|| Disk::mount(&store)).transpose()?);
            let options = ServerOptions {
                store: Some(store),
                store_bytes_max: Some(STORE_BYTES),
                extra: if count > 1 {
                    cluster(number, &routes)
                } else {
                    Vec::new()
                },
                ..ServerOptions::default()
            };
            starting.push(tokio::spawn(NatsServer::start(options)));
        }
        let mut servers = Vec::new();
        for server in starting {
            servers.push(server.await?.context("a nats-server cannot be started")?);
        }
        let ports: Vec<u16> = servers.iter().map(NatsServer::port).collect();
        let servers = Self {
            servers: servers.into_iter().map(Mutex::new).collect(),
            disks: small,
            client: Client::new(ports.clone()),
            ports,
        };
        servers.until_ready().await?;
        Ok(servers)
    }

    /// The ports for clients.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// A client of whichever server answers.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Finds the server that is meant, as an index.
    pub async fn find(&self, which: Which) -> Option<usize> {
        match which {
            Which::Number(number) => Some(number - 1),
            Which::LeaderOf(_) if self.servers.len() == 1 => Some(0),
            Which::LeaderOf(stream) => {
                let subject = format!("$JS.API.STREAM.INFO.{stream}");
                let info = self.client.api(&subject, &json!({}), API_LIMIT).await?;
                let name = info["cluster"]["leader"].as_str()?;
                let number: usize = name.strip_prefix("server")?.parse().ok()?;
                Some(number - 1)
            }
        }
    }

    /// Kills a server, and starts it again after a while.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn kill(&self, index: usize, span: Duration) -> anyhow::Result<()> {
        let mut server = self.servers[index].lock().await;
        server.kill()?;
        sleep(span).await;
        server
            .start_again()
            .await
            .context("the server does not come back")
    }

    /// Ends a server in an orderly way, and starts it again after a while.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn end(&self, index: usize, span: Duration) -> anyhow::Result<()> {
        let mut server = self.servers[index].lock().await;
        server.stop().await?;
        sleep(span).await;
        server
            .start_again()
            .await
            .context("the server does not come back")
    }

    /// Makes a server stand still for a while.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn stop(&self, index: usize, span: Duration) -> anyhow::Result<()> {
        let server = self.servers[index].lock().await;
        server.signal(Signal::Pause)?;
        sleep(span).await;
        Ok(server.signal(Signal::Resume)?)
    }

    /// Fills the disk of a server for a while, and starts the server again then: it does not go on storing
    /// by itself.
    ///
    /// # Errors
    /// When it has no disk of its own, or does not come back.
    pub async fn fill_disk(&self, index: usize, span: Duration) -> anyhow::Result<()> {
        let mut server = self.servers[index].lock().await;
        let disk = self.disks[index]
            .as_ref()
            .context("it has no disk of its own")?;
        disk.fill()?;
        sleep(span).await;
        disk.free()?;
        server.kill()?;
        server
            .start_again()
            .await
            .context("the server does not come back")
    }

    /// Tells the leader of a stream to give it to another server.
    pub async fn step_down_stream(&self, stream: &str) -> bool {
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
        let told = self.client.api(&subject, &json!({}), API_LIMIT).await;
        told.is_some()
    }

    /// Tells the leaders of all consumers of a stream to give them to other servers.
    pub async fn step_down_consumers(&self, stream: &str) -> bool {
        let consumers = self.consumers(stream).await.unwrap_or_default();
        let mut told = false;
        for consumer in consumers {
            let Some(name) = consumer["name"].as_str() else {
                continue;
            };
            let subject = format!("$JS.API.CONSUMER.LEADER.STEPDOWN.{stream}.{name}");
            told |= self
                .client
                .api(&subject, &json!({}), API_LIMIT)
                .await
                .is_some();
        }
        told
    }

    /// The state of a stream.
    pub async fn stream(&self, stream: &str) -> Option<Value> {
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        self.client.api(&subject, &json!({}), API_LIMIT).await
    }

    /// All consumers of a stream.
    pub async fn consumers(&self, stream: &str) -> Option<Vec<Value>> {
        let subject = format!("$JS.API.CONSUMER.LIST.{stream}");
        let mut all: Vec<Value> = Vec::new();
        loop {
            let page = json!({ "offset": all.len() });
            let page = self.client.api(&subject, &page, API_LIMIT).await?;
            let consumers = page["consumers"].as_array()?.clone();
            let total = usize::try_from(page["total"].as_u64()?).ok()?;
            let none = consumers.is_empty();
            all.extend(consumers);
            if none || all.len() >= total {
                return Some(all);
            }
        }
    }

    /// Sees to it that all servers run.
    ///
    /// # Errors
    /// When one does not come back.
    pub async fn all_up(&self) -> anyhow::Result<()> {
        for server in &self.servers {
            let mut server = server.lock().await;
            server.signal(Signal::Resume)?;
            server.start_again().await?;
        }
        self.until_ready().await
    }

    async fn until_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        let api = "$JS.API.STREAM.NAMES";
        while self.client.api(api, &json!({}), API_LIMIT).await.is_none() {
            ensure!(
                Instant::now() < deadline,
                "no JetStream within {READY_LIMIT:?}"
            );
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// The lines that make servers one cluster. Clients are not told of the others: their way is the proxy.
fn cluster(number: usize, routes: &[u16]) -> Vec<String> {
    let urls: Vec<String> = routes
        .iter()
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .collect();
    vec![
        format!("server_name: server{number}"),
        format!(
            "cluster {{ name: chaos, listen: \"127.0.0.1:{}\", no_advertise: true, routes: [{}] }}",
            routes[number - 1],
            urls.join(", ")
        ),
    ]
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Result<Vec<_>, _> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect();
    let ports = listeners?.into_iter().map(|listener| listener.local_addr());
    Ok(ports
        .map(|address| Ok(address?.port()))
        .collect::<std::io::Result<_>>()?)
}
