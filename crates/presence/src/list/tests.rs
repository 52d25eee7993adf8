//! Grouping, and the JSON that clients read.

use std::str::FromStr;

use matryoshka_channel::transport::MAX_JSON_DEPTH;
use matryoshka_tracker::PresenceRef;
use matryoshka_tracker::pubsub::NodeName;
use serde_json::{Value, json};

use super::*;

fn entry(key: &str, number: u64, tracked: &'static str) -> Arc<Entry> {
    Arc::new(Entry {
        topic: "t".into(),
        key: key.into(),
        meta: tracked.into(),
        reference: PresenceRef::from_str(&format!("{number:016}")).unwrap(),
        previous: None,
        node: NodeName::new("n1").unwrap(),
        owner: number,
        verdict: matryoshka_tracker::Verdict::default(),
    })
}

#[test]
fn n3_nobody_is_an_empty_object() {
    let nobody = PresenceState::default();
    assert!(nobody.is_empty());
    assert_eq!(nobody.to_json().as_str(), "{}");
}

/// What goes to many must not be read through again for each of them.
#[test]
fn what_is_written_is_known_to_be_checked() {
    let news = Difference {
        joins: vec![entry("a", 1, "{}")],
        ..Difference::default()
    };
    let list = PresenceState::new(news.joins.clone());
    assert!(list.to_json().is_checked());
    let diff = PresenceDiff::new(news, &Extras::default());
    assert!(diff.to_json().is_checked());
}

#[test]
fn metas_of_a_key_stand_together_in_the_order_given() {
    let list = PresenceState::new([
        entry("b", 3, "{}"),
        entry("a", 2, "{}"),
        entry("b", 1, "{}"),
    ]);
    let numbers = |key| -> Vec<String> {
        list.get(key)
            .iter()
            .map(|meta| meta.reference().to_string())
            .collect()
    };
    assert_eq!(
        list.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(numbers("b"), ["0000000000000003", "0000000000000001"]);
    assert_eq!(
        (list.len(), list.contains_key("a"), list.contains_key("c")),
        (2, true, false)
    );
    assert!(list.get("").is_empty() && list.get("aa").is_empty() && list.get("z").is_empty());
}

#[test]
fn keys_are_escaped() {
    let key = "say \"hi\"\n\u{1f600}\\";
    let list = PresenceState::new([entry(key, 1, "{}")]);
    let value: Value = list.to_json().to().unwrap();
    assert_eq!(
        value,
        json!({key: {"metas": [{"phx_ref": "0000000000000001"}]}})
    );
}

#[test]
fn serialize_writes_the_same_json() {
    let list = PresenceState::new([entry("a", 1, r#"{"n":1}"#), entry("b", 2, "{}")]);
    assert_eq!(
        serde_json::to_string(&list).unwrap(),
        list.to_json().as_str()
    );
    assert_eq!(
        serde_json::to_value(&list).unwrap(),
        list.to_json().to::<Value>().unwrap()
    );
}

#[test]
fn one_bad_meta_of_another_node_does_not_spoil_the_list() {
    let list = PresenceState::new([entry("a", 1, "{oops}"), entry("b", 2, r#"{"n":2}"#)]);
    let value: Value = list.to_json().to().unwrap();
    assert_eq!(
        value["a"],
        json!({"metas": [{"phx_ref": "0000000000000001"}]})
    );
    assert_eq!(value["b"]["metas"][0]["n"], 2);
}

/// Such a text ends its own braces and those around it, and begins them anew after it: the whole of the list would be JSON.
#[test]
fn a_meta_of_another_node_says_nothing_of_others() {
    let forged = r#"{"a":1}]},"anna":{"metas":[{"phx_ref":"x"}]},"z":{"metas":[{"b":1}"#;
    let list = PresenceState::new([entry("m", 1, forged), entry("n", 2, r#"{"n":2}"#)]);
    let expected = json!({
        "m": {"metas": [{"phx_ref": "0000000000000001"}]},
        "n": {"metas": [{"n": 2, "phx_ref": "0000000000000002"}]},
    });
    // Also when it was looked at before.
    for _ in 0..2 {
        assert_eq!(list.to_json().to::<Value>().unwrap(), expected);
    }
    let diff = PresenceDiff {
        joins: PresenceState::default(),
        leaves: list,
    };
    let diff: Value = diff.to_json().to().unwrap();
    assert_eq!(diff, json!({"joins": {}, "leaves": expected}));
}

/// Each such meta is valid JSON by itself; written into a list it would not be.
#[test]
fn a_meta_that_does_not_fit_into_a_list_counts_as_empty() {
    let deepest = format!(
        "{}{}",
        r#"{"a":"#.repeat(MAX_JSON_DEPTH - 1) + "{}",
        "}".repeat(MAX_JSON_DEPTH - 1)
    );
    assert!(Json::parse(deepest.as_str()).is_ok());
    for tracked in [deepest.leak(), "{ }"] {
        let list = PresenceState::new([entry("a", 1, tracked), entry("b", 2, r#"{"n":2}"#)]);
        let diff = PresenceDiff {
            joins: list.clone(),
            leaves: PresenceState::default(),
        };
        let diff: Value = diff.to_json().to().unwrap();
        let list: Value = list.to_json().to().unwrap();
        assert_eq!(diff["joins"], list);
        assert_eq!(
            list["a"],
            json!({"metas": [{"phx_ref": "0000000000000001"}]})
        );
        assert_eq!(list["b"]["metas"][0]["n"], 2);
    }
}

#[test]
fn both_sides_of_a_diff_are_always_there() {
    let diff = PresenceDiff {
        joins: PresenceState::default(),
        leaves: PresenceState::new([entry("a", 1, "{}")]),
    };
    let value: Value = diff.to_json().to().unwrap();
    assert_eq!(
        value,
        json!({"joins": {}, "leaves": {"a": {"metas": [{"phx_ref": "0000000000000001"}]}}})
    );
}
