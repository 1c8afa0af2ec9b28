//! The server's clock, read now and then and carried on by our own monotonic one.
//!
//! It is the server that decides when a schedule is due. Our wall clock may be wrong, and it may step.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rota_wire::Micros;
use serde::Deserialize;
use tokio::time::Instant;
use tracing::debug;

use crate::connect::Bus;
use crate::limit::Cause;
use crate::streams::StreamName;

/// How long a reading is good for. A quartz may be off by 50 µs in each second.
const READING_LIFETIME: Duration = Duration::from_secs(10);

/// What was last read of the server's clock.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    reading: Mutex<Option<Reading>>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    server: Micros,
    /// When that was, by our clock.
    at: Instant,
}

#[derive(Deserialize)]
struct Told {
    ts: String,
}

impl ServerClock {
    fn reading(&self) -> Option<Reading> {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, reading: Reading) {
        let mut noted = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = Some(reading);
    }
}

impl Reading {
    fn now(self) -> Micros {
        let since = u64::try_from(self.at.elapsed().as_micros()).unwrap_or(u64::MAX);
        Micros(self.server.0.saturating_add(since))
    }
}

impl Bus {
    /// The time by the clock of the server that keeps the schedule. When it does not tell, the last that it
    /// told is carried on; if it has told nothing yet, this machine's clock must do.
    pub async fn server_now(&self) -> Micros {
        let known = self.clock().reading();
        if let Some(reading) = known
            && reading.at.elapsed() < READING_LIFETIME
        {
            return reading.now();
        }
        match self.read_clock().await {
            Ok(reading) => {
                self.clock().note(reading);
                reading.now()
            }
            Err(error) => {
                debug!(%error, "the server does not tell its time");
                known.map_or_else(Micros::now, Reading::now)
            }
        }
    }

    async fn read_clock(&self) -> Result<Reading, Cause> {
        let stream = self.subjects().stream(StreamName::Schedule.part());
        let asked = Instant::now();
        let told: Told = self
            .api(&format!("STREAM.INFO.{stream}"), String::new())
            .await?;
        let server = Micros::parse(&told.ts).ok_or("the server's time is not one")?;
        // It looked at its clock somewhere between question and answer.
        let at = asked + asked.elapsed() / 2;
        Ok(Reading { server, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_carried_on_by_the_monotonic_clock() {
        let second = Duration::from_secs(1);
        let reading = Reading {
            server: Micros(5_000_000),
            at: Instant::now() - second,
        };
        let now = reading.now();
        assert!((6_000_000..7_000_000).contains(&now.0), "{now:?}");
    }
}
