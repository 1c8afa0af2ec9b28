//! One connection to NATS: its options, and the check of its server.

mod link;
mod login;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{AccountError, AccountErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{ConnectErrorKind, ConnectOptions};
use tokio::sync::watch;
use tracing::debug;

pub use self::link::Link;
use self::login::{Login, Servers};
use crate::client::Client;
use crate::clock::ServerClock;
use crate::lease::Remembered;
use crate::limit::{Cause, NETWORK_LIMIT, asked};
use crate::lookup::Copies;
use crate::subjects::{Prefix, Subjects};

/// How long a service waits for the first connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The oldest server that has all that Rota needs: cron schedules and consumer reset.
const SERVER_MIN: (i64, i64, i64) = (2, 14, 0);
/// Room for messages that have arrived and are not read yet, for each subscription.
const SUBSCRIPTION_CAPACITY: usize = 128 * 1024;
/// JetStream publishes whose answer is awaited, for one connection.
const STORES_IN_FLIGHT_MAX: usize = 4 * 1024;
/// What a payload may not use of the server's limit: room for headers and frames around it.
const PAYLOAD_RESERVE_BYTES: usize = 64 * 1024;

/// How to connect.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// `nats://host:port`, one or several separated by commas; perhaps with a user and password, or a
    /// token, before an `@`.
    pub servers: String,
    /// A credentials file.
    pub credentials: Option<PathBuf>,
    /// What the connection is called in the server's own lists.
    pub name: String,
    /// The prefix of all subjects and streams.
    pub prefix: Prefix,
    /// What the subjects start with on which answers come, `_INBOX` when nothing is given: with one of its
    /// own for each user, nobody can be allowed to read another's answers.
    pub inbox_prefix: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Credentials cannot be read.
    #[error("reading credentials {path}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An address cannot be one.
    #[error("reading the address {servers}")]
    Address {
        /// All of them.
        servers: String,
        /// Why.
        source: Cause,
    },
    /// The prefix of inboxes is none.
    #[error("inbox prefix `{given}`: must be tokens of A-Z a-z 0-9 _ - separated by dots")]
    InboxPrefix {
        /// What was given.
        given: String,
    },
    /// The server does not let us in.
    #[error(
        "nats-server at {servers} refuses this login: write the user into the address, as in \
         nats://user:password@host, or name a credentials file with --creds"
    )]
    LoginRefused {
        /// Where it is.
        servers: String,
    },
    /// No server answers.
    #[error("connecting to {servers}")]
    Unreachable {
        /// Where to.
        servers: String,
        /// Why.
        source: Cause,
    },
    /// No answer within ten seconds.
    #[error("connecting to {servers}: no answer within 10s")]
    TimedOut {
        /// Where to.
        servers: String,
    },
    /// The server lacks what Rota needs.
    #[error(
        "nats-server {found} is too old: Rota needs 2.14 or newer, for message schedules and \
         consumer reset; upgrade the server at {servers}"
    )]
    TooOld {
        /// Its version.
        found: String,
        /// Where it is.
        servers: String,
    },
    /// The server has no JetStream.
    #[error(
        "nats-server at {servers} has no JetStream for this account: start it with `-js` or a \
         `jetstream` block in its configuration"
    )]
    NoJetStream {
        /// Where it is.
        servers: String,
    },
    /// JetStream does not answer.
    #[error(
        "nats-server at {servers} is there, and its JetStream does not answer: too few servers of a cluster \
         are up, or they are electing a leader"
    )]
    Silent {
        /// Where it is.
        servers: String,
    },
}

/// A connection to NATS and the subjects of one installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    subjects: Subjects,
    servers: String,
    link: watch::Receiver<Link>,
    watched: String,
    clock: ServerClock,
    copies: Copies,
    lease: Remembered,
}

impl Bus {
    /// Connects, and checks that the server has what Rota needs.
    ///
    /// # Errors
    /// [`ConnectError`], whose message says what to do.
    pub async fn connect(options: BusOptions) -> Result<Self, ConnectError> {
        let Servers { addresses, login } = Servers::parse(&options.servers);
        let servers = addresses.join(",");
        let (changes, link) = watch::channel(Link {
            up: true,
            breaks: 0,
        });
        let connecting = client_options(&options, login, changes)?.connect(addresses);
        let client = match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(source)) => return Err(ConnectError::from_client(servers, source)),
            Err(_) => return Err(ConnectError::TimedOut { servers }),
        };
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(NETWORK_LIMIT)
            .ack_timeout(NETWORK_LIMIT)
            .max_ack_inflight(STORES_IN_FLIGHT_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        check_server(&client, &jetstream, &servers).await?;
        let client = Client::Nats { client, jetstream };
        Ok(Self::over(client, link, options.prefix, servers))
    }

    pub(crate) fn over(
        client: Client,
        link: watch::Receiver<Link>,
        prefix: Prefix,
        servers: String,
    ) -> Self {
        let inner = Inner {
            watched: client.new_inbox(),
            client,
            subjects: Subjects::new(prefix),
            servers,
            link,
            clock: ServerClock::default(),
            copies: Copies::default(),
            lease: Remembered::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The subjects of this installation.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.inner.subjects
    }

    /// Watches the connection.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.inner.link.clone()
    }

    /// The server's version and address, for the line that a service says at its start.
    #[must_use]
    pub fn server(&self) -> String {
        format!(
            "nats-server {} at {}",
            self.client().version(),
            self.inner.servers
        )
    }

    /// The largest message that the server takes: headers and body together, in bytes.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        self.client().max_payload()
    }

    /// The largest task input or output that fits into a message with headers and frames around it.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        let max_payload = self.payload_max();
        max_payload - PAYLOAD_RESERVE_BYTES.min(max_payload / 4)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The NATS client's own view of JetStream, for the few calls that rest on it.
    pub(crate) fn jetstream(&self) -> Result<&jetstream::Context, Cause> {
        match self.client() {
            Client::Nats { jetstream, .. } => Ok(jetstream),
            #[cfg(feature = "memory")]
            Client::Memory(_) => Err("a server in memory cannot do this".into()),
        }
    }

    /// The inbox to which the server tells that nobody listened.
    pub(crate) fn watched(&self) -> &str {
        &self.inner.watched
    }

    pub(crate) fn clock(&self) -> &ServerClock {
        &self.inner.clock
    }

    pub(crate) fn copies(&self) -> &Copies {
        &self.inner.copies
    }

    pub(crate) fn remembered_lease(&self) -> &Remembered {
        &self.inner.lease
    }
}

async fn check_server(
    client: &async_nats::Client,
    jetstream: &jetstream::Context,
    servers: &str,
) -> Result<(), ConnectError> {
    let (major, minor, patch) = SERVER_MIN;
    let servers = servers.to_owned();
    if !client.is_server_compatible(major, minor, patch) {
        let found = client.server_info().version;
        return Err(ConnectError::TooOld { found, servers });
    }
    let stands = |answer: &Result<_, AccountError>| match answer {
        Ok(_) => true,
        Err(error) => !is_passing(error),
    };
    match asked(|| jetstream.query_account(), stands).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if !is_passing(&error) => {
            debug!(%error, "no account information");
            Err(ConnectError::NoJetStream { servers })
        }
        Ok(Err(_)) | Err(_) => Err(ConnectError::Silent { servers }),
    }
}

/// The servers are electing a leader, or the question was lost.
fn is_passing(error: &AccountError) -> bool {
    match error.kind() {
        AccountErrorKind::TimedOut => true,
        AccountErrorKind::JetStream(inner) => {
            inner.error_code() == ErrorCode::CLUSTER_NOT_AVAILABLE
        }
        AccountErrorKind::JetStreamUnavailable | AccountErrorKind::Other => false,
    }
}

impl ConnectError {
    fn from_client(servers: String, source: async_nats::ConnectError) -> Self {
        match source.kind() {
            ConnectErrorKind::ServerParse => Self::Address {
                servers,
                source: source.into(),
            },
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Self::LoginRefused { servers }
            }
            _ => Self::Unreachable {
                servers,
                source: source.into(),
            },
        }
    }
}

fn client_options(
    options: &BusOptions,
    login: Login,
    changes: watch::Sender<Link>,
) -> Result<ConnectOptions, ConnectError> {
    let base = match &options.credentials {
        None => ConnectOptions::new(),
        Some(path) => {
            let failed = |source| ConnectError::Credentials {
                path: path.clone(),
                source,
            };
            let text = std::fs::read_to_string(path).map_err(failed)?;
            ConnectOptions::with_credentials(&text).map_err(failed)?
        }
    };
    let base = match login {
        Login::Nobody => base,
        Login::User { name, password } => base.user_and_password(name, password),
        Login::Token(token) => base.token(token),
    };
    let base = match &options.inbox_prefix {
        None => base,
        Some(prefix) if is_inbox_prefix(prefix) => base.custom_inbox_prefix(prefix),
        Some(prefix) => {
            let given = prefix.clone();
            return Err(ConnectError::InboxPrefix { given });
        }
    };
    let changes = Arc::new(changes);
    Ok(base
        .name(&options.name)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(16 * 1024)
        .ping_interval(Duration::from_secs(5))
        .request_timeout(Some(NETWORK_LIMIT))
        .connection_timeout(NETWORK_LIMIT)
        .max_reconnects(None)
        .reconnect_delay_callback(link::pause)
        .event_callback(move |event| {
            let changes = changes.clone();
            async move { link::note(&event, &changes) }
        }))
}

/// What the client would panic about, and wildcards, are refused here.
fn is_inbox_prefix(text: &str) -> bool {
    let is_token = |token: &str| {
        let mut bytes = token.bytes();
        !token.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    text.len() <= 64 && text.split('.').all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_prefix_is_made_of_tokens() {
        for good in ["_INBOX", "_INBOX_w1", "inbox.w-1"] {
            assert!(is_inbox_prefix(good), "{good}");
        }
        for bad in ["", "a.", ".a", "a..b", "a.>", "*", "a b", "a\n"] {
            assert!(!is_inbox_prefix(bad), "{bad}");
        }
    }
}
