//! Handing messages to the pulls that wait.

use std::sync::Arc;

use super::pulls::End;
use super::{Consumer, Mark, Pending};
use crate::in_memory::interest::Interest;
use crate::in_memory::packet::{Parcel, message, parcel};
use crate::in_memory::stream::{Kept, Now, Stream};

/// How many of the newest deliveries are remembered.
const RECENT_MAX: usize = 64;

impl Consumer {
    /// Delivers what can be delivered: first what comes again, then what is new.
    pub(in super::super) fn deliver(
        &mut self,
        stream: &Stream,
        interest: &Interest,
        now: Now,
        out: &mut Vec<Parcel>,
    ) {
        if !self.has_leader(now.steady) {
            return;
        }
        self.repeat_unanswered(now.steady);
        self.expire_pulls(now.steady, interest, out);
        while !self.pulls.is_empty()
            && !self.is_paused(now.steady)
            && let Some(kept) = self.peek(stream)
        {
            let bytes = kept.size(self.settings.headers_only);
            let Some(pull) = self.pulls.front_mut() else {
                break;
            };
            if pull.bytes.is_some_and(|left| bytes > left) {
                out.push(pull.end(End::TooLarge));
                self.pulls.pop_front();
                continue;
            }
            if let Some(left) = &mut pull.bytes {
                *left -= bytes;
            }
            pull.batch -= 1;
            pull.was_served = true;
            let reply = pull.reply.clone();
            // Those who wait take turns.
            if let Some(pull) = self.pulls.pop_front()
                && pull.batch > 0
                && pull.bytes != Some(0)
            {
                self.pulls.push_back(pull);
            }
            out.push(self.hand_out(&kept, &reply, stream, now));
        }
        self.end_impatient(out);
    }

    fn repeat_unanswered(&mut self, steady: u64) {
        for (seq, pending) in &self.pending {
            if pending.deadline <= steady && !self.again.contains(seq) {
                self.again.push_back(*seq);
            }
        }
    }

    /// The message whose turn it is.
    fn peek(&mut self, stream: &Stream) -> Option<Arc<Kept>> {
        while let Some(seq) = self.again.front().copied() {
            match stream.get(seq) {
                Some(kept) => return Some(kept.clone()),
                None => self.forget(seq),
            }
        }
        let most = self.settings.max_ack_pending;
        if most.is_some_and(|most| self.pending.len() >= most) {
            return None;
        }
        stream.next(&self.settings.filter, self.next).cloned()
    }

    fn hand_out(&mut self, kept: &Kept, reply: &str, stream: &Stream, now: Now) -> Parcel {
        let deadline = now.steady + self.settings.ack_wait;
        self.delivered.consumer_seq += 1;
        let consumer_seq = self.delivered.consumer_seq;
        if self.again.front() == Some(&kept.seq) {
            self.again.pop_front();
            if let Some(pending) = self.pending.get_mut(&kept.seq) {
                pending.deadline = deadline;
            }
        } else {
            self.next = kept.seq + 1;
            let stream_seq = kept.seq;
            self.delivered = Mark {
                consumer_seq,
                stream_seq,
            };
            let pending = Pending {
                consumer_seq,
                deadline,
            };
            self.pending.insert(kept.seq, pending);
            self.recent.push_back((now.steady, kept.seq));
            if self.recent.len() > RECENT_MAX {
                self.recent.pop_front();
            }
        }
        let count = self.counts.entry(kept.seq).or_insert(0);
        *count += 1;
        let ack = format!(
            "$JS.ACK.{}.{}.{count}.{}.{consumer_seq}.{}.{}",
            self.stream,
            self.name,
            kept.seq,
            kept.stored.wall * 1_000,
            stream.count(&self.settings.filter, self.next),
        );
        let (mut headers, mut payload) = (kept.headers.clone(), kept.payload.clone());
        if self.settings.headers_only {
            let size = payload.len().to_string();
            headers
                .get_or_insert_default()
                .insert("Nats-Msg-Size", size.as_str());
            payload.clear();
        }
        parcel(reply, message(&kept.subject, Some(ack), headers, payload))
    }
}
