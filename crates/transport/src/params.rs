//! Connect parameters: a query string, decoded the way Phoenix clients expect.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{collections::BTreeMap, fmt};

use percent_encoding::percent_decode;
use serde::{Serialize, Serializer, de::DeserializeOwned};
use thiserror::Error;

use crate::secret_names::{FILTERED, is_secret_name};

/// How many brackets a key may hold, as in `a[b][c]`: 16. A deeper key refuses the request.
pub const MAX_PARAM_DEPTH: usize = 16;

/// How many pairs a query may hold: 1,000. More refuse the request.
pub const MAX_PARAMS: usize = 1_000;

/// Longest query in bytes: 1,000,000. A longer one refuses the request.
pub const MAX_QUERY_BYTES: usize = 1_000_000;

/// Parameters by name. Every leaf is a string: `true` arrives as `"true"`.
///
/// Brackets nest: `a[b]=1` is a map in a map, `l[]=x&l[]=y` a list, `l[0]=x&l[1]=y` a map again (this is what the
/// official client sends for an array). Of equal keys the last one wins, empty pairs are skipped, a key without `=`
/// is the empty string, and a broken percent escape stands for itself.
///
/// ```
/// # use matryoshka_transport::Params;
/// let params = Params::parse("user=al&tags[]=a&tags[]=b&&vsn=2.0.0").unwrap();
/// assert_eq!(params.get("user"), Some("al"));
/// assert_eq!(params.deserialize::<Query>().unwrap().tags, ["a", "b"]);
/// # #[derive(serde::Deserialize)] struct Query { tags: Vec<String> }
/// ```
///
/// Shown by `Debug`, for a log, those of a [secret's name](is_secret_name) are masked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, Param>);

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Param {
    /// A plain value.
    Text(String),
    /// The values of `name[]`.
    List(Vec<Param>),
    /// The values of `name[key]`.
    Map(Params),
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes a query string, without its `?`.
    ///
    /// # Errors
    /// [`ParamsError`] if it is not UTF-8 once decoded, or over a limit.
    pub fn parse(query: &str) -> Result<Self, ParamsError> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(ParamsError::TooLong);
        }
        let mut params = Self::new();
        for (count, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if count == MAX_PARAMS {
                return Err(ParamsError::TooMany);
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            params.put(&decode(key)?, decode(value)?)?;
        }
        Ok(params)
    }

    /// The plain value of that name; none if it is absent, a list or a map.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Param::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The parameter of that name, whatever its shape.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.0.get(name)
    }

    /// Sets a plain value, replacing what stood there.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), Param::Text(value.into()));
    }

    /// All parameters, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.0.iter().map(|(name, param)| (name.as_str(), param))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads them into a type of the caller's. Every leaf is a string, so its fields are strings, lists and maps of
    /// strings, and structs of those.
    ///
    /// # Errors
    /// An error that names the missing or unfitting parameter.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::to_value(self).and_then(serde_json::from_value)
    }

    fn put(&mut self, key: &str, value: String) -> Result<(), ParamsError> {
        let (name, path) = split_key(key);
        if path.len() > MAX_PARAM_DEPTH {
            return Err(ParamsError::TooDeep);
        }
        match path.split_first() {
            None => {
                self.0.insert(name.to_owned(), Param::Text(value));
            }
            Some((first, rest)) => {
                let slot = self
                    .0
                    .entry(name.to_owned())
                    .or_insert_with(|| Param::shaped_for(first));
                slot.put(first, rest, value);
            }
        }
        Ok(())
    }
}

impl Param {
    /// The empty list or map that a bracket with this content calls for.
    fn shaped_for(bracket: &str) -> Self {
        match bracket.is_empty() {
            true => Self::List(Vec::new()),
            false => Self::Map(Params::new()),
        }
    }

    /// Puts a value at `bracket` and then `path` below it. What has another shape gives way: the last pair wins.
    fn put(&mut self, bracket: &str, path: &[&str], value: String) {
        let fits = match self {
            Self::Text(_) => false,
            Self::List(_) => bracket.is_empty(),
            Self::Map(_) => !bracket.is_empty(),
        };
        if !fits {
            *self = Self::shaped_for(bracket);
        }
        match (self, path.split_first()) {
            (Self::List(list), None) => list.push(Self::Text(value)),
            (Self::List(list), Some((first, rest))) => {
                let mut item = Self::shaped_for(first);
                item.put(first, rest, value);
                list.push(item);
            }
            (Self::Map(map), None) => map.set(bracket, value),
            (Self::Map(map), Some((first, rest))) => {
                let slot = map
                    .0
                    .entry(bracket.to_owned())
                    .or_insert_with(|| Self::shaped_for(first));
                slot.put(first, rest, value);
            }
            (Self::Text(_), _) => unreachable!("a text gives way above"),
        }
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, param) in &self.0 {
            match is_secret_name(name) {
                true => map.entry(name, &format_args!("{FILTERED}")),
                false => map.entry(name, param),
            };
        }
        map.finish()
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl Serialize for Param {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Bytes that are not UTF-8 once percent escapes are decoded.
    #[error("query is not UTF-8")]
    NotUtf8,
    /// Longer than [`MAX_QUERY_BYTES`].
    #[error("query of more than {MAX_QUERY_BYTES} bytes")]
    TooLong,
    /// More pairs than [`MAX_PARAMS`].
    #[error("query of more than {MAX_PARAMS} parameters")]
    TooMany,
    /// A key with more brackets than [`MAX_PARAM_DEPTH`].
    #[error("parameter nested deeper than {MAX_PARAM_DEPTH} levels")]
    TooDeep,
}

/// Plus signs are spaces; an escape that is not two hex digits stays as it is.
fn decode(part: &str) -> Result<String, ParamsError> {
    let spaced = part.replace('+', " ");
    let bytes: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
    String::from_utf8(bytes).map_err(|_| ParamsError::NotUtf8)
}

/// Splits `a[b][]` into `a` and `["b", ""]`. A key whose brackets do not match is a plain name.
fn split_key(key: &str) -> (&str, Vec<&str>) {
    let plain = (key, Vec::new());
    let Some((name, brackets)) = key.split_once('[').filter(|(name, _)| !name.is_empty()) else {
        return plain;
    };
    match brackets.strip_suffix(']') {
        Some(inner) => {
            let path: Vec<&str> = inner.split("][").collect();
            let clean = path.iter().all(|part| !part.contains(['[', ']']));
            if clean { (name, path) } else { plain }
        }
        None => plain,
    }
}

#[cfg(test)]
mod tests;
