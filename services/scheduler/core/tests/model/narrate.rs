//! Events and actions in few words, for the story of a failed sequence.

use rota_scheduler_core::{Action, Event};
use rota_wire::dispatch::Ending;
use rota_wire::fleet::Held;
use rota_wire::{Delivery, Holding};

pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::LaneOpened {
            lane,
            unacked,
            delivered_to,
        } => format!("{lane} opened, {unacked} un-acked up to #{delivered_to}"),
        Event::LaneGone { lane } => format!("{lane} gone"),
        Event::LaneFound { lane } => format!("{lane} found"),
        Event::LanesListed { lanes } => {
            let lanes: Vec<String> = lanes.iter().map(ToString::to_string).collect();
            format!("lanes listed: {lanes:?}")
        }
        Event::LaneNotOpened { lane } => format!("{lane} not opened"),
        Event::LaneClosed { lane } => format!("{lane} closed"),
        Event::LaneKept { lane } => format!("{lane} kept"),
        Event::Unreadable { lane, delivery, .. } => {
            format!("{} of {lane} is no task", message(delivery))
        }
        Event::Gone { seq } => format!("#{seq} is gone"),
        Event::Deaf { span } => format!("deaf for {span}"),
        Event::Unreachable { worker, frame } => format!("nobody took frame {frame} of {worker}"),
        Event::Died { worker } => format!("{worker} has died"),
        Event::Probed { worker, there } => format!("{worker} is there: {there}"),
        Event::Delivered {
            lane,
            delivery,
            pending,
            task,
            ..
        } => {
            let (id, attempt) = (&task.id, task.attempt);
            format!(
                "{} of {lane}, {id} attempt {attempt}, {pending} pending",
                message(delivery)
            )
        }
        Event::PullEnded { lane, unused, end } => {
            format!("{lane}: {unused} are not coming ({end:?})")
        }
        Event::Heartbeat(says) => {
            let held: Vec<String> = says.held.iter().map(held).collect();
            let seen = says.seen.map_or((0, 0), |mark| (mark.term.0, mark.number));
            let (worker, number, state) = (&says.worker, says.number, says.state);
            format!("{worker} beats {number}: {state:?}, seen {seen:?}, holds {held:?}")
        }
        Event::Reported { worker, outcome } => {
            let ending = match outcome.ending {
                Ending::Stored => "stored",
                Ending::Failed(_) => "failed",
                Ending::Returned { .. } => "handed back",
            };
            let (number, holding) = (outcome.number, holding(&outcome.holding));
            format!("{worker} reports {number}: {holding} {ending}")
        }
        Event::Looked { seq, found } => format!("#{seq} looked up: {found:?}"),
        Event::Stored { seq } => format!("#{seq} stored"),
        Event::StoreFailed { seq } => format!("#{seq} not stored"),
    }
}

pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::CallRoll => "call the roll".to_owned(),
        Action::OpenLane { lane } => format!("open {lane}"),
        Action::Pull { lane, count } => format!("pull {count} of {lane}"),
        Action::Assign(frame) => {
            let tasks: Vec<String> = frame
                .tasks
                .iter()
                .map(|task| holding(&task.holding))
                .collect();
            let listed = |holdings: &[Holding]| {
                let listed: Vec<String> = holdings.iter().map(holding).collect();
                format!("{listed:?}")
            };
            let (worker, number, settled) = (&frame.worker, frame.number, &frame.settled);
            format!(
                "{worker} frame {number}: settle {settled:?}, revoke {}, suspend {}, resume {}, run {tasks:?}",
                listed(&frame.revoked),
                listed(&frame.suspended),
                listed(&frame.resumed),
            )
        }
        Action::Ack { seq } => format!("ack #{seq}"),
        Action::Nak { seq } => format!("nak #{seq}"),
        Action::CloseLane { lane } => format!("close {lane}"),
        Action::FindLanes { kind } => format!("find lanes of {kind}"),
        Action::Probe { worker } => format!("probe {worker}"),
        Action::Refuse { worker, reason } => format!("refuse {worker}: {reason}"),
        Action::LookUp {
            seq,
            task,
            freshness,
        } => format!("look up #{seq} {} ({freshness:?})", task.id),
        Action::StoreRetry { seq, task, wait } => {
            format!("store #{seq} as attempt {} in {wait}", task.attempt)
        }
        Action::Bury { seq, reason, .. } => format!("bury #{seq}: {reason}"),
        Action::Tell(told) => format!("({told:?})"),
        Action::Record { task, ran } => format!("records {} {ran}", task.id),
    }
}

fn message(delivery: &Delivery) -> String {
    format!("#{}x{}", delivery.seq, delivery.count)
}

fn holding(holding: &Holding) -> String {
    format!("{}@{}", message(&holding.delivery), holding.term)
}

fn held(held: &Held) -> String {
    format!("{} {:?}", holding(&held.holding), held.stage)
}
