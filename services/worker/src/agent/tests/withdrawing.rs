//! A kind that cannot be started, and how it comes back.

use super::*;

const GONE: &str = "could not start \"resize\": no such file";

fn unfit() -> AttemptEnd {
    let reason = GONE.to_owned();
    AttemptEnd::Unfit { reason }
}

/// The kinds that the last heartbeat offers, and those that it does not any more.
fn told(said: &[Action]) -> (Vec<&str>, Vec<(&str, &str)>) {
    let beat = *beats(said).last().expect("a heartbeat at once");
    let offered = beat.kinds.iter().map(|offer| offer.kind.as_str());
    let withdrawn = beat.withdrawn.iter();
    let withdrawn = withdrawn.map(|withdrawn| (withdrawn.kind.as_str(), &*withdrawn.reason));
    (offered.collect(), withdrawn.collect())
}

fn looks(said: &[Action]) -> usize {
    let looks = said.iter().filter(|said| matches!(said, Action::Look(_)));
    looks.count()
}

fn looked(unfit: Option<&str>) -> Event {
    Event::Looked {
        kind: Kind::parse("a").expect("good"),
        unfit: unfit.map(str::to_owned),
    }
}

#[test]
fn a_kind_that_does_not_start_is_withdrawn_and_its_tasks_come_back_unhurt() {
    let mut bench = Bench::new(2);
    bench.assign(1..=4);
    bench.said();
    bench.end(1, unfit());
    let said = bench.said();
    assert_eq!(told(&said), (vec!["single"], vec![("a", GONE)]));
    let returned = outcomes(said);
    let seqs: Vec<_> = returned
        .iter()
        .map(|outcome| outcome.holding.delivery.seq)
        .collect();
    assert_eq!(seqs, [3, 4, 1], "2 has begun already");
    assert!(returned.iter().all(is_returned), "{returned:?}");

    bench.assign([5]);
    let returned = bench.reported();
    assert!(
        returned.len() == 1 && is_returned(&returned[0]),
        "{returned:?}"
    );
    bench.frame(1, &[], &[], vec![assignment("single", holding(1, 6))]);
    assert_eq!(bench.started(), [6], "other kinds go on");
    bench.complete(2);
    assert_eq!(
        bench.reported()[0].ending,
        Ending::Stored,
        "so does what runs"
    );
}

#[test]
fn the_heartbeat_that_withdraws_a_kind_comes_before_its_tasks_come_back() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.said();
    bench.end(1, unfit());
    let said = bench.said();
    let at = |wanted: fn(&Action) -> bool| said.iter().position(wanted);
    let beat = at(|said| matches!(said, Action::Beat(_)));
    assert!(
        beat < at(|said| matches!(said, Action::Report(_))),
        "{said:?}"
    );
}

#[test]
fn a_withdrawn_kind_is_looked_at_and_offered_again_once_it_is_fit() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.end(1, unfit());
    bench.said();
    bench.pass(Duration::from_secs(1));
    assert_eq!(looks(&bench.said()), 1);
    bench.pass(Duration::from_secs(100));
    assert_eq!(looks(&bench.said()), 0, "one at a time");
    bench.tell(looked(Some("still gone")));
    bench.pass(Duration::from_secs(2));
    let said = bench.said();
    assert_eq!(looks(&said), 1);
    assert_eq!(told(&said).1, [("a", "still gone")]);
    bench.tell(looked(None));
    bench.end_turn();
    assert_eq!(told(&bench.said()), (vec!["a", "single"], vec![]));
    bench.assign([2]);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn a_machine_that_has_no_process_to_spare_withdraws_nothing() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.said();
    let reason = "no process to spare".to_owned();
    bench.end(1, AttemptEnd::Returned { reason });
    let said = bench.said();
    assert!(beats(&said).is_empty());
    assert!(is_returned(&outcomes(said)[0]));
    bench.assign([2]);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn a_worker_that_drains_looks_at_nothing() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.end(1, unfit());
    bench.drain();
    bench.said();
    bench.pass(Duration::from_secs(100));
    assert_eq!(looks(&bench.said()), 0);
}
