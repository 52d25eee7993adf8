//! What counts as JSON, and how deep it may nest.

use super::*;

#[test]
fn parse_keeps_the_text_and_drops_surrounding_space() {
    let json = Json::parse(" {\"a\" : 1e400} \n").unwrap();
    assert_eq!(json.as_str(), "{\"a\" : 1e400}");
    assert!(json.is_object());
    assert!(!Json::parse("null").unwrap().is_object());
}

#[test]
fn parse_refuses_what_is_not_one_value() {
    for text in ["", " ", "{", "1 2", "{}x", "nul", "'a'", "\"\u{1}\""] {
        assert!(
            matches!(Json::parse(text), Err(JsonError::Syntax(_))),
            "{text:?}"
        );
    }
}

#[test]
fn nesting_is_bounded_and_brackets_inside_strings_do_not_count() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Json::parse(nested(MAX_JSON_DEPTH)).is_ok());
    assert!(matches!(
        Json::parse(nested(MAX_JSON_DEPTH + 1)),
        Err(JsonError::TooDeep)
    ));
    assert!(matches!(
        Json::parse(nested(1_000_000)),
        Err(JsonError::TooDeep)
    ));
    let quoted = serde_json::to_string(&format!("\\\"{}", "[".repeat(500))).unwrap();
    assert!(Json::parse(quoted).is_ok());
    assert!(Json::parse(format!("[{}]", vec!["[]"; 500].join(","))).is_ok());
}

#[test]
fn whatever_is_accepted_can_be_deserialized() {
    let deepest = format!(
        "{}{}",
        "[".repeat(MAX_JSON_DEPTH),
        "]".repeat(MAX_JSON_DEPTH)
    );
    let value: serde_json::Value = Json::parse(deepest).unwrap().to().unwrap();
    assert!(value.is_array());
}

#[test]
fn of_writes_and_to_reads() {
    let json = Json::of(&[1, 2]).unwrap();
    assert_eq!(json.as_str(), "[1,2]");
    assert_eq!(json.to::<Vec<u8>>().unwrap(), [1, 2]);
    assert!(matches!(json.to::<String>(), Err(JsonError::Shape(_))));
    assert!(matches!(
        Json::of(&std::collections::BTreeMap::from([([0u8; 1], 1)])),
        Err(JsonError::Write(_))
    ));
}
