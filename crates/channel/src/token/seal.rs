//! The text of a token: `1.<body>.<mac>`, both in URL-safe base64 without padding.
//!
//! The body is the time of signing (milliseconds since 1970, 8 bytes, big-endian) and the signed bytes. The mac is
//! HMAC-SHA256 over the text before its last dot, under a key of its own for each purpose: HMAC-SHA256, under the ring's
//! key, over a fixed label and the purpose.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::key_ring::Key;

type HmacSha256 = Hmac<Sha256>;

/// Which form this is; the first thing in each token.
const VERSION: &str = "1";

/// Tells keys for tokens from whatever else the same secret may be used for.
const LABEL: &[u8] = b"matryoshka channel token 1\0";

/// What a genuine token holds.
pub(super) struct Opened {
    pub(super) value: Vec<u8>,
    pub(super) issued_at: SystemTime,
}

/// Why a text is no genuine token.
pub(super) enum Unopened {
    /// It has not the form of one.
    Malformed,
    /// None of the keys made it.
    Forged,
}

pub(super) fn seal(key: &Key, purpose: &str, value: &[u8], now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let body = [&millis.to_be_bytes()[..], value].concat();
    let signed = format!("{VERSION}.{}", BASE64.encode(body));
    let mac = mac(key, purpose, &signed).finalize().into_bytes();
    format!("{signed}.{}", BASE64.encode(mac))
}

pub(super) fn open(keys: &[Key], purpose: &str, token: &str) -> Result<Opened, Unopened> {
    let (signed, tag) = token.rsplit_once('.').ok_or(Unopened::Malformed)?;
    let (version, body) = signed.split_once('.').ok_or(Unopened::Malformed)?;
    if version != VERSION {
        return Err(Unopened::Malformed);
    }
    let tag = BASE64.decode(tag).map_err(|_| Unopened::Malformed)?;
    // Comparing takes the same time whatever the tag; which key fits is no secret.
    let mut keys = keys.iter();
    if !keys.any(|key| mac(key, purpose, signed).verify_slice(&tag).is_ok()) {
        return Err(Unopened::Forged);
    }
    let body = BASE64.decode(body).map_err(|_| Unopened::Malformed)?;
    let (millis, value) = body.split_first_chunk().ok_or(Unopened::Malformed)?;
    let since = Duration::from_millis(u64::from_be_bytes(*millis));
    let issued_at = UNIX_EPOCH.checked_add(since).ok_or(Unopened::Malformed)?;
    Ok(Opened {
        value: value.to_vec(),
        issued_at,
    })
}

fn mac(key: &Key, purpose: &str, signed: &str) -> HmacSha256 {
    let mut derived = keyed(key.bytes());
    derived.update(LABEL);
    derived.update(purpose.as_bytes());
    let mut mac = keyed(&derived.finalize().into_bytes());
    mac.update(signed.as_bytes());
    mac
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}
