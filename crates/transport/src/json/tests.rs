//! What counts as JSON, and how deep it may nest.

use super::*;

#[test]
fn parse_keeps_the_text_and_drops_surrounding_space() {
    let json = Json::parse(" {\"a\" : 1e30} \n").unwrap();
    assert_eq!(json.as_str(), "{\"a\" : 1e30}");
    assert!(json.is_object());
    assert!(!Json::parse("null").unwrap().is_object());
}

#[test]
fn what_was_parsed_and_its_clones_are_known_to_be_checked_and_what_was_written_is_not() {
    let (parsed, written) = (Json::parse("[1]").unwrap(), Json::of(&[1]).unwrap());
    assert!(parsed.is_checked() && parsed.clone().is_checked());
    assert!(!written.is_checked() && !written.clone().is_checked());
    assert!(Json::parse(written.text().clone()).unwrap().is_checked());
    assert!(Json::object().is_checked() && Json::null().is_checked());
    assert_eq!(parsed, written, "the text alone is compared");
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

/// A text around it that is long enough for a look at each byte, and one that is not.
fn in_texts_short_and_long(value: &str) -> [String; 4] {
    let long = "x".repeat(500);
    [
        value.to_owned(),
        format!("[{value}]"),
        format!("{{\"long\":\"{long}\",\"k\":[-1,{value},2]}}"),
        format!("[[],{value},[\"{long}\"]]"),
    ]
}

#[test]
fn half_a_surrogate_pair_is_refused_in_values_and_in_keys() {
    let halves = [
        r"\ud800",
        r"\uD83D",
        r"\udc00",
        r"\uDFFF",
        r"\ud83d\ud83d",
        r"\ud83dx",
        r"\ud83d\n",
        r"\ude00\ud83d",
        r"\ud83d\\ude00",
        r"\\\ud800",
        r"\ud83d\ude00\ude00",
    ];
    for half in halves {
        for value in [
            format!("\"{half}\""),
            format!("{{\"{half}\":1}}"),
            format!("\"a{half}b\""),
        ] {
            for text in in_texts_short_and_long(&value) {
                let refused = Json::parse(text.as_str());
                assert!(matches!(refused, Err(JsonError::LoneSurrogate)), "{text}");
            }
        }
    }
}

#[test]
fn escapes_that_stand_for_characters_are_kept() {
    let whole = [
        r"\ud83d\ude00",
        r"\uD83D\uDE00",
        r"\ue000",
        r"\ud7ff",
        r"\\ud800",
        r"\\\\ud800",
        r"\n\u0000\/",
        r"\ud800\udc00\udbff\udfff",
    ];
    for value in whole.map(|value| format!("\"{value}\"")) {
        for text in in_texts_short_and_long(&value) {
            assert_eq!(Json::parse(text.as_str()).unwrap().as_str(), text);
        }
    }
}

#[test]
fn a_number_beyond_all_floats_is_refused() {
    let (over, digits) = (format!("2{}", "0".repeat(308)), "9".repeat(200));
    let huge = [
        "1e999",
        "-1E+999",
        "1.5e309",
        "0.1e400",
        "1e0999",
        &over,
        &format!("{digits}e200"),
    ];
    for value in huge {
        for text in in_texts_short_and_long(value) {
            let refused = Json::parse(text.as_str());
            assert!(matches!(refused, Err(JsonError::HugeNumber)), "{text}");
        }
    }
    let fits = format!("1{}", "0".repeat(308));
    for value in [
        "1e308",
        "-1.7976931348623157e308",
        "1e-999",
        "0e999",
        "18446744073709551616",
        &fits,
        "\"1e999\"",
    ] {
        for text in in_texts_short_and_long(value) {
            assert_eq!(Json::parse(text.as_str()).unwrap().as_str(), text);
        }
    }
}

proptest::proptest! {
    /// A stricter parser, which builds the value, is right.
    #[test]
    fn what_is_accepted_is_what_a_parser_that_builds_the_value_reads(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                r"\ud83d", r"\ude00", r"\\", r"\n", "x", "\"", ",", ":", "[", "]", "{", "}", "1", "e", "9", "99", ".", "-", "0",
            ]),
            0..40,
        ),
        filling in proptest::sample::select(vec![0usize, 300]),
    ) {
        let text = format!("[\"{}\",{}]", "x".repeat(filling), parts.concat());
        let built = serde_json::from_str::<serde_json::Value>(&text);
        proptest::prop_assert_eq!(Json::parse(text.as_str()).is_ok(), built.is_ok(), "{}", text);
    }
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
