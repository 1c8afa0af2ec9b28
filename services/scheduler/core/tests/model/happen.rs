//! Steps that happen.

use std::collections::BTreeSet;

use rota_scheduler_core::{Event, PullEnd};
use rota_wire::TaskSpec;
use rota_wire::fleet::WorkerState;
use rota_wire::task::Recheck;

use super::judge::Verdict;
use super::lane::LaneStream;
use super::step::{End, Fate, Road, Step, StoreFate};
use super::worker::{Mail, ModelWorker, PROFILES, Reply};
use super::world::{Remembers, World};

const TASKS_MAX: usize = 60;
const WORKERS_MAX: usize = 5;
/// From here a selector means attempts that stand still.
const OF_STANDING: u8 = 224;

/// From here a selector means another lane than the one that the task was in.
const OTHER_LANE: u8 = 192;

/// Whether there was something for a step to be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Happened,
    Skipped,
}

use Done::{Happened, Skipped};

impl World {
    /// Has a step happen, then lets the scheduler decide.
    pub(crate) fn step(&mut self, step: Step) -> Verdict<Done> {
        self.note(|| format!("{step:?}"));
        let done = self.happen(step)?;
        self.count_begun();
        self.fire_schedule();
        self.time_out()?;
        Ok(done)
    }

    fn happen(&mut self, step: Step) -> Verdict<Done> {
        match step {
            Step::Submit {
                lane,
                tasks,
                attempts,
                needs,
            } => Ok(self.submit(lane, tasks, attempts, needs)),
            Step::Resubmit { task, lane } => Ok(self.resubmit(task, lane)),
            Step::Open { lanes, fate } => {
                let mut done = Skipped;
                for _ in 0..lanes {
                    if self.open(fate)? == Happened {
                        done = Happened;
                    }
                }
                Ok(done)
            }
            Step::Deliver {
                lane,
                messages,
                fate,
            } => self.deliver(lane, messages, fate),
            Step::EndPull { lane } => self.end_pull(lane, PullEnd::Nothing),
            Step::CutPull { lane } => self.end_pull(lane, PullEnd::Cut),
            Step::ResetConsumer { lane } => Ok(self.reset_consumer(lane)),
            Step::Purge { lane, nth } => Ok(self.purge(lane, nth)),
            Step::LateStore { nth } => Ok(self.store_late(nth)),
            Step::PassDue { nth, fate } => Ok(self.pass_due(nth, fate)),
            Step::Obituary { nth } => self.bury_worker(nth),
            Step::Unheard { nth, fate } => self.tell_unheard(nth, fate),
            Step::Probe { nth, fate } => self.answer_probe(nth, fate),
            Step::Stall { ms } => self.stall(ms),
            Step::AckWait { lane } => Ok(self.ack_wait(lane)),
            Step::LoseConsumer { lane, traces } => self.lose_consumer(lane, traces),
            Step::LoseAnswers { answers } => {
                self.answers_to_lose = u32::from(answers);
                Ok(Happened)
            }
            Step::Look { nth, fate } => self.look(nth, fate),
            Step::Store { nth, fate } => self.answer_store(nth, fate),
            Step::Pass { ms } => {
                self.now = self.now.plus(rota_wire::Span::from_ms(u64::from(ms)));
                Ok(Happened)
            }
            Step::Flow => self.flow(),
            Step::Restart { salt } => self.restart(salt),
            Step::HandOver => self.hand_over(),
            Step::HearBeat { nth, fate } => self.hear_beat(nth, fate),
            Step::HearReport { nth, fate } => self.hear_report(nth, fate),
            Step::BeatAll => self.beat_all(),
            Step::Mend => Ok(self.mend()),
            Step::Join { profile } => Ok(self.join(profile)),
            Step::Beat { .. }
            | Step::Mail { .. }
            | Step::Finish { .. }
            | Step::Repeat { .. }
            | Step::Drain { .. }
            | Step::Leave { .. }
            | Step::Crash { .. }
            | Step::Cut { .. } => match self.pick_worker(step) {
                Some(index) => self.happen_to(index, step),
                None => Ok(Skipped),
            },
        }
    }

    fn ack_wait(&mut self, lane: u8) -> Done {
        let lane = self.pick_lane(lane, LaneStream::has_out);
        let stream = lane.and_then(|lane| self.lanes.get_mut(&lane));
        stream.map_or(Skipped, |stream| {
            stream.ack_wait();
            Happened
        })
    }

    fn mend(&mut self) -> Done {
        for worker in &mut self.workers {
            worker.cut = false;
        }
        Happened
    }

    fn happen_to(&mut self, worker: usize, step: Step) -> Verdict<Done> {
        match step {
            Step::Beat { road, .. } => {
                self.send_beat(worker);
                if let (Road::Straight, false) = (road, self.workers[worker].cut) {
                    let heartbeat = self.beats.pop_back().expect("just sent");
                    self.tell(Event::Heartbeat(Box::new(heartbeat)))?;
                }
            }
            Step::Mail { messages, fate, .. } => return Ok(self.mail(worker, messages, fate)),
            Step::Finish { nth, end, .. } => return Ok(self.finish(worker, nth, end)),
            Step::Repeat { .. } => self.report_all(worker),
            Step::Drain { .. } => self.drain(worker),
            Step::Leave { .. } => self.leave(worker)?,
            Step::Crash { .. } => {
                let crashed = self.workers.remove(worker);
                self.crashed.push(crashed.id);
            }
            Step::Cut { .. } => {
                self.workers[worker].cut = true;
                self.workers[worker].inbox.clear();
            }
            _ => return Ok(Skipped),
        }
        Ok(Happened)
    }

    fn flow(&mut self) -> Verdict<Done> {
        while self.open(Fate::Arrives)? == Happened {}
        self.end_turn()?;
        for lane in 0..self.lanes.len() {
            self.deliver(u8::try_from(lane).expect("few lanes"), 3, Fate::Arrives)?;
        }
        self.end_turn()?;
        self.look(0, Fate::Arrives)?;
        self.pass_due(0, Fate::Arrives);
        self.end_turn()?;
        for worker in 0..self.workers.len() {
            self.mail(worker, u8::MAX, Fate::Arrives);
        }
        Ok(Happened)
    }

    fn submit(&mut self, lane: u8, tasks: u8, attempts: u8, needs: u8) -> Done {
        if self.tasks.len() >= TASKS_MAX {
            return Skipped;
        }
        for _ in 0..tasks {
            let spec = self.new_task(lane, u32::from(attempts), needs);
            self.enqueue(spec);
        }
        Happened
    }

    /// A second message of a task, now and then in another lane.
    fn resubmit(&mut self, task: u8, lane: u8) -> Done {
        let Some(index) = pick(self.tasks.len(), task) else {
            return Skipped;
        };
        let named = self.tasks[index].recheck == Recheck::Named;
        let recheck = if named && lane & 1 == 0 {
            Recheck::Named
        } else {
            Recheck::MayHaveRun
        };
        let mut again = TaskSpec {
            recheck,
            ..self.tasks[index].clone()
        };
        // Only whoever chose the id can submit it with something else.
        if named && lane >= OTHER_LANE {
            let other = self.lanes.keys().nth(usize::from(lane) % self.lanes.len());
            let other = other.expect("counted round");
            again.kind = other.kind.clone();
            again.options.priority = other.priority;
        }
        self.enqueue(again);
        Happened
    }

    fn restart(&mut self, salt: u8) -> Verdict<Done> {
        let stores: Vec<_> = self.stores.drain(..).collect();
        for (index, store) in stores.iter().enumerate() {
            match salt.rotate_right(u32::try_from(index).unwrap_or(0)) & 3 {
                _ if store.done => {}
                1 => self.store(store),
                2 => self.late.push(store.clone()),
                _ => {}
            }
        }
        let expected = match salt % 2 {
            0 => BTreeSet::new(),
            _ => self.scheduler.workers().cloned().collect(),
        };
        let memory = if salt & 4 == 0 {
            Remembers::Nothing
        } else {
            Remembers::All
        };
        self.replace_scheduler(expected, memory)?;
        Ok(Happened)
    }

    fn hand_over(&mut self) -> Verdict<Done> {
        while !self.stores.is_empty() {
            self.answer_store(0, StoreFate::Done)?;
            self.end_turn()?;
        }
        let expected = self.scheduler.workers().cloned().collect();
        self.replace_scheduler(expected, Remembers::All)?;
        for worker in 0..self.workers.len() {
            self.mail(worker, u8::MAX, Fate::Arrives);
            self.count_begun();
        }
        self.beat_all()
    }

    fn hear_beat(&mut self, nth: u8, fate: Fate) -> Verdict<Done> {
        let Some(index) = pick(self.beats.len(), nth) else {
            return Ok(Skipped);
        };
        let heartbeat = self.beats[index].clone();
        if fate != Fate::Twice {
            self.beats.remove(index);
        }
        if fate != Fate::Lost {
            self.tell(Event::Heartbeat(Box::new(heartbeat)))?;
        }
        Ok(Happened)
    }

    fn hear_report(&mut self, nth: u8, fate: Fate) -> Verdict<Done> {
        let Some(index) = pick(self.reports.len(), nth) else {
            return Ok(Skipped);
        };
        let (worker, outcome) = self.reports[index].clone();
        if fate != Fate::Twice {
            self.reports.remove(index);
        }
        if fate != Fate::Lost {
            let outcome = Box::new(outcome);
            self.tell(Event::Reported { worker, outcome })?;
        }
        Ok(Happened)
    }

    pub(crate) fn beat_all(&mut self) -> Verdict<Done> {
        for worker in 0..self.workers.len() {
            self.happen_to(
                worker,
                Step::Beat {
                    worker: 0,
                    road: Road::Straight,
                },
            )?;
        }
        Ok(Happened)
    }

    fn join(&mut self, profile: u8) -> Done {
        if self.workers.len() >= WORKERS_MAX {
            return Skipped;
        }
        let profile = PROFILES[profile as usize % PROFILES.len()];
        let name = self.new_worker_name();
        self.workers.push(ModelWorker::new(&name, profile));
        Happened
    }

    pub(crate) fn mail(&mut self, worker: usize, messages: u8, fate: Fate) -> Done {
        let mut done = Skipped;
        for _ in 0..messages {
            let Some(mail) = self.workers[worker].inbox.pop_front() else {
                break;
            };
            done = Happened;
            let reply = match (fate, &mail) {
                // A frame comes twice when a worker reconnects at the wrong moment.
                (Fate::Twice, Mail::Frame(term, frame)) => {
                    let copy = Mail::Frame(*term, frame.clone());
                    self.workers[worker].read(self.now, copy);
                    self.workers[worker].read(self.now, mail)
                }
                (Fate::Arrives | Fate::Twice, _) => self.workers[worker].read(self.now, mail),
                (Fate::Lost, _) => Reply::Nothing,
            };
            match reply {
                Reply::Nothing => {}
                Reply::Beat => self.send_beat(worker),
                Reply::All => {
                    self.send_beat(worker);
                    self.report_all(worker);
                }
            }
        }
        done
    }

    /// Ends an attempt that runs; now and then one that stands still, since it may have ended before it
    /// was stopped.
    pub(crate) fn finish(&mut self, worker: usize, nth: u8, end: End) -> Done {
        let standing = self.workers[worker].standing();
        let those = if nth >= OF_STANDING && !standing.is_empty() {
            standing
        } else {
            self.workers[worker].running()
        };
        let Some(index) = pick(those.len(), nth) else {
            return Skipped;
        };
        self.end_attempt(worker, those[index], end);
        Happened
    }

    pub(crate) fn end_attempt(&mut self, worker: usize, seq: u64, end: End) {
        let spec = self.workers[worker].finish(self.now, seq, end);
        self.finished(worker, &spec);
        let latest = self.workers[worker].outbox.values().next_back().cloned();
        if let Some(outcome) = latest.filter(|_| !self.workers[worker].cut) {
            let id = self.workers[worker].id.clone();
            self.reports.push_back((id, outcome));
        }
    }

    /// A worker takes no more, and hands back what does not run.
    pub(crate) fn drain(&mut self, worker: usize) {
        self.workers[worker].drain(self.now);
        for seq in self.workers[worker].standing() {
            self.end_attempt(worker, seq, End::HandedBack);
        }
    }

    fn leave(&mut self, worker: usize) -> Verdict {
        self.drain(worker);
        while self.finish(worker, 0, End::HandedBack) == Happened {}
        self.report_all(worker);
        let mut leaving = self.workers.remove(worker);
        if leaving.state == WorkerState::Gone || leaving.cut {
            return Ok(());
        }
        let goodbye = leaving.goodbye(self.now);
        self.tell(Event::Heartbeat(Box::new(goodbye)))
    }

    fn pick_worker(&self, step: Step) -> Option<usize> {
        let which: fn(&ModelWorker) -> bool = match step {
            Step::Mail { .. } => |worker| !worker.inbox.is_empty(),
            Step::Finish { .. } => |worker| !worker.running().is_empty(),
            Step::Repeat { .. } => |worker| !worker.outbox.is_empty() && !worker.cut,
            Step::Cut { .. } => |worker| !worker.cut,
            _ => |_| true,
        };
        let (Step::Beat { worker, .. }
        | Step::Mail { worker, .. }
        | Step::Finish { worker, .. }
        | Step::Repeat { worker }
        | Step::Drain { worker }
        | Step::Leave { worker }
        | Step::Crash { worker }
        | Step::Cut { worker }) = step
        else {
            return None;
        };
        let workers = self.workers.iter().enumerate();
        let workers = workers.filter(|(_, worker)| which(worker));
        let workers: Vec<usize> = workers.map(|(index, _)| index).collect();
        pick(workers.len(), worker).map(|index| workers[index])
    }
}

pub(crate) fn pick(len: usize, selector: u8) -> Option<usize> {
    (len > 0).then(|| selector as usize % len)
}
