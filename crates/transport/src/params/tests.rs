//! The rules of query decoding, one row per rule.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parsed(query: &str) -> Value {
    serde_json::to_value(Params::parse(query).unwrap()).unwrap()
}

#[test]
fn rows_of_the_query_rules() {
    let rows = [
        ("", json!({})),
        ("a=1", json!({"a": "1"})),
        ("a=true", json!({"a": "true"})),
        ("a=1&a=2", json!({"a": "2"})),
        ("a=1&&b=2&", json!({"a": "1", "b": "2"})),
        ("&", json!({})),
        ("a", json!({"a": ""})),
        ("a=b=c", json!({"a": "b=c"})),
        ("a[b]=1", json!({"a": {"b": "1"}})),
        ("a%5Bb%5D=1", json!({"a": {"b": "1"}})),
        ("a[b]=1&a[c]=2&a[b]=3", json!({"a": {"b": "3", "c": "2"}})),
        ("a[b][c]=1", json!({"a": {"b": {"c": "1"}}})),
        ("l[]=x&l[]=y", json!({"l": ["x", "y"]})),
        ("l[0]=x&l[1]=y", json!({"l": {"0": "x", "1": "y"}})),
        ("l[][a]=1&l[][a]=2", json!({"l": [{"a": "1"}, {"a": "2"}]})),
        ("a=1&a[b]=2", json!({"a": {"b": "2"}})),
        ("a[b]=1&a[]=2", json!({"a": ["2"]})),
        ("a[b]=1&a=2", json!({"a": "2"})),
        ("a[b=1", json!({"a[b": "1"})),
        ("a[b]c=1", json!({"a[b]c": "1"})),
        ("[b]=1", json!({"[b]": "1"})),
        ("a+b=c+d%20e", json!({"a b": "c d e"})),
        ("a=%zz%4", json!({"a": "%zz%4"})),
        ("a=100%", json!({"a": "100%"})),
        ("a=%C3%A9", json!({"a": "é"})),
    ];
    for (query, expected) in rows {
        assert_eq!(parsed(query), expected, "{query}");
    }
}

#[test]
fn what_the_official_client_sends_for_nested_parameters() {
    let query = "a%5Bb%5D=1&c%5B0%5D=1&c%5B1%5D=2&&e=undefined&f=true&g=x%20y&vsn=2.0.0";
    let expected = json!({
        "a": {"b": "1"}, "c": {"0": "1", "1": "2"}, "e": "undefined", "f": "true", "g": "x y",
        "vsn": "2.0.0",
    });
    assert_eq!(parsed(query), expected);
}

#[test]
fn limits_refuse() {
    assert_eq!(Params::parse("a=%ff"), Err(ParamsError::NotUtf8));
    assert_eq!(Params::parse("%ff=a"), Err(ParamsError::NotUtf8));
    let deep = |levels| format!("a{}=1", "[b]".repeat(levels));
    assert!(Params::parse(&deep(MAX_PARAM_DEPTH)).is_ok());
    assert_eq!(
        Params::parse(&deep(MAX_PARAM_DEPTH + 1)),
        Err(ParamsError::TooDeep)
    );
    assert!(Params::parse(&"a=1&".repeat(MAX_PARAMS)).is_ok());
    assert_eq!(
        Params::parse(&"a=1&".repeat(MAX_PARAMS + 1)),
        Err(ParamsError::TooMany)
    );
    assert_eq!(
        Params::parse(&"&".repeat(MAX_QUERY_BYTES + 1)),
        Err(ParamsError::TooLong)
    );
}

#[test]
fn get_sees_plain_values_only() {
    let mut params = Params::parse("user=al&vsn[]=2.0.0").unwrap();
    assert_eq!(params.get("user"), Some("al"));
    assert_eq!(params.get("vsn"), None);
    assert_eq!(
        params.param("vsn"),
        Some(&Param::List(vec![Param::Text("2.0.0".into())]))
    );
    assert_eq!(params.get("absent"), None);
    params.set("vsn", "1.0.0");
    assert_eq!(params.get("vsn"), Some("1.0.0"));
    assert_eq!(params.iter().count(), 2);
}

proptest! {
    #[test]
    fn any_query_is_decoded_or_refused(query in "([a-c%\\[\\]=&+é]|%[0-9a-f]{2}){0,60}") {
        let _ = Params::parse(&query);
    }
}

#[test]
fn secrets_are_masked_where_it_is_shown() {
    let query = "user=al&Token=hidden&auth[password]=hidden&list[][client_secret]=hidden";
    let params = Params::parse(query).unwrap();
    let masked = r#"{"Token": [FILTERED], "auth": Map({"password": [FILTERED]}), "list": List([Map({"client_secret": [FILTERED]})]), "user": Text("al")}"#;
    assert_eq!(format!("{params:?}"), masked);
    let info = crate::ConnectInfo::new("websocket", params).unwrap();
    assert!(!format!("{info:?}").contains("hidden"), "{info:?}");
}
