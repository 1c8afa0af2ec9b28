//! What happened on the bus, kept to be read when a test fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;

/// The most that is kept. What comes later is counted only.
const ENTRIES_MAX: usize = 1_000_000;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When, since the server began.
    pub at: Duration,
    /// Which client did it, or which it concerns; the server's own deeds have no client.
    pub client: Option<Arc<str>>,
    /// What.
    pub deed: Deed,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Deed {
    /// The server took a message in.
    Published(Arc<Message>),
    /// A consumer delivered a message towards an inbox.
    Delivered {
        /// The inbox.
        to: String,
        /// The message.
        message: Arc<Message>,
    },
    /// The server answered a request: an answer to a publish or a call.
    Answered {
        /// The inbox.
        to: String,
        /// The message.
        message: Arc<Message>,
    },
    /// Something went wrong with what is named.
    Trouble(String),
}

/// All that happened.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: Vec<Entry>,
    left_out: u64,
}

impl Journal {
    pub(super) fn note(&mut self, at: u64, client: Option<Arc<str>>, deed: Deed) {
        if self.entries.len() >= ENTRIES_MAX {
            self.left_out += 1;
            return;
        }
        let at = Duration::from_micros(at);
        self.entries.push(Entry { at, client, deed });
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client.as_deref().unwrap_or("server");
        write!(f, "{:>10.3} {client:<14} ", self.at.as_secs_f64())?;
        match &self.deed {
            Deed::Published(message) => write_message(f, "pub", &message.subject, message),
            Deed::Delivered { to, message } => {
                write!(f, "→ {to}: ")?;
                write_message(f, "msg", &message.subject, message)
            }
            Deed::Answered { to, message } => write_message(f, "answer", to, message),
            Deed::Trouble(text) => write!(f, "*** {text}"),
        }
    }
}

fn write_message(
    f: &mut fmt::Formatter<'_>,
    verb: &str,
    subject: &str,
    message: &Message,
) -> fmt::Result {
    write!(f, "{verb} {subject}")?;
    if let Some(reply) = &message.reply {
        write!(f, " (reply {reply})")?;
    }
    if let Some(status) = message.status {
        let description = message.description.as_deref().unwrap_or_default();
        write!(f, " [{status} {description}]")?;
    }
    if let Some(block) = super::packet::header_block(message.headers.as_ref()) {
        let lines: Vec<&str> = block.lines().skip(1).filter(|l| !l.is_empty()).collect();
        write!(f, " {{{}}}", lines.join("; "))?;
    }
    match std::str::from_utf8(&message.payload) {
        Ok("") => Ok(()),
        Ok(text) => write!(f, " {}", text.chars().take(200).collect::<String>()),
        Err(_) => write!(f, " ({} bytes)", message.payload.len()),
    }
}
