//! Diffs are the difference, whatever happened in a step.

use std::collections::BTreeSet;

use bytes::Bytes;
use matryoshka_pubsub::NodeName;
use proptest::prelude::*;

use super::*;
use crate::life::Life;
use crate::reference::{PresenceRef, Writer};

fn entry(topic: usize, seq: u64) -> Arc<Entry> {
    Arc::new(Entry {
        topic: format!("t{topic}").into(),
        key: format!("k{}", seq % 3).into(),
        meta: Bytes::new(),
        reference: PresenceRef::new(Writer::new("a", 0, Life::first_of(1)), seq),
        previous: None,
        node: NodeName::new("a").unwrap(),
        owner: 1,
        verdict: crate::entry::Verdict::default(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn i14_diffs_replayed_are_the_list(
        changes in prop::collection::vec((0..3u8, 0..3usize, 0..12u64), 0..120)
    ) {
        let mut visible = VisibleSet::default();
        let mut replayed = BTreeSet::new();
        for (what, topic, seq) in changes.into_iter().chain([(2, 0, 0)]) {
            match what {
                0 => drop(visible.insert(&entry(topic, seq), &under_one_number)),
                1 => {
                    visible.remove(&entry(topic, seq));
                }
                _ => {
                    for TopicStep { diff, entries } in visible.take_step() {
                        prop_assert!(!diff.joins.is_empty() || !diff.leaves.is_empty());
                        for left in &diff.leaves {
                            let gone = replayed.remove(&(Arc::clone(&left.topic), left.reference));
                            prop_assert!(gone, "left what was there");
                        }
                        for joined in &diff.joins {
                            let new = replayed.insert((Arc::clone(&joined.topic), joined.reference));
                            prop_assert!(new, "joined what was not there");
                        }
                        let listed = entries.iter().map(|e| e.reference).collect::<BTreeSet<_>>();
                        let expected = replayed.iter().filter(|(topic, _)| *topic == diff.topic);
                        prop_assert_eq!(listed, expected.map(|(_, r)| *r).collect::<BTreeSet<_>>());
                    }
                }
            }
        }
        let listed: BTreeSet<_> = visible.iter().map(|e| (Arc::clone(&e.topic), e.reference)).collect();
        prop_assert_eq!(replayed, listed);
    }
}

#[test]
fn what_comes_and_goes_within_a_step_is_not_told() {
    let mut visible = VisibleSet::default();
    let (stays, passes) = (entry(0, 1), entry(0, 2));
    visible.insert(&passes, &under_one_number);
    visible.insert(&stays, &under_one_number);
    visible.remove(&passes);
    let steps = visible.take_step();
    assert_eq!(steps.len(), 1);
    assert_eq!(
        (steps[0].diff.joins.as_slice(), steps[0].diff.leaves.len()),
        ([stays].as_slice(), 0)
    );
    assert!(visible.take_step().is_empty(), "told once");
}

#[test]
fn an_entry_that_goes_and_comes_back_within_a_step_is_not_told() {
    let mut visible = VisibleSet::default();
    visible.insert(&entry(0, 1), &under_one_number);
    visible.take_step();
    visible.remove(&entry(0, 1));
    visible.insert(&entry(0, 1), &under_one_number);
    assert!(visible.take_step().is_empty());
}

#[test]
fn entries_share_their_topics_name() {
    let mut visible = VisibleSet::default();
    let first = entry(0, 1);
    visible.insert(&first, &under_one_number);
    let mut names = SharedNames::new(&visible);
    assert!(Arc::ptr_eq(&names.share(&"t0".into()), &first.topic));
    let fresh = names.share(&"t9".into());
    assert!(Arc::ptr_eq(&names.share(&"t9".into()), &fresh));
}

/// Only a peer that does not speak the truth gives one reference two values. What is told is what is listed.
#[test]
fn i14_of_an_entry_that_comes_twice_within_a_step_the_last_value_is_told() {
    let mut visible = VisibleSet::default();
    let first = entry(0, 1);
    let last = Arc::new(Entry {
        meta: Bytes::from_static(b"another"),
        ..Entry::clone(&first)
    });
    visible.insert(&first, &under_one_number);
    visible.insert(&last, &under_one_number);
    let steps = visible.take_step();
    assert_eq!(steps[0].diff.joins, [Arc::clone(&last)]);
    assert_eq!(steps[0].entries.iter().collect::<Vec<_>>(), [&last]);
}

/// Many lose their connections, and as many come, all under one key: what each costs does not grow with how many there are.
#[test]
fn what_is_lost_among_many_of_one_key_costs_no_look_at_all_of_them() {
    let mut visible = VisibleSet::default();
    let guest = |seq| {
        Arc::new(Entry {
            key: "guest".into(),
            ..Entry::clone(&entry(0, seq))
        })
    };
    for seq in 0..1_000 {
        visible.insert(&guest(seq), &under_one_number);
    }
    for lost in 0..500 {
        visible.remove(&guest(lost));
        assert!(visible.insert_held(
            &guest(lost),
            HeldBy::Own,
            Beside::Visible,
            &under_one_number
        ));
        visible.assert_consistent();
        assert_eq!(
            visible
                .insert(&guest(1_000 + lost), &under_one_number)
                .len(),
            1
        );
    }
    assert!(visible.gathered < 1_000, "{}", visible.gathered);
    for left in 500..1_500 {
        visible.remove(&guest(left));
    }
    visible.take_step();
    assert!(visible.held.is_empty(), "nothing is kept of who has left");
}

/// An entry of another owner under one key, which came by an update of another value.
fn place(owner: u64, seq: u64, previous: Option<u64>) -> Arc<Entry> {
    let writer = Writer::new("a", 0, Life::first_of(1));
    let mut place = Arc::unwrap_or_clone(entry(0, seq));
    place.key = "k".into();
    place.owner = owner;
    place.previous = previous.map(|seq| PresenceRef::new(writer, seq));
    Arc::new(place)
}

fn held_by_a_set() -> HeldBy {
    HeldBy::Set(NodeName::new("a").unwrap(), Life::first_of(1))
}

/// Beside whatever one of a set stands as others say: where anything else is listed too, its user is back.
#[test]
fn i14_what_stands_beside_one_of_two_that_are_here_gives_way() {
    let [one, two, held] = [1, 2, 3].map(|number| place(number, number, None));
    let told = |told: &[PresenceRef]| {
        let mut visible = VisibleSet::default();
        visible.insert(&one, &under_one_number);
        visible.insert(&two, &under_one_number);
        visible.insert_held(
            &held,
            held_by_a_set(),
            Beside::Told(told),
            &under_one_number,
        )
    };
    assert!(told(&[one.reference, two.reference]));
    assert!(!told(&[one.reference]));
    assert!(!told(&[]));
}

/// An update of a later value is taken for one of the value that was told of only where that is not listed itself.
#[test]
fn i14_who_came_after_the_place_that_is_told_of_is_no_later_value_of_it() {
    let told = place(1, 1, None);
    let updated = place(2, 4, Some(3));
    let held = place(3, 2, None);
    for is_listed in [false, true] {
        let mut visible = VisibleSet::default();
        visible.insert(&updated, &under_one_number);
        if is_listed {
            visible.insert(&told, &under_one_number);
        }
        let beside = Beside::Told(std::slice::from_ref(&told.reference));
        let stays = visible.insert_held(&held, held_by_a_set(), beside, &under_one_number);
        assert_eq!(stays, !is_listed);
    }
}

/// What had gone before something came to be held did not stand beside it, among however many others.
#[test]
fn i14_what_had_gone_before_a_hold_is_a_return_when_it_comes_again() {
    let mut visible = VisibleSet::default();
    let others: Vec<_> = (1..40).map(|number| place(number, number, None)).collect();
    others
        .iter()
        .for_each(|entry| drop(visible.insert(entry, &under_one_number)));
    let [first, second] = [40, 41].map(|number| place(number, number, None));
    assert!(visible.insert_held(&first, HeldBy::Own, Beside::Visible, &under_one_number));
    visible.remove(&others[0]);
    visible.remove(&first);
    visible.take_step();
    assert!(visible.insert_held(&second, HeldBy::Own, Beside::Visible, &under_one_number));
    let displaced = visible.insert(&others[0], &under_one_number);
    let displaced: Vec<_> = displaced.iter().map(|held| held.entry.reference).collect();
    assert_eq!(displaced, [second.reference]);
}
