//! One meta: what one of somebody's connections told about itself, as JSON, with the reference that names it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use matryoshka_channel::transport::{Json, MAX_JSON_DEPTH};
use matryoshka_tracker::pubsub::NodeName;
use matryoshka_tracker::{Entry, PresenceRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::MetaError;

/// The field of a meta that clients tell it apart by.
pub(crate) const REFERENCE_FIELD: &str = "phx_ref";
/// The field that names the meta which this one replaced.
pub(crate) const PREVIOUS_FIELD: &str = "phx_ref_prev";

/// How many levels of JSON stand around a meta in a diff: the diff, its side, the key, and the key's metas.
const DEPTH_AROUND_META: usize = 4;

/// One meta of one key. A clone is a pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Meta(Arc<Entry>);

impl Meta {
    pub(crate) fn new(entry: Arc<Entry>) -> Self {
        Self(entry)
    }

    /// The key it is listed under.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// What tells it from every other meta: `phx_ref` on the wire.
    pub fn reference(&self) -> PresenceRef {
        self.0.reference
    }

    /// The reference of the meta that this one replaced, if it came by an update: `phx_ref_prev` on the wire.
    pub fn previous(&self) -> Option<PresenceRef> {
        self.0.previous
    }

    /// The node where it is tracked.
    pub fn node(&self) -> &NodeName {
        &self.0.node
    }

    /// Reads what was tracked, without the two references.
    ///
    /// # Errors
    ///
    /// [`MetaError::Shape`] if it does not have the shape of `T`.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, MetaError> {
        decode(&self.0.meta)
    }

    /// Writes the meta as clients get it.
    pub(crate) fn write(&self, out: &mut String) {
        let fields = self.fields();
        out.push('{');
        out.push_str(fields);
        if !fields.is_empty() {
            out.push(',');
        }
        // Last, so that a reader who takes the last of two equal fields takes ours.
        push_field(out, REFERENCE_FIELD, self.reference());
        if let Some(previous) = self.previous() {
            out.push(',');
            push_field(out, PREVIOUS_FIELD, previous);
        }
        out.push('}');
    }

    /// What stands between the braces of what was tracked; nothing if that is not one JSON object, or too deep for a diff.
    ///
    /// Other nodes may track anything under our name. Written into a list unseen, a text could end its braces, its key and the list,
    /// and say what it likes of others; and whoever looks at the whole only would find nothing wrong.
    fn fields(&self) -> &str {
        if !self.0.verdict.or_judge(|| is_sound(&self.0.meta)) {
            return "";
        }
        std::str::from_utf8(&self.0.meta)
            .ok()
            .and_then(|text| text.strip_prefix('{')?.strip_suffix('}'))
            .unwrap_or_default()
            .trim()
    }
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// Whether that is one JSON object, with its braces first and last, that fits into a diff.
fn is_sound(meta: &Bytes) -> bool {
    let text = std::str::from_utf8(meta).unwrap_or_default();
    let object =
        Json::parse(text).is_ok_and(|json| json.is_object() && json.as_str().len() == text.len());
    object && fits_a_diff(text)
}

/// What the tracker keeps of a meta: a JSON object without the fields that are ours to set. The unit value is `{}`.
pub(crate) fn encode(meta: &(impl Serialize + ?Sized)) -> Result<Bytes, MetaError> {
    let mut object = match serde_json::to_value(meta).map_err(MetaError::Write)? {
        Value::Object(object) => object,
        Value::Null => serde_json::Map::new(),
        _ => return Err(MetaError::NotAnObject),
    };
    object.remove(REFERENCE_FIELD);
    object.remove(PREVIOUS_FIELD);
    let text = serde_json::to_string(&object).map_err(MetaError::Write)?;
    // What nests too deep is refused here, where the caller can still be told.
    match fits_a_diff(&text) {
        true => Ok(text.into()),
        false => Err(MetaError::TooDeep),
    }
}

/// Reads what the tracker keeps of a meta.
pub(crate) fn decode<T: DeserializeOwned>(meta: &Bytes) -> Result<T, MetaError> {
    serde_json::from_slice(meta).map_err(MetaError::Shape)
}

/// Whether a JSON object nests no deeper than a diff around it allows.
fn fits_a_diff(object: &str) -> bool {
    let opened = object.bytes().filter(|byte| matches!(byte, b'{' | b'['));
    if opened.count() + DEPTH_AROUND_META <= MAX_JSON_DEPTH {
        return true;
    }
    let (open, close) = ("[".repeat(DEPTH_AROUND_META), "]".repeat(DEPTH_AROUND_META));
    Json::parse(format!("{open}{object}{close}")).is_ok()
}

fn push_field(out: &mut String, name: &str, reference: PresenceRef) {
    use fmt::Write;
    write!(out, "\"{name}\":\"{reference}\"").expect("a string takes any text");
}

#[cfg(test)]
mod tests;
