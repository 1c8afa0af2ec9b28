//! Lines as tracing events: for people a sentence, for machines the same facts as fields.
//!
//! The names of fields are those of all services: `task kind attempt worker term elapsed_ms reason`.
//! What must hold: no text from outside makes a line longer than a few hundred characters.

use rota_service::LogFormat;
use rota_wire::event::{Event, RedeliveryCause};
use rota_wire::{Kind, Span};
use tracing::{debug, info, warn};

use crate::utilisation::Load;
use crate::view::{FullOf, KindLine, Leader, Line, Rate, Service, Sort, Summary};

/// Reasons come from handlers and people.
const REASON_BYTES_MAX: usize = 300;
/// Kinds of a worker that are named when it joins.
const NAMED_KINDS_MAX: usize = 16;

/// Says one line.
pub(crate) fn say(line: Line, format: LogFormat) {
    match line {
        Line::Happened(event) => say_event(event),
        Line::More { sort, kind, count } => say_more(sort, kind.as_ref(), count, format),
        Line::WorkerSilent {
            worker,
            silent,
            holding,
        } => warn!(%worker, silent_ms = silent.ms(), holding, "worker is silent"),
        Line::WorkerHeardAgain { worker } => info!(%worker, "worker is heard again"),
        Line::NobodyLeads { elapsed, unsettled } => {
            warn!(
                elapsed_ms = elapsed.ms(),
                unsettled, "no scheduler is leading"
            );
        }
        Line::LeadsAgain { term } => info!(term = term.0, "the leader is heard again"),
        Line::CutOff { elapsed } => {
            warn!(
                elapsed_ms = elapsed.ms(),
                "still no connection to nats-server"
            )
        }
        Line::ForgottenEarly {
            kept,
            promised,
            full_of,
        } => warn!(
            kept_ms = kept.ms(),
            promised_ms = promised.ms(),
            "{}",
            forgotten_early(kept, promised, full_of)
        ),
        Line::Undecodable {
            subject,
            reason,
            count,
        } => warn!(subject, reason, count, "makes no sense, so it was ignored"),
        Line::EventsLost { count } => warn!(count, "events were lost before they were sent"),
        Line::FleetTooLarge { heartbeats } => {
            warn!(
                heartbeats,
                "more workers than can be watched, so some were ignored"
            );
        }
        Line::Summary(summary) => match format {
            LogFormat::Pretty => info!("{summary}"),
            LogFormat::Json => say_figures(&summary),
        },
    }
}

fn forgotten_early(kept: Span, promised: Span, full_of: FullOf) -> String {
    let limit = match full_of {
        FullOf::Messages => "max_msgs",
        FullOf::Bytes => "max_bytes",
    };
    format!(
        "ids are remembered for {kept} only instead of {promised}: ROTA_RESULTS is full ({limit}); one that \
         is submitted again after that runs again"
    )
}

fn say_event(event: Event) {
    match event {
        Event::Leading { term } => info!(term = term.0, "leader elected"),
        Event::Recovered { term, adopted } => info!(term = term.0, adopted, "leader recovered"),
        Event::WorkerJoined {
            worker,
            slots,
            kinds,
        } => info!(%worker, slots, kinds = named(&kinds), "worker joined"),
        Event::WorkerDraining { worker, holding } => info!(%worker, holding, "worker is draining"),
        Event::WorkerLeft { worker } => info!(%worker, "worker left"),
        Event::WorkerLost {
            worker,
            silent,
            holding,
        } => warn!(%worker, silent_ms = silent.ms(), holding, "worker lost"),
        Event::WorkerDied { worker, holding } => warn!(%worker, holding, "worker died"),
        Event::WorkerReturned { worker } => info!(%worker, "worker is there again"),
        Event::KindWithdrawn {
            worker,
            kind,
            reason,
        } => warn!(%worker, %kind, reason = cut(&reason), "worker cannot run a kind any more"),
        Event::Counted(_) => {}
        Event::Redelivered { .. }
        | Event::Retrying { .. }
        | Event::DeadLettered { .. }
        | Event::Rejected { .. }
        | Event::Duplicate { .. }
        | Event::Reserved { .. } => say_task_event(event),
    }
}

fn say_task_event(event: Event) {
    match event {
        Event::Redelivered {
            task,
            kind,
            worker,
            cause,
        } => {
            let reason = cause.as_str();
            match cause {
                RedeliveryCause::Returned => info!(%task, %kind, %worker, reason, "redelivered"),
                RedeliveryCause::Lost | RedeliveryCause::Missing => {
                    warn!(%task, %kind, %worker, reason, "redelivered");
                }
            }
        }
        Event::Retrying {
            task,
            kind,
            attempt,
            wait,
            reason,
        } => {
            let (wait_ms, reason) = (wait.ms(), cut(&reason));
            info!(%task, %kind, attempt, wait_ms, reason, "attempt failed, another follows");
        }
        Event::DeadLettered {
            task,
            kind,
            attempts,
            reason,
        } => warn!(%task, %kind, attempts, reason = cut(&reason), "dead letter"),
        Event::Rejected { task, reason } => warn!(%task, reason = cut(&reason), "rejected"),
        Event::Duplicate { task } => debug!(%task, "duplicate, not run again"),
        Event::Reserved { task, kind, worker } => {
            info!(%task, %kind, %worker, "has waited long: a worker is kept for it");
        }
        Event::Leading { .. }
        | Event::Recovered { .. }
        | Event::WorkerJoined { .. }
        | Event::WorkerDraining { .. }
        | Event::WorkerLeft { .. }
        | Event::WorkerLost { .. }
        | Event::WorkerDied { .. }
        | Event::WorkerReturned { .. }
        | Event::KindWithdrawn { .. }
        | Event::Counted(_) => {}
    }
}

fn say_more(sort: Sort, kind: Option<&Kind>, count: u64, format: LogFormat) {
    let what = sort.plural();
    match (format, sort) {
        (LogFormat::Pretty, Sort::Duplicate) => debug!("and {count} more {what}"),
        (LogFormat::Json, Sort::Duplicate) => debug!(count, what, "and more"),
        (LogFormat::Pretty, _) => match kind {
            Some(kind) => warn!("and {count} more {what} of kind {kind}"),
            None if sort.has_kind() => warn!("and {count} more {what} of other kinds"),
            None => warn!("and {count} more {what}"),
        },
        (LogFormat::Json, _) => {
            let kind = kind.map(Kind::as_str);
            warn!(count, what, kind, "and more");
        }
    }
}

/// The summary for machines: one event with the figures, then one for each kind that waits.
fn say_figures(summary: &Summary) {
    let fleet = &summary.fleet;
    let (slots_used, slots_free) = permille(fleet.slots);
    let (cpu_used, cpu_free) = permille(fleet.cpu);
    let (memory_used, memory_free) = permille(fleet.memory);
    let (declared_cpu_used, declared_cpu_free) = permille(summary.declared.cpu);
    let (declared_memory_used, declared_memory_free) = permille(summary.declared.memory);
    info!(
        in_per_s = summary.in_rate.map(Rate::per_second),
        out_per_s = summary.out_rate.map(Rate::per_second),
        running = fleet.running,
        suspended = fleet.suspended,
        at_the_door = summary.at_the_door,
        waiting = summary.waiting,
        oldest_ms = summary.oldest.map(|age| age.ms()),
        failed = summary.since.failed,
        dead = summary.since.dead,
        redelivered = summary.since.redelivered,
        preempted = summary.since.preempted,
        slots = figure(fleet.slots.capacity()),
        slots_used = figure(fleet.slots.demand()),
        slots_used_permille = slots_used,
        slots_free_permille = slots_free,
        cpu_used_permille = cpu_used,
        cpu_free_permille = cpu_free,
        memory_used_permille = memory_used,
        memory_free_permille = memory_free,
        declared_cpu_used_permille = declared_cpu_used,
        declared_cpu_free_permille = declared_cpu_free,
        declared_memory_used_permille = declared_memory_used,
        declared_memory_free_permille = declared_memory_free,
        workers = fleet.workers,
        draining = fleet.draining,
        silent = fleet.silent,
        term = term(summary.leader),
        kinds_more = summary.kinds_more,
        "summary"
    );
    for KindLine { waiting, workers } in &summary.kinds {
        let kind = waiting.kind.as_str();
        let oldest_ms = waiting.oldest.map(|age| age.ms());
        let handled = *workers == Service::Handled;
        info!(
            kind,
            waiting = waiting.waiting,
            oldest_ms,
            handled,
            "waiting"
        );
    }
}

fn permille(load: Load) -> (Option<u16>, Option<u16>) {
    let shares = load.shares();
    let used = shares.map(|shares| shares.used_permille);
    (used, shares.map(|shares| shares.free_permille))
}

/// As a number that JSON can carry.
fn figure(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

const fn term(leader: Leader) -> Option<u64> {
    match leader {
        Leader::Leading(term) => Some(term.0),
        Leader::Unknown | Leader::Absent => None,
    }
}

fn named(kinds: &[Kind]) -> String {
    let first: Vec<&str> = kinds
        .iter()
        .take(NAMED_KINDS_MAX)
        .map(Kind::as_str)
        .collect();
    match kinds.len().saturating_sub(NAMED_KINDS_MAX) {
        0 => first.join(","),
        more => format!("{} and {more} more", first.join(",")),
    }
}

/// The beginning of a text, with an ellipsis where something is left out.
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(REASON_BYTES_MAX);
    if end == text.len() {
        text.to_owned()
    } else {
        format!("{}…", &text[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(count: usize) -> Vec<Kind> {
        let names = (0..count).map(|n| format!("k{n}"));
        names
            .map(|name| Kind::parse(&name).expect("a good kind"))
            .collect()
    }

    #[test]
    fn a_worker_of_many_kinds_is_still_one_line() {
        assert_eq!(named(&kinds(2)), "k0,k1");
        assert!(named(&kinds(1_000)).ends_with("k15 and 984 more"));
    }

    #[test]
    fn a_long_reason_is_cut_between_its_characters() {
        assert_eq!(cut("exit 3"), "exit 3");
        let cut = cut(&"ä".repeat(1_000));
        assert!(
            cut.ends_with("ä…") && cut.len() <= REASON_BYTES_MAX + 3,
            "{cut}"
        );
    }
}
