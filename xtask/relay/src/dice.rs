//! Choices that a seed repeats.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

/// A small generator (SplitMix64): good enough for choices, the same on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The choices of this seed.
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// An index into something of this length.
    ///
    /// # Panics
    ///
    /// If `length` is 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length that is a usize")
    }

    /// Puts these into any order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for left in (2..=things.len()).rev() {
            things.swap(left - 1, self.index(left));
        }
    }

    /// A time shorter than `bound`.
    ///
    /// # Panics
    ///
    /// If `bound` is shorter than a microsecond.
    pub fn duration_below(&mut self, bound: Duration) -> Duration {
        Duration::from_micros(self.below(bound.as_micros() as u64))
    }

    /// True in this share of all rolls, from 0 to 1.
    pub fn happens(&mut self, share: f64) -> bool {
        // The upper 53 bits are all that a fraction below 1 can hold.
        let fraction = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        fraction < share
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_choices() {
        let choices = |seed| {
            let mut dice = Dice::new(seed);
            (0..20).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn a_shuffle_loses_nothing_and_any_order_comes() {
        let mut dice = Dice::new(1);
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut things = [1, 2, 3, 4];
            dice.shuffle(&mut things);
            orders.insert(things);
            things.sort_unstable();
            assert_eq!(things, [1, 2, 3, 4]);
        }
        assert_eq!(orders.len(), 24);
        dice.shuffle::<u8>(&mut []);
    }

    #[test]
    fn a_share_comes_true_that_often() {
        let mut dice = Dice::new(1);
        let often = |dice: &mut Dice, share| (0..10_000).filter(|_| dice.happens(share)).count();
        assert_eq!(often(&mut dice, 0.0), 0);
        assert_eq!(often(&mut dice, 1.0), 10_000);
        let twentieth = often(&mut dice, 0.05);
        assert!((400..600).contains(&twentieth), "{twentieth}");
    }
}
