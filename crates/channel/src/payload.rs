//! From users' values to payloads.
//!
//! Pure: no clock, no I/O, no tasks.

use serde::Serialize;

use crate::PayloadError;
use crate::transport::{Json, MAX_JSON_DEPTH, Payload};

/// The payload of a push or a broadcast: an object. A value without content, such as `()`, becomes `{}`.
pub(crate) fn of_event<T: Serialize + ?Sized>(value: &T) -> Result<Payload, PayloadError> {
    checked(Json::of(value)?.into())
}

/// Takes a ready payload if clients survive it.
pub(crate) fn checked(payload: Payload) -> Result<Payload, PayloadError> {
    match &payload {
        Payload::Json(json) if json.as_str() == "null" => Ok(Payload::object()),
        Payload::Json(json) if !json.is_object() => Err(PayloadError::NotAnObject),
        // Whoever receives it will refuse what nests too deep, and then it is too late to say so.
        Payload::Json(json) if !json.is_checked() && may_nest_too_deep(json.as_str()) => {
            Ok(Json::parse(json.text().clone())?.into())
        }
        Payload::Json(_) | Payload::Binary(_) => Ok(payload),
    }
}

/// The response of a reply: any JSON value.
pub(crate) fn of_response<T: Serialize + ?Sized>(value: &T) -> Result<Payload, PayloadError> {
    Ok(Json::of(value)?.into())
}

/// Looks at all of a text, so it is not for what was checked already: one list may go to thousands.
fn may_nest_too_deep(json: &str) -> bool {
    #[cfg(test)]
    tests::LOOKS.set(tests::LOOKS.get() + 1);
    json.len() > MAX_JSON_DEPTH
        && json
            .bytes()
            .filter(|byte| matches!(byte, b'[' | b'{'))
            .nth(MAX_JSON_DEPTH)
            .is_some()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        pub(super) static LOOKS: Cell<u32> = const { Cell::new(0) };
    }

    /// A list of a room, with more brackets than levels may be.
    fn list() -> String {
        format!("{{\"metas\":[{}]}}", vec!["{}"; 500].join(","))
    }

    fn looks(pushed: impl Fn() -> Payload) -> (u32, Vec<Payload>) {
        let before = LOOKS.get();
        let all = (0..1_000).map(|_| checked(pushed()).unwrap()).collect();
        (LOOKS.get() - before, all)
    }

    #[test]
    fn what_was_parsed_once_is_checked_for_none_of_those_who_share_it() {
        let shared = Payload::from(Json::parse(list()).unwrap());
        let (looks, all) = looks(|| shared.clone());
        assert_eq!(looks, 0);
        assert!(all.iter().all(|payload| *payload == shared));
    }

    #[test]
    fn what_was_written_is_checked_once_and_never_when_it_is_sent_on() {
        let value: serde_json::Value = serde_json::from_str(&list()).unwrap();
        let before = LOOKS.get();
        let payload = of_event(&value).unwrap();
        assert_eq!(LOOKS.get() - before, 1);
        assert_eq!(looks(|| payload.clone()).0, 0);
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120));
        let deep = serde_json::value::RawValue::from_string(deep).unwrap();
        assert!(of_event(&deep).is_err());
    }
}
