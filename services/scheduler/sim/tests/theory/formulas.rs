//! The formulas, for a mean service time of 1. Each gives a mean response unless it says otherwise.

use crate::distribution::Distribution;

/// M/M/1.
pub(crate) fn mm1(load: f64) -> f64 {
    1.0 / (1.0 - load)
}

/// M/M/k: Erlang's C.
pub(crate) fn mmk(servers: u32, load: f64) -> f64 {
    let k = f64::from(servers);
    let offered = load * k;
    let blocked = (1..=servers)
        .map(f64::from)
        .fold(1.0, |b, i| offered * b / (i + offered * b));
    let waits = blocked / (1.0 - load * (1.0 - blocked));
    1.0 + waits / (k - offered)
}

/// Each arrival goes to a queue at random: every queue is an M/M/1.
pub(crate) fn random_split(load: f64) -> f64 {
    mm1(load)
}

/// Arrivals go to k queues in turn: each is an E_k/M/1.
pub(crate) fn round_robin_split(servers: u32, load: f64) -> f64 {
    let k = f64::from(servers);
    let step = |sigma: f64| (k * load / (k * load + 1.0 - sigma)).powf(k);
    let sigma = (0..10_000).fold(load, |sigma, _| step(sigma));
    1.0 / (1.0 - sigma)
}

/// M/G/1, first come first served, by the second moment (Pollaczek and Khinchine).
pub(crate) fn mg1(load: f64, second_moment: f64) -> f64 {
    1.0 + load * second_moment / (2.0 * (1.0 - load))
}

/// M/G/1 with its time shared out evenly: the variance does not matter.
pub(crate) fn processor_sharing(load: f64) -> f64 {
    1.0 / (1.0 - load)
}

/// Mean waits of non-preemptive priorities (Cobham), the most urgent first: the load of each class, all of
/// the same distribution.
pub(crate) fn cobham(loads: &[f64], second_moment: f64) -> Vec<f64> {
    let residual = loads.iter().sum::<f64>() * second_moment / 2.0;
    let mut before = 0.0;
    let waits = loads.iter().map(|load| {
        let above = before;
        before += load;
        residual / ((1.0 - above) * (1.0 - before))
    });
    waits.collect()
}

/// The shortest first, without interruption.
pub(crate) fn sjf(load: f64, durations: Distribution) -> f64 {
    let residual = load * durations.second_moment() / 2.0;
    let wait = |first: f64| residual / (1.0 - load * first).powi(2);
    1.0 + durations
        .grid()
        .iter()
        .map(|cell| cell.mass * wait(cell.first))
        .sum::<f64>()
}

/// The one with the least left, preemptive (Schrage and Miller).
pub(crate) fn srpt(load: f64, durations: Distribution) -> f64 {
    let grid = durations.grid();
    // Below the grid nobody is in the way.
    let mut residence = grid.first().map_or(0.0, |cell| cell.x);
    let responses = grid.iter().map(|cell| {
        let free = 1.0 - load * cell.first;
        residence += cell.width / free;
        let delay = load * (cell.second + cell.x * cell.x * cell.tail) / (2.0 * free * free);
        cell.mass * (delay + residence)
    });
    responses.sum()
}

/// The one that has had the least, preemptive.
pub(crate) fn las(load: f64, durations: Distribution) -> f64 {
    let grid = durations.grid();
    let responses = grid.iter().map(|cell| {
        let cut = cell.first + cell.x * cell.tail;
        let cut_second = cell.second + cell.x * cell.x * cell.tail;
        let free = 1.0 - load * cut;
        cell.mass * (load * cut_second / (2.0 * free * free) + cell.x / free)
    });
    responses.sum()
}

/// The shortest of d queues that are drawn, among very many (Vvedenskaya; Mitzenmacher): the fixed point.
pub(crate) fn shortest_of(choices: i32, load: f64) -> f64 {
    let d = f64::from(choices);
    let power = |i: i32| (d.powi(i) - d) / (d - 1.0);
    (1..)
        .map(|i| load.powf(power(i)))
        .take_while(|share| *share > 1e-15)
        .sum()
}

const EXP: Distribution = Distribution::Exponential;

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!(
        (found / expected - 1.0).abs() < 1e-3,
        "{found} instead of {expected}"
    );
}

#[test]
fn one_server_is_the_same_by_every_formula() {
    for load in [0.5, 0.9] {
        assert_close(mmk(1, load), mm1(load));
        assert_close(mg1(load, 2.0), mm1(load));
        assert_close(round_robin_split(1, load), random_split(load));
    }
}

#[test]
fn known_values_come_out() {
    // Erlang's C for ten servers at 0.9 is 0.6687.
    assert_close(mmk(10, 0.9), 1.6687);
    assert_close(shortest_of(2, 0.9), 2.614);
    assert_close(sjf(0.8, EXP), 2.882);
    assert_close(srpt(0.8, EXP), 2.353);
    assert_close(
        srpt(0.8, Distribution::Hyperexponential { cv2: 10.0 }),
        2.151,
    );
}

#[test]
fn many_queues_in_turn_see_an_even_stream() {
    // The limit is D/M/1: σ = e^(-(1-σ)/ρ), at 0.9 is 0.8069.
    assert_close(round_robin_split(100_000, 0.9), 5.1786);
}

#[test]
fn las_is_sharing_where_the_past_tells_nothing_and_better_where_durations_vary() {
    assert_close(las(0.8, EXP), processor_sharing(0.8));
    let varied = Distribution::BoundedPareto {
        alpha: 1.5,
        ratio: 10_000.0,
    };
    assert!(las(0.8, varied) < processor_sharing(0.8) / 1.5);
    assert!(srpt(0.8, varied) < las(0.8, varied));
}

#[test]
fn priorities_move_waiting_about_and_keep_its_sum() {
    let loads = [0.3, 0.5];
    let waits = cobham(&loads, 2.0);
    let sum: f64 = loads
        .iter()
        .zip(&waits)
        .map(|(load, wait)| load * wait)
        .sum();
    assert_close(sum / 0.8, mm1(0.8) - 1.0);
    assert!(waits[0] < waits[1]);
}
