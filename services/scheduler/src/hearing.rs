//! Hearing: whether this scheduler could have heard its workers.
//!
//! It sends itself a message through the server every [`ECHO_EVERY`]. While these come back, silence is the
//! workers'. When one stays away, because the server stands still, the connection is cut or this process did not
//! run, the silence is our own and counts for nobody.
//!
//! ```text
//! echo ──► echo ──► (nothing) ─ DEAF_AFTER ─► deaf: told to the core, at each turn ──► echo ──► hearing again
//! ```
//!
//! What must hold: each moment of deafness is told once.

use std::time::Duration;

use rota_wire::{Micros, Span};

/// How often a message is sent to ourselves.
pub(crate) const ECHO_EVERY: Duration = Duration::from_millis(100);
/// An echo that stays away longer than this is missed. Longer than a slow turn, much shorter than the patience
/// with a worker.
const DEAF_AFTER: Span = Span::from_ms(300);

#[derive(Debug)]
pub(crate) struct Hearing {
    /// When an echo last came back.
    heard: Micros,
    /// Up to when deafness was told.
    told: Micros,
}

impl Hearing {
    pub(crate) const fn new(now: Micros) -> Self {
        Self {
            heard: now,
            told: now,
        }
    }

    /// An echo has come back. To be asked for deafness first, or what there was is not told.
    pub(crate) fn handle_echo(&mut self, now: Micros) {
        self.heard = now;
    }

    /// For how long nothing could be heard, up to now and beyond what was told before.
    pub(crate) fn deafness(&mut self, now: Micros) -> Option<Span> {
        if now.since(self.heard) <= DEAF_AFTER {
            return None;
        }
        let since = self.heard.max(self.told);
        let untold = now.since(since);
        // In whole milliseconds: what is left over is told with the next.
        self.told = since.plus(untold);
        (untold.ms() > 0).then_some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Micros {
        Micros(ms * 1_000)
    }

    #[test]
    fn while_echoes_come_back_it_hears() {
        let mut hearing = Hearing::new(at(0));
        for ms in (100..5_000).step_by(100) {
            assert_eq!(hearing.deafness(at(ms)), None, "{ms}");
            hearing.handle_echo(at(ms));
        }
    }

    #[test]
    fn deafness_is_told_as_it_goes_on_each_moment_once() {
        let mut hearing = Hearing::new(at(0));
        let told = [250, 400, 500, 2_000].map(|ms| hearing.deafness(at(ms)));
        let ms = told.map(|span| span.map(Span::ms));
        assert_eq!(ms, [None, Some(400), Some(100), Some(1_500)]);
        hearing.handle_echo(at(2_000));
        assert_eq!(hearing.deafness(at(2_100)), None);
    }

    #[test]
    fn a_process_that_did_not_run_was_deaf_all_the_time() {
        let mut hearing = Hearing::new(at(0));
        hearing.handle_echo(at(1_000));
        // The first turn after it, before the echo that waits in the queue is read.
        assert_eq!(hearing.deafness(at(9_000)).map(Span::ms), Some(8_000));
        hearing.handle_echo(at(9_000));
        assert_eq!(hearing.deafness(at(9_050)), None);
    }
}
