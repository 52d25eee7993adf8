//! The randomness of a history: a small generator, since much is drawn and a strong one would take a third of the time.
//!
//! SplitMix64, by G. Steele, D. Lea and C. Flood.
//!
//! Pure: no clock, no I/O, no tasks.

use rand::RngCore;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The one of that seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }
}
