//! The token of a long-poll session: which node has it, which session it is, since when, and a seal.
//!
//! It is base64 of the node's name, the session's number, its age and their HMAC-SHA256. The key never leaves the node that
//! made it, so any node can read which one to ask, and only that one can tell whether the token is good.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use matryoshka_pubsub::NodeName;
use sha2::Sha256;

/// The longest token that is looked at, in bytes. One of a node with the longest name has 151.
pub(super) const MAX_TOKEN_BYTES: usize = 256;

/// The first byte of what is signed; another one is another layout.
const VERSION: u8 = 1;
const SEAL_BYTES: usize = 32;
const NUMBER_BYTES: usize = 8;

/// Signs and verifies the tokens of one node.
pub(super) struct TokenKey(Hmac<Sha256>);

/// What a token says. Whether it is true, only [`TokenKey::verify`] of its node tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) node: NodeName,
    pub(super) session: u64,
    /// By the clock of its node, from the start of that.
    pub(super) issued: Duration,
}

impl TokenKey {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length"))
    }

    pub(super) fn sign(&self, token: &Token) -> String {
        let mut bytes = token.to_bytes();
        let mut mac = self.0.clone();
        mac.update(&bytes);
        bytes.extend(mac.finalize().into_bytes());
        BASE64.encode(bytes)
    }

    /// The token in this text, if this key signed it. How long that takes tells nothing about the right seal.
    pub(super) fn verify(&self, text: &str) -> Option<Token> {
        let (token, bytes, seal) = open(text)?;
        let mut mac = self.0.clone();
        mac.update(&bytes);
        mac.verify_slice(&seal).ok()?;
        Some(token)
    }
}

impl Token {
    /// Reads a token without believing it.
    pub(super) fn read(text: &str) -> Option<Self> {
        open(text).map(|(token, ..)| token)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let node = self.node.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(1 + 2 * NUMBER_BYTES + node.len() + SEAL_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.session.to_be_bytes());
        bytes.extend((self.issued.as_millis() as u64).to_be_bytes());
        bytes.extend(node);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (session, rest) = rest.split_first_chunk::<NUMBER_BYTES>()?;
        let (issued, node) = rest.split_first_chunk::<NUMBER_BYTES>()?;
        let token = Self {
            node: NodeName::new(std::str::from_utf8(node).ok()?).ok()?,
            session: u64::from_be_bytes(*session),
            issued: Duration::from_millis(u64::from_be_bytes(*issued)),
        };
        (version == VERSION).then_some(token)
    }
}

/// The token, what was signed, and the seal.
fn open(text: &str) -> Option<(Token, Vec<u8>, [u8; SEAL_BYTES])> {
    if text.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut bytes = BASE64.decode(text).ok()?;
    let seal = *bytes.last_chunk::<SEAL_BYTES>()?;
    bytes.truncate(bytes.len() - SEAL_BYTES);
    Some((Token::from_bytes(&bytes)?, bytes, seal))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token {
            node: NodeName::new("n1").expect("a name"),
            session: 7,
            issued: Duration::from_millis(1234),
        }
    }

    #[test]
    fn a_token_is_read_by_anybody_and_verified_by_its_key_only() {
        let (key, other) = (TokenKey::new([1; 32]), TokenKey::new([2; 32]));
        let text = key.sign(&token());
        assert_eq!(Token::read(&text), Some(token()));
        assert_eq!(key.verify(&text), Some(token()));
        assert_eq!(other.verify(&text), None);
    }

    #[test]
    fn the_longest_token_is_short_enough() {
        let node = NodeName::new("n".repeat(NodeName::MAX_BYTES)).expect("a name");
        let longest = Token {
            node,
            session: u64::MAX,
            issued: Duration::from_millis(u64::MAX),
        };
        let text = TokenKey::new([1; 32]).sign(&longest);
        assert_eq!(text.len(), 151);
        assert_eq!(Token::read(&text), Some(longest));
    }

    proptest! {
        #[test]
        fn a_token_changed_anywhere_is_refused(at in 0usize..1000, to in any::<char>()) {
            let key = TokenKey::new([1; 32]);
            let text = key.sign(&token());
            let mut changed: Vec<char> = text.chars().collect();
            let at = at % changed.len();
            changed[at] = to;
            let changed: String = changed.into_iter().collect();
            prop_assert_eq!(key.verify(&changed), (changed == text).then(token));
        }

        #[test]
        fn whatever_is_sent_as_a_token_is_refused_quietly(text in ".{0,300}") {
            prop_assert_eq!(TokenKey::new([1; 32]).verify(&text), None);
        }
    }
}
