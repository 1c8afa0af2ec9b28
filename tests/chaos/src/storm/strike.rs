//! Does what is planned, and notes when it really was.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::Moment;
use crate::crew::Running;
use crate::facts::{FaultFact, Span};
use crate::fault::{Fault, Place, Which};
use crate::load::{Load, Sender};
use crate::logs::Logs;
use crate::plan::Planned;
use crate::servers::Servers;
use crate::wall::WallClocks;

/// Jobs of forgers have numbers of their own.
const FORGERS: u64 = 1 << 40;

/// Strikes.
#[derive(Debug)]
pub(super) struct Striker {
    pub(super) servers: Arc<Servers>,
    pub(super) running: Arc<Running>,
    pub(super) sender: Sender,
    pub(super) logs: Logs,
    pub(super) clocks: Option<WallClocks>,
}

/// What came of a fault: the server that it struck, or why it was not done.
type Done = Result<Option<usize>, String>;

impl Striker {
    /// Does all of a plan, each fault at its time, and returns when the last is over.
    pub(super) async fn strike_all(self, planned: Vec<Planned>) -> Vec<FaultFact> {
        let (striker, began) = (Arc::new(self), Instant::now());
        let mut under_way = JoinSet::new();
        for (number, Planned { at, fault }) in planned.into_iter().enumerate() {
            sleep_until(began + at).await;
            let striker = striker.clone();
            under_way.spawn(async move { striker.strike(number as u64, fault).await });
        }
        let mut faults = under_way.join_all().await;
        faults.sort_by_key(|fact| fact.span);
        faults
    }

    async fn strike(&self, number: u64, fault: Fault) -> FaultFact {
        let from = Moment::now();
        let done = self.do_it(number, &fault).await;
        let to = Moment::now();
        FaultFact {
            fault,
            span: Span { from, to },
            server: done.as_ref().ok().copied().flatten(),
            skipped: done.err(),
        }
    }

    async fn do_it(&self, number: u64, fault: &Fault) -> Done {
        let seat = |place: &_| self.running.seat(*place);
        match fault {
            Fault::Kill(place) => self.signal(*place, Signal::KILL).await?,
            Fault::KillLeading => {
                let leader = self
                    .logs
                    .noticed()
                    .leaders
                    .last()
                    .map(|(_, life)| life.place);
                self.signal(leader.ok_or("nobody leads")?, Signal::KILL)
                    .await?;
            }
            Fault::Drain(place) => self.signal(*place, Signal::TERM).await?,
            Fault::Stop(place, span) => {
                self.signal(*place, Signal::STOP).await?;
                sleep(*span).await;
                seat(place).signal(Signal::CONT).await;
            }
            Fault::Cut(place, span) => seat(place).proxy.cut(*span).await,
            Fault::Slow(place, span) => seat(place).proxy.slow(*span).await,
            Fault::Stall(place, way, span) => seat(place).proxy.stall(*way, *span).await,
            Fault::LeaveLog(place, span) => seat(place).leave_log(*span).await,
            Fault::StepClock(place, by) => {
                let clocks = self.clocks.as_ref().ok_or("no clock can be stepped")?;
                clocks
                    .step(*place, *by)
                    .map_err(|error| error.to_string())?;
            }
            Fault::StepDownStream(stream) => {
                let told = self.servers.step_down_stream(stream).await;
                told.then_some(()).ok_or("it was not told to step down")?;
            }
            Fault::StepDownConsumers(stream) => {
                let told = self.servers.step_down_consumers(stream).await;
                told.then_some(()).ok_or("none was told to step down")?;
            }
            Fault::Forge => {
                let order = Load::forger(FORGERS + number);
                self.sender
                    .forge(&order)
                    .await
                    .ok_or("there is nothing to forge yet")?;
            }
            Fault::KillServer(which, span)
            | Fault::EndServer(which, span)
            | Fault::StopServer(which, span)
            | Fault::FillDisk(which, span) => {
                return self.strike_server(fault, *which, *span).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn signal(&self, place: Place, signal: Signal) -> Result<(), String> {
        if !self.running.is_up(place) {
            return Err(format!("{place} does not run"));
        }
        self.running.seat(place).signal(signal).await;
        Ok(())
    }

    async fn strike_server(
        &self,
        fault: &Fault,
        which: Which,
        span: Duration,
    ) -> Result<usize, String> {
        let index = self
            .servers
            .find(which)
            .await
            .ok_or("nobody tells who leads")?;
        let done = match fault {
            Fault::EndServer(..) => self.servers.end(index, span).await,
            Fault::StopServer(..) => self.servers.stop(index, span).await,
            Fault::FillDisk(..) => self.servers.fill_disk(index, span).await,
            _ => self.servers.kill(index, span).await,
        };
        done.map(|()| index).map_err(|error| format!("{error:#}"))
    }
}
