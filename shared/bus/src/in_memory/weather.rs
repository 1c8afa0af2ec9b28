//! What goes wrong, and how often: chances drawn from a seed.

/// Chances in a thousand, one for each kind of trouble; all zero is fair weather.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// The most milliseconds that a message takes one way. What one client sends arrives in order.
    pub latency_ms: u32,
    /// A message between clients is lost. It is not in a stream, and nobody answers it.
    pub lost_messages: u32,
    /// An ack, or a nak, is lost.
    pub lost_acks: u32,
    /// It arrives twice, the second time up to two seconds later.
    pub doubled_acks: u32,
    /// It arrives up to two seconds late, after others that were sent later.
    pub late_acks: u32,
    /// A message does not reach its stream, and there is no answer.
    pub lost_stores: u32,
    /// It is stored, and the answer is lost.
    pub unanswered_stores: u32,
    /// It is stored, and the answer is an error.
    pub failed_stores: u32,
    /// It is stored, and the answer comes up to eight seconds late.
    pub late_stores: u32,
    /// A call of JetStream's interface, a pull among them, is lost.
    pub lost_calls: u32,
    /// It is carried out, and the answer is lost.
    pub unanswered_calls: u32,
    /// It is carried out, and the answer is an error.
    pub failed_calls: u32,
    /// A message is delivered by its consumer and does not reach the one who pulled.
    pub lost_deliveries: u32,
    /// A direct read does not see what was stored in the last 200 milliseconds.
    pub stale_reads: u32,
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or zero.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.roll() % end }
    }

    /// A number of a range, its end included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// Whether something with a chance of so many in a thousand happens. What cannot happen costs no roll.
    pub fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.below(of.len() as u64);
        of[usize::try_from(index).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        assert!((0..100).all(|_| one.roll() == other.roll()));
        assert_ne!(Dice::new(8).roll(), Dice::new(7).roll());
    }

    #[test]
    fn chances_are_about_what_they_say() {
        let mut dice = Dice::new(1);
        let hits = (0..10_000).filter(|_| dice.happens(100)).count();
        assert!((900..1_100).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| dice.happens(0)));
    }
}
