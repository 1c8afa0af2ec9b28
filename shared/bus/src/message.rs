//! Messages as plain data: what is sent, and what a subscription yields.

use bytes::Bytes;
use rota_wire::Headers;
use rota_wire::frame::{self, Frame};

use crate::subjects::Subject;

/// A message to send.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where to.
    pub subject: Subject,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
}

impl Message {
    /// A message without headers.
    #[must_use]
    pub fn new(subject: Subject, payload: Bytes) -> Self {
        Self {
            subject,
            headers: Headers::new(),
            payload,
        }
    }

    /// A frame between services.
    #[must_use]
    pub fn frame<F: Frame>(subject: Subject, frame: &F) -> Self {
        Self::new(subject, frame::encode(frame))
    }
}

/// A message that a subscription or a request yielded.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its subject as text.
    pub subject: String,
    /// Where an answer goes, if one is wanted.
    pub reply: Option<Subject>,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
}

impl Received {
    pub(crate) fn from_client(message: async_nats::Message) -> Self {
        Self {
            headers: crate::headers::from_map(message.headers.as_ref()),
            subject: message.subject.to_string(),
            reply: message.reply.map(|reply| Subject::raw(reply.to_string())),
            payload: message.payload,
        }
    }
}
