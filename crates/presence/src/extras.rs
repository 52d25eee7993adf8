//! What stands beside the metas of a key: the fields that a fetch has added.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use matryoshka_channel::transport::Json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::MetaError;

/// The field of a key that is ours.
pub(crate) const METAS_FIELD: &str = "metas";

/// The most of one key, as JSON, in bytes: with it each meta still fits into a diff.
pub(crate) const MAX_EXTRA_BYTES: usize = 1024 * 1024;

/// How many levels of JSON stand around a key's fields in a diff: the diff and its side.
const DEPTH_AROUND_KEY: usize = 2;

/// The added fields by key, each the text between the braces of an object and never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras(BTreeMap<Arc<str>, Arc<str>>);

impl Extras {
    /// Adds the fields of a key, or replaces them. `metas` among them is left out.
    pub(crate) fn add<E>(&mut self, key: Arc<str>, extra: &E) -> Result<(), MetaError>
    where
        E: Serialize + ?Sized,
    {
        let mut object = match serde_json::to_value(extra).map_err(MetaError::Write)? {
            Value::Object(object) => object,
            Value::Null => serde_json::Map::new(),
            _ => return Err(MetaError::NotAnObject),
        };
        object.remove(METAS_FIELD);
        let text = serde_json::to_string(&object).map_err(MetaError::Write)?;
        let (open, close) = ("[".repeat(DEPTH_AROUND_KEY), "]".repeat(DEPTH_AROUND_KEY));
        if Json::parse(format!("{open}{text}{close}")).is_err() {
            return Err(MetaError::TooDeep);
        }
        if text.len() > MAX_EXTRA_BYTES {
            return Err(MetaError::TooLarge { bytes: text.len() });
        }
        match &text[1..text.len() - 1] {
            "" => self.0.remove(&key),
            fields => self.0.insert(key, fields.into()),
        };
        Ok(())
    }

    /// The fields of a key; nothing if there are none.
    pub(crate) fn fields(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// The fields of a key as a value; nothing if there are none.
    pub(crate) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, MetaError> {
        let object = self.fields(key).map(|fields| format!("{{{fields}}}"));
        let read = object.map(|object| serde_json::from_str(&object));
        read.transpose().map_err(MetaError::Shape)
    }

    /// Takes over what is newer, of those keys that are `wanted`.
    pub(crate) fn update(&mut self, newer: Self, wanted: impl Fn(&str) -> bool) {
        let newer = newer.0.into_iter();
        self.0.extend(newer.filter(|(key, _)| wanted(key)));
    }

    /// Drops the fields of a key.
    pub(crate) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_objects_are_taken_and_metas_are_ours() {
        let mut extras = Extras::default();
        let key: Arc<str> = "anna".into();
        let add = |extras: &mut Extras, value: Value| extras.add(Arc::clone(&key), &value);
        assert!(matches!(
            add(&mut extras, json!("text")),
            Err(MetaError::NotAnObject)
        ));
        add(&mut extras, json!({ "metas": [], "name": "Anna" })).unwrap();
        assert_eq!(extras.fields("anna"), Some(r#""name":"Anna""#));
        add(&mut extras, json!({ "metas": [] })).unwrap();
        assert_eq!(extras.fields("anna"), None);
    }

    #[test]
    fn what_would_not_fit_into_a_diff_is_refused() {
        let nested = |levels: usize| {
            let text = format!("{}{}", "{\"a\":".repeat(levels) + "1", "}".repeat(levels));
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let most = matryoshka_channel::transport::MAX_JSON_DEPTH - DEPTH_AROUND_KEY;
        let mut extras = Extras::default();
        extras.add("anna".into(), &nested(most)).unwrap();
        let too_deep = extras.add("anna".into(), &nested(most + 1));
        assert!(matches!(too_deep, Err(MetaError::TooDeep)));
        let wide = |bytes: usize| json!({ "a": "x".repeat(bytes - r#"{"a":""}"#.len()) });
        extras.add("anna".into(), &wide(MAX_EXTRA_BYTES)).unwrap();
        let too_large = extras.add("anna".into(), &wide(MAX_EXTRA_BYTES + 1));
        let bytes = MAX_EXTRA_BYTES + 1;
        assert!(matches!(too_large, Err(MetaError::TooLarge { bytes: b }) if b == bytes));
    }
}
