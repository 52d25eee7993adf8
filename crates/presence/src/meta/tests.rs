//! What can be a meta, and how it is written.

use std::str::FromStr;

use matryoshka_channel::transport::MAX_JSON_DEPTH;
use serde_json::json;

use super::*;

fn meta(tracked: impl Into<Bytes>, previous: Option<&str>) -> Meta {
    Meta::new(Arc::new(Entry {
        topic: "t".into(),
        key: "anna".into(),
        meta: tracked.into(),
        reference: PresenceRef::from_str("AAAAAAAAAAAAAAAA").unwrap(),
        previous: previous.map(|text| PresenceRef::from_str(text).unwrap()),
        node: NodeName::new("n1").unwrap(),
        owner: 1,
        verdict: matryoshka_tracker::Verdict::default(),
    }))
}

fn written(meta: &Meta) -> String {
    let mut text = String::new();
    meta.write(&mut text);
    text
}

#[test]
fn unit_is_an_empty_object_and_scalars_are_none() {
    assert_eq!(encode(&()).unwrap(), "{}");
    assert!(matches!(encode(&7), Err(MetaError::NotAnObject)));
    assert!(matches!(encode("text"), Err(MetaError::NotAnObject)));
    assert!(matches!(encode(&[1]), Err(MetaError::NotAnObject)));
}

#[test]
fn fields_of_ours_are_replaced() {
    let tracked = encode(&json!({"phx_ref": "mine", "phx_ref_prev": 1, "a": 2})).unwrap();
    assert_eq!(tracked, r#"{"a":2}"#);
    let text = written(&meta(tracked, Some("BBBBBBBBBBBBBBBB")));
    assert_eq!(
        text,
        r#"{"a":2,"phx_ref":"AAAAAAAAAAAAAAAA","phx_ref_prev":"BBBBBBBBBBBBBBBB"}"#
    );
}

#[test]
fn an_empty_meta_has_its_reference_alone() {
    assert_eq!(
        written(&meta("{}", None)),
        r#"{"phx_ref":"AAAAAAAAAAAAAAAA"}"#
    );
}

#[test]
fn what_nests_too_deep_is_refused_when_tracked() {
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "a": deep });
    }
    assert!(matches!(
        encode(&deep),
        Err(MetaError::TooDeep | MetaError::Write(_))
    ));
}

/// A meta stands inside a list, and a list inside a diff.
#[test]
fn the_deepest_meta_that_may_be_tracked_still_fits_into_a_diff() {
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
    let around = "[".repeat(DEPTH_AROUND_META);
    let deepest = encode(&nested(MAX_JSON_DEPTH - DEPTH_AROUND_META)).unwrap();
    let deepest = String::from_utf8(deepest.to_vec()).unwrap();
    let whole = format!("{around}{deepest}{}", "]".repeat(DEPTH_AROUND_META));
    assert!(Json::parse(whole).is_ok());
    let deeper = encode(&nested(MAX_JSON_DEPTH - DEPTH_AROUND_META + 1));
    assert!(matches!(deeper, Err(MetaError::TooDeep)));
}

#[test]
fn what_another_node_tracked_that_is_no_object_counts_as_empty() {
    let empty = r#"{"phx_ref":"AAAAAAAAAAAAAAAA"}"#;
    for tracked in [
        &b"\x81\xa1a\x01"[..],
        b"7",
        b"",
        b"{",
        b"}",
        b"{oops}",
        b"{},{}",
        b"{\"a\":1},{\"b\":1}",
        b"{\"a\":1}]},\"z\":{\"metas\":[{\"b\":1}",
        b" {}",
        b"{\"a\":\xff}",
    ] {
        assert_eq!(written(&meta(tracked, None)), empty, "{tracked:?}");
    }
}

#[test]
fn a_meta_is_read_back_as_a_type() {
    #[derive(serde::Deserialize)]
    struct Status {
        status: String,
    }
    let status: Status = meta(encode(&json!({"status": "away"})).unwrap(), None)
        .get()
        .unwrap();
    assert_eq!(status.status, "away");
    assert!(matches!(
        meta("{}", None).get::<Status>(),
        Err(MetaError::Shape(_))
    ));
}
