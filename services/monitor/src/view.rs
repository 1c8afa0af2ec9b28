//! What the monitor knows, and what is to be said of it: pure, told the time, without I/O.
//!
//! ```text
//! heartbeats ─► Fleet ──────┐
//! events ─────► Leadership  ├─ each interval ─► Summary ─► Silencer ─┐
//!        ├────► Tally ──────┘                                        ├─► Line
//!        └────► Quota (so many lines at a time, then "and n more") ───┘
//! readings ───► Flow (rates), Backlog, Memory
//! ```
//!
//! Times are spans since the monitor started. What must hold: an input yields a bounded number of
//! lines, all tables are bounded, and a figure that is not known is absent, never zero.

mod backlog;
mod complaints;
mod fleet;
mod flow;
mod leadership;
mod line;
mod memory;
mod quota;
mod silencer;
mod summary;
mod tally;

use std::fmt::Display;
use std::time::Duration;

use rota_bus::Link;
use rota_wire::Kind;
use rota_wire::event::{Event, EventBatch};
use rota_wire::fleet::Heartbeat;

pub(crate) use self::backlog::Backlog;
pub(crate) use self::fleet::Service;
pub(crate) use self::flow::Rate;
pub(crate) use self::leadership::Leader;
pub(crate) use self::line::{Line, Sort};
pub(crate) use self::memory::{FullOf, Kept, Room};
pub(crate) use self::summary::{KindLine, Summary};

use self::complaints::Complaints;
use self::fleet::Fleet;
use self::flow::Flow;
use self::leadership::Leadership;
use self::line::span_of;
use self::memory::Memory;
use self::quota::Quota;
use self::silencer::Silencer;
use self::summary::SHOWN_KINDS_MAX;
use self::tally::{Declared, Tally};

/// States of streams at one moment. What could not be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Submissions that ever reached ROTA_INTAKE.
    pub(crate) submitted_ever: Option<u64>,
    /// Submissions that no submitter has passed on yet.
    pub(crate) at_the_door: Option<u64>,
    /// Tasks in ROTA_READY, waiting or held by somebody.
    pub(crate) unsettled: Option<u64>,
    /// Results that ever reached ROTA_RESULTS.
    pub(crate) finished_ever: Option<u64>,
    /// What waits in the lanes.
    pub(crate) backlog: Option<Backlog>,
    /// How long results are kept; nothing while there are none.
    pub(crate) kept: Option<Kept>,
}

/// Folds what arrives into what is to be said.
#[derive(Debug, Default)]
pub(crate) struct View {
    fleet: Fleet,
    leadership: Leadership,
    tally: Tally,
    flow_in: Flow,
    flow_out: Flow,
    quota: Quota,
    complaints: Complaints,
    silencer: Silencer,
    memory: Memory,
    /// Tasks that somebody should be working on, by the last reading that told.
    unsettled: u64,
    readings: u64,
    /// Since when there is no connection.
    cut_off: Option<Duration>,
}

impl View {
    /// A worker's heartbeat.
    pub(crate) fn handle_heartbeat(
        &mut self,
        now: Duration,
        heartbeat: Heartbeat,
        lines: &mut Vec<Line>,
    ) {
        if let Some(line) = self.fleet.handle_heartbeat(now, heartbeat) {
            self.push(now, line, lines);
        }
    }

    /// What a service tells.
    pub(crate) fn handle_events(
        &mut self,
        now: Duration,
        batch: EventBatch,
        lines: &mut Vec<Line>,
    ) {
        self.complaints.events_lost(batch.dropped);
        for timed in batch.events {
            self.handle_event(now, timed.event, lines);
        }
    }

    /// What makes no sense on an internal subject: no frame, or one in another's name. Nothing else is
    /// disturbed.
    pub(crate) fn handle_undecodable(
        &mut self,
        now: Duration,
        subject: &str,
        why: &dyn Display,
        lines: &mut Vec<Line>,
    ) {
        lines.extend(self.complaints.undecodable(now, subject, why));
    }

    /// The connection came or went.
    pub(crate) fn handle_link(&mut self, now: Duration, link: Link, lines: &mut Vec<Line>) {
        match (link.up, self.cut_off) {
            (false, None) => self.cut_off = Some(now),
            // Who could not be heard was not silent.
            (true, Some(since)) => {
                self.cut_off = None;
                self.fleet.forgive(now, since);
                self.leadership.forgive(now);
                self.handle_tick(now, lines);
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// A second has passed.
    pub(crate) fn handle_tick(&mut self, now: Duration, lines: &mut Vec<Line>) {
        self.quota.flush(now, lines);
        self.complaints
            .handle_tick(now, self.fleet.take_refused(), lines);
        self.fleet.forget_old(now);
        if self.cut_off.is_some() {
            return;
        }
        if self.leadership.leader(now) == Leader::Absent {
            for line in self.fleet.newly_silent(now) {
                self.push(now, line, lines);
            }
        }
        lines.extend(self.leadership.warn(now, self.unsettled));
    }

    /// The end: what was held back is told.
    pub(crate) fn handle_end(&mut self, now: Duration, lines: &mut Vec<Line>) {
        self.handle_tick(now, lines);
        self.quota.finish(now, lines);
    }

    /// The states of streams, once each interval. The first one is what later ones are compared with.
    pub(crate) fn handle_reading(
        &mut self,
        now: Duration,
        reading: Reading,
        lines: &mut Vec<Line>,
    ) {
        if let Some(since) = self.cut_off {
            let elapsed = span_of(now.saturating_sub(since));
            return self.silencer.say_cut_off(elapsed, lines);
        }
        let in_rate = reading
            .submitted_ever
            .and_then(|ever| self.flow_in.handle(now, ever));
        let out_rate = reading
            .finished_ever
            .and_then(|ever| self.flow_out.handle(now, ever));
        if reading.unsettled.is_some() || reading.at_the_door.is_some() {
            let (ready, door) = (reading.unsettled, reading.at_the_door);
            self.unsettled = ready.unwrap_or(0) + door.unwrap_or(0);
        }
        lines.extend(reading.kept.and_then(|kept| self.memory.handle(now, kept)));
        self.readings += 1;
        if self.readings == 1 {
            return;
        }
        let leader = self.leadership.leader(now);
        let summary = Summary {
            in_rate,
            out_rate,
            at_the_door: reading.at_the_door,
            waiting: reading.backlog.as_ref().map(Backlog::total),
            oldest: reading.backlog.as_ref().and_then(Backlog::oldest),
            kinds: self.kind_lines(now, reading.backlog.as_ref()),
            kinds_more: reading
                .backlog
                .map_or(0, |backlog| backlog.beyond(SHOWN_KINDS_MAX)),
            since: self.tally.take(),
            fleet: self.fleet.figures(now),
            declared: self.declared(leader),
            leader,
        };
        self.silencer.say(summary, lines);
    }

    fn handle_event(&mut self, now: Duration, event: Event, lines: &mut Vec<Line>) {
        match &event {
            Event::Leading { term } => {
                self.leadership.handle_elected(now, *term);
                self.tally.handle_new_term(*term);
            }
            Event::Recovered { term, .. } => {
                self.leadership.handle_sign(now, *term);
            }
            Event::WorkerLost { worker, .. } | Event::WorkerDied { worker, .. } => {
                self.fleet.handle_told(worker);
            }
            Event::WorkerLeft { worker } => self.fleet.handle_left(now, worker),
            Event::Counted(counts) => {
                if let Some(sign) = self.leadership.handle_sign(now, counts.term) {
                    self.tally.handle_counts(*counts);
                    lines.extend(sign.into_line());
                }
                return;
            }
            Event::WorkerJoined { .. }
            | Event::WorkerDraining { .. }
            | Event::Redelivered { .. }
            | Event::Retrying { .. }
            | Event::DeadLettered { .. }
            | Event::Rejected { .. }
            | Event::Duplicate { .. }
            | Event::WorkerReturned { .. }
            | Event::KindWithdrawn { .. }
            | Event::Reserved { .. } => {}
        }
        self.push(now, Line::Happened(event), lines);
    }

    /// Says it if there is room, else counts it.
    fn push(&mut self, now: Duration, line: Line, lines: &mut Vec<Line>) {
        match line.sort() {
            None => lines.push(line),
            Some((sort, kind)) => {
                if self.quota.admit(now, sort, kind) {
                    lines.push(line);
                }
            }
        }
    }

    /// What nobody counts any more is not known.
    fn declared(&self, leader: Leader) -> Declared {
        match leader {
            Leader::Absent => Declared::default(),
            Leader::Unknown | Leader::Leading(_) => self.tally.declared(),
        }
    }

    fn kind_lines(&self, now: Duration, backlog: Option<&Backlog>) -> Vec<KindLine> {
        let shown = backlog.map_or(&[][..], |backlog| backlog.first(SHOWN_KINDS_MAX));
        let kinds: Vec<&Kind> = shown.iter().map(|waiting| &waiting.kind).collect();
        let served = self.fleet.serves(now, &kinds);
        let lines = shown.iter().zip(served);
        lines
            .map(|(waiting, workers)| KindLine {
                waiting: waiting.clone(),
                workers,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
