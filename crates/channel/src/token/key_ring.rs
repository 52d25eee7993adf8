//! The keys that tokens are signed with, and how they are replaced.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::RngCore;
use thiserror::Error;

/// The fewest bytes a key may have, once it is decoded.
pub const MIN_KEY_BYTES: usize = 32;

/// The most keys of one ring; each costs a forged token one more try.
pub const MAX_KEYS: usize = 8;

/// Keys: the first signs, all of them verify. Clones are the same ring.
///
/// All nodes of a cluster need the same keys. A key is replaced in three steps, without ending anybody's session: first
/// every node gets the new key as its second; then every node gets it as its first, with the old one second; then, once the
/// last old token has expired, the old key goes. [`replace`](Self::replace) does each step in a running program.
///
/// `Debug` never shows a key.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<RwLock<Keys>>,
}

impl KeyRing {
    /// Reads keys from text: one on each line, or with commas between.
    ///
    /// Text of nothing but hex digits is read as hex, anything else as base64 (both alphabets, padded or not). Blank lines
    /// and surrounding white space do not count.
    ///
    /// # Errors
    /// [`KeyError`] if there is no key in the text or more than [`MAX_KEYS`], or one cannot be decoded or has fewer than
    /// [`MIN_KEY_BYTES`] bytes. The error never contains a key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let keys = text
            .split(['\n', ','])
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .enumerate()
            .map(|(index, one)| decode(one).ok_or(KeyError::Undecodable { index: index + 1 }))
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(keys)
    }

    /// A ring of raw keys, the signing one first.
    ///
    /// # Errors
    /// [`KeyError`] if there is no key or more than [`MAX_KEYS`], or one has fewer than [`MIN_KEY_BYTES`] bytes.
    pub fn new(keys: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Result<Self, KeyError> {
        let keys: Vec<Key> = keys.into_iter().map(|key| Key(key.into().into())).collect();
        let short = keys.iter().position(|key| key.0.len() < MIN_KEY_BYTES);
        match (keys.len(), short) {
            (0, _) => Err(KeyError::Empty),
            (_, Some(at)) => Err(KeyError::TooShort {
                index: at + 1,
                bytes: keys[at].0.len(),
            }),
            (1..=MAX_KEYS, None) => Ok(Self {
                keys: Arc::new(RwLock::new(Keys(keys.into()))),
            }),
            (count, None) => Err(KeyError::TooMany { count }),
        }
    }

    /// One fresh key from the operating system's randomness. Its tokens die with this process, so it is for trying things
    /// out, and for tests.
    pub fn generate() -> Self {
        let mut key = [0; MIN_KEY_BYTES];
        rand::rng().fill_bytes(&mut key);
        Self {
            keys: Arc::new(RwLock::new(Keys([Key(key.into())].into()))),
        }
    }

    /// Takes over the keys of another ring, at once and for all clones.
    pub fn replace(&self, other: &Self) {
        let keys = other.keys();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    pub(super) fn keys(&self) -> Keys {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} hidden)", self.keys().0.len())
    }
}

/// The keys of a ring at one moment: at least one.
#[derive(Clone)]
pub(super) struct Keys(Arc<[Key]>);

impl Keys {
    pub(super) fn signing(&self) -> &Key {
        &self.0[0]
    }

    pub(super) fn all(&self) -> &[Key] {
        &self.0
    }
}

/// One key. Without `Debug`, so that nothing around it shows it.
pub(super) struct Key(Box<[u8]>);

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why there is no key ring of this. Nothing changed; the old one, if any, is still in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no key.
    #[error(
        "there is no key: write one of at least {MIN_KEY_BYTES} random bytes, as hex or base64"
    )]
    Empty,
    /// There are more keys than a ring takes.
    #[error("{count} keys are more than {MAX_KEYS}: take out those whose tokens have expired")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// One key is too short to be safe.
    #[error(
        "key {index} has only {bytes} bytes, at least {MIN_KEY_BYTES} are needed: make it of random bytes"
    )]
    TooShort {
        /// Which of the keys, counted from 1.
        index: usize,
        /// How many bytes it has when decoded.
        bytes: usize,
    },
    /// One key is neither hex nor base64.
    #[error("key {index} is neither hex nor base64: write it in one of the two")]
    Undecodable {
        /// Which of the keys, counted from 1.
        index: usize,
    },
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        unhex(text)
    } else {
        unbase64(text)
    }
}

/// `None` for an odd number of digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config);
    let standard = text.replace('-', "+").replace('_', "/");
    engine.decode(standard).ok()
}
