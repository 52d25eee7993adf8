//! The log against a plain model, and its numbers, limits and lives.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::testing::tally::holds;

const LIFE: Life = Life {
    incarnation: 1,
    started: 1,
};

fn log(limit: usize) -> OwnerLog {
    OwnerLog::new(NodeName::new("a").unwrap(), 0, LIFE, limit)
}

fn slot(owner: u64, topic: &str, key: &str) -> Slot {
    Slot {
        owner,
        topic: topic.into(),
        key: key.into(),
    }
}

fn meta(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn i27_track_twice_is_refused_and_a_new_track_has_a_new_reference() {
    let mut log = log(10_000);
    let here = slot(1, "t", "k");
    let (ticket, first) = log.put(&here, meta("one")).unwrap();
    assert_eq!(log.put(&here, meta("two")), Err(Arc::clone(&first)));
    assert!(log.put(&slot(2, "t", "k"), meta("other owner")).is_ok());
    assert_eq!(log.delete(&here), Some(Arc::clone(&first)));
    assert_eq!((log.delete(&here), log.slot_of(&ticket)), (None, None));
    assert!(log.update(&here, meta("late")).is_none());
    let (again, second) = log.put(&here, meta("one")).unwrap();
    assert!(again != ticket && second.reference > first.reference);
    assert_eq!(
        (log.slot_of(&ticket), log.slot_of(&again)),
        (None, Some(here)),
        "the first guard says nothing about what was tracked after it"
    );
}

#[test]
fn i16_an_update_names_what_it_replaced_and_keeps_the_ticket() {
    let mut log = log(10_000);
    let here = slot(1, "t", "k");
    let (ticket, first) = log.put(&here, meta("one")).unwrap();
    let (old, new) = log.update(&here, meta("two")).unwrap();
    assert_eq!(
        (old, new.previous),
        (Arc::clone(&first), Some(first.reference))
    );
    assert_eq!((log.slot_of(&ticket), log.len()), (Some(here), 1));
    let ops: Vec<Op> = log.ops_after(1).map(|(op, _)| op).collect();
    assert_eq!(
        (ops.len(), ops[0].kind, ops[0].gone),
        (1, Op::PUT, Some(1)),
        "one operation"
    );
}

#[test]
fn i25_the_log_forgets_the_oldest_but_nothing_unpushed() {
    let mut log = log(1_000);
    let keys: Vec<String> = (0..20).map(|key| format!("key{key}")).collect();
    for key in &keys {
        log.put(&slot(1, "t", key), meta("value")).unwrap();
    }
    assert!(log.covers(0), "nothing is pushed yet");
    log.all_pushed();
    log.assert_consistent();
    assert!(!log.covers(0) && log.covers(20) && !log.covers(21));
    let kept = (0..=20).filter(|seq| log.covers(*seq)).count();
    assert!((2..10).contains(&kept), "{kept}");
    assert_eq!(log.len(), 20, "I11: the entries are all there");
}

#[test]
fn renumbering_keeps_entries_references_and_history() {
    let mut log = log(10_000);
    let (_, kept) = log.put(&slot(1, "t", "kept"), meta("old")).unwrap();
    log.put(&slot(1, "t", "gone"), meta("old")).unwrap();
    log.delete(&slot(1, "t", "gone"));
    let before: Vec<_> = log.iter().cloned().collect();
    log.renumber(LIFE.next().unwrap());
    assert_eq!(log.iter().cloned().collect::<Vec<_>>(), before);
    assert_eq!((log.at().seq, log.at().life), (3, LIFE.next().unwrap()));
    assert_eq!(log.formerly(), [LIFE]);
    assert!(log.was(LIFE) && log.was(LIFE.next().unwrap()), "one log");
    assert!(!log.was(Life::first_of(9)));
    let stored = |log: &OwnerLog, entry| log.stored(&Kept { entry, held: false }).value;
    let sent = stored(&log, kept);
    assert_eq!((sent.born, sent.previous_born), (Some(LIFE), None));
    let (_, new) = log.update(&slot(1, "t", "kept"), meta("new")).unwrap();
    let sent = stored(&log, new);
    assert_eq!(
        (sent.born, sent.previous, sent.previous_born),
        (None, Some(1), Some(LIFE))
    );
    for _ in 0..20 {
        let next = log.at().life.next().unwrap();
        log.renumber(next);
    }
    let lives = std::iter::successors(Some(LIFE), |life| life.next());
    let mut before: Vec<Life> = lives.take_while(|life| *life < log.at().life).collect();
    before.reverse();
    assert_eq!(log.formerly(), before[..FORMER_LIVES], "the last ones");
    assert!(log.earlier.len() <= 3, "only lives that a reference names");
}

#[test]
fn i26_a_grace_is_of_what_is_tracked_and_ends_with_it() {
    let mut log = log(10_000);
    let (here, grace) = (slot(1, "t", "k"), Duration::from_secs(1));
    let (ticket, _) = log.put(&here, meta("one")).unwrap();
    log.set_drop_grace(&ticket, grace);
    assert_eq!(log.drop_grace(&here), grace);
    log.set_drop_grace(&ticket, Duration::ZERO);
    assert_eq!(log.drop_grace(&here), Duration::ZERO);
    log.set_drop_grace(&ticket, grace);
    log.delete(&here);
    log.assert_consistent();
    log.set_drop_grace(&ticket, grace);
    log.assert_consistent();
    log.put(&here, meta("two")).unwrap();
    assert_eq!(log.drop_grace(&here), Duration::ZERO, "of another ticket");
}

/// What users do to slots.
#[derive(Clone, Debug)]
enum Wish {
    Put(u64, usize),
    Update(u64, usize),
    Delete(u64, usize),
    Push,
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let at = (1..3u64, 0..4usize);
    let wish = prop_oneof![
        3 => at.clone().prop_map(|(owner, key)| Wish::Put(owner, key)),
        2 => at.clone().prop_map(|(owner, key)| Wish::Update(owner, key)),
        2 => at.prop_map(|(owner, key)| Wish::Delete(owner, key)),
        1 => Just(Wish::Push),
    ];
    prop::collection::vec(wish, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn i21_all_indexes_tell_the_same(wishes in wishes(), limit in 200..4_000usize) {
        let mut log = log(limit);
        let mut model: BTreeMap<(u64, usize), Arc<Entry>> = BTreeMap::new();
        let at = |owner, key: usize| slot(owner, "t", &format!("k{key}"));
        for wish in wishes {
            match wish {
                Wish::Put(owner, key) => match log.put(&at(owner, key), meta("v")) {
                    Ok((_, entry)) => prop_assert!(model.insert((owner, key), entry).is_none()),
                    Err(there) => prop_assert_eq!(model.get(&(owner, key)), Some(&there)),
                },
                Wish::Update(owner, key) => {
                    let updated = log.update(&at(owner, key), meta("w"));
                    prop_assert_eq!(updated.is_some(), model.contains_key(&(owner, key)));
                    model.extend(updated.map(|(_, new)| ((owner, key), new)));
                }
                Wish::Delete(owner, key) => {
                    prop_assert_eq!(log.delete(&at(owner, key)), model.remove(&(owner, key)));
                }
                Wish::Push => log.all_pushed(),
            }
            log.assert_consistent();
        }
        let entries: Vec<_> = model.values().cloned().collect();
        prop_assert_eq!(log.iter().cloned().collect::<Vec<_>>(), entries);
        prop_assert!(log.frozen().is_sorted_by_key(|kept| kept.entry.reference));
        let slots: usize = (1..3).map(|owner| log.slots(owner, usize::MAX).len()).sum();
        prop_assert_eq!((slots, log.all_slots().len()), (model.len(), model.len()));
    }

}

/// Beside a log that forgets nothing: every answer is the same, whatever was truncated.
#[test]
fn i11_a_truncated_log_changes_no_answer() {
    let met = ["after something was forgotten"];
    let given = (wishes(), 0..2_000usize);
    holds(128, &met, given, |(wishes, limit), tally| {
        let (mut short, mut whole) = (log(limit), log(usize::MAX));
        for wish in &wishes {
            grant(&mut short, wish);
            grant(&mut whole, wish);
            short.all_pushed();
            prop_assert_eq!(short.at(), whole.at());
            tally.note(met[0], !short.covers(0));
            prop_assert_eq!(
                short.iter().collect::<Vec<_>>(),
                whole.iter().collect::<Vec<_>>()
            );
            prop_assert_eq!(short.all_slots(), whole.all_slots());
            for slot in whole.all_slots() {
                prop_assert_eq!(short.get(&slot), whole.get(&slot));
            }
            prop_assert_eq!(short.frozen(), whole.frozen());
        }
        Ok(())
    });
}

/// What the log still has is the end of all that ever happened, without a hole, and no more than its limit allows.
#[test]
fn i25_the_log_is_a_bounded_suffix_of_the_history() {
    let met = ["nothing forgotten", "some forgotten", "all forgotten"];
    let given = (wishes(), 0..2_000usize);
    holds(128, &met, given, |(wishes, limit), tally| {
        let (mut short, mut whole) = (log(limit), log(usize::MAX));
        for wish in &wishes {
            grant(&mut short, wish);
            grant(&mut whole, wish);
            short.all_pushed();
            let history: Vec<_> = whole.ops_after(0).collect();
            for seq in (0..=short.at().seq).filter(|seq| short.covers(*seq)) {
                let kept: Vec<_> = short.ops_after(seq).collect();
                prop_assert_eq!(kept.as_slice(), &history[seq as usize..]);
            }
            let first = (0..=short.at().seq).find(|seq| short.covers(*seq)).unwrap();
            let end = short.at().seq;
            let all = first == end && end > 0;
            tally.note(
                met[if first == 0 {
                    0
                } else if all {
                    2
                } else {
                    1
                }],
                true,
            );
            let bytes: usize = short.ops_after(first).map(|(_, bytes)| bytes).sum();
            prop_assert!(bytes <= limit);
            // Nothing is forgotten without need.
            if first > 0 {
                let (_, one_more) = &history[first as usize - 1];
                prop_assert!(bytes + one_more > limit);
            }
        }
        Ok(())
    });
}

fn grant(log: &mut OwnerLog, wish: &Wish) {
    let at = |owner: &u64, key: &usize| slot(*owner, "t", &format!("k{key}"));
    match wish {
        Wish::Put(owner, key) => drop(log.put(&at(owner, key), meta("v"))),
        Wish::Update(owner, key) => drop(log.update(&at(owner, key), meta("w"))),
        Wish::Delete(owner, key) => drop(log.delete(&at(owner, key))),
        Wish::Push => {}
    }
}
