//! The wire, vector by vector, for both versions.

mod limits;

use bytes::Bytes;
use bytestring::ByteString;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    json::Json,
    message::{Field, Payload},
};

fn text(value: &str) -> Field {
    Field::from(value)
}

fn raw(json: &str) -> Field {
    Field::Json(Json::parse(json).unwrap())
}

fn json(json: &str) -> Payload {
    Payload::Json(Json::parse(json).unwrap())
}

fn decode(serializer: &dyn Serializer, frame: &str) -> Result<ClientMessage, DecodeError> {
    serializer.decode(Frame::text(frame))
}

fn encode(serializer: &dyn Serializer, message: ServerMessage) -> String {
    serializer
        .encode(&message)
        .unwrap()
        .as_text()
        .unwrap()
        .to_owned()
}

fn push(
    join_ref: Option<Field>,
    reference: Option<Field>,
    event: &str,
    payload: Payload,
) -> ServerMessage {
    ServerMessage::Push {
        join_ref,
        reference,
        topic: text("room:1"),
        event: event.into(),
        payload,
    }
}

fn reply(
    join_ref: Option<Field>,
    reference: Option<Field>,
    topic: Field,
    response: Payload,
) -> ServerMessage {
    ServerMessage::Reply {
        join_ref,
        reference,
        topic,
        status: "ok".into(),
        response,
    }
}

fn broadcast(payload: Payload) -> ServerMessage {
    ServerMessage::Broadcast {
        topic: "room:1".into(),
        event: "new_msg".into(),
        payload,
    }
}

fn hex(digits: &str) -> Bytes {
    digits
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn versions_are_chosen_by_patch_level() {
    let vsn = |vsn| {
        Serializers::default()
            .get(vsn)
            .map(|serializer| serializer.vsn())
    };
    for known in [
        None,
        Some("1.0.0"),
        Some("1.0.99"),
        Some("1.0.1-rc.1"),
        Some("1.0.0+build.5"),
    ] {
        assert_eq!(vsn(known), Ok("1.0.0"), "{known:?}");
    }
    for known in ["2.0.0", "2.0.7", "2.0.7-dev+x"] {
        assert_eq!(vsn(Some(known)), Ok("2.0.0"), "{known}");
    }
    let unknown = [
        "",
        "2",
        "2.0",
        "2.1.0",
        "123.1.1",
        "0.9.0",
        "3.0.0",
        "2.0.0.0",
        "2.0.x",
        "02.0.0",
        "2.00.0",
        "2.0.0-rc.1",
        " 2.0.0",
        "+2.0.0",
        "v2.0.0",
        "2..0",
        "99999999999999999999.0.0",
    ];
    for unknown in unknown {
        assert_eq!(vsn(Some(unknown)), Err(UnknownVsn(unknown.to_owned())));
    }
}

#[test]
fn a_version_may_be_left_out_and_nobody_else_has_its_number() {
    struct Impostor;

    impl Serializer for Impostor {
        fn vsn(&self) -> &'static str {
            "2.0.3"
        }

        fn decode(&self, _: Frame) -> Result<ClientMessage, DecodeError> {
            unreachable!("it is not spoken")
        }

        fn encode(&self, _: &ServerMessage) -> Result<Frame, EncodeError> {
            unreachable!("it is not spoken")
        }
    }

    let asked = [
        None,
        Some("1.0.0"),
        Some("1.0.9"),
        Some("2.0.0"),
        Some("2.0.7"),
    ];
    let spoken = |serializers: &Serializers| {
        asked.map(|vsn| serializers.get(vsn).map(|spoken| spoken.vsn()).ok())
    };
    let (one, two) = (Some("1.0.0"), Some("2.0.0"));
    let first = Serializers::default().without_v2();
    assert_eq!(spoken(&first), [one, one, one, None, None]);
    assert_eq!(Vec::from_iter(first.vsns()), ["1.0.0"]);
    let second = Serializers::default().without_v1();
    assert_eq!(spoken(&second), [None, None, None, two, two]);
    assert_eq!(
        second.get(None).unwrap_err(),
        UnknownVsn("1.0.0".to_owned())
    );
    let none = second.without_v2();
    assert_eq!(spoken(&none), [None; 5]);
    assert_eq!(none.with(&Impostor).unwrap_err(), VsnTaken("2.0.3"));
}

// Version 1.

#[test]
fn v1_reads_an_object() {
    let message = decode(
        &V1,
        r#"{"topic":"room:1","event":"phx_join","payload":{},"ref":"1"}"#,
    )
    .unwrap();
    let expected = ClientMessage {
        join_ref: None,
        reference: Some(text("1")),
        topic: text("room:1"),
        event: text("phx_join"),
        payload: json("{}"),
    };
    assert_eq!(message, expected);
}

#[test]
fn v1_takes_join_ref_null_ref_unknown_keys_any_order_and_escaped_keys() {
    let frame = r#" { "ref" : null , "x":[1], "join_ref":"3", "payload":null, "event":"e", "t\u006fpic":"t" } "#;
    let message = decode(&V1, frame).unwrap();
    assert_eq!(message.join_ref, Some(text("3")));
    assert_eq!(message.reference, None);
    assert_eq!(message.topic, "t");
    assert_eq!(message.payload, json("null"));
}

#[test]
fn v1_accepts_a_repeated_key() {
    let frame = r#"{"topic":"a","topic":"b","event":"e","payload":{},"ref":1}"#;
    assert_eq!(decode(&V1, frame).unwrap().topic, "b");
}

#[test]
fn v1_reads_a_binary_frame_as_text() {
    let frame = Frame::binary(r#"{"topic":"t","event":"e","payload":{},"ref":null}"#);
    assert_eq!(V1.decode(frame).unwrap().topic, "t");
    assert!(matches!(
        V1.decode(Frame::binary(vec![0xff])),
        Err(DecodeError::NotUtf8)
    ));
}

#[test]
fn v1_writes_four_keys_and_never_join_ref() {
    let answered = reply(
        Some(text("9")),
        Some(text("1")),
        text("room:1"),
        Payload::object(),
    );
    let rows = [
        (
            answered,
            json!({"topic":"room:1","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}}),
        ),
        (
            push(Some(text("9")), None, "new_msg", json(r#"{"body":"hi"}"#)),
            json!({"topic":"room:1","event":"new_msg","payload":{"body":"hi"},"ref":null}),
        ),
        (
            push(
                Some(text("9")),
                Some(text("9")),
                "phx_close",
                Payload::object(),
            ),
            json!({"topic":"room:1","event":"phx_close","payload":{},"ref":"9"}),
        ),
        (
            broadcast(json(r#"{"body":"hi"}"#)),
            json!({"topic":"room:1","event":"new_msg","payload":{"body":"hi"},"ref":null}),
        ),
        (
            broadcast(json("[1]")),
            json!({"topic":"room:1","event":"new_msg","payload":[1],"ref":null}),
        ),
    ];
    for (message, expected) in rows {
        let written: Value = serde_json::from_str(&encode(&V1, message)).unwrap();
        assert_eq!(written, expected);
    }
}

#[test]
fn v1_cannot_carry_bytes() {
    let bytes = Payload::Binary(Bytes::from_static(b"x"));
    let refused = Err(EncodeError::BinaryPayload { vsn: "1.0.0" });
    assert_eq!(V1.encode(&push(None, None, "e", bytes.clone())), refused);
    assert_eq!(V1.encode(&broadcast(bytes.clone())), refused);
    assert_eq!(V1.encode(&reply(None, None, text("t"), bytes)), refused);
}

// Version 2, text.

#[test]
fn v2_reads_an_array() {
    let message = decode(&V2, r#"["3","4","room:1","new_msg",{"body":"hi"}]"#).unwrap();
    let expected = ClientMessage {
        join_ref: Some(text("3")),
        reference: Some(text("4")),
        topic: text("room:1"),
        event: text("new_msg"),
        payload: json(r#"{"body":"hi"}"#),
    };
    assert_eq!(message, expected);
}

#[test]
fn v2_reads_a_heartbeat() {
    let message = decode(&V2, r#"[null,"1","phoenix","heartbeat",{}]"#).unwrap();
    assert_eq!(
        (message.join_ref, message.reference),
        (None, Some(text("1")))
    );
    assert_eq!(
        (message.topic, message.event),
        (text("phoenix"), text("heartbeat"))
    );
}

#[test]
fn v2_ignores_further_elements_and_white_space() {
    let message = decode(&V2, " [ null , null ,\"t\",\n\"e\", {} , 6 , [7] ] ").unwrap();
    assert_eq!(message.payload, Payload::object());
}

#[test]
fn v2_reads_escapes_and_any_unicode() {
    let message = decode(
        &V2,
        r#"["\u0031","\"","caf\u00e9 \ud83d\ude00","é",{"k":"\u00e9"}]"#,
    )
    .unwrap();
    assert_eq!(message.join_ref, Some(text("1")));
    assert_eq!(message.reference, Some(text("\"")));
    assert_eq!(message.topic, "café 😀");
    assert_eq!(message.event, "é");
    assert_eq!(message.payload, json(r#"{"k":"\u00e9"}"#));
}

#[test]
fn v2_echoes_the_same_json_value() {
    let huge = "123456789012345678901234567890";
    for value in ["99", "1.50", "-0", huge, "true", r#"{"a":[1]}"#, "[]"] {
        let frame = format!(r#"[{value},{value},"lab:a","bare",{{}}]"#);
        let message = decode(&V2, &frame).unwrap();
        assert_eq!(message.reference, Some(raw(value)));
        let answer = reply(
            message.join_ref,
            message.reference,
            message.topic,
            Payload::object(),
        );
        let expected =
            format!(r#"[{value},{value},"lab:a","phx_reply",{{"status":"ok","response":{{}}}}]"#);
        assert_eq!(encode(&V2, answer), expected);
    }
}

#[test]
fn v2_passes_numbers_beyond_64_bits_unchanged() {
    let payload = r#"{"n":123456789012345678901234567890.5e-400}"#;
    let message = decode(&V2, &format!(r#"[null,null,"t","e",{payload}]"#)).unwrap();
    assert_eq!(message.payload, json(payload));
}

#[test]
fn v2_takes_a_topic_or_event_that_is_no_string_and_echoes_it() {
    for value in ["7", "null", r#"{"a":1}"#] {
        let message = decode(&V2, &format!(r#"["1","2",{value},{value},{{}}]"#)).unwrap();
        assert_eq!((&message.topic, &message.event), (&raw(value), &raw(value)));
        assert_eq!(message.topic.as_text(), None);
        let answer = reply(None, message.reference, message.topic, Payload::object());
        assert!(encode(&V2, answer).starts_with(&format!(r#"[null,"2",{value},"phx_reply""#)));
    }
}

#[test]
fn v2_payload_is_a_slice_of_the_frame() {
    let frame = ByteString::from(r#"["3","4","room:1","new_msg",{"body":"hi"}]"#);
    let message = V2.decode(Frame::Text(frame.clone())).unwrap();
    let Payload::Json(payload) = message.payload else {
        panic!("not JSON")
    };
    let within = frame.as_bytes().as_ptr_range();
    assert!(within.contains(&payload.as_str().as_ptr()));
    assert!(within.contains(&message.topic.as_text().unwrap().as_ptr()));
}

#[test]
fn v2_writes_arrays() {
    let rows = [
        (
            reply(
                Some(text("3")),
                Some(text("3")),
                text("room:1"),
                json(r#"{"motd":"hi"}"#),
            ),
            r#"["3","3","room:1","phx_reply",{"status":"ok","response":{"motd":"hi"}}]"#,
        ),
        (
            reply(None, Some(text("5")), text("phoenix"), Payload::object()),
            r#"[null,"5","phoenix","phx_reply",{"status":"ok","response":{}}]"#,
        ),
        (
            push(
                Some(text("3")),
                None,
                "joined",
                json(r#"{"status":"connected"}"#),
            ),
            r#"["3",null,"room:1","joined",{"status":"connected"}]"#,
        ),
        (
            broadcast(json(r#"{"body":"hi"}"#)),
            r#"[null,null,"room:1","new_msg",{"body":"hi"}]"#,
        ),
        (
            push(
                Some(text("3")),
                Some(text("3")),
                "phx_error",
                json(r#"{"reason":"channel_crash"}"#),
            ),
            r#"["3","3","room:1","phx_error",{"reason":"channel_crash"}]"#,
        ),
        (
            push(
                Some(text("3")),
                Some(text("3")),
                "phx_close",
                Payload::object(),
            ),
            r#"["3","3","room:1","phx_close",{}]"#,
        ),
        (
            reply(Some(text("1")), Some(text("2")), text("t"), json("[null]")),
            r#"["1","2","t","phx_reply",{"status":"ok","response":[null]}]"#,
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(encode(&V2, message), expected);
    }
}

#[test]
fn v2_escapes_controls_quote_and_backslash_only() {
    let name: String = (0..0x80u8)
        .map(char::from)
        .chain(['é', '😀', '\u{2028}'])
        .collect();
    let written = encode(
        &V2,
        ServerMessage::Broadcast {
            topic: name.as_str().into(),
            event: "e".into(),
            payload: Payload::object(),
        },
    );
    let value: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(value[2], Value::String(name.clone()));
    assert!(written.contains("\\u0000") && written.contains("\\u001f") && written.contains("\\n"));
    assert!(written.contains('/') && !written.contains("\\/"));
    assert!(written.contains("\u{7f}é😀\u{2028}"));
    assert_eq!(
        written,
        format!(
            "[null,null,{},\"e\",{{}}]",
            serde_json::to_string(&name).unwrap()
        )
    );
}

#[test]
fn v2_refuses_to_push_or_broadcast_what_is_no_object() {
    for value in ["null", "[1]", "1", "\"x\""] {
        assert_eq!(
            V2.encode(&push(None, None, "e", json(value))),
            Err(EncodeError::NotAnObject)
        );
        assert_eq!(
            V2.encode(&broadcast(json(value))),
            Err(EncodeError::NotAnObject)
        );
        assert!(
            V2.encode(&reply(None, None, text("t"), json(value)))
                .is_ok()
        );
    }
}

// Version 2, binary.

#[test]
fn v2_reads_a_binary_push() {
    let frame = hex("00 02 03 05 05 31 32 31 32 33 74 6f 70 69 63 65 76 65 6e 74 65 66 67");
    let message = V2.decode(Frame::Binary(frame.clone())).unwrap();
    let expected = ClientMessage {
        join_ref: Some(text("12")),
        reference: Some(text("123")),
        topic: text("topic"),
        event: text("event"),
        payload: Payload::Binary(Bytes::from_static(&[101, 102, 103])),
    };
    assert_eq!(message, expected);
    let Payload::Binary(payload) = message.payload else {
        panic!("not bytes")
    };
    assert!(
        frame.as_ptr_range().contains(&payload.as_ptr()),
        "the payload is a slice of the frame"
    );
}

#[test]
fn v2_reads_the_official_clients_binary_push_with_utf8_sizes() {
    let frame = hex("00 01 01 07 02 33 34 72 6f 6f 6d 3a c3 a9 75 70 ff 01");
    let message = V2.decode(Frame::Binary(frame)).unwrap();
    assert_eq!((message.topic, message.event), (text("room:é"), text("up")));
    assert_eq!(
        message.payload,
        Payload::Binary(Bytes::from_static(&[0xff, 1]))
    );
}

#[test]
fn v2_reads_size_0_as_the_empty_string_and_an_empty_payload() {
    let message = V2.decode(Frame::Binary(hex("00 00 00 00 00"))).unwrap();
    assert_eq!(
        (message.join_ref, message.reference),
        (Some(text("")), Some(text("")))
    );
    assert_eq!(message.payload, Payload::Binary(Bytes::new()));
}

#[test]
fn v2_writes_binary_frames() {
    let efg = || Payload::Binary(Bytes::from_static(b"efg"));
    let rows = [
        (
            ServerMessage::Push {
                join_ref: Some(text("12")),
                reference: None,
                topic: text("topic"),
                event: "event".into(),
                payload: efg(),
            },
            "00 02 05 05 31 32 74 6f 70 69 63 65 76 65 6e 74 65 66 67",
        ),
        (
            reply(Some(text("12")), Some(text("123")), text("topic"), efg()),
            "01 02 03 05 02 31 32 31 32 33 74 6f 70 69 63 6f 6b 65 66 67",
        ),
        (
            ServerMessage::Broadcast {
                topic: "topic".into(),
                event: "event".into(),
                payload: efg(),
            },
            "02 05 05 74 6f 70 69 63 65 76 65 6e 74 65 66 67",
        ),
        (
            reply(None, None, text("t"), efg()),
            "01 00 00 01 02 74 6f 6b 65 66 67",
        ),
        (
            reply(Some(raw("7")), None, text("t"), efg()),
            "01 01 00 01 02 37 74 6f 6b 65 66 67",
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(V2.encode(&message).unwrap(), Frame::Binary(hex(expected)));
    }
}

#[test]
fn v2_cannot_write_a_string_over_255_bytes_in_a_binary_frame() {
    let long = "é".repeat(128);
    let bytes = || Payload::Binary(Bytes::new());
    let too_long = |field| Err(EncodeError::TooLong { field, len: 256 });
    assert_eq!(
        V2.encode(&push(Some(text(&long)), None, "e", bytes())),
        too_long("join_ref")
    );
    assert_eq!(
        V2.encode(&push(None, None, &long, bytes())),
        too_long("event")
    );
    assert_eq!(
        V2.encode(&reply(None, Some(text(&long)), text("t"), bytes())),
        too_long("ref")
    );
    assert_eq!(
        V2.encode(&reply(None, None, text(&long), bytes())),
        too_long("topic")
    );
    assert!(
        V2.encode(&push(Some(text(&long[..254])), None, "e", bytes()))
            .is_ok()
    );
}

#[test]
fn transcript_of_one_v2_connection() {
    let unmatched = json(r#"{"reason":"unmatched topic"}"#);
    let error = |join_ref, reference, topic: &str| ServerMessage::Reply {
        join_ref,
        reference,
        topic: text(topic),
        status: "error".into(),
        response: unmatched.clone(),
    };
    let echo = |frame: &str, response: Payload| {
        let message = decode(&V2, frame).unwrap();
        encode(
            &V2,
            reply(message.join_ref, message.reference, message.topic, response),
        )
    };
    assert_eq!(
        echo(
            r#"["7","8","lab:a","phx_join",{"k":[1,null,"é"]}]"#,
            json(r#"{"params":{"k":[1,null,"é"]}}"#)
        ),
        r#"["7","8","lab:a","phx_reply",{"status":"ok","response":{"params":{"k":[1,null,"é"]}}}]"#
    );
    assert_eq!(
        echo(r#"["7",99,"lab:a","bare",{}]"#, Payload::object()),
        r#"["7",99,"lab:a","phx_reply",{"status":"ok","response":{}}]"#
    );
    assert_eq!(
        encode(&V2, error(None, Some(text("17")), "lab:zzz")),
        r#"[null,"17","lab:zzz","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#
    );
    let message = V2
        .decode(Frame::Binary(hex(
            "00 01 02 05 04 31 32 32 6c 61 62 3a 62 65 63 68 6f ff 00",
        )))
        .unwrap();
    assert_eq!(
        (&message.topic, &message.event),
        (&text("lab:b"), &text("echo"))
    );
    let answer = reply(
        message.join_ref,
        message.reference,
        message.topic,
        message.payload,
    );
    let expected = hex("01 01 02 05 02 31 32 32 6c 61 62 3a 62 6f 6b ff 00");
    assert_eq!(V2.encode(&answer).unwrap(), Frame::Binary(expected));
    let pushed = ServerMessage::Push {
        join_ref: Some(text("1")),
        reference: None,
        topic: text("lab:b"),
        event: "bin".into(),
        payload: Payload::Binary(hex("00 01 ff")),
    };
    assert_eq!(
        V2.encode(&pushed).unwrap(),
        Frame::Binary(hex("00 01 05 03 31 6c 61 62 3a 62 62 69 6e 00 01 ff"))
    );
    let sent = ServerMessage::Broadcast {
        topic: "lab:b".into(),
        event: "bin".into(),
        payload: Payload::Binary(hex("07 08")),
    };
    assert_eq!(
        V2.encode(&sent).unwrap(),
        Frame::Binary(hex("02 05 03 6c 61 62 3a 62 62 69 6e 07 08"))
    );
}

#[test]
fn transcript_of_one_v1_connection() {
    let joined = decode(
        &V1,
        r#"{"topic":"lab:a","event":"phx_join","payload":{"k":1},"ref":"2"}"#,
    )
    .unwrap();
    let answer = reply(
        joined.join_ref,
        joined.reference,
        joined.topic.clone(),
        json(r#"{"params":{"k":1}}"#),
    );
    assert_eq!(
        encode(&V1, answer),
        r#"{"topic":"lab:a","event":"phx_reply","payload":{"status":"ok","response":{"params":{"k":1}}},"ref":"2"}"#
    );
    let closed = ServerMessage::Push {
        join_ref: None,
        reference: None,
        topic: joined.topic,
        event: "phx_close".into(),
        payload: Payload::object(),
    };
    assert_eq!(
        encode(&V1, closed),
        r#"{"topic":"lab:a","event":"phx_close","payload":{},"ref":null}"#
    );
}

// Malformed input.

#[test]
fn malformed_text_of_version_2() {
    let rows = [
        ("empty text", ""),
        ("not JSON", "hello"),
        (
            "an object",
            r#"{"topic":"t","event":"e","payload":{},"ref":null}"#,
        ),
        ("four elements", r#"["1","2","t","e"]"#),
        ("no elements", "[]"),
        ("a string", r#""x""#),
        ("null", "null"),
        ("cut off", r#"["1","2","t","e",{"#),
        ("trailing text", r#"["1","2","t","e",{}]]"#),
        ("broken number", r#"["1","2","t","e",01]"#),
        ("raw control character", "[\"1\",\"2\",\"t\n\",\"e\",{}]"),
    ];
    for (name, frame) in rows {
        assert!(
            matches!(
                decode(&V2, frame),
                Err(DecodeError::Shape { vsn: "2.0.0", .. })
            ),
            "{name}"
        );
    }
    assert!(
        matches!(
            decode(&V2, r#"["1","2","\ud800","e",{}]"#),
            Err(DecodeError::Json(_))
        ),
        "half a character"
    );
}

#[test]
fn malformed_text_of_version_1() {
    let full = json!({"topic": "t", "event": "e", "payload": {}, "ref": null});
    assert!(decode(&V1, &full.to_string()).is_ok());
    for key in ["topic", "event", "payload", "ref"] {
        let mut lacking = full.clone();
        lacking.as_object_mut().unwrap().remove(key);
        let refused = decode(&V1, &lacking.to_string()).unwrap_err();
        assert!(refused.to_string().contains(key), "{refused}");
    }
    for (name, frame) in [
        ("empty text", ""),
        ("an array", r#"["1","2","t","e",{}]"#),
        ("not JSON", "{topic}"),
    ] {
        assert!(
            matches!(
                decode(&V1, frame),
                Err(DecodeError::Shape { vsn: "1.0.0", .. })
            ),
            "{name}"
        );
    }
}

#[test]
fn malformed_binary_frames() {
    let empty = V2.decode(Frame::binary(Bytes::new()));
    assert!(matches!(empty, Err(DecodeError::Truncated { len: 0 })));
    for kind in [1, 2, 3, 255] {
        let refused = V2.decode(Frame::binary(vec![kind, 0, 0, 0, 0]));
        assert!(matches!(refused, Err(DecodeError::UnknownKind(unknown)) if unknown == kind));
    }
    let whole = hex("00 02 03 05 05 31 32 31 32 33 74 6f 70 69 63 65 76 65 6e 74");
    for len in 1..whole.len() {
        let refused = V2.decode(Frame::binary(whole.slice(..len)));
        assert!(
            matches!(refused, Err(DecodeError::Truncated { .. })),
            "{len} bytes"
        );
    }
    assert!(V2.decode(Frame::binary(whole)).is_ok());
    assert!(matches!(
        V2.decode(Frame::binary(hex("00 01 00 00 00 ff"))),
        Err(DecodeError::NotUtf8)
    ));
}

#[test]
fn any_payload_type_and_odd_refs_are_accepted() {
    for payload in ["null", "1", "\"x\"", "[]", "true"] {
        let message = decode(&V2, &format!(r#"[{{}},[1],"t","e",{payload}]"#)).unwrap();
        assert_eq!(message.payload, json(payload));
        assert_eq!(
            (message.join_ref, message.reference),
            (Some(raw("{}")), Some(raw("[1]")))
        );
    }
}

#[test]
fn an_undecodable_message_closes_with_1011() {
    let close = Close::from(decode(&V2, "").unwrap_err());
    assert_eq!(close, Close::new(CloseCode::INTERNAL));
}

fn any_field() -> impl Strategy<Value = Option<Field>> {
    prop_oneof![
        Just(None),
        any::<String>().prop_map(|value| Some(Field::from(value))),
        any::<i64>().prop_map(|value| Some(raw(&value.to_string()))),
        prop::collection::vec(any::<String>(), 0..2)
            .prop_map(|value| Some(Field::Json(Json::of(&value).unwrap()))),
    ]
}

/// What a client would have written, by another JSON library's hand.
fn value_of(field: &Option<Field>) -> Value {
    match field {
        None => Value::Null,
        Some(Field::Text(text)) => Value::String(text.to_string()),
        Some(Field::Json(json)) => json.to().unwrap(),
    }
}

proptest! {
    #[test]
    fn decoding_text_never_panics(frame in "[\\[\\]{}\",:\\\\ntu0-9é \u{1}]{0,80}") {
        let _ = decode(&V1, &frame);
        let _ = decode(&V2, &frame);
    }

    /// Without white space a message may take a shorter way.
    #[test]
    fn white_space_before_a_message_changes_nothing(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "null", "\"\"", "\"a\"", "\"é\"", r#""\n""#, "\"\u{1}\"", "\"", "1", "nul", " null", "[]", r#"{"a":"]"}"#, "{", "",
            ]),
            3..7,
        ),
        end in prop::sample::select(vec!["]", "", "] ", "]]", " ]"]),
    ) {
        let frame = format!("[{}{end}", parts.join(","));
        let (plain, spaced) = (decode(&V2, &frame), decode(&V2, &format!(" {frame}")));
        prop_assert_eq!(plain.ok(), spaced.ok());
    }

    #[test]
    fn decoding_bytes_never_panics(mut frame in prop::collection::vec(any::<u8>(), 0..64), kind in 0..3u8) {
        let _ = V2.decode(Frame::binary(frame.clone()));
        let _ = V1.decode(Frame::binary(frame.clone()));
        if let Some(first) = frame.first_mut() {
            *first = kind;
        }
        frame.iter_mut().skip(1).take(4).for_each(|size| *size %= 12);
        let _ = V2.decode(Frame::binary(frame));
    }

    #[test]
    fn text_that_a_client_writes_is_read_back(
        join_ref in any_field(), reference in any_field(), topic in any::<String>(), event in any::<String>(),
        payload in any::<Vec<String>>(),
    ) {
        let frame = json!([value_of(&join_ref), value_of(&reference), topic, event, payload]).to_string();
        let message = decode(&V2, &frame).unwrap();
        let expected = ClientMessage {
            join_ref: join_ref.clone(),
            reference: reference.clone(),
            topic: Field::from(topic.clone()),
            event: Field::from(event.clone()),
            payload: Payload::Json(Json::of(&payload).unwrap()),
        };
        prop_assert_eq!(&message, &expected);

        let object = json!({
            "join_ref": value_of(&join_ref), "ref": value_of(&reference), "topic": topic, "event": event,
            "payload": payload,
        });
        prop_assert_eq!(&decode(&V1, &object.to_string()).unwrap(), &expected);
    }

    #[test]
    fn text_that_is_written_is_json_with_the_same_values(
        join_ref in any_field(), reference in any_field(), topic in any_field(), event in any::<String>(),
    ) {
        let topic = topic.unwrap_or(Field::from("t"));
        let message = ServerMessage::Push {
            join_ref: join_ref.clone(), reference: reference.clone(), topic: topic.clone(),
            event: event.as_str().into(), payload: json(r#"{"a":1}"#),
        };
        let [join_ref, reference, topic] = [join_ref, reference, Some(topic)].map(|field| value_of(&field));
        let v2: Value = serde_json::from_str(&encode(&V2, message.clone())).unwrap();
        prop_assert_eq!(v2, json!([join_ref, reference, topic, event, {"a": 1}]));
        let v1: Value = serde_json::from_str(&encode(&V1, message)).unwrap();
        prop_assert_eq!(v1, json!({"topic": topic, "event": event, "payload": {"a": 1}, "ref": reference}));
    }

    #[test]
    fn a_binary_push_of_a_client_is_read_back(
        strings in prop::array::uniform4("[a-zé😀]{0,20}"), payload in any::<Vec<u8>>(),
    ) {
        let mut frame = vec![0];
        frame.extend(strings.iter().map(|string| string.len() as u8));
        frame.extend(strings.iter().flat_map(|string| string.bytes()));
        frame.extend(&payload);
        let message = V2.decode(Frame::binary(frame)).unwrap();
        let [join_ref, reference, topic, event] = strings.map(Field::from);
        let payload = Payload::Binary(payload.into());
        let expected =
            ClientMessage { join_ref: Some(join_ref), reference: Some(reference), topic, event, payload };
        prop_assert_eq!(message, expected);
    }
}
