//! Reading lanes that flow, and answering deliveries that were lost.

use rota_bus::{AckHandle, Bus, LaneError};
use rota_wire::Lane;
use tracing::debug;

use super::Answer;
use crate::flow::{Reading, Stretch};

/// Messages read of a lane at a time.
const READS_MAX: usize = 16;
/// Bytes of inputs after which a reading ends, for they come along.
const BYTES_MAX: usize = 1024 * 1024;

/// What the stream says of a message that nobody has.
#[derive(Debug)]
pub(crate) enum LostDelivery {
    /// It was acked: it is not there any more.
    Gone,
    /// It is there, and may be given back so.
    There(AckHandle),
    /// That is not known now.
    Unanswered,
}

/// Goes on at the next reading where this one stops.
pub(super) async fn read(bus: &Bus, stretches: Vec<Stretch>) -> Answer {
    let mut bytes = 0;
    let mut readings = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        let mut reading = Reading {
            next: Some(stretch.from),
            lane: stretch.lane,
            found: Vec::new(),
        };
        if let Err(error) = read_some(bus, stretch.to, &mut reading, &mut bytes).await {
            let error = rota_service::chain(&error);
            debug!(lane = %reading.lane, %error, "a lane is not read");
        }
        readings.push(reading);
    }
    Answer::LanesRead(readings)
}

async fn read_some(
    bus: &Bus,
    to: u64,
    reading: &mut Reading,
    bytes: &mut usize,
) -> Result<(), LaneError> {
    for _ in 0..READS_MAX {
        let Some(from) = reading.next.filter(|_| *bytes < BYTES_MAX) else {
            break;
        };
        let found = bus.lane_message(&reading.lane, from).await?;
        *bytes += found.as_ref().map_or(0, rota_bus::Stray::input_bytes);
        let found = found.filter(|found| found.seq <= to);
        reading.next = found.as_ref().map(|found| found.seq + 1);
        reading.found.extend(found.map(|found| found.seq));
    }
    Ok(())
}

pub(super) async fn find_delivery(bus: &Bus, lane: Lane, seq: u64) -> Answer {
    let finding = async {
        let found = bus.lane_message(&lane, seq).await?;
        if found.is_none_or(|found| found.seq != seq) {
            return Ok(LostDelivery::Gone);
        }
        let ack = bus.lost_delivery(&lane, seq).await?;
        Ok::<_, LaneError>(ack.map_or(LostDelivery::Unanswered, LostDelivery::There))
    };
    let found = finding.await.unwrap_or_else(|error| {
        debug!(%lane, seq, error = %rota_service::chain(&error), "a message is not looked for");
        LostDelivery::Unanswered
    });
    Answer::DeliveryFound { lane, seq, found }
}
