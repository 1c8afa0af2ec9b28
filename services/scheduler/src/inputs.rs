//! What a session listens to, and in which order it is taken in.

use std::collections::VecDeque;

use rota_bus::{
    Bus, Echo, LaneEvent, LaneReader, LeaseValidity, Link, Received, SendError, Subscription,
    Undelivered,
};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval, sleep_until};
use tracing::warn;

use crate::executor::Executor;
use crate::hearing::ECHO_EVERY;
use crate::requests::Answer;
use crate::session::LOOK_EVERY;

/// Questions that wait, at most: the last is answered after a third of a second.
const QUESTIONS_MAX: usize = 64;

/// All that a session hears.
pub(crate) struct Inputs {
    pub(crate) lanes: LaneReader,
    pub(crate) echo: Echo,
    heartbeats: Subscription,
    reports: Subscription,
    obituaries: Subscription,
    hints: Subscription,
    explains: Subscription,
    undelivered: Undelivered,
    pub(crate) link: watch::Receiver<Link>,
    echo_ticks: Interval,
    looks: Interval,
    /// Questions that wait to be answered.
    questions: VecDeque<Received>,
    /// Before this no question is answered: an explanation looks at all workers.
    explain_at: Instant,
}

/// Something that has arrived.
pub(crate) enum Input {
    Lane(LaneEvent),
    Heartbeat(Received),
    Report(Received),
    Obituary(Received),
    Hint(Received),
    Explain(Received),
    Answer(Answer),
    /// An assign frame, by its tag, found nobody.
    Undelivered(u64),
    /// A message to ourselves has come back.
    Echo,
    /// It is time for another.
    EchoDue,
    Deadline,
    Look,
    Cut,
}

impl Inputs {
    pub(crate) async fn open(bus: &Bus, validity: LeaseValidity) -> Result<Self, SendError> {
        let subjects = bus.subjects();
        let mut looks = interval(LOOK_EVERY);
        looks.reset();
        let mut link = bus.link();
        link.mark_unchanged();
        let mut lanes = bus.lane_reader().await?;
        lanes.set_lease(validity);
        Ok(Self {
            link,
            lanes,
            echo: bus.echo().await?,
            heartbeats: bus.subscribe(&subjects.heartbeats()).await?,
            reports: bus.subscribe(&subjects.reports()).await?,
            obituaries: bus.subscribe(&subjects.obituaries()).await?,
            hints: bus.subscribe(&subjects.lane_hints()).await?,
            explains: bus.subscribe(&subjects.explains()).await?,
            undelivered: bus.undelivered().await?,
            echo_ticks: interval(ECHO_EVERY),
            looks,
            questions: VecDeque::new(),
            explain_at: Instant::now(),
        })
    }

    /// No further question is taken in before then.
    pub(crate) fn rest_from_explaining(&mut self, until: Instant) {
        self.explain_at = until;
    }

    /// Waits for something to happen.
    pub(crate) async fn next(&mut self, deadline: Instant, executor: &mut Executor) -> Input {
        let may_explain = !self.questions.is_empty();
        tokio::select! {
            biased;
            _ = self.link.changed() => Input::Cut,
            Some(_) = self.echo.next() => Input::Echo,
            _ = self.echo_ticks.tick() => Input::EchoDue,
            () = sleep_until(deadline) => Input::Deadline,
            Some(message) = self.heartbeats.next() => Input::Heartbeat(message),
            Some(message) = self.obituaries.next() => Input::Obituary(message),
            Some(tag) = self.undelivered.next() => Input::Undelivered(tag),
            Some(message) = self.reports.next() => Input::Report(message),
            answer = executor.next_answer() => Input::Answer(answer),
            Some(event) = self.lanes.next() => Input::Lane(event),
            Some(message) = self.hints.next() => Input::Hint(message),
            _ = self.looks.tick() => Input::Look,
            () = sleep_until(self.explain_at), if may_explain => self.next_question(),
            Some(message) = self.explains.next() => {
                self.take_questions(message);
                Input::Deadline
            }
            else => Input::Cut,
        }
    }

    /// Reads all questions that have arrived, and keeps a few. Whoever asks more than can be answered must not fill
    /// the subscription: the connection would count as too slow, and the term would end.
    fn take_questions(&mut self, first: Received) {
        let mut arrived = Some(first);
        let mut dropped = 0;
        while let Some(message) = arrived {
            if self.questions.len() < QUESTIONS_MAX {
                self.questions.push_back(message);
            } else {
                dropped += 1;
            }
            arrived = self.explains.try_next();
        }
        if dropped > 0 {
            warn!(
                dropped,
                "more questions than can be answered why tasks are where they are"
            );
        }
    }

    fn next_question(&mut self) -> Input {
        let question = self.questions.pop_front();
        question.map_or(Input::Deadline, Input::Explain)
    }

    /// Something that has happened already, if anything.
    pub(crate) fn try_next(&mut self, executor: &mut Executor) -> Option<Input> {
        let heard = self.echo.try_next().map(|_| Input::Echo);
        heard
            .or_else(|| self.heartbeats.try_next().map(Input::Heartbeat))
            .or_else(|| self.obituaries.try_next().map(Input::Obituary))
            .or_else(|| self.undelivered.try_next().map(Input::Undelivered))
            .or_else(|| self.reports.try_next().map(Input::Report))
            .or_else(|| executor.try_next_answer().map(Input::Answer))
            .or_else(|| self.lanes.try_next().map(Input::Lane))
            .or_else(|| self.hints.try_next().map(Input::Hint))
    }
}
