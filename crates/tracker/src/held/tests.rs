//! Held sets that meet, sets on their way, and the memory of what is over.

use bytes::Bytes;

use super::*;
use crate::reference::{PresenceRef, Writer};

const LIFE: Life = Life {
    incarnation: 1,
    started: 1,
};

const SECOND: Duration = Duration::from_secs(1);

fn node() -> NodeName {
    NodeName::new("a").unwrap()
}

/// An entry of that number, in a slot of its own for each key.
fn entry(put_seq: u64, key: &str) -> Arc<Entry> {
    Arc::new(Entry {
        topic: "t".into(),
        key: key.into(),
        meta: Bytes::new(),
        reference: PresenceRef::new(Writer::new("a", 0, LIFE), put_seq),
        previous: None,
        node: node(),
        owner: 1,
        verdict: crate::entry::Verdict::default(),
    })
}

fn offer(seq: u64) -> Offer {
    let at = Position { life: LIFE, seq };
    Offer {
        node: "a".to_owned(),
        at,
        left: 1_000,
        formerly: Vec::new(),
    }
}

/// A set that is so far.
fn set(seq: u64, entries: &[(u64, &str)]) -> HeldSet {
    let entries = entries.iter().map(|(n, key)| (*n, entry(*n, key)));
    HeldSet::taken(&offer(seq), entries.collect(), Told::none(), SECOND)
}

fn numbers<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Vec<u64> {
    let entries = entries.into_iter();
    entries.map(|entry| entry.reference.put_seq()).collect()
}

#[test]
fn i26_of_two_sets_that_meet_the_earlier_deadline_counts() {
    for (here, there) in [(SECOND, 2 * SECOND), (2 * SECOND, SECOND)] {
        let (mut one, mut other) = (set(1, &[(1, "ann")]), set(1, &[(1, "ann")]));
        (one.deadline, other.deadline) = (here, there);
        one.merge(other);
        assert_eq!(one.deadline, SECOND);
    }
}

/// Who has the owner's word for its end counts from there. Of two that have it, and of two that do not, the earlier one counts.
#[test]
fn i26_of_two_sets_that_meet_the_owners_word_counts_for_more() {
    for (here, there, deadline) in [
        (false, false, SECOND),
        (false, true, SECOND),
        (true, false, 2 * SECOND),
        (true, true, SECOND),
    ] {
        let (mut one, mut other) = (set(1, &[(1, "ann")]), set(1, &[(1, "ann")]));
        one.deadline = 2 * SECOND;
        if here {
            one.confirm();
        }
        if there {
            other.confirm();
        }
        one.merge(other);
        assert_eq!(one.deadline, deadline, "{here} {there}");
        assert_eq!(one.is_confirmed(), here || there);
    }
}

#[test]
fn i8_of_two_sets_that_meet_the_former_lives_of_both_are_known() {
    let [mut one, mut other] = [set(1, &[]), set(1, &[])];
    one.was(&[Life::first_of(7)]);
    other.was(&[Life::first_of(7), Life::first_of(8)]);
    one.merge(other);
    let offer = one.offer(&node(), LIFE, Duration::ZERO);
    assert_eq!(offer.formerly, [Life::first_of(7), Life::first_of(8)]);
}

#[test]
fn i8_what_a_set_lacks_of_the_numbers_it_covers_stays_away() {
    let mut here = set(3, &[(1, "ann")]);
    let merged = here.merge(set(5, &[(1, "ann"), (2, "bob"), (3, "cem"), (5, "dan")]));
    assert_eq!((numbers(here.iter()), here.seq), (vec![1, 5], 5));
    assert_eq!(numbers(&merged.fresh), [5]);
    let merged = here.merge(set(5, &[(4, "eve")]));
    assert_eq!(numbers(here.iter()), [1, 5], "no further than this one");
    assert!(merged.fresh.is_empty() && merged.replaced.is_empty());
}

/// The other one's node may have seen an entry that is still on its way here: nothing of what is here leaves for that.
#[test]
fn i14_what_another_set_lacks_stays_here_until_its_user_is() {
    let mut here = set(3, &[(1, "ann")]);
    let merged = here.merge(set(5, &[(5, "dan")]));
    assert_eq!(numbers(here.iter()), [1, 5]);
    assert_eq!(numbers(&merged.fresh), [5]);
    assert!(merged.replaced.is_empty());
}

/// A set that was merged knows what is gone of it, whatever another one has besides.
#[test]
fn i8_what_is_gone_comes_with_no_other_set() {
    let mut here = set(0, &[]);
    here.gone.insert(1);
    let merged = here.merge(set(2, &[(1, "ann"), (2, "bob")]));
    assert_eq!(numbers(here.iter()), [2]);
    assert_eq!(numbers(&merged.fresh), [2]);
}

#[test]
fn i16_of_two_values_in_one_slot_the_newer_one_is_held() {
    let mut here = set(1, &[(1, "ann")]);
    let merged = here.merge(set(2, &[(2, "ann")]));
    assert_eq!(numbers(here.iter()), [2]);
    assert_eq!(
        (numbers(&merged.replaced), numbers(&merged.fresh)),
        (vec![1], vec![2])
    );
    assert!(here.gone().contains(&1), "for good");
}

impl Taking {
    /// Adds the part that has these entries, of a set that is so far.
    fn add_part(&mut self, seq: u64, entries: &[u64], more: bool) -> Taken {
        let entries = entries
            .iter()
            .map(|n| value(&entry(*n, &format!("k{n}")), Vec::new()));
        let part = HeldPart {
            set: offer(seq),
            entries: entries.collect(),
            more,
        };
        self.add(&part, Arc::clone)
    }
}

fn taking() -> Taking {
    Taking::new(node(), LIFE, Duration::ZERO)
}

#[test]
fn i6_a_set_that_has_changed_on_its_way_is_asked_for_anew() {
    let mut taking = taking();
    assert_eq!(taking.add_part(5, &[1, 2], true), Taken::Ask(Some(2)));
    assert_eq!(taking.add_part(6, &[3], false), Taken::Ask(None));
    assert!(taking.entries.is_empty(), "nothing of both");
    assert_eq!(taking.add_part(6, &[1, 6], false), Taken::Complete);
    assert_eq!(numbers(taking.entries.values()), [1, 6]);
}

#[test]
fn i10_a_set_out_of_order_or_of_more_than_it_covers_is_dropped() {
    for lies in [&[2, 1][..], &[1, 1], &[1, 6]] {
        assert_eq!(taking().add_part(5, lies, false), Taken::Dropped);
    }
    let mut again = taking();
    assert_eq!(again.add_part(5, &[1, 2], true), Taken::Ask(Some(2)));
    assert_eq!(again.add_part(5, &[2, 3], false), Taken::Dropped);
    assert_eq!(taking().add_part(5, &[], true), Taken::Dropped, "endless");
}

#[test]
fn i8_of_many_lives_that_ended_all_up_to_the_last_are_known() {
    let mut ended = Ended::default();
    let lives = (1..).map(Life::first_of);
    for life in lives.clone().take(REMEMBERED_LIVES + 1) {
        assert!(!ended.contains(&node(), life));
        ended.insert(&node(), life, SECOND);
    }
    assert_eq!(ended.len(), REMEMBERED_LIVES);
    let mut few = Ended::default();
    few.insert(&node(), Life::first_of(2), SECOND);
    assert!(
        !few.contains(&node(), Life::first_of(1)),
        "as long as there is room"
    );
    let known = lives.take_while(|life| ended.contains(&node(), *life));
    assert_eq!(known.count(), REMEMBERED_LIVES + 1);
}

#[test]
fn i18_an_end_is_remembered_for_so_long_and_no_longer() {
    let mut ended = Ended::default();
    ended.insert(&node(), LIFE, SECOND);
    ended.forget(3 * SECOND - Duration::from_millis(1), 2 * SECOND);
    assert!(ended.contains(&node(), LIFE));
    ended.insert(&node(), LIFE, 2 * SECOND);
    ended.forget(3 * SECOND, 2 * SECOND);
    assert!(ended.contains(&node(), LIFE), "it was told anew");
    ended.forget(4 * SECOND, 2 * SECOND);
    assert_eq!(ended.len(), 0);
}

#[test]
fn i8_what_was_held_to_the_end_is_so_until_its_tracker_is_listed_again() {
    let mut ended = Ended::default();
    ended.insert(&node(), LIFE, SECOND);
    assert!(!ended.was_held(&node(), LIFE));
    ended.insert_held(&node(), LIFE, SECOND);
    ended.insert(&node(), LIFE, SECOND);
    assert!(ended.was_held(&node(), LIFE));
    ended.went_on(&node(), LIFE);
    assert!(!ended.was_held(&node(), LIFE) && ended.contains(&node(), LIFE));
}

/// Whoever fills its own room with what it makes up, and says it again and again, takes none from others and keeps nothing longer.
#[test]
fn i18_what_is_told_of_ends_has_a_bound_for_each_teller_and_is_not_renewed() {
    let [liar, honest] = ["c", "d"].map(|name| NodeName::new(name).unwrap());
    let mut ended = Ended::default();
    let made_up = |number| Life::first_of(number);
    for number in 0..2 * TOLD_LIVES as u64 {
        ended.insert_told(&node(), made_up(number), &liar, SECOND);
    }
    assert_eq!(ended.len(), TOLD_LIVES);
    let far = made_up(u64::MAX);
    ended.insert_told(&node(), far, &honest, 2 * SECOND);
    assert!(ended.contains(&node(), far));
    ended.insert_told(&node(), made_up(0), &liar, 2 * SECOND);
    ended.forget(3 * SECOND, 2 * SECOND);
    assert_eq!(ended.len(), 1, "each counts from when it was told first");
    ended.insert_told(&node(), made_up(0), &liar, 3 * SECOND);
    assert_eq!(ended.len(), 2, "there is room again");
    ended.forget(5 * SECOND, 2 * SECOND);
    assert!(ended.tellers.is_empty());
}
