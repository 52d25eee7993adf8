//! Signed tokens: who somebody is, told to a client once and believed when it comes back.
//!
//! A [`Tokens`] signs and verifies values of one type for one purpose with the keys of a [`KeyRing`]. A token is signed, not
//! encrypted: its holder can read it, and change nothing in it.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use bytestring::ByteString;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::transport::http::StatusCode;
use crate::{Refused, Reply, transport};

mod key_ring;
mod seal;

pub use key_ring::{KeyError, KeyRing, MAX_KEYS, MIN_KEY_BYTES};
use seal::{Opened, Unopened};

/// The longest token that is signed or verified, in bytes: 4,096, since it may have to stand in a URL or a header.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// How long a token is good unless [`Tokens::max_age`] says otherwise: 24 hours.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the clock of the node that signed may be ahead of the one that verifies: 60 seconds.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Signs and verifies values of type `T`, for one purpose. Clones share the key ring.
///
/// The purpose is part of the key: a token for one purpose is no token for another, whatever is in it. Give each use of
/// tokens its own, such as `"socket"` or `"password reset"`.
///
/// ```
/// use matryoshka_channel::{KeyRing, TokenError, Tokens};
///
/// let ring = KeyRing::generate(); // or KeyRing::parse, of what stands in a file or the environment
/// let logins: Tokens<u64> = Tokens::new(&ring, "socket");
///
/// let token = logins.sign(&7)?; // given to the client where it logged in
/// let user = logins.verify(token.as_str())?; // checked where it connects
/// assert_eq!(user.value, 7);
///
/// let resets: Tokens<u64> = Tokens::new(&ring, "password reset");
/// assert_eq!(resets.verify(token.as_str()), Err(TokenError::Signature));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tokens<T> {
    ring: KeyRing,
    purpose: ByteString,
    max_age: Duration,
    value: PhantomData<fn(T) -> T>,
}

impl<T> Tokens<T> {
    /// Tokens for that purpose, good for [`DEFAULT_MAX_AGE`].
    pub fn new(ring: &KeyRing, purpose: impl Into<ByteString>) -> Self {
        Self {
            ring: ring.clone(),
            purpose: purpose.into(),
            max_age: DEFAULT_MAX_AGE,
            value: PhantomData,
        }
    }

    /// How old a token may be. Whoever verifies decides, so a shorter age also ends tokens signed before.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }
}

impl<T: Serialize> Tokens<T> {
    /// Signs a value, now.
    ///
    /// # Errors
    /// [`SignError`] if the value has no JSON form or the token would be over [`MAX_TOKEN_BYTES`].
    pub fn sign(&self, value: &T) -> Result<Token, SignError> {
        self.sign_at(value, SystemTime::now())
    }

    /// Signs a value as of that time.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn sign_at(&self, value: &T, now: SystemTime) -> Result<Token, SignError> {
        let value = serde_json::to_vec(value).map_err(SignError::Value)?;
        let keys = self.ring.keys();
        let token = seal::seal(keys.signing(), &self.purpose, &value, now);
        match token.len() {
            0..=MAX_TOKEN_BYTES => Ok(Token(token.into())),
            bytes => Err(SignError::TooLong { bytes }),
        }
    }
}

impl<T: DeserializeOwned> Tokens<T> {
    /// Checks a token, now, and reads the value in it.
    ///
    /// The time it takes does not depend on how much of a forged signature is right.
    ///
    /// # Errors
    /// [`TokenError`] if the token is not to be believed.
    pub fn verify(&self, token: &str) -> Result<Verified<T>, TokenError> {
        self.verify_at(token, SystemTime::now())
    }

    /// Checks a token as of that time.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_at(&self, token: &str, now: SystemTime) -> Result<Verified<T>, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let keys = self.ring.keys();
        let Opened { value, issued_at } =
            seal::open(keys.all(), &self.purpose, token).map_err(|unopened| match unopened {
                Unopened::Malformed => TokenError::Malformed,
                Unopened::Forged => TokenError::Signature,
            })?;
        if issued_at > now + CLOCK_SKEW {
            return Err(TokenError::Early);
        }
        // A token without end is good until the clock's own.
        let expires_at = issued_at.checked_add(self.max_age);
        if expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(TokenError::Expired);
        }
        // Its words may quote the value, which is nobody's business.
        let value = serde_json::from_slice(&value).map_err(|_| TokenError::Value)?;
        Ok(Verified {
            value,
            issued_at,
            expires_at,
        })
    }
}

impl<T> Clone for Tokens<T> {
    fn clone(&self) -> Self {
        Self {
            ring: self.ring.clone(),
            purpose: self.purpose.clone(),
            max_age: self.max_age,
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Tokens<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("purpose", &self.purpose)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// A signed token. It serializes as its text; `Debug` hides it, so that it does not get into a log by accident.
///
/// The text is of characters that need no escape in URLs, headers and JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(ByteString);

impl Token {
    /// The text, for the client it is meant for.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0.into()
    }
}

/// What was in a token that is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified<T> {
    /// What was signed.
    pub value: T,
    /// When it was signed, to the millisecond.
    pub issued_at: SystemTime,
    /// When it will be too old; `None` for an age beyond what the clock can show. A connection may end then:
    /// [`Connected::expires_at`](crate::Connected::expires_at).
    pub expires_at: Option<SystemTime>,
}

/// A value that cannot be a token. Nothing was signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignError {
    /// Its `Serialize` refused, or it has no JSON form: a bug in the type.
    #[error("the token's value cannot be written as JSON")]
    Value(#[source] serde_json::Error),
    /// It is too large: put an identifier into the token, and keep the rest where it can be looked up.
    #[error("the token would have {bytes} bytes, more than {MAX_TOKEN_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Why a token is not believed. It says nothing of what is in the token.
///
/// In `on_connect` it turns into a refusal with 403 by `?`, in `join` into `{"reason": "invalid token"}` or
/// `{"reason": "token expired"}`, in `handle_in` into an error reply of the same; what a client is told does not help a
/// forger, and the log has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token, or cut off, or over [`MAX_TOKEN_BYTES`].
    #[error("the token has not the form of one")]
    Malformed,
    /// No key of the ring has signed this for this purpose: it is forged, for another purpose, or its key is gone.
    #[error("no key of the ring has signed the token for this purpose")]
    Signature,
    /// It is older than allowed: the client needs a fresh one.
    #[error("the token is too old")]
    Expired,
    /// It was signed more than [`CLOCK_SKEW`] in the future: a node's clock is wrong.
    #[error("the token was signed in the future: a node's clock is wrong")]
    Early,
    /// What was signed does not fit the type: the type has changed since.
    #[error("the token's value does not fit its type")]
    Value,
}

impl TokenError {
    /// What a client is told: one thing to do if it can help itself, another if it cannot.
    pub(crate) fn for_client(self) -> &'static str {
        match self {
            Self::Expired => "token expired",
            _ => "invalid token",
        }
    }
}

/// 403, in `on_connect`.
impl From<TokenError> for transport::Rejection {
    fn from(error: TokenError) -> Self {
        Self::new(StatusCode::FORBIDDEN, error.for_client()).with_cause(error)
    }
}

/// In `join`.
impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        let refused = Self::because(error.for_client());
        refused.logged("a token was refused", &error).blamed()
    }
}

/// In `handle_in`.
impl From<TokenError> for Reply {
    fn from(error: TokenError) -> Self {
        Refused::from(error).into()
    }
}

#[cfg(test)]
mod tests;
