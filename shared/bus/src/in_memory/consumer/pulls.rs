//! Requests for messages that wait for them.

use serde_json::Value;

use super::Consumer;
use crate::in_memory::interest::Interest;
use crate::in_memory::packet::{Parcel, status};

/// A request for messages.
#[derive(Debug, Clone)]
pub(in super::super) struct Pull {
    pub(super) reply: String,
    pub(super) batch: u64,
    /// What it may still bring.
    pub(super) bytes: Option<u64>,
    /// When it ends, by the steady clock.
    pub(super) expires: Option<u64>,
    pub(super) waits: bool,
    pub(super) was_served: bool,
}

/// Why a pull ends before it has all that it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum End {
    NoMessages,
    Expired,
    TooLarge,
    TooManyWaiting,
    LeadershipChange,
    ConsumerDeleted,
    ServerShutdown,
}

impl Pull {
    /// Reads the body of a request: a number, or an object.
    pub(in super::super) fn read(reply: &str, body: &[u8], steady: u64) -> Self {
        let told: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let positive = |field: &str| told[field].as_u64().filter(|n| *n > 0);
        let expires = positive("expires").map(|nanos| steady + nanos / 1_000);
        Self {
            reply: reply.to_owned(),
            batch: told.as_u64().or_else(|| positive("batch")).unwrap_or(1),
            bytes: positive("max_bytes"),
            expires,
            waits: told["no_wait"] != true,
            was_served: false,
        }
    }

    pub(super) fn end(&self, end: End) -> Parcel {
        let (code, description) = match end {
            End::NoMessages => (404, "No Messages"),
            End::Expired => (408, "Request Timeout"),
            End::TooLarge => (409, "Message Size Exceeds MaxBytes"),
            End::TooManyWaiting => (409, "Exceeded MaxWaiting"),
            End::LeadershipChange => (409, "Leadership Change"),
            End::ConsumerDeleted => (409, "Consumer Deleted"),
            End::ServerShutdown => (409, "Server Shutdown"),
        };
        let left = [
            ("Nats-Pending-Messages", self.batch),
            ("Nats-Pending-Bytes", self.bytes.unwrap_or(0)),
        ];
        status(&self.reply, code, description, &left)
    }
}

impl Consumer {
    /// Takes a pull in; it is served at the next opportunity.
    pub(in super::super) fn pull(&mut self, pull: Pull, out: &mut Vec<Parcel>) {
        if self.pulls.len() >= self.settings.max_waiting {
            out.push(pull.end(End::TooManyWaiting));
            return;
        }
        self.pulls.push_back(pull);
    }

    /// Ends all pulls that wait.
    pub(in super::super) fn end_pulls(&mut self, end: End, out: &mut Vec<Parcel>) {
        out.extend(self.pulls.drain(..).map(|pull| pull.end(end)));
    }

    /// Ends the pulls whose time is over, and drops those whose sender is gone.
    pub(super) fn expire_pulls(&mut self, steady: u64, interest: &Interest, out: &mut Vec<Parcel>) {
        self.pulls.retain(|pull| {
            let is_over = pull.expires.is_some_and(|expires| expires <= steady);
            if is_over {
                out.push(pull.end(End::Expired));
            }
            !is_over && interest.is_heard(&pull.reply)
        });
    }

    /// Pulls that do not wait have had all that there is.
    pub(super) fn end_impatient(&mut self, out: &mut Vec<Parcel>) {
        self.pulls.retain(|pull| {
            if !pull.waits {
                let end = if pull.was_served {
                    End::Expired
                } else {
                    End::NoMessages
                };
                out.push(pull.end(end));
            }
            pull.waits
        });
    }
}
