//! Strays: messages that lie in a lane and that nobody brings. A lane at rest has them if its consumer has nothing
//! left to bring and nothing un-acked; in one that flows it takes the scheduler's books to tell.
//!
//! It should not be: an acked message of a work queue is deleted. But stream and consumer are two states, and a
//! server that is killed, or whose disk is full, may keep the one and lose the other.

use rota_wire::{Headers, Lane, Micros, Span};

use super::consumers::consumer_name;
use super::{AckHandle, LaneError};
use crate::api::{ApiError, Which};
use crate::connect::Bus;
use crate::limit::{Cause, within};
use crate::message::Message;
use crate::store::{Expect, StoreError};
use crate::streams::StreamName;

/// A message as it lies in a lane, which perhaps no consumer brings.
#[derive(Debug, Clone)]
pub struct Stray {
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub stored: Micros,
    /// Its headers.
    pub headers: Headers,
    payload: bytes::Bytes,
}

impl Stray {
    /// The size of its input.
    #[must_use]
    pub fn input_bytes(&self) -> usize {
        self.payload.len()
    }
}

impl Bus {
    /// The first stray of a lane from a sequence on that was stored longer ago than `age`; nothing while the
    /// lane is in use.
    ///
    /// # Errors
    /// [`LaneError::Inspect`] when the server does not tell.
    pub async fn lane_stray(
        &self,
        lane: &Lane,
        from: u64,
        age: Span,
    ) -> Result<Option<Stray>, LaneError> {
        let found = self.look_for_stray(lane, from, age).await;
        found.map_err(|source| LaneError::Inspect {
            lane: lane.clone(),
            source,
        })
    }

    async fn look_for_stray(
        &self,
        lane: &Lane,
        from: u64,
        age: Span,
    ) -> Result<Option<Stray>, Cause> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let name = consumer_name(lane);
        let Some(consumer) = within(self.consumer_info(&stream, &name)).await? else {
            return Ok(None);
        };
        if consumer.num_pending > 0 || consumer.num_ack_pending > 0 {
            return Ok(None);
        }
        let Some(found) = self.read_lane(lane, from).await? else {
            return Ok(None);
        };
        let old = self.server_now().await.since(found.stored) >= age;
        Ok(old.then_some(found))
    }

    /// The first message that lies in a lane from a sequence on, whoever has it: from the stream's leader.
    ///
    /// # Errors
    /// [`LaneError::Inspect`] when the server does not tell.
    pub async fn lane_message(&self, lane: &Lane, from: u64) -> Result<Option<Stray>, LaneError> {
        let found = self.read_lane(lane, from).await;
        found.map_err(|error| LaneError::Inspect {
            lane: lane.clone(),
            source: error.into(),
        })
    }

    async fn read_lane(&self, lane: &Lane, from: u64) -> Result<Option<Stray>, ApiError> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let subject = self.subjects().ready(lane).to_string();
        let next = Which::Next(from, &subject);
        let found = self.leader_read(&stream, next).await?;
        Ok(found.map(|found| Stray {
            seq: found.seq,
            stored: found.stored,
            headers: found.headers,
            payload: found.body,
        }))
    }

    /// How to answer a delivery whose own answer nobody has any more, or was lost: given back, it comes again.
    /// Nothing when the lane has no consumer. For a message that is not un-acked the server ignores the answer.
    ///
    /// # Errors
    /// [`LaneError::Inspect`] when the server does not tell.
    pub async fn lost_delivery(
        &self,
        lane: &Lane,
        seq: u64,
    ) -> Result<Option<AckHandle>, LaneError> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let name = consumer_name(lane);
        let looking = self.consumer_info(&stream, &name);
        let found = within(looking).await.map_err(|source| LaneError::Inspect {
            lane: lane.clone(),
            source,
        })?;
        Ok(found.map(|found| {
            // The server believes any sequence of the consumer's that is between its floor and its last.
            let last = found.delivered.consumer_sequence;
            AckHandle(format!("$JS.ACK.{stream}.{name}.1.{seq}.{last}.0.0").into())
        }))
    }

    /// Deletes a stray.
    ///
    /// # Errors
    /// [`LaneError::Message`] when it is not known to be deleted.
    pub async fn delete_stray(&self, stray: &Stray) -> Result<(), LaneError> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let deleted = self.delete_message(&stream, stray.seq).await;
        deleted.map_err(|error: ApiError| LaneError::Message {
            sequence: stray.seq,
            source: error.into(),
        })
    }

    /// Puts a stray at the end of its lane, with these headers. Done twice it is there once.
    ///
    /// # Errors
    /// [`StoreError`] when it is not stored.
    pub async fn requeue_stray(
        &self,
        lane: &Lane,
        stray: &Stray,
        headers: Headers,
    ) -> Result<(), StoreError> {
        let message = Message {
            subject: self.subjects().ready(lane),
            headers,
            payload: stray.payload.clone(),
        };
        let expect = Expect::NewId(format!("stray:{}:{}", stray.seq, stray.stored.0));
        // A duplicate is this very copy, stored before.
        self.store_now(message, expect).await.map(drop)
    }
}
