//! Messages on their way into streams.

use serde_json::json;

use super::{Event, World};
use crate::in_memory::journal::Deed;
use crate::in_memory::packet::{Fault, Packet, Parcel, json};
use crate::in_memory::stream::Taken;

/// The longest that an answer is late, in microseconds: longer than anybody waits for it.
const LATE_MAX: u64 = 8_000_000;

impl World {
    /// Stores a message in the stream that captures it. Whether there is one that does.
    pub(super) fn store(&mut self, packet: &Packet) -> bool {
        let now = self.now();
        let subject = packet.subject.as_str();
        let mut streams = self.streams.iter_mut();
        // A stream without a leader listens to nothing.
        let found =
            streams.find(|(_, stream)| stream.captures(subject) && stream.has_leader(now.steady));
        let Some((name, stream)) = found else {
            return false;
        };
        let name = name.clone();
        if self.dice.happens(self.weather.lost_stores) {
            self.trouble(format!("lost before it was stored: {subject}"));
            return true;
        }
        let taken = stream.publish(packet, now);
        if let Some(reply) = packet.reply.clone() {
            self.answer_publish(&name, subject, &reply, taken);
        }
        self.tend(&name);
        true
    }

    fn answer_publish(
        &mut self,
        stream: &str,
        subject: &str,
        reply: &str,
        taken: Result<Taken, Fault>,
    ) {
        let weather = self.weather;
        if self.dice.happens(weather.unanswered_stores) {
            return self.trouble(format!("stored, the answer lost: {subject}"));
        }
        let taken = if self.dice.happens(weather.failed_stores) {
            self.trouble(format!("stored, the answer an error: {subject}"));
            Err(Fault::unavailable())
        } else {
            taken
        };
        let answer = match taken {
            Ok(Taken {
                seq,
                duplicate: true,
            }) => {
                json!({"stream": stream, "seq": seq, "duplicate": true})
            }
            Ok(Taken { seq, .. }) => json!({"stream": stream, "seq": seq}),
            Err(fault) => json!({"stream": stream, "seq": 0, "error": fault.to_json()}),
        };
        let parcel = json(reply, &answer);
        // What is stored late where a result was stored meanwhile would destroy it.
        if reply.starts_with("_INBOX.") && self.dice.happens(weather.late_stores) {
            let at = self.now + self.dice.between(1_000, LATE_MAX);
            self.trouble(format!("stored, the answer late: {subject}"));
            return self.plan(at, Event::LateAnswer { parcel });
        }
        self.answer(parcel);
    }

    pub(super) fn answer(&mut self, parcel: Parcel) {
        let (to, message) = (parcel.to.clone(), parcel.packet.clone());
        self.journal
            .note(self.now, None, Deed::Answered { to, message });
        self.parcels.push_back(parcel);
    }
}
