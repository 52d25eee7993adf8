//! Metas grouped by key, in the shape that clients know: `{key: {"metas": [...]}}`, with what was fetched beside them.
//!
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use matryoshka_channel::transport::Json;
use matryoshka_tracker::Entry;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::difference::Difference;
use crate::error::MetaError;
use crate::extras::Extras;
use crate::meta::Meta;

/// Who is here: keys in order, each with its metas.
///
/// The metas of one key come in the tracker's order, which stays the same while nothing changes. As JSON (by
/// [`to_json`](Self::to_json), or `Serialize` into a JSON serializer) it is the payload of `presence_state`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceState {
    /// Sorted by key.
    metas: Vec<Meta>,
    extras: Extras,
}

impl PresenceState {
    pub(crate) fn new(entries: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        Self::with_extras(entries, Extras::default())
    }

    pub(crate) fn with_extras(
        entries: impl IntoIterator<Item = Arc<Entry>>,
        extras: Extras,
    ) -> Self {
        let mut metas: Vec<Meta> = entries.into_iter().map(Meta::new).collect();
        metas.sort_by(|a, b| a.key().cmp(b.key())); // stable: keeps the order within a key
        Self { metas, extras }
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Each key with its metas, of which there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Meta])> {
        self.metas
            .chunk_by(|a, b| a.key() == b.key())
            .map(|metas| (metas[0].key(), metas))
    }

    /// The metas of one key; none if the key is not here.
    pub fn get(&self, key: &str) -> &[Meta] {
        let rest = &self.metas[self.metas.partition_point(|meta| meta.key() < key)..];
        &rest[..rest.partition_point(|meta| meta.key() == key)]
    }

    /// Whether the key is here.
    pub fn contains_key(&self, key: &str) -> bool {
        !self.get(key).is_empty()
    }

    /// What a [`Fetch`](crate::Fetch) has added to a key; nothing if it has not.
    ///
    /// # Errors
    ///
    /// [`MetaError::Shape`] if it does not have the shape of `T`.
    pub fn extra<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, MetaError> {
        match self.contains_key(key) {
            true => self.extras.read(key),
            false => Ok(None),
        }
    }

    /// The payload of `presence_state`.
    pub fn to_json(&self) -> Json {
        written(|out| self.write(out))
    }

    fn write(&self, out: &mut String) {
        out.reserve(self.metas.len() * META_BYTES);
        out.push('{');
        for (at, (key, metas)) in self.iter().enumerate() {
            separate(out, at);
            out.push_str(&serde_json::to_string(key).expect("a string has a JSON form"));
            out.push_str(":{\"metas\":[");
            for (at, meta) in metas.iter().enumerate() {
                separate(out, at);
                meta.write(out);
            }
            out.push(']');
            if let Some(fields) = self.extras.fields(key) {
                out.push(',');
                out.push_str(fields);
            }
            out.push('}');
        }
        out.push('}');
    }
}

impl Serialize for PresenceState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_json().as_str().to_owned();
        let raw = RawValue::from_string(text).expect("checked JSON is JSON");
        raw.serialize(serializer)
    }
}

/// Who came and who went: the payload of `presence_diff`. Both sides are always written, also when empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PresenceDiff {
    pub(crate) joins: PresenceState,
    pub(crate) leaves: PresenceState,
}

impl PresenceDiff {
    /// Both sides have what was fetched for their keys.
    pub(crate) fn new(news: Difference, extras: &Extras) -> Self {
        let side = |entries| PresenceState::with_extras(entries, extras.clone());
        Self {
            joins: side(news.joins),
            leaves: side(news.leaves),
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        written(|out| {
            out.push_str("{\"joins\":");
            self.joins.write(out);
            out.push_str(",\"leaves\":");
            self.leaves.write(out);
            out.push('}');
        })
    }
}

/// Each meta and each key's fields were looked at alone before, once in their life, so that the whole is JSON.
fn written(write: impl Fn(&mut String)) -> Json {
    let mut text = String::new();
    write(&mut text);
    Json::parse(text).expect("sound parts make a sound whole")
}

fn separate(out: &mut String, at: usize) {
    if at > 0 {
        out.push(',');
    }
}

/// Room reserved for one meta and its key, in bytes; a guess that saves most reallocations.
const META_BYTES: usize = 96;

#[cfg(test)]
mod tests;
