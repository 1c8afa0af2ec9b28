//! Messages as the server makes them.

use std::sync::Arc;

use async_nats::header::{HeaderName, HeaderValue};
use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;

/// A message under way; those who get it get a copy.
pub(super) type Packet = Arc<Message>;

/// A message on its way to those who listen on `to`. What a consumer delivers keeps its own subject.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) to: String,
    pub(super) packet: Packet,
}

/// Why the server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: u16,
    pub(super) err_code: u64,
    pub(super) description: String,
}

impl Fault {
    pub(super) fn new(code: u16, err_code: u64, description: impl Into<String>) -> Self {
        Self {
            code,
            err_code,
            description: description.into(),
        }
    }

    /// The server has no leader to do it, or says so.
    pub(super) fn unavailable() -> Self {
        Self::new(503, 10_008, "JetStream system temporarily unavailable")
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code, "err_code": self.err_code, "description": self.description,
        })
    }
}

pub(super) fn message(
    subject: &str,
    reply: Option<String>,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> Message {
    let head = reply.as_ref().map_or(0, String::len) + header_bytes(headers.as_ref());
    let length = subject.len() + head + payload.len();
    Message {
        subject: subject.to_owned().into(),
        reply: reply.map(Into::into),
        payload,
        headers: headers.filter(|headers| !headers.is_empty()),
        status: None,
        description: None,
        length,
    }
}

/// A message without a body that says how a request ended.
pub(super) fn status(
    to: &str,
    code: u16,
    description: &str,
    headers: &[(&'static str, u64)],
) -> Parcel {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.to_string().as_str());
    }
    let mut status = message(to, None, Some(map), Bytes::new());
    status.status = StatusCode::from_u16(code).ok();
    status.description = (!description.is_empty()).then(|| description.to_owned());
    parcel(to, status)
}

pub(super) fn json(to: &str, value: &serde_json::Value) -> Parcel {
    parcel(to, message(to, None, None, value.to_string().into()))
}

pub(super) fn parcel(to: &str, message: Message) -> Parcel {
    Parcel {
        to: to.to_owned(),
        packet: Arc::new(message),
    }
}

/// A header as text.
pub(super) fn header<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get(name).map(HeaderValue::as_str)
}

/// The headers that `keep` wants.
pub(super) fn retain(headers: Option<&HeaderMap>, keep: impl Fn(&str) -> bool) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        if keep(text(name)) {
            for value in values {
                kept.append(name.clone(), value.clone());
            }
        }
    }
    kept
}

/// The headers as they stand on the wire, sorted by name.
pub(super) fn header_block(headers: Option<&HeaderMap>) -> Option<String> {
    let headers = headers.filter(|headers| !headers.is_empty())?;
    let mut lines: Vec<String> = headers
        .iter()
        .flat_map(|(name, values)| {
            let line = |value: &HeaderValue| format!("{}: {}\r\n", text(name), value.as_str());
            values.iter().map(line).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    Some(format!("NATS/1.0\r\n{}\r\n", lines.concat()))
}

/// What headers take on the wire.
pub(super) fn header_bytes(headers: Option<&HeaderMap>) -> usize {
    let Some(headers) = headers.filter(|headers| !headers.is_empty()) else {
        return 0;
    };
    let lines = headers.iter().flat_map(|(name, values)| {
        values
            .iter()
            .map(|value| text(name).len() + value.as_str().len() + 4)
    });
    14 + lines.sum::<usize>()
}

fn text(name: &HeaderName) -> &str {
    name.as_ref()
}
