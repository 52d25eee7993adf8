//! JSON text that is carried, compared and echoed, but never taken apart here.
//!
//! Pure: no clock, no I/O, no tasks.

use std::hash::{Hash, Hasher};

use bytestring::ByteString;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use thiserror::Error;

/// How deep arrays and objects may nest in JSON from a client: 120 levels.
///
/// Text that is only passed on is never parsed recursively, so nothing else would stop a frame made of a million
/// brackets. The number stays below the 127 levels that `serde_json` itself accepts when a handler deserializes the
/// value, with room for an envelope around it.
pub const MAX_JSON_DEPTH: usize = 120;

/// One valid JSON value, kept as the text it was written in. Cloning shares the text.
///
/// Equality compares the text, so `1` and `1.0` differ.
#[derive(Clone, Debug)]
pub struct Json {
    text: ByteString,
    /// So that what goes to many is checked once.
    is_checked: bool,
}

impl Json {
    /// Writes any serializable value as JSON.
    ///
    /// # Errors
    /// [`JsonError`] if the value has no JSON form, such as a map whose keys are not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        let mut text = serde_json::to_string(value).map_err(JsonError::Write)?;
        // A buffer without slack becomes shared bytes without another allocation.
        text.shrink_to_fit();
        Ok(Self {
            text: text.into(),
            is_checked: false,
        })
    }

    /// The empty object `{}`.
    pub const fn object() -> Self {
        Self::sound(ByteString::from_static("{}"))
    }

    /// The value `null`.
    pub const fn null() -> Self {
        Self::sound(ByteString::from_static("null"))
    }

    /// Takes text from outside after checking that it is exactly one JSON value which every parser reads: nested at most
    /// [`MAX_JSON_DEPTH`] deep, without half a surrogate pair, and without a number beyond the largest float. White space around
    /// the value is dropped.
    ///
    /// # Errors
    /// [`JsonError`] if it is not.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, JsonError> {
        let text = text.into();
        let raw: &RawValue = serde_json::from_str(&text).map_err(JsonError::Syntax)?;
        Self::slice(&text, raw)
    }

    /// The part of `text` that `raw` points at, without a copy; what a parser that only skips does not look at is checked.
    pub(crate) fn slice(text: &ByteString, raw: &RawValue) -> Result<Self, JsonError> {
        check(raw.get())?;
        Ok(Self::sound(text.slice_ref(raw.get())))
    }

    /// As [`slice`](Self::slice), as a text of its own.
    pub(crate) fn copy(raw: &RawValue) -> Result<Self, JsonError> {
        check(raw.get())?;
        Ok(Self::sound(raw.get().into()))
    }

    const fn sound(text: ByteString) -> Self {
        Self {
            text,
            is_checked: true,
        }
    }

    /// Whether it is known to be what [`parse`](Self::parse) takes: it came from there, or is a clone of what did. What was
    /// [written](Self::of) may still nest too deep, or hold somebody's raw text.
    pub fn is_checked(&self) -> bool {
        self.is_checked
    }

    /// Reads the value into a type of the caller's.
    ///
    /// # Errors
    /// [`JsonError::Shape`] if the value does not have that type's shape.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        serde_json::from_str(&self.text).map_err(JsonError::Shape)
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.text.starts_with('{')
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The JSON text, sharing its bytes.
    pub fn text(&self) -> &ByteString {
        &self.text
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Json {}

impl Hash for Json {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Why something is not acceptable JSON. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not one JSON value.
    #[error("not valid JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// Arrays and objects nest deeper than [`MAX_JSON_DEPTH`].
    #[error("JSON nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// A string has an escape for half a surrogate pair, such as `"\ud83d"`. It stands for no character, and strict parsers
    /// refuse all of the text for it.
    #[error("JSON with half a surrogate pair")]
    LoneSurrogate,
    /// A number is beyond the largest 64-bit float, such as `1e999`. Strict parsers refuse all of the text for it.
    #[error("JSON with a number beyond the largest float")]
    HugeNumber,
    /// The JSON is valid but does not have the wanted shape.
    #[error("JSON of another shape: {0}")]
    Shape(#[source] serde_json::Error),
    /// The value cannot be written as JSON.
    #[error("value cannot be written as JSON: {0}")]
    Write(#[source] serde_json::Error),
}

mod check;
use check::check;

#[cfg(test)]
mod tests;
