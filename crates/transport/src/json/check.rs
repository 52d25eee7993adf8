//! What a text that is valid JSON may still hold and strict parsers refuse. It is passed on to clients that use them, and each of
//! these would take the whole frame for nonsense.
//!
//! Pure: no clock, no I/O, no tasks.

use std::slice::Iter;

use super::{JsonError, MAX_JSON_DEPTH};

/// Each level takes two brackets, so what is shorter than this is not too deep.
const TOO_DEEP_BYTES: usize = 2 * (MAX_JSON_DEPTH + 1);

/// A number of no more characters, and without an exponent, is below the largest float.
const FINITE_DIGITS: usize = 308;

/// Checks a text that is known to be valid JSON.
pub(super) fn check(json: &str) -> Result<(), JsonError> {
    let is_short = json.len() < TOO_DEEP_BYTES;
    if is_short && is_plain(json.as_bytes()) {
        return Ok(());
    }
    check_all(json)
}

/// Whether a text has neither an escape nor anything like an exponent. Without a branch for each byte it takes a fraction of
/// an instruction for one.
fn is_plain(json: &[u8]) -> bool {
    let Some(behind) = json.get(1..) else {
        return true;
    };
    let found = json
        .iter()
        .zip(behind)
        .fold(false, |found, (&byte, &next)| {
            found | (byte == b'\\') | (byte.is_ascii_digit() & (next | 0x20 == b'e'))
        });
    !found
}

fn check_all(json: &str) -> Result<(), JsonError> {
    let mut depth = 0usize;
    let mut rest = json.as_bytes().iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => skip_string(&mut rest)?,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'0'..=b'9' => {
                // A sign in front of it changes nothing.
                let begin = json.len() - rest.len() - 1;
                let end = begin + skip_number(&json[begin..])?;
                rest = json.as_bytes()[end..].iter();
            }
            _ => {}
        }
    }
    Ok(())
}

fn skip_string(rest: &mut Iter<'_, u8>) -> Result<(), JsonError> {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => break,
            b'\\' if rest.next() == Some(&b'u') => skip_character(rest)?,
            _ => {}
        }
    }
    Ok(())
}

/// Skips the digits of an escape, and the escape of the other half if it is one of a pair.
fn skip_character(rest: &mut Iter<'_, u8>) -> Result<(), JsonError> {
    match take_unit(rest) {
        Some(0xd800..=0xdbff) => {
            let is_escape = rest.next() == Some(&b'\\') && rest.next() == Some(&b'u');
            match is_escape.then(|| take_unit(rest)).flatten() {
                Some(0xdc00..=0xdfff) => Ok(()),
                _ => Err(JsonError::LoneSurrogate),
            }
        }
        Some(0xdc00..=0xdfff) | None => Err(JsonError::LoneSurrogate),
        Some(_) => Ok(()),
    }
}

/// Takes four hexadecimal digits.
fn take_unit(rest: &mut Iter<'_, u8>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| {
        let digit = char::from(*rest.next()?).to_digit(16)?;
        Some(unit * 16 + digit)
    })
}

/// How many bytes the number has with which `json` begins.
fn skip_number(json: &str) -> Result<usize, JsonError> {
    let mut has_exponent = false;
    let end = json.bytes().position(|byte| {
        has_exponent |= byte | 0x20 == b'e';
        !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
    });
    let number = &json[..end.unwrap_or(json.len())];
    let may_be_huge = has_exponent || number.len() > FINITE_DIGITS;
    if may_be_huge && number.parse::<f64>().is_ok_and(f64::is_infinite) {
        return Err(JsonError::HugeNumber);
    }
    Ok(number.len())
}
