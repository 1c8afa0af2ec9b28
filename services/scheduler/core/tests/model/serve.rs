//! What the server, the submitter and the scheduler's errands answer.

use rota_scheduler_core::{Event, Looked, PullEnd};
use rota_wire::{Lane, Span, TaskId};

use super::happen::Done::{self, Happened, Skipped};
use super::happen::pick;
use super::judge::Verdict;
use super::lane::{HandedOut, LaneStream};
use super::step::{Fate, StoreFate, Traces};
use super::world::{Opening, What, World};

impl World {
    /// Carries out the next request about lanes, if there is one.
    pub(crate) fn open(&mut self, fate: Fate) -> Verdict<Done> {
        let Some(opening) = self.openings.pop_front() else {
            return Ok(Skipped);
        };
        match opening {
            Opening::Listed => {
                let with_consumer = self.lanes.iter().filter(|(_, stream)| stream.consumer);
                let lanes = with_consumer.map(|(lane, _)| lane.clone()).collect();
                self.tell(Event::LanesListed { lanes })?;
            }
            Opening::Found(lane) => {
                if fate != Fate::Lost {
                    self.tell(Event::LaneFound { lane })?;
                }
            }
            Opening::Lane(lane) if fate == Fate::Lost => {
                self.tell(Event::LaneNotOpened { lane })?;
            }
            Opening::Lane(lane) => {
                let (unacked, delivered_to) = self.lanes.entry(lane.clone()).or_default().reset();
                self.judge.opened(&lane, delivered_to);
                self.tell(Event::LaneOpened {
                    lane,
                    unacked,
                    delivered_to,
                })?;
            }
            Opening::Close(lane) => {
                let stream = self.lanes.entry(lane.clone()).or_default();
                if fate == Fate::Lost || !stream.close() {
                    self.tell(Event::LaneKept { lane })?;
                } else {
                    self.tell(Event::LaneClosed { lane })?;
                }
            }
        }
        Ok(Happened)
    }

    pub(crate) fn deliver(&mut self, lane: u8, messages: u8, fate: Fate) -> Verdict<Done> {
        let asked = |stream: &LaneStream| stream.credits > 0 && stream.has_more();
        let Some(lane) = self.pick_lane(lane, asked) else {
            return Ok(Skipped);
        };
        let mut done = Skipped;
        for _ in 0..messages {
            let stream = self.lanes.get_mut(&lane).expect("it is one of them");
            let Some(handed_out) = stream.hand_out() else {
                break;
            };
            done = Happened;
            let HandedOut {
                delivery,
                pending,
                spec,
            } = handed_out;
            if fate == Fate::Lost {
                stream.lost += 1;
                self.astray = true;
                stream.lose_track(delivery.seq);
                self.note(|| format!("  lost on its way: {delivery:?}"));
                continue;
            }
            self.judge
                .delivered(self.now, &lane, delivery.seq, spec.clone(), &self.stored);
            self.tell(Event::Delivered {
                lane: lane.clone(),
                delivery,
                pending,
                task: spec,
                input_bytes: delivery.seq % 7 * 10,
            })?;
        }
        Ok(done)
    }

    /// A pull ends: because there is nothing to give, or it is cut short.
    pub(crate) fn end_pull(&mut self, lane: u8, end: PullEnd) -> Verdict<Done> {
        let asked = |stream: &LaneStream| stream.credits + stream.lost > 0;
        let ends =
            |stream: &LaneStream| asked(stream) && (end == PullEnd::Cut || !stream.has_more());
        let Some(lane) = self.pick_lane(lane, ends) else {
            return Ok(Skipped);
        };
        let stream = self.lanes.get_mut(&lane).expect("it is one of them");
        let unused = std::mem::take(&mut stream.credits) + std::mem::take(&mut stream.lost);
        self.tell(Event::PullEnded { lane, unused, end })?;
        Ok(Happened)
    }

    /// What was handed out and lost on its way is not waited for for ever.
    pub(crate) fn write_off(&mut self) -> Verdict<Done> {
        let Some(lane) = self.pick_lane(0, |stream| stream.lost > 0) else {
            return Ok(Skipped);
        };
        let stream = self.lanes.get_mut(&lane).expect("it is one of them");
        let unused = std::mem::take(&mut stream.lost);
        let end = PullEnd::Cut;
        self.tell(Event::PullEnded { lane, unused, end })?;
        Ok(Happened)
    }

    pub(crate) fn lose_consumer(&mut self, lane: u8, traces: Traces) -> Verdict<Done> {
        let Some(lane) = self.pick_lane(lane, |stream| stream.open) else {
            return Ok(Skipped);
        };
        let stream = self.lanes.get_mut(&lane).expect("it is one of them");
        (stream.open, stream.credits, stream.lost) = (false, 0, 0);
        stream.forgotten = traces == Traces::Gone;
        stream.consumer = traces == Traces::Kept;
        self.astray = true;
        self.tell(Event::LaneGone { lane })?;
        Ok(Happened)
    }

    /// Somebody resets a lane's consumer, and nobody tells the scheduler.
    pub(crate) fn reset_consumer(&mut self, lane: u8) -> Done {
        let Some(lane) = self.pick_lane(lane, |stream| stream.open) else {
            return Skipped;
        };
        let stream = self.lanes.get_mut(&lane).expect("it is one of them");
        stream.make_all_new();
        self.astray = true;
        Happened
    }

    /// A message is taken out of its lane by hand, before the scheduler has it or while it has it.
    pub(crate) fn purge(&mut self, lane: u8, nth: u8) -> Done {
        let Some(lane) = self.pick_lane(lane, |stream| !stream.to_purge().is_empty()) else {
            return Skipped;
        };
        let stream = self.lanes.get_mut(&lane).expect("it is one of them");
        let those = stream.to_purge();
        let Some(index) = pick(those.len(), nth) else {
            return Skipped;
        };
        let seq = those[index];
        // What is given back and not there any more keeps its place for a while.
        self.astray = true;
        self.purged
            .extend(stream.spec(seq).map(|spec| spec.id.clone()));
        stream.remove(seq);
        Happened
    }

    /// A look-up finds something; twice means that it found it and its answer is still on its way.
    pub(crate) fn look(&mut self, nth: u8, fate: Fate) -> Verdict<Done> {
        let Some(index) = pick(self.look_ups.len(), nth) else {
            return Ok(Skipped);
        };
        let (seq, id, found) = self.look_ups[index].clone();
        let found = found.unwrap_or_else(|| self.find(&id));
        if fate == Fate::Twice {
            self.look_ups[index].2 = Some(found);
            return Ok(Happened);
        }
        self.look_ups.remove(index);
        let found = match fate {
            Fate::Lost => Looked::Unanswered,
            _ => found,
        };
        self.tell(Event::Looked { seq, found })?;
        Ok(Happened)
    }

    fn find(&self, id: &TaskId) -> Looked {
        match self.schedule.get(id) {
            _ if self.stored.results.contains_key(id) => Looked::Result,
            Some((_, spec)) => Looked::Scheduled {
                attempt: spec.attempt,
            },
            None => Looked::Nothing,
        }
    }

    pub(crate) fn answer_store(&mut self, nth: u8, fate: StoreFate) -> Verdict<Done> {
        let Some(index) = pick(self.stores.len(), nth) else {
            return Ok(Skipped);
        };
        let store = self.stores[index].clone();
        let seq = store.seq;
        if !store.done && !self.lanes.values().any(|lane| lane.spec(seq).is_some()) {
            self.stores.remove(index);
            self.judge.gone(seq);
            self.tell(Event::Gone { seq })?;
            return Ok(Happened);
        }
        match fate {
            _ if store.done => {}
            StoreFate::Done | StoreFate::DoneInSilence | StoreFate::DoneUnheard => {
                self.store(&store);
            }
            StoreFate::Halved => {
                if let What::DeadLetter(id) = &store.what {
                    self.stored.dead.insert(id.clone());
                }
            }
            StoreFate::DoneLater => self.late.push(store.clone()),
            StoreFate::Refused => {}
        }
        if fate == StoreFate::DoneInSilence {
            self.stores[index].done = true;
            return Ok(Happened);
        }
        self.stores.remove(index);
        match fate {
            StoreFate::Done => self.tell(Event::Stored { seq })?,
            _ => self.tell(Event::StoreFailed { seq })?,
        }
        Ok(Happened)
    }

    /// A store that was told to have failed happens all the same.
    pub(crate) fn store_late(&mut self, nth: u8) -> Done {
        let Some(index) = pick(self.late.len(), nth) else {
            return Skipped;
        };
        let store = self.late.remove(index);
        self.store(&store);
        Happened
    }

    /// The submitter puts a retry that is due into its lane; twice when its ack is lost.
    pub(crate) fn pass_due(&mut self, nth: u8, fate: Fate) -> Done {
        let Some(index) = pick(self.due.len(), nth) else {
            return Skipped;
        };
        let spec = self.due[index].clone();
        if fate != Fate::Twice {
            self.due.remove(index);
        }
        if fate == Fate::Lost {
            // It was stopped before it had stored it: it begins anew.
            self.due.push_back(spec);
        } else {
            self.enqueue(spec);
        }
        Happened
    }

    /// A worker that has crashed is told to be dead.
    pub(crate) fn bury_worker(&mut self, nth: u8) -> Verdict<Done> {
        let Some(index) = pick(self.crashed.len(), nth) else {
            return Ok(Skipped);
        };
        let worker = self.crashed.remove(index);
        self.judge.ended(&worker);
        self.tell(Event::Died { worker })?;
        Ok(Happened)
    }

    /// The server tells that nobody listened to a frame.
    pub(crate) fn tell_unheard(&mut self, nth: u8, fate: Fate) -> Verdict<Done> {
        let Some(index) = pick(self.unheard.len(), nth) else {
            return Ok(Skipped);
        };
        let (worker, frame) = self.unheard.remove(index).expect("counted round");
        if fate != Fate::Lost {
            self.tell(Event::Unreachable { worker, frame })?;
        }
        Ok(Happened)
    }

    /// A worker was looked for.
    pub(crate) fn answer_probe(&mut self, nth: u8, fate: Fate) -> Verdict<Done> {
        let Some(index) = pick(self.probes.len(), nth) else {
            return Ok(Skipped);
        };
        let worker = self.probes.remove(index).expect("counted round");
        let mut workers = self.workers.iter();
        let there = workers.any(|other| other.id == worker && !other.cut);
        if fate != Fate::Lost {
            if !there {
                self.judge.blame.ended(&worker);
            }
            self.tell(Event::Probed { worker, there })?;
        }
        Ok(Happened)
    }

    /// The scheduler stands still for a while, and knows it.
    pub(crate) fn stall(&mut self, ms: u16) -> Verdict<Done> {
        let span = Span::from_ms(u64::from(ms));
        self.now = self.now.plus(span);
        self.judge.stalled(span);
        self.tell(Event::Deaf { span })?;
        Ok(Happened)
    }

    pub(crate) fn pick_lane(&self, lane: u8, which: impl Fn(&LaneStream) -> bool) -> Option<Lane> {
        let lanes = self.lanes.iter().filter(|(_, stream)| which(stream));
        let lanes: Vec<&Lane> = lanes.map(|(lane, _)| lane).collect();
        pick(lanes.len(), lane).map(|index| lanes[index].clone())
    }
}
