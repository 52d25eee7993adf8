//! What clients send along, fit for a log: secrets are masked, and what is long is cut.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use serde_json::Value;

use crate::transport::{FILTERED, Params, Payload, is_secret_name};

/// Longer JSON is not shown, only its size; in bytes.
const SHOWN_BYTES: usize = 1_000;

/// The payload of a join or an event, as one line.
pub(crate) struct Filtered<'a>(pub(crate) &'a Payload);

impl fmt::Display for Filtered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Payload::Binary(bytes) => write!(f, "{} bytes", bytes.len()),
            Payload::Json(json) if json.as_str().len() > SHOWN_BYTES => {
                write!(f, "{} bytes of JSON", json.as_str().len())
            }
            Payload::Json(json) => match json.to::<Value>() {
                Ok(value) => masked(value).fmt(f),
                Err(_) => f.write_str("JSON that is too odd to show"),
            },
        }
    }
}

/// The parameters of a connection, as one line.
pub(crate) struct FilteredParams<'a>(pub(crate) &'a Params);

impl fmt::Display for FilteredParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_json::to_value(self.0).map_err(|_| fmt::Error)?;
        let shown = masked(value).to_string();
        match shown.len() {
            0..=SHOWN_BYTES => f.write_str(&shown),
            bytes => write!(f, "{bytes} bytes of parameters"),
        }
    }
}

fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match is_secret_name(&name) {
                true => (name, Value::from(FILTERED)),
                false => (name, masked(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::transport::Json;

    fn shown(json: &str) -> String {
        Filtered(&Json::parse(json).unwrap().into()).to_string()
    }

    #[test]
    fn secrets_are_masked_at_any_depth_and_whatever_they_are() {
        let json = r#"{"Password":1,"a":[{"user_token":{"x":1},"b":2}],"client_SECRET":"s"}"#;
        let masked = r#"{"Password":"[FILTERED]","a":[{"b":2,"user_token":"[FILTERED]"}],"client_SECRET":"[FILTERED]"}"#;
        assert_eq!(shown(json), masked);
        assert_eq!(shown(r#""token""#), r#""token""#, "a value is no name");
    }

    #[test]
    fn what_is_long_or_no_json_is_told_by_its_size() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(SHOWN_BYTES));
        assert_eq!(shown(&long), "1008 bytes of JSON");
        let bytes = Payload::Binary(Bytes::from_static(b"secret"));
        assert_eq!(Filtered(&bytes).to_string(), "6 bytes");
    }

    #[test]
    fn what_it_shows_is_one_line() {
        assert_eq!(
            shown("{\"a\":\"x\\ny\",\n\"b\":1}"),
            r#"{"a":"x\ny","b":1}"#
        );
    }

    #[test]
    fn parameters_of_a_connection_too() {
        let params = Params::parse("user=anna&auth[token]=abc&vsn=2.0.0").unwrap();
        assert_eq!(
            FilteredParams(&params).to_string(),
            r#"{"auth":{"token":"[FILTERED]"},"user":"anna","vsn":"2.0.0"}"#
        );
        let mut long = Params::new();
        long.set("a", "x".repeat(SHOWN_BYTES));
        assert_eq!(
            FilteredParams(&long).to_string(),
            "1008 bytes of parameters"
        );
    }
}
