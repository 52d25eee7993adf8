//! What is a name and what is not.

use std::time::{Duration, UNIX_EPOCH};

use matryoshka_pubsub::{Incarnation, NodeName, TopicName};

#[test]
fn node_names_are_short_and_plain() {
    let longest = "x".repeat(64);
    for good in ["n1", "a", "0", "node-1.eu_west", &longest] {
        assert_eq!(NodeName::new(good).unwrap(), *good);
    }
    for bad in ["", "N1", "n 1", "n/1", "é", &"x".repeat(65)] {
        let refused = NodeName::new(bad).unwrap_err();
        assert_eq!(refused.name, bad);
        assert_eq!(bad.parse::<NodeName>().unwrap_err(), refused);
    }
}

#[test]
fn node_names_travel_as_text_and_are_checked_on_arrival() {
    let bytes = rmp_serde::to_vec(&NodeName::new("n1").unwrap()).unwrap();
    assert_eq!(bytes, rmp_serde::to_vec("n1").unwrap());
    assert_eq!(rmp_serde::from_slice::<NodeName>(&bytes).unwrap(), "n1");
    let bad = rmp_serde::to_vec("N1").unwrap();
    assert!(rmp_serde::from_slice::<NodeName>(&bad).is_err());
}

#[test]
fn topics_come_from_all_kinds_of_text_and_share_it() {
    let name = TopicName::from("room:1");
    assert_eq!(TopicName::from(String::from("room:1")), name);
    assert_eq!(TopicName::from(&String::from("room:1")), name);
    assert_eq!(TopicName::from(name.as_byte_string()), name);
    let copy = TopicName::from(&name);
    assert_eq!(copy.as_ptr(), name.as_ptr());
    assert_eq!(
        (name.to_string(), format!("{name:?}")),
        ("room:1".into(), "\"room:1\"".into())
    );
}

#[test]
fn incarnations_are_microseconds_of_the_wall_clock() {
    let start = UNIX_EPOCH + Duration::from_millis(1_500);
    assert_eq!(Incarnation::at(start), Incarnation(1_500_000));
    assert_eq!(
        Incarnation::at(UNIX_EPOCH - Duration::from_secs(1)),
        Incarnation(0)
    );
    assert_eq!(Incarnation(7).next(), Incarnation(8));
    assert_eq!(Incarnation(u64::MAX).next(), Incarnation(u64::MAX));
}
