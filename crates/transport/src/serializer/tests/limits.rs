//! What a message may hold, and what of its frame it keeps.

use super::*;
use crate::json::MAX_JSON_DEPTH;

#[test]
fn nesting_is_bounded_in_every_part() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for at in 0..5 {
        let frame = |levels| {
            let mut parts = vec![r#""x""#.to_owned(); 5];
            parts[at] = nested(levels);
            format!("[{}]", parts.join(","))
        };
        assert!(decode(&V2, &frame(MAX_JSON_DEPTH)).is_ok());
        for levels in [MAX_JSON_DEPTH + 1, 100_000] {
            let refused = decode(&V2, &frame(levels));
            assert!(
                matches!(refused, Err(DecodeError::Json(JsonError::TooDeep))),
                "{refused:?}"
            );
        }
    }
}

/// `[join_ref, ref, topic, event, payload]` and the same as an object.
fn frames(parts: &[String; 5]) -> [(&'static dyn Serializer, String); 2] {
    let [join_ref, reference, topic, event, payload] = parts;
    let object = format!(
        r#"{{"join_ref":{join_ref},"ref":{reference},"topic":{topic},"event":{event},"payload":{payload}}}"#
    );
    [(&V2, format!("[{}]", parts.join(","))), (&V1, object)]
}

#[test]
fn refs_and_events_are_no_longer_than_a_binary_frame_holds() {
    let fits = |value: &str| -> Vec<String> {
        let string = |bytes: usize| value.repeat(bytes / value.len());
        vec![
            format!("\"{}\"", string(255)),
            format!("\"{}\"", string(258)),
        ]
    };
    let array = |bytes: usize| format!("[{}]", " ".repeat(bytes - 2));
    for (at, field) in [(0, "ref"), (1, "ref"), (3, "event")] {
        let pairs = [
            fits("abc"),
            fits("€"),
            vec![array(255), array(256)],
            vec![r#""\n""#.to_owned(), format!("\"{}\"", r"\n".repeat(256))],
        ];
        for pair in pairs {
            let message = |value: &String| {
                let mut parts = ["\"x\""; 5].map(str::to_owned);
                parts[at].clone_from(value);
                frames(&parts)
            };
            for (serializer, frame) in message(&pair[0]) {
                decode(serializer, &frame).unwrap();
            }
            for (serializer, frame) in message(&pair[1]) {
                let refused = decode(serializer, &frame);
                let is_named = matches!(refused, Err(DecodeError::TooLong { field: named, len }) if named == field && len > 255);
                assert!(is_named, "{frame}: {refused:?}");
            }
        }
    }
}

/// What a message would keep alive if it were kept.
#[test]
fn a_payload_keeps_no_more_of_its_frame_than_is_counted() {
    let spaces = |bytes| " ".repeat(bytes);
    for padding in [0, 800, 1_000_000] {
        let mut parts = ["\"x\""; 5].map(str::to_owned);
        parts[4] = format!("{}{{\"a\":1}}", spaces(padding));
        for (serializer, frame) in frames(&parts) {
            let frame = Bytes::from(frame.into_bytes());
            let whole = frame.as_ptr_range();
            let text = ByteString::try_from(frame.clone()).unwrap();
            let message = serializer.decode(Frame::Text(text)).unwrap();
            let Payload::Json(payload) = &message.payload else {
                panic!("no JSON");
            };
            assert_eq!(payload.as_str(), "{\"a\":1}");
            let is_slice = whole.contains(&payload.as_str().as_ptr());
            assert_eq!(is_slice, padding < 1_000, "{padding}");
        }
    }
}

#[test]
fn v2_names_do_not_keep_a_large_frame_alive() {
    let frame = ByteString::from(format!(
        r#"["3","4","room:1","phx_join",{{"x":"{}"}}]"#,
        "x".repeat(2_000)
    ));
    let message = V2.decode(Frame::Text(frame.clone())).unwrap();
    let within = frame.as_bytes().as_ptr_range();
    assert!(!within.contains(&message.topic.as_text().unwrap().as_ptr()));
    assert_eq!(message.topic, "room:1");
}

#[test]
fn v2_refs_that_are_no_strings_do_not_keep_a_large_frame_alive() {
    let frame = ByteString::from(format!(
        r#"[3,4,"room:1","phx_join",{{"x":"{}"}}]"#,
        "x".repeat(2_000)
    ));
    let message = V2.decode(Frame::Text(frame.clone())).unwrap();
    let within = frame.as_bytes().as_ptr_range();
    for (field, expected) in [(message.join_ref, "3"), (message.reference, "4")] {
        let Some(Field::Json(json)) = field else {
            panic!("not a number: {field:?}")
        };
        assert_eq!(json.as_str(), expected);
        assert!(!within.contains(&json.as_str().as_ptr()));
    }
}
