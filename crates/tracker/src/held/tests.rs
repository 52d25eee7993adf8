//! Held sets that meet, sets on their way, and the memory of what is over.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::reference::{PresenceRef, Writer};
use crate::testing::tally::holds;

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
    here.gone.insert(&entry(1, "ann"));
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
        (numbers(merged.replaced.values()), numbers(&merged.fresh)),
        (vec![1], vec![2])
    );
    assert!(here.gone().numbers().contains(&1), "for good");
}

impl Taking {
    /// Adds the part that was asked for, with these entries, of a set that is so far.
    fn add_part(&mut self, seq: u64, entries: &[u64], more: bool) -> Taken {
        let after = self.last().unwrap_or(0);
        self.add_after(Some(after), seq, entries, more)
    }

    fn add_after(&mut self, after: Option<u64>, seq: u64, entries: &[u64], more: bool) -> Taken {
        let entries = entries
            .iter()
            .map(|n| value(&entry(*n, &format!("k{n}")), Vec::new()));
        let part = HeldPart {
            set: offer(seq),
            after,
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

/// It was only slow, and what was asked for again comes twice; or the set was asked for anew meanwhile. What an earlier version sends does not
/// say what it follows.
#[test]
fn i9_a_part_that_does_not_follow_the_last_one_changes_nothing() {
    let mut taking = taking();
    for after in [Some(2), Some(9)] {
        assert_eq!(taking.add_after(after, 9, &[3], false), Taken::Old);
    }
    assert_eq!(taking.add_part(9, &[1, 2], true), Taken::Ask(Some(2)));
    for after in [Some(0), None] {
        assert_eq!(taking.add_after(after, 9, &[1, 2], true), Taken::Old);
        assert_eq!(taking.add_after(after, 9, &[1], false), Taken::Old);
    }
    assert_eq!(taking.add_after(None, 9, &[3], true), Taken::Ask(Some(3)));
    assert_eq!(taking.add_part(9, &[4], false), Taken::Complete);
    assert_eq!(numbers(taking.entries.values()), [1, 2, 3, 4]);
}

#[test]
fn i22_what_is_not_answered_is_asked_again_after_twice_the_time() {
    let mut taking = taking();
    let mut now = Duration::ZERO;
    for patience in [1, 2, 4, 8, 8] {
        let due = now + patience * SECOND;
        assert!(!taking.ask_again(due - Duration::from_millis(1)));
        assert!(taking.ask_again(due));
        now = due;
    }
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

/// So often in a vector period, and in the next one as often again.
#[test]
fn i18_a_set_takes_so_many_other_numbers_in_each_period() {
    let mut set = set(1, &[(1, "ann")]);
    for start in [3 * SECOND, 4 * SECOND] {
        for _ in 0..MOVES {
            assert!(set.may_move(start, SECOND));
        }
        assert!(!set.may_move(start + SECOND / 2, SECOND));
    }
}

/// What one tracker did: the entries that it had after each of its operations, and from which first value each came by updates.
#[derive(Debug, Default)]
struct Past {
    states: Vec<BTreeMap<u64, Arc<Entry>>>,
    first: BTreeMap<u64, u64>,
}

impl Past {
    /// Each wish is about one slot: tracks there, or updates, or untracks what is.
    fn of(wishes: &[(u8, bool)]) -> Self {
        let mut past = Self::default();
        let mut state = BTreeMap::new();
        past.states.push(state.clone());
        for (seq, (key, untracks)) in (1..).zip(wishes) {
            let key = format!("k{key}");
            let there = state
                .values()
                .find(|entry: &&Arc<Entry>| *entry.key == *key);
            let there = there.map(|entry| entry.reference);
            if let Some(there) = there {
                state.remove(&there.put_seq());
            }
            if there.is_none() || !untracks {
                let new = Entry {
                    previous: there,
                    ..Entry::clone(&entry(seq, &key))
                };
                let first = there.map_or(seq, |there| past.first[&there.put_seq()]);
                past.first.insert(seq, first);
                state.insert(seq, Arc::new(new));
            }
            past.states.push(state.clone());
        }
        past
    }

    /// A set of what there was at that number, of which some is gone.
    fn set(&self, at: prop::sample::Index, gone: u32, deadline: u64) -> HeldSet {
        let seq = at.index(self.states.len());
        let state = self.states[seq].clone();
        let mut set = HeldSet::taken(
            &offer(seq as u64),
            state.clone(),
            Told::none(),
            Duration::from_secs(deadline),
        );
        for (bit, put_seq) in state.keys().enumerate() {
            if gone >> bit & 1 == 1 {
                set.mark_gone(*put_seq);
            }
        }
        set
    }
}

/// Sets of one tracker that came to be held at any number, and of which anything is gone: the further one adds what came later, but nothing
/// that came of what is gone.
#[test]
fn i8_i14_sets_that_meet_have_what_either_holds_and_nothing_that_is_gone() {
    let met = [
        "a further one",
        "one that is not",
        "an update of what is held",
        "an update of what is gone",
        "several updates of what is gone",
        "what was untracked before it came",
    ];
    let set = || (any::<prop::sample::Index>(), 0..16u32, 1..9u64);
    let sets = [set(), set()];
    let wishes = prop::collection::vec((0..3u8, any::<bool>()), 1..16);
    holds(1_024, &met, (wishes, sets), |(wishes, sets), tally| {
        let past = Past::of(&wishes);
        let both = || sets.map(|(at, gone, deadline)| past.set(at, gone, deadline));
        let ([here, there], [mut one, other], [_, again]) = (both(), both(), both());
        let merged = one.merge(other);
        prop_assert_eq!(one.seq, here.seq.max(there.seq));
        prop_assert_eq!(one.deadline, here.deadline.min(there.deadline));
        tally.note(met[0], there.seq > here.seq);
        tally.note(met[1], there.seq <= here.seq);
        let first = |put_seq: &u64| past.first[put_seq];
        let gone_firsts: Vec<u64> = here.gone.numbers().iter().map(first).collect();
        let at_hand = &past.states[here.seq as usize];
        let was_gone = |entry: &Arc<Entry>| {
            let mut gone = here.gone.numbers().iter();
            gone.any(|gone| at_hand[gone].key == entry.key)
        };
        let fresh = there.entries.range(here.seq + 1..);
        for (put_seq, entry) in fresh.filter(|_| there.seq > here.seq) {
            let is_here = one.entries.contains_key(put_seq);
            if gone_firsts.contains(&first(put_seq)) {
                prop_assert!(!is_here, "I8: {entry:?}");
                let previous = entry.previous.unwrap().put_seq();
                let directly = here.gone.numbers().contains(&previous);
                tally.note(met[if directly { 3 } else { 4 }], true);
            } else if !was_gone(entry) || entry.previous.is_none() {
                prop_assert!(is_here, "I9: {entry:?}");
            }
        }
        for (put_seq, entry) in &here.entries {
            let later = merged.fresh.iter().find(|later| later.key == entry.key);
            prop_assert_eq!(
                one.entries.contains_key(put_seq),
                later.is_none(),
                "{:?}",
                entry
            );
            if let Some(later) = later {
                let number = later.reference.put_seq();
                prop_assert_eq!(merged.replaced.get(&number), Some(entry));
                let came = first(&number) == first(put_seq);
                tally.note(met[2], came);
                tally.note(met[5], !came);
            }
        }
        let known = |put_seq: &u64| {
            here.entries.contains_key(put_seq) || there.entries.contains_key(put_seq)
        };
        prop_assert!(one.entries.keys().all(known));
        let (entries, gone) = (one.entries.clone(), one.gone.numbers().clone());
        let merged = one.merge(again);
        prop_assert!(merged.fresh.is_empty() && merged.replaced.is_empty());
        prop_assert_eq!((&one.entries, one.gone.numbers()), (&entries, &gone));
        Ok(())
    });
}
