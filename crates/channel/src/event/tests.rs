//! What clients send, read into channels' types.

use bytes::Bytes;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    NewMsg { body: String },
    Typing,
    Move(i64, i64),
    Name(String),
    Upload(Blob),
}

#[derive(Debug, PartialEq)]
struct Blob(Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copy;
        impl Visitor<'_> for Copy {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                match bytes {
                    b"refused" => Err(E::custom(String::from_utf8_lossy(bytes))),
                    _ => Ok(Blob(bytes.to_vec())),
                }
            }
        }
        deserializer.deserialize_byte_buf(Copy)
    }
}

fn json(text: &'static str) -> Payload {
    Json::parse(text).unwrap().into()
}

fn decode(name: &str, payload: Payload) -> Result<Event, EventError> {
    decode_event(&name.into(), payload)
}

#[test]
fn variants_are_events_and_their_content_is_the_payload() {
    assert_eq!(
        decode("new_msg", json(r#"{"body": "hé\n"}"#)),
        Ok(Event::NewMsg {
            body: "hé\n".into()
        })
    );
    assert_eq!(decode("typing", json("{}")), Ok(Event::Typing));
    assert_eq!(decode("typing", json("null")), Ok(Event::Typing));
    assert_eq!(decode("move", json("[1, -2]")), Ok(Event::Move(1, -2)));
    assert_eq!(
        decode("name", json(r#""anna""#)),
        Ok(Event::Name("anna".into()))
    );
    let bytes = Payload::Binary(Bytes::from_static(&[0, 255]));
    assert_eq!(
        decode("upload", bytes),
        Ok(Event::Upload(Blob(vec![0, 255])))
    );
}

#[test]
fn an_unknown_event_names_the_known_ones() {
    let error = decode("new_mgs", json("{}")).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"unknown event "new_mgs"; known events: new_msg, typing, move, name, upload"#
    );
}

#[test]
fn a_channel_that_hears_nothing_has_an_empty_enum_and_says_so() {
    #[derive(Debug, Deserialize)]
    enum Nothing {}
    let error = decode_event::<Nothing>(&"hello".into(), json("{}")).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"unknown event "hello"; known events: none"#
    );
}

#[test]
fn an_event_that_is_not_a_string_is_an_error() {
    let name = Field::Json(Json::parse("7").unwrap());
    assert_eq!(
        decode_event::<Event>(&name, json("{}")),
        Err(EventError::NotText)
    );
    assert_eq!(
        decode_event::<RawEvent>(&name, json("{}")),
        Err(EventError::NotText)
    );
}

#[test]
fn errors_say_what_is_missing_but_never_what_was_sent() {
    let missing = decode("new_msg", json(r#"{"secret": "xyzzy"}"#)).unwrap_err();
    assert!(
        missing.to_string().contains("missing field `body`"),
        "{missing}"
    );
    let payloads = [
        r#"{"body": {"xyzzy": 1}}"#,
        r#""xyzzy""#,
        r#"[["xyzzy"]]"#,
        r#"{"body": 123454321}"#,
    ];
    for payload in payloads {
        let error = decode("new_msg", json(payload)).unwrap_err().to_string();
        assert!(
            error.contains("new_msg") && error.contains("does not fit"),
            "{error}"
        );
        assert!(
            !error.contains("xyzzy") && !error.contains("123454321"),
            "{error}"
        );
    }
    let bytes = Payload::Binary(Bytes::from_static(b"xyzzy"));
    let error = decode("new_msg", bytes).unwrap_err().to_string();
    assert!(!error.contains("xyzzy"), "{error}");
    // Nor where the type's own words would.
    let bytes = Payload::Binary(Bytes::from_static(b"refused"));
    let error = decode("upload", bytes).unwrap_err().to_string();
    assert!(error.ends_with("its type refuses it"), "{error}");
}

#[test]
fn raw_types_get_what_was_sent() {
    let payload = json(r#"{"a":[1,null]}"#);
    let raw: RawEvent = decode_event(&"any thing".into(), payload.clone()).unwrap();
    assert_eq!(
        raw,
        RawEvent {
            name: "any thing".into(),
            payload: payload.clone()
        }
    );
    assert_eq!(decode_params(payload.clone()), Ok(RawParams(payload)));
    let bytes = Payload::Binary(Bytes::from_static(&[1, 2]));
    assert_eq!(decode_params(bytes.clone()), Ok(RawParams(bytes)));
}

#[test]
fn raw_types_are_deserialized_by_others_too() {
    let raw: RawEvent = serde_json::from_str(r#"{"echo": [1, 2]}"#).unwrap();
    assert_eq!(
        raw,
        RawEvent {
            name: "echo".into(),
            payload: json("[1, 2]")
        }
    );
    let params: RawParams = serde_json::from_str("null").unwrap();
    assert_eq!(params, RawParams(json("null")));
}

#[test]
fn params_are_any_deserializable_type() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Login {
        user: String,
    }
    let login = decode_params::<Login>(json(r#"{"user":"anna","more":1}"#));
    assert_eq!(
        login,
        Ok(Login {
            user: "anna".into()
        })
    );
    assert_eq!(decode_params::<()>(json("{}")), Ok(()));
    assert_eq!(decode_params::<Option<Login>>(json("null")), Ok(None));
    let error = decode_params::<Login>(json("{}")).unwrap_err();
    assert_eq!(error.problem, "missing field `user` at line 1 column 2");
}

#[test]
fn an_array_is_not_read_by_position_where_fields_have_names() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Params {
        user: String,
    }

    let refused = decode("new_msg", json(r#"["hi"]"#)).unwrap_err();
    assert!(
        refused.to_string().ends_with("expected an object"),
        "{refused}"
    );
    assert!(decode_params::<Params>(json(r#"["anna"]"#)).is_err());
    let named = decode_params::<Params>(json(r#"{"user": "anna"}"#)).unwrap();
    assert_eq!(named.user, "anna");
}
