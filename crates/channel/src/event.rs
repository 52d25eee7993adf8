//! From what a client sent to the types of a channel.
//!
//! Pure: no clock, no I/O, no tasks.

use std::any::{Any, TypeId};

use bytestring::ByteString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, EnumAccess, Error as _, VariantAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::transport::{Field, Json, Payload};
use matryoshka_transport::excerpt;

mod deserializer;
use deserializer::{EventDeserializer, Failure, PayloadDeserializer};

/// Every event as it came: for channels that take any name, or binary payloads without a type of their own.
///
/// Use it as `type Event = RawEvent`. Nothing is parsed or copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// The event's name.
    pub name: ByteString,
    /// What it carries: the JSON text, or bytes.
    pub payload: Payload,
}

/// The join's payload as it came.
///
/// Use it as `type Params = RawParams`. Nothing is parsed or copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawParams(pub Payload);

/// Why what a client sent does not fit a channel's types. It never repeats the payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum EventError {
    /// The channel has no event of this name.
    #[error("unknown event {name:?}; known events: {}", listed(.known))]
    Unknown {
        /// The name that the client sent, or the beginning of a long one.
        name: String,
        /// The names that the channel's event type lists.
        known: &'static [&'static str],
    },
    /// The event's name is not a string.
    #[error("the event's name is not a string")]
    NotText,
    /// The payload does not have the shape that the event's type asks for.
    #[error("the payload of event {name:?} does not fit: {problem}")]
    Payload {
        /// The event, or the beginning of a long name.
        name: String,
        /// What is wrong, and where.
        problem: String,
    },
}

fn listed(known: &[&str]) -> String {
    match known {
        [] => "none".to_owned(),
        _ => known.join(", "),
    }
}

/// Why a join's payload does not fit `Channel::Params`. It never repeats the payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the join's payload does not fit: {problem}")]
pub(crate) struct ParamsError {
    /// What is wrong, and where.
    problem: String,
}

/// Reads an event into a channel's type: an enum whose variants are the events, or [`RawEvent`].
pub(crate) fn decode_event<E>(event: &Field, payload: Payload) -> Result<E, EventError>
where
    E: DeserializeOwned + 'static,
{
    let Field::Text(name) = event else {
        return Err(EventError::NotText);
    };
    let raw = |payload| RawEvent {
        name: name.clone(),
        payload,
    };
    let payload = match make_if_same::<RawEvent, E, _>(payload, raw) {
        Ok(event) => return Ok(event),
        Err(payload) => payload,
    };
    let deserializer = EventDeserializer {
        name,
        payload: &payload,
    };
    E::deserialize(deserializer).map_err(|failure| match failure {
        Failure::Unknown(known) => EventError::Unknown {
            name: excerpt(name).to_owned(),
            known,
        },
        Failure::Other(problem) => EventError::Payload {
            name: excerpt(name).to_owned(),
            problem,
        },
    })
}

/// Reads a join's payload into a channel's type, or [`RawParams`].
pub(crate) fn decode_params<P>(payload: Payload) -> Result<P, ParamsError>
where
    P: DeserializeOwned + 'static,
{
    let payload = match make_if_same::<RawParams, P, _>(payload, RawParams) {
        Ok(params) => return Ok(params),
        Err(payload) => payload,
    };
    P::deserialize(PayloadDeserializer(&payload)).map_err(|failure| match failure {
        // An enum as params: its variants are no events.
        Failure::Unknown(_) => ParamsError {
            problem: "unknown variant".to_owned(),
        },
        Failure::Other(problem) => ParamsError { problem },
    })
}

/// Makes a raw type if that is what is asked for: so it skips serde.
fn make_if_same<Raw: 'static, To: 'static, T>(
    from: T,
    make: impl FnOnce(T) -> Raw,
) -> Result<To, T> {
    if TypeId::of::<Raw>() != TypeId::of::<To>() {
        return Err(from);
    }
    let mut made = Some(make(from));
    let to = (&mut made as &mut dyn Any).downcast_mut::<Option<To>>();
    let to = to.and_then(Option::take);
    Ok(to.expect("it is the same type"))
}

/// From JSON: an object with one key, the event's name. Channels never come here; see [`RawEvent`].
impl<'de> Deserialize<'de> for RawEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyEvent;

        impl<'de> Visitor<'de> for AnyEvent {
            type Value = RawEvent;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an event: an object with one key, its name")
            }

            fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<RawEvent, A::Error> {
                let (name, variant) = access.variant::<String>()?;
                let RawParams(payload) = variant.newtype_variant()?;
                Ok(RawEvent {
                    name: name.into(),
                    payload,
                })
            }
        }

        deserializer.deserialize_enum("RawEvent", &[], AnyEvent)
    }
}

/// From any JSON value. Channels never come here; see [`RawParams`].
impl<'de> Deserialize<'de> for RawParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let json = Json::parse(String::from(Box::<str>::from(raw))).map_err(D::Error::custom)?;
        Ok(Self(json.into()))
    }
}

#[cfg(test)]
mod tests;
