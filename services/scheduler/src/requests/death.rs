//! Deaths: a guardian's word that its worker's process has ended is checked before it is believed.
//!
//! Two witnesses are needed, since anybody may write an obituary and a worker whose connection was cut is not dead:
//! the guardian says that the process has ended, and the server that nobody listens on the worker's subject.

use std::time::Duration;

use rota_bus::Bus;
use rota_scheduler_core::Event;
use rota_wire::WorkerId;
use tokio::time::sleep;
use tracing::warn;

use super::Answer;

/// How long the server is given to say that nobody listens.
const PROBE_LIMIT: Duration = Duration::from_millis(100);
/// The connection of a process that has just ended may be closed a moment later.
const CONFIRM_PAUSE: Duration = Duration::from_millis(10);
const CONFIRM_TRIES: u32 = 50;

pub(super) async fn confirm(bus: &Bus, worker: WorkerId) -> Answer {
    for _ in 0..CONFIRM_TRIES {
        if is_gone(bus, &worker).await {
            let died = true;
            return Answer::DeathChecked { worker, died };
        }
        sleep(CONFIRM_PAUSE).await;
    }
    warn!(%worker, "said to have died, and somebody listens on its subject: not believed");
    let died = false;
    Answer::DeathChecked { worker, died }
}

pub(super) async fn probe(bus: &Bus, worker: WorkerId) -> Answer {
    let there = !is_gone(bus, &worker).await;
    Answer::Event(Event::Probed { worker, there })
}

async fn is_gone(bus: &Bus, worker: &WorkerId) -> bool {
    bus.is_gone(&bus.subjects().assign(worker), PROBE_LIMIT)
        .await
}
