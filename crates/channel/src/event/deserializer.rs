//! Serde's view of an event: an enum's variant whose name and content stand apart, so that nothing is joined into
//! one JSON text first.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use serde::de::value::{BytesDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::de::StrRead;

use crate::transport::Payload;

/// Why deserializing failed, without any of the client's content.
#[derive(Debug)]
pub(super) enum Failure {
    /// The enum has no such variant, but these.
    Unknown(&'static [&'static str]),
    /// Something else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(_) => f.write_str("unknown variant"),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Failure {}

impl Error for Failure {
    /// A type's own words may quote what it was given.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other("its type refuses it".to_owned())
    }

    fn invalid_type(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::Other(format!("expected {expected}"))
    }

    fn invalid_value(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::Other(format!("expected {expected}"))
    }

    fn invalid_length(_: usize, expected: &dyn serde::de::Expected) -> Self {
        Self::Other(format!("expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown(expected)
    }
}

impl From<serde_json::Error> for Failure {
    /// Serde's own words quote the value that did not fit, except where they say which field is missing.
    fn from(error: serde_json::Error) -> Self {
        let words = error.to_string();
        Self::Other(match words.starts_with("missing field `") {
            true => words,
            false => format!("wrong type or value before column {}", error.column()),
        })
    }
}

/// An event: name and payload.
pub(super) struct EventDeserializer<'a> {
    pub(super) name: &'a str,
    pub(super) payload: &'a Payload,
}

impl<'de, 'a: 'de> Deserializer<'de> for EventDeserializer<'a> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'a: 'de> EnumAccess<'de> for EventDeserializer<'a> {
    type Error = Failure;
    type Variant = PayloadDeserializer<'a>;

    fn variant_seed<S>(self, seed: S) -> Result<(S::Value, Self::Variant), Failure>
    where
        S: DeserializeSeed<'de>,
    {
        let name: StrDeserializer<'_, Failure> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, PayloadDeserializer(self.payload)))
    }
}

impl<'de, 'a: 'de> VariantAccess<'de> for PayloadDeserializer<'a> {
    type Error = Failure;

    /// An event without content takes any payload, as clients always send one.
    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failure> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// A payload: one JSON value, or bytes.
pub(super) struct PayloadDeserializer<'a>(pub(super) &'a Payload);

/// Passes each call on to the payload's own deserializer, with the same arguments.
macro_rules! pass_on {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, Failure> {
            match self.0 {
                Payload::Json(json) => {
                    read_json(json.as_str(), |reader| reader.$method($($argument,)* visitor))
                }
                Payload::Binary(bytes) => {
                    BytesDeserializer::new(bytes).$method($($argument,)* visitor)
                }
            }
        }
    )*};
}

impl<'de, 'a: 'de> Deserializer<'de> for PayloadDeserializer<'a> {
    type Error = Failure;

    pass_on! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    /// Fields have names: an array, which serde would read by position, is not what a client of Phoenix sends.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.0 {
            Payload::Json(json) if json.is_object() => read_json(json.as_str(), |reader| {
                reader.deserialize_struct(name, fields, visitor)
            }),
            _ => Err(Failure::Other("expected an object".to_owned())),
        }
    }

    /// `()` takes any payload: clients send `{}` where they have nothing to say.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}

/// Runs `read` over the whole of `json`.
fn read_json<'de, T>(
    json: &'de str,
    read: impl FnOnce(&mut serde_json::Deserializer<StrRead<'de>>) -> serde_json::Result<T>,
) -> Result<T, Failure> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}
