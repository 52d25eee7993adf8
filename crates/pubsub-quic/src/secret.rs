//! The shared secret from which a cluster's identity is derived.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::RngCore;

/// The fewest bytes a secret may have once it is decoded.
pub const MIN_SECRET_BYTES: usize = 32;
/// The most secrets that count at once: each one is another signature to check in every handshake, and a rotation
/// takes two.
pub const MAX_SECRETS: usize = 16;

/// One or more shared secrets of a cluster.
///
/// The first one signs this node's own certificate; certificates signed by any of them are accepted. That
/// is how a cluster moves from one secret to the next: first every node accepts the new one (written second),
/// then every node issues with it (written first), then the old one goes.
///
/// Whoever holds a secret can join as a full member under any name, so it deserves a password's care. `Debug`
/// never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    keys: Vec<Vec<u8>>,
}

impl Secret {
    /// Reads secrets from text: one on each line, or with commas between.
    ///
    /// Text of nothing but hex digits is read as hex, anything else as base64 (both alphabets, padded or not).
    /// Blank lines and surrounding white space do not count.
    ///
    /// # Errors
    ///
    /// When there is no secret in the text or more than [`MAX_SECRETS`], or one of them cannot be decoded or has fewer
    /// than [`MIN_SECRET_BYTES`] bytes. The error never contains the secret.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let keys = text
            .split(['\n', ','])
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .enumerate()
            .map(|(index, one)| decode(one, index + 1))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SecretError::Empty);
        }
        if keys.len() > MAX_SECRETS {
            let found = keys.len();
            return Err(SecretError::TooMany { found });
        }
        Ok(Self { keys })
    }

    /// Reads secrets from an environment variable, in the form [`parse`](Self::parse) takes.
    ///
    /// # Errors
    ///
    /// When the variable is not set (or is no UTF-8), or [`parse`](Self::parse) refuses its value.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        let text = std::env::var(variable).map_err(|_| SecretError::NotSet {
            variable: variable.to_owned(),
        })?;
        Self::parse(&text)
    }

    /// A fresh secret of 32 bytes from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = vec![0; MIN_SECRET_BYTES];
        rand::rng().fill_bytes(&mut key);
        Self { keys: vec![key] }
    }

    /// The secrets as hex, one a line: what [`parse`](Self::parse) reads back. Keep the result out of logs.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let lines: Vec<String> = self.keys.iter().map(|key| hex(key)).collect();
        lines.join("\n")
    }

    /// The decoded secrets, the issuing one first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(Vec::as_slice)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} hidden)", self.keys.len())
    }
}

/// Why a text is not a usable [`Secret`]. Nothing was changed; correct the file or variable and start again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The environment variable does not exist.
    #[error("{variable} is not set: put the cluster secret into it, the same on every node")]
    NotSet {
        /// The variable's name.
        variable: String,
    },
    /// The text has no secret in it.
    #[error(
        "there is no cluster secret in it: write one of at least {MIN_SECRET_BYTES} bytes, as hex or base64"
    )]
    Empty,
    /// There are more secrets than a rotation needs.
    #[error(
        "there are {found} cluster secrets, at most {MAX_SECRETS} count at once: remove those that no node issues with any more"
    )]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// One secret is too short to be safe.
    #[error(
        "cluster secret {index} has only {bytes} bytes, at least {MIN_SECRET_BYTES} are needed: make a fresh one from random bytes"
    )]
    TooShort {
        /// Which of the secrets, counted from 1.
        index: usize,
        /// How many bytes it has when decoded.
        bytes: usize,
    },
    /// One secret is neither hex nor base64.
    #[error("cluster secret {index} is neither hex nor base64: write it in one of the two")]
    Undecodable {
        /// Which of the secrets, counted from 1.
        index: usize,
    },
}

fn decode(text: &str, index: usize) -> Result<Vec<u8>, SecretError> {
    let decoded = if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        unhex(text)
    } else {
        unbase64(text)
    };
    let key = decoded.ok_or(SecretError::Undecodable { index })?;
    if key.len() < MIN_SECRET_BYTES {
        let bytes = key.len();
        return Err(SecretError::TooShort { index, bytes });
    }
    Ok(key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `None` for an odd number of digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config);
    let standard = text.replace('-', "+").replace('_', "/");
    engine.decode(standard).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";

    #[test]
    fn hex_and_both_kinds_of_base64_are_the_same_secret() {
        let hex = Secret::parse(HEX).unwrap();
        assert_eq!(Secret::parse(&HEX.to_uppercase()).unwrap(), hex);
        assert_eq!(Secret::parse(BASE64).unwrap(), hex);
        assert_eq!(Secret::parse(BASE64.trim_end_matches('=')).unwrap(), hex);
        let url_safe = BASE64.replace('+', "-").replace('/', "_");
        assert_eq!(Secret::parse(&url_safe).unwrap(), hex);
        assert_eq!(hex.to_hex(), HEX);
    }

    #[test]
    fn several_secrets_keep_their_order() {
        let text = format!("\n {HEX} \r\n\n{}\n", "ff".repeat(40));
        let secret = Secret::parse(&text).unwrap();
        assert_eq!(secret.keys().count(), 2);
        assert_eq!(secret.keys().next().unwrap()[31], 0xff);
        assert_eq!(Secret::parse(&text.replace('\n', ",")).unwrap(), secret);
        assert_eq!(Secret::parse(&secret.to_hex()).unwrap(), secret);
    }

    #[test]
    fn unusable_texts_are_refused_with_the_reason() {
        assert_eq!(Secret::parse(" \n"), Err(SecretError::Empty));
        assert_eq!(
            Secret::parse("00ff"),
            Err(SecretError::TooShort { index: 1, bytes: 2 })
        );
        let second = format!("{HEX}\n{}", "ab".repeat(31));
        assert_eq!(
            Secret::parse(&second),
            Err(SecretError::TooShort {
                index: 2,
                bytes: 31
            })
        );
        assert_eq!(
            Secret::parse(&HEX[1..]),
            Err(SecretError::Undecodable { index: 1 })
        );
        assert_eq!(
            Secret::parse("not a secret!"),
            Err(SecretError::Undecodable { index: 1 })
        );
        let many = format!("{HEX}\n").repeat(MAX_SECRETS);
        assert!(Secret::parse(&many).is_ok());
        assert_eq!(
            Secret::parse(&format!("{many}{HEX}")),
            Err(SecretError::TooMany {
                found: MAX_SECRETS + 1
            })
        );
        assert!(matches!(
            Secret::from_env("MATRYOSHKA_NO_SUCH_VARIABLE"),
            Err(SecretError::NotSet { .. })
        ));
    }

    #[test]
    fn fresh_secrets_differ_and_debug_hides_them() {
        let (one, other) = (Secret::generate(), Secret::generate());
        assert_ne!(one, other);
        assert!(!format!("{one:?}").contains(&one.to_hex()[..8]));
    }
}
