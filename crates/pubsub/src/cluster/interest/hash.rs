//! A topic as 128 bits. Users choose topics, so the hash is keyed: nobody outside can make two topics meet, and 128 bits are so
//! many that no two ever do by chance. Hence a hash may stand for its topic.
//!
//! SipHash-2-4 with its 128-bit output.
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

/// The secret that makes a node's hashes its own.
#[derive(Clone, Copy)]
pub struct HashKey(pub [u8; 16]);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// What stands for a topic within this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicHash(u128);

impl HashKey {
    pub(super) fn hash(&self, topic: &str) -> TopicHash {
        TopicHash(self.sip128(topic.as_bytes()))
    }

    fn sip128(&self, bytes: &[u8]) -> u128 {
        let mut state = State::new(word(&self.0[..8]), word(&self.0[8..]));
        let mut blocks = bytes.chunks_exact(8);
        for block in &mut blocks {
            state.absorb(word(block));
        }
        let mut last = [0; 8];
        last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
        last[7] = bytes.len().to_le_bytes()[0];
        state.absorb(word(&last));
        state.finish()
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("blocks have eight bytes"))
}

struct State([u64; 4]);

impl State {
    fn new(k0: u64, k1: u64) -> Self {
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.rounds(2);
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u128 {
        self.0[2] ^= 0xee;
        let low = self.squeeze();
        self.0[1] ^= 0xdd;
        u128::from(low) | u128::from(self.squeeze()) << 64
    }

    fn squeeze(&mut self) -> u64 {
        self.rounds(4);
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }

    fn rounds(&mut self, count: usize) {
        let [mut a, mut b, mut c, mut d] = self.0;
        for _ in 0..count {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::HashKey;

    /// The first vectors that the authors of the function publish: key 00..0f, inputs of 0, 1 and 2 counting bytes.
    #[test]
    fn agrees_with_the_published_vectors() {
        let key = HashKey(std::array::from_fn(|n| u8::try_from(n).unwrap()));
        let expected = [
            "a3817f04ba25a8e66df67214c7550293",
            "da87c1d86b99af44347659119b22fc45",
            "8177228da4a45dc7fca38bdef60affe4",
        ];
        for (len, expected) in expected.iter().enumerate() {
            let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n).unwrap()).collect();
            let hash = key.sip128(&bytes).to_le_bytes();
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, *expected);
        }
    }

    #[test]
    fn long_topics_differ_in_every_byte() {
        let key = HashKey([7; 16]);
        let base = "a".repeat(33);
        for at in 0..base.len() {
            let mut other = base.clone();
            other.replace_range(at..=at, "b");
            assert_ne!(key.hash(&base), key.hash(&other));
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", HashKey([7; 16])), "HashKey(..)");
    }
}
