//! The world at peace: everything arrives, everything is stored, one worker handles every kind. Then
//! everything must come to its end within a bounded time.

use rota_wire::Span;
use rota_wire::fleet::WorkerState;

use super::happen::Done::Happened;
use super::judge::{Final, Verdict, rule};
use super::step::{End, Fate, StoreFate};
use super::worker::{FRIEND, ModelWorker};
use super::world::World;
use rota_scheduler_core::{Event, PullEnd};

/// Seconds in which all is over.
const ROUNDS_MAX: u32 = 300;
/// A second has so many steps.
const TICKS: u32 = 10;
const TICK: Span = Span::from_ms(100);
/// The others leave after so many.
const PATIENCE: u32 = 8;
const ALL: u8 = u8::MAX;

impl World {
    pub(crate) fn calm_down(&mut self) -> Verdict {
        self.note(|| "calm".to_owned());
        self.answers_to_lose = 0;
        let too_many = self.workers.len() >= self.options.workers_max;
        for worker in 0..self.workers.len() {
            self.workers[worker].cut = false;
            if too_many {
                self.drain(worker);
            }
        }
        let name = self.new_worker_name();
        self.workers.push(ModelWorker::new(&name, FRIEND));
        for round in 1..=ROUNDS_MAX {
            self.round(round)?;
            if self.is_over() {
                self.seen.add(&self.judge.seen);
                return self.all_have_ended();
            }
        }
        Err(format!(
            "not over after {ROUNDS_MAX} rounds: {}",
            self.what_is_left()
        ))
    }

    fn round(&mut self, round: u32) -> Verdict {
        self.note(|| format!("round {round}"));
        if round == PATIENCE {
            // Whoever stops and is not heard, or waits for an answer that does not come, gives up.
            self.workers
                .retain(|worker| worker.state == WorkerState::Up);
        }
        if round.is_multiple_of(5) {
            for stream in self.lanes.values_mut() {
                stream.ack_wait_of_owed();
            }
        }
        for worker in 0..self.workers.len() {
            self.report_all(worker);
        }
        self.beat_all()?;
        for _ in 0..TICKS {
            self.serve()?;
            self.work()?;
            self.now = self.now.plus(TICK);
            self.fire_schedule();
            self.time_out()?;
        }
        Ok(())
    }

    /// The server and the rest of the scheduler do their part.
    fn serve(&mut self) -> Verdict {
        while !self.openings.is_empty() {
            self.open(Fate::Arrives)?;
            self.end_turn()?;
        }
        while self.store_late(0) == Happened {}
        while self.pass_due(0, Fate::Arrives) == Happened {}
        while self.deliver(0, ALL, Fate::Arrives)? == Happened {}
        while self.end_pull(0, PullEnd::Nothing)? == Happened {}
        while self.write_off()? == Happened {}
        while self.answer_probe(0, Fate::Arrives)? == Happened {}
        self.end_turn()?;
        for _ in 0..self.look_ups.len() {
            self.look(0, Fate::Arrives)?;
        }
        for _ in 0..self.stores.len() {
            self.answer_store(0, StoreFate::Done)?;
        }
        self.end_turn()
    }

    /// The workers do theirs.
    fn work(&mut self) -> Verdict {
        for worker in 0..self.workers.len() {
            self.mail(worker, ALL, Fate::Arrives);
            for seq in self.workers[worker].due(self.now) {
                self.end_attempt(worker, seq, End::Completed);
            }
            self.count_begun();
        }
        for (worker, outcome) in std::mem::take(&mut self.reports) {
            let outcome = Box::new(outcome);
            self.tell(Event::Reported { worker, outcome })?;
        }
        for heartbeat in std::mem::take(&mut self.beats) {
            self.tell(Event::Heartbeat(Box::new(heartbeat)))?;
        }
        self.end_turn()
    }

    fn is_over(&self) -> bool {
        self.lanes.values().all(|stream| stream.is_empty())
            && self.scheduler.tasks_in_memory() == 0
            && self.schedule.is_empty()
            && self.due.is_empty()
            && self.workers.iter().all(ModelWorker::holds_nothing)
    }

    fn what_is_left(&self) -> String {
        let lanes = self.lanes.iter().filter(|(_, stream)| !stream.is_empty());
        let lanes: Vec<String> = lanes.map(|(lane, _)| lane.to_string()).collect();
        let holding = self.workers.iter().filter(|worker| !worker.holds_nothing());
        format!(
            "lanes {lanes:?}, {} scheduled, {} in memory, {} workers hold something",
            self.schedule.len(),
            self.scheduler.tasks_in_memory(),
            holding.count()
        )
    }

    fn all_have_ended(&self) -> Verdict {
        for task in self
            .tasks
            .iter()
            .filter(|task| !self.purged.contains(&task.id))
        {
            let result = self.stored.results.get(&task.id);
            let result = result.ok_or_else(|| format!("{} has no result", task.id))?;
            let buried = *result != Final::Failed || self.stored.dead.contains(&task.id);
            rule(buried, || {
                format!("{} has failed and is no dead letter", task.id)
            })?;
        }
        let left = self.scheduler.tasks_in_memory();
        rule(left == 0, || format!("{left} tasks are left in memory"))
    }
}
