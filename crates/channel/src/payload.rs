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
        Payload::Json(json) if may_nest_too_deep(json.as_str()) => {
            Ok(Json::parse(json.text().clone())?.into())
        }
        Payload::Json(_) | Payload::Binary(_) => Ok(payload),
    }
}

/// The response of a reply: any JSON value.
pub(crate) fn of_response<T: Serialize + ?Sized>(value: &T) -> Result<Payload, PayloadError> {
    Ok(Json::of(value)?.into())
}

fn may_nest_too_deep(json: &str) -> bool {
    json.len() > MAX_JSON_DEPTH
        && json
            .bytes()
            .filter(|byte| matches!(byte, b'[' | b'{'))
            .nth(MAX_JSON_DEPTH)
            .is_some()
}
