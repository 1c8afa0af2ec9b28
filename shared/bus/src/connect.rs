//! One connection to NATS: its options, the check of its server, and its ups and downs.

mod login;

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use self::login::{Login, Servers};
use crate::message::{Message, Received};
use crate::subjects::{Prefix, Subject, Subjects};

/// Every wait for the server ends here at the latest, unless it says otherwise.
pub(crate) const NETWORK_LIMIT: Duration = Duration::from_secs(5);
/// How long a service waits for the first connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The pause between attempts to connect again. Short, because everything waits for it.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
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
        source: async_nats::ConnectError,
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
        source: async_nats::ConnectError,
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
}

/// The state of the connection. Whoever keeps state that rests on an unbroken connection starts anew
/// when `breaks` changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// How often it was interrupted, or messages were dropped because this side was too slow.
    pub breaks: u64,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The connection has no room and took none for five seconds.
    #[error("sending to {subject}: no room within 5s")]
    TimedOut {
        /// Where to.
        subject: Subject,
    },
    /// The client refuses it.
    #[error("sending to {subject}")]
    Refused {
        /// Where to.
        subject: Subject,
        /// Why.
        source: async_nats::Error,
    },
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody is subscribed.
    #[error("asking {subject}: nobody is there")]
    NobodyThere {
        /// Where to.
        subject: Subject,
    },
    /// No answer in time.
    #[error("asking {subject}: no answer in time")]
    TimedOut {
        /// Where to.
        subject: Subject,
    },
    /// The connection failed.
    #[error("asking {subject}")]
    Failed {
        /// Where to.
        subject: Subject,
        /// Why.
        source: async_nats::RequestError,
    },
}

/// A connection to NATS and the subjects of one installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    subjects: Subjects,
    servers: String,
    link: watch::Receiver<Link>,
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
        let subjects = Subjects::new(options.prefix);
        let bus = Self {
            client,
            jetstream,
            subjects,
            servers,
            link,
        };
        bus.check_server().await?;
        Ok(bus)
    }

    /// The subjects of this installation.
    #[must_use]
    pub const fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// Watches the connection.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// The server's version and address, for the line that a service says at its start.
    #[must_use]
    pub fn server(&self) -> String {
        format!(
            "nats-server {} at {}",
            self.client.server_info().version,
            self.servers
        )
    }

    /// The largest task input or output that fits into a message with headers and frames around it.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        let max_payload = self.client.max_payload();
        max_payload - PAYLOAD_RESERVE_BYTES.min(max_payload / 4)
    }

    /// Sends a message. It is on its way, not received.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let sending = async {
            if headers.is_empty() {
                self.client
                    .publish(subject.as_str().to_owned(), payload)
                    .await
            } else {
                let headers = crate::headers::to_map(&headers);
                self.client
                    .publish_with_headers(subject.as_str().to_owned(), headers, payload)
                    .await
            }
        };
        match tokio::time::timeout(NETWORK_LIMIT, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SendError::Refused {
                subject,
                source: source.into(),
            }),
            Err(_) => Err(SendError::TimedOut { subject }),
        }
    }

    /// Waits until the server has all that was sent.
    ///
    /// # Errors
    /// [`SendError`] when it does not answer in time.
    pub async fn flush(&self) -> Result<(), SendError> {
        let subject = Subject::raw("(flush)".to_owned());
        match tokio::time::timeout(NETWORK_LIMIT, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SendError::Refused {
                subject,
                source: source.into(),
            }),
            Err(_) => Err(SendError::TimedOut { subject }),
        }
    }

    /// Subscribes; the subscription survives reconnects.
    ///
    /// # Errors
    /// [`SendError`] when the connection is closed.
    pub async fn subscribe(&self, subject: &Subject) -> Result<Subscription, SendError> {
        let subscribing = self.client.subscribe(subject.as_str().to_owned());
        match tokio::time::timeout(NETWORK_LIMIT, subscribing).await {
            Ok(Ok(inner)) => Ok(Subscription { inner }),
            Ok(Err(source)) => Err(SendError::Refused {
                subject: subject.clone(),
                source: source.into(),
            }),
            Err(_) => Err(SendError::TimedOut {
                subject: subject.clone(),
            }),
        }
    }

    /// Asks and waits for one answer, at most `limit`.
    ///
    /// # Errors
    /// [`RequestError`]; that nobody is there is known at once.
    pub async fn request(
        &self,
        message: Message,
        limit: Duration,
    ) -> Result<Received, RequestError> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let request = async_nats::Request::new()
            .headers(crate::headers::to_map(&headers))
            .payload(payload)
            .timeout(Some(limit));
        let sending = self
            .client
            .send_request(subject.as_str().to_owned(), request);
        match tokio::time::timeout(limit + NETWORK_LIMIT, sending).await {
            Ok(Ok(message)) => Ok(Received::from_client(message)),
            Err(_) => Err(RequestError::TimedOut { subject }),
            Ok(Err(source)) => Err(match source.kind() {
                async_nats::RequestErrorKind::NoResponders => RequestError::NobodyThere { subject },
                async_nats::RequestErrorKind::TimedOut => RequestError::TimedOut { subject },
                _ => RequestError::Failed { subject, source },
            }),
        }
    }

    async fn check_server(&self) -> Result<(), ConnectError> {
        let (major, minor, patch) = SERVER_MIN;
        let servers = self.servers.clone();
        let info = self.client.server_info();
        if !self.client.is_server_compatible(major, minor, patch) {
            return Err(ConnectError::TooOld {
                found: info.version,
                servers,
            });
        }
        let account = tokio::time::timeout(NETWORK_LIMIT, self.jetstream.query_account()).await;
        match account {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                debug!(%error, "no account information");
                Err(ConnectError::NoJetStream { servers })
            }
            Err(_) => Err(ConnectError::NoJetStream { servers }),
        }
    }
}

/// A stream of messages on a subject.
#[derive(Debug)]
pub struct Subscription {
    inner: Subscriber,
}

impl Subscription {
    /// The next message; nothing once the connection is closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<Received> {
        self.inner.next().await.map(Received::from_client)
    }

    /// The next message if it has arrived already.
    pub fn try_next(&mut self) -> Option<Received> {
        arrived(&mut self.inner).map(Received::from_client)
    }

    /// Throws away what has arrived and nobody reads.
    pub(crate) fn discard_waiting(&mut self) {
        while arrived(&mut self.inner).is_some() {}
    }
}

impl ConnectError {
    fn from_client(servers: String, source: async_nats::ConnectError) -> Self {
        match source.kind() {
            ConnectErrorKind::ServerParse => Self::Address { servers, source },
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Self::LoginRefused { servers }
            }
            _ => Self::Unreachable { servers, source },
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
    let changes = std::sync::Arc::new(changes);
    Ok(base
        .name(&options.name)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(16 * 1024)
        .ping_interval(Duration::from_secs(5))
        .request_timeout(Some(NETWORK_LIMIT))
        .connection_timeout(NETWORK_LIMIT)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            if attempts <= 1 {
                Duration::ZERO
            } else {
                RECONNECT_PAUSE
            }
        })
        .event_callback(move |event| {
            let changes = changes.clone();
            async move { note(&event, &changes) }
        }))
}

/// What has arrived already. Not subject to tokio's turn-taking, which would hide some of it: callers
/// bound their own turns.
pub(crate) fn arrived(messages: &mut Subscriber) -> Option<async_nats::Message> {
    tokio::task::unconstrained(messages.next())
        .now_or_never()
        .flatten()
}

/// What the client tells about the connection becomes a change of [`Link`].
fn note(event: &Event, changes: &watch::Sender<Link>) {
    match event {
        Event::Connected => {
            // Said differently, so that it is not taken for a repetition of the first.
            match changes.borrow().breaks {
                0 => info!("connected to nats-server"),
                breaks => info!(breaks, "connected to nats-server again"),
            }
            changes.send_modify(|link| link.up = true);
        }
        Event::Disconnected => {
            warn!("connection to nats-server lost");
            changes.send_modify(|link| {
                *link = Link {
                    up: false,
                    breaks: link.breaks + 1,
                }
            });
        }
        // The end of this process' own making.
        Event::Closed => {
            debug!("connection to nats-server closed");
            changes.send_modify(|link| {
                *link = Link {
                    up: false,
                    breaks: link.breaks + 1,
                }
            });
        }
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "too slow: messages were dropped");
            changes.send_modify(|link| link.breaks += 1);
        }
        Event::ServerError(error) => warn!(%error, "nats-server reports an error"),
        Event::ClientError(error) => debug!(%error, "nats client reports an error"),
        Event::LameDuckMode | Event::Draining => info!(%event, "connection is ending"),
    }
}
