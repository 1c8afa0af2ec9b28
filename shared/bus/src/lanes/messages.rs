//! Single messages of ROTA_READY: read anew by their sequence, and answered.

use bytes::Bytes;
use rota_wire::headers::ID;
use rota_wire::{Delivery, Headers, Micros, TaskId};

use super::{AckHandle, LaneError, Pulled};
use crate::api::Which;
use crate::connect::Bus;
use crate::limit::{Cause, within};
use crate::send::{SendError, sending};
use crate::streams::StreamName;
use crate::subjects::Subject;

/// What gives a delivery back.
pub(super) const NAK: Bytes = Bytes::from_static(b"-NAK");

impl Bus {
    /// Reads a message of ROTA_READY by its sequence, from the stream's leader; nothing when it is not there
    /// any more: it was acked, or somebody purged it.
    ///
    /// # Errors
    /// [`LaneError::Message`] when it is not known whether it is there.
    pub async fn ready_message(&self, sequence: u64) -> Result<Option<Pulled>, LaneError> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let found = self.leader_read(&stream, Which::Sequence(sequence)).await;
        let found = found.map_err(|error| LaneError::Message {
            sequence,
            source: error.into(),
        })?;
        Ok(found.map(|message| Pulled {
            place: (message.seq, message.stored),
            headers: message.headers,
            payload: message.body,
        }))
    }

    /// The input of a task whose message of ROTA_READY is known by its sequence: from any copy, and where that
    /// has not got it, from the leader. Nothing when the message is not there any more, or when another task's
    /// is: a stream that was made anew counts from one again.
    ///
    /// # Errors
    /// [`LaneError::Message`] when it is not known whether it is there.
    pub async fn ready_input(
        &self,
        sequence: u64,
        task: &TaskId,
    ) -> Result<Option<Bytes>, LaneError> {
        let input = |headers: &Headers, payload: Bytes| {
            (headers.value(ID) == Some(task.as_str())).then_some(payload)
        };
        match within(self.direct_message(sequence)).await {
            Ok(Some((headers, payload))) => Ok(input(&headers, payload)),
            // A copy may lag behind, and where there is none to be asked, the leader may be there.
            Ok(None) | Err(_) => {
                let found = self.ready_message(sequence).await?;
                Ok(found.and_then(|found| input(&found.headers, found.payload)))
            }
        }
    }

    async fn direct_message(&self, sequence: u64) -> Result<Option<(Headers, Bytes)>, Cause> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let request = async_nats::Request::new().payload(format!(r#"{{"seq":{sequence}}}"#).into());
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let answer = self.client().send_request(subject, request).await?;
        match answer.status.map(|status| status.as_u16()) {
            None => {
                let headers = crate::headers::from_map(answer.headers.as_ref());
                Ok(Some((headers, answer.payload)))
            }
            Some(404) => Ok(None),
            Some(status) => Err(format!("a direct read ended with {status}").into()),
        }
    }

    /// The task of a delivery is settled: the stream may forget it.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn ack(&self, handle: &AckHandle) -> Result<(), SendError> {
        self.answer_delivery(handle, Bytes::new()).await
    }

    /// The delivery is to come again at once.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn nak(&self, handle: &AckHandle) -> Result<(), SendError> {
        self.answer_delivery(handle, NAK).await
    }

    async fn answer_delivery(&self, handle: &AckHandle, body: Bytes) -> Result<(), SendError> {
        let publishing = self.client().publish(handle.0.clone(), body);
        match crate::limit::limited(publishing).await {
            Ok(Ok(())) => Ok(()),
            failed => {
                let subject = Subject::raw(handle.0.to_string());
                sending(subject, async { failed.map_err(Cause::from)? }).await
            }
        }
    }
}

/// What an ack subject says of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AckSubject {
    pub(crate) delivery: Delivery,
    /// When the stream stored the message.
    pub(crate) stored: Micros,
    /// Messages that were not handed out yet.
    pub(crate) pending: u64,
}

/// Reads `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>`, also in the
/// newer form that has a domain and an account before the stream.
pub(crate) fn parse_ack(reply: &str) -> Option<AckSubject> {
    let after_consumer = match reply.split('.').count() {
        9 => 4,
        11.. => 6,
        _ => return None,
    };
    let mut numbers = reply.split('.').skip(after_consumer).map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let (count, seq) = (number()?, number()?);
    let (_consumer_seq, nanos, pending) = (number()?, number()?, number()?);
    let count = u32::try_from(count).ok()?;
    Some(AckSubject {
        delivery: Delivery { seq, count },
        stored: Micros(nanos / 1_000),
        pending,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_ack_subjects_are_read() {
        let expected = Some(AckSubject {
            delivery: Delivery { seq: 77, count: 2 },
            stored: Micros(1_795_000_000_000_000),
            pending: 5,
        });
        assert_eq!(
            parse_ack("$JS.ACK.ROTA_READY.lane_a_5.2.77.12.1795000000000000000.5"),
            expected
        );
        let newer = "$JS.ACK.hub.szMpdrwD.ROTA_READY.lane_a_5.2.77.12.1795000000000000000.5";
        assert_eq!(parse_ack(newer), expected);
        assert_eq!(parse_ack("_INBOX.a.b"), None);
        assert_eq!(parse_ack("$JS.ACK.a.b.c.d.e.f.g"), None);
    }
}
