//! The laws of the merge: a copy is always its owner at some number, and moves only forward.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::message::Stored;
use crate::owner_log::OwnerLog;
use crate::slot::Slot;
use crate::testing::tally::holds;
use crate::visible::VisibleSet;

const LIFE: Life = Life {
    incarnation: 3,
    started: 4,
};

fn node() -> NodeName {
    NodeName::new("a").unwrap()
}

impl Replica {
    /// All that its owner has, gone here or not.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &Kept> {
        self.entries.values()
    }
}

impl Kept {
    /// As its owner sends it, which has had one life.
    pub(crate) fn stored(&self) -> Stored {
        let Self { entry, held } = self;
        Stored {
            held: *held,
            put_seq: entry.reference.put_seq(),
            value: Value {
                topic: Arc::clone(&entry.topic),
                key: Arc::clone(&entry.key),
                meta: entry.meta.clone(),
                owner: entry.owner,
                born: None,
                previous: entry.previous.map(PresenceRef::put_seq),
                previous_born: None,
            },
        }
    }
}

type Contents = BTreeMap<u64, Kept>;

/// An owner's whole past: all its operations, and what it tracked after each of them.
#[derive(Clone, Debug)]
struct Past {
    ops: Vec<Op>,
    states: Vec<Contents>,
    /// Those of the states that nobody is told of alone: what was updated while it was held is held by the next operation.
    halves: BTreeSet<u64>,
}

impl Past {
    fn of(wishes: &[(u8, usize)]) -> Self {
        let mut log = OwnerLog::new(node(), 0, LIFE, usize::MAX);
        let contents = |log: &OwnerLog| -> Contents {
            let frozen = log.frozen().into_iter();
            frozen
                .map(|kept| (kept.entry.reference.put_seq(), kept))
                .collect()
        };
        let mut states = vec![contents(&log)];
        let mut halves = BTreeSet::new();
        for (what, key) in wishes {
            let slot = Slot {
                owner: 1,
                topic: "t".into(),
                key: format!("k{key}").into(),
            };
            let meta = Bytes::from(format!("{}", log.at().seq));
            let done = match what {
                0 | 1 => log.put(&slot, meta).is_ok(),
                2 => match log.update(&slot, meta) {
                    Some((old, _)) if states.last().is_some_and(|before| is_held(before, &old)) => {
                        halves.insert(log.at().seq);
                        states.push(contents(&log));
                        log.hold_ahead(&slot).is_some()
                    }
                    updated => updated.is_some(),
                },
                3 => log.hold(&slot, None).is_some(),
                4 => log.hold_ahead(&slot).is_some(),
                _ => log.delete(&slot).is_some(),
            };
            if done {
                states.push(contents(&log));
            }
        }
        let ops = log.ops_after(0).map(|(op, _)| op).collect();
        Self {
            ops,
            states,
            halves,
        }
    }

    fn last(&self) -> u64 {
        self.ops.len() as u64
    }

    fn message(&self, say: Say) -> Told {
        let at = |part: u64| part % (self.last() + 1);
        match say {
            Say::Ops(a, b) => {
                let (from, to) = (at(a).min(at(b)), at(a).max(at(b)));
                let ops = self.ops[from as usize..to as usize].to_vec();
                let life = LIFE;
                Told::Ops(Ops { life, from, ops })
            }
            Say::State(seq) => Told::State(self.state(at(seq))),
        }
    }

    fn state(&self, seq: u64) -> State {
        State {
            at: Position { life: LIFE, seq },
            entries: self.states[seq as usize].clone(),
        }
    }

    /// A copy at some number.
    fn copy(&self, seq: u64) -> Replica {
        let mut replica = Replica::new(node(), 0, LIFE);
        replica.apply_state(self.state(seq));
        replica
    }
}

fn is_held(contents: &Contents, entry: &Entry) -> bool {
    let kept = contents.get(&entry.reference.put_seq());
    kept.is_some_and(|kept| kept.held)
}

#[derive(Clone, Copy, Debug)]
enum Say {
    Ops(u64, u64),
    State(u64),
}

#[derive(Clone, Debug)]
enum Told {
    Ops(Ops),
    State(State),
}

/// Applies a message; what changed, if anything.
fn merge(replica: &mut Replica, told: &Told) -> Vec<Change> {
    let visible = VisibleSet::default();
    match told {
        Told::Ops(ops) => match replica.apply_ops(ops.clone(), &mut SharedNames::new(&visible)) {
            Applied::Changed(changes) => changes,
            Applied::Old | Applied::Gap => Vec::new(),
        },
        Told::State(state) => replica.apply_state(state.clone()).unwrap_or_default(),
    }
}

fn replay(contents: &mut Contents, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Joined(entry) => {
                let was = contents.insert(entry.reference.put_seq(), kept(entry, false));
                assert_eq!(was, None, "I14: joined what was there");
            }
            Change::Held(entry) => {
                let was = contents.insert(entry.reference.put_seq(), kept(entry, true));
                assert!(was.is_none_or(|was| was == kept(entry, false)), "held once");
            }
            Change::Left(entry) => {
                let was = contents.remove(&entry.reference.put_seq());
                let was = was.map(|kept| kept.entry);
                assert_eq!(was.as_ref(), Some(entry), "I14: left what was not there");
            }
        }
    }
}

fn kept(entry: &Arc<Entry>, held: bool) -> Kept {
    let entry = Arc::clone(entry);
    Kept { entry, held }
}

fn assert_same(a: &Replica, b: &Replica) {
    assert_eq!((a.at(), &a.entries), (b.at(), &b.entries));
}

fn past() -> impl Strategy<Value = Past> {
    prop::collection::vec((0..7u8, 0..4usize), 0..40).prop_map(|wishes| Past::of(&wishes))
}

fn say() -> impl Strategy<Value = Say> {
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| Say::Ops(a, b)),
        any::<u64>().prop_map(Say::State),
    ]
}

/// I4, I6, I8, I9, I14, whatever comes in whatever order: a copy is its owner at one number, which never falls; it
/// moves by an exact diff, and a message with a gap before it moves nothing.
#[test]
fn i6_a_copy_is_always_its_owner_at_some_number() {
    let met = ["a gap", "what was known already", "what was new"];
    let given = (past(), prop::collection::vec(say(), 0..30));
    holds(256, &met, given, |(past, told), tally| {
        let mut replica = Replica::new(node(), 0, LIFE);
        let mut replayed = Contents::new();
        for told in told.into_iter().map(|say| past.message(say)) {
            let before = replica.seq();
            let changes = merge(&mut replica, &told);
            replay(&mut replayed, &changes);
            let reachable = match &told {
                Told::Ops(ops) if ops.from > before => before,
                Told::Ops(ops) => before.max(ops.to()),
                Told::State(state) => before.max(state.at.seq),
            };
            prop_assert_eq!(replica.seq(), reachable);
            let gap = matches!(&told, Told::Ops(ops) if ops.from > before);
            tally.note(met[0], gap);
            tally.note(met[1], !gap && reachable == before);
            tally.note(met[2], reachable > before);
            prop_assert_eq!(&replica.entries, &past.states[replica.seq() as usize]);
            prop_assert_eq!(&replayed, &replica.entries);
        }
        Ok(())
    });
}

/// For any two messages that lack nothing before them.
#[test]
fn i2_merge_is_commutative() {
    let met = ["two different steps forward", "one forward and one back"];
    let given = (past(), any::<u64>(), say(), say());
    holds(256, &met, given, |(past, start, x, y), tally| {
        let start = past.copy(start % (past.last() + 1));
        let (x, y) = (past.message(x), past.message(y));
        let fits = |told: &Told| !matches!(told, Told::Ops(ops) if ops.from > start.seq());
        prop_assume!(fits(&x) && fits(&y));
        let end = |told: &Told| match told {
            Told::Ops(ops) => ops.to(),
            Told::State(state) => state.at.seq,
        };
        let (further, nearer) = (end(&x).max(end(&y)), end(&x).min(end(&y)));
        tally.note(met[0], further > nearer && nearer > start.seq());
        tally.note(met[1], further > start.seq() && start.seq() > nearer);
        let (mut xy, mut yx) = (start.clone(), start);
        merge(&mut xy, &x);
        merge(&mut xy, &y);
        merge(&mut yx, &y);
        merge(&mut yx, &x);
        assert_same(&xy, &yx);
        Ok(())
    });
}

#[test]
fn i3_merge_is_idempotent() {
    let met = ["it changed something the first time"];
    let given = (past(), any::<u64>(), say());
    holds(256, &met, given, |(past, start, x), tally| {
        let mut once = past.copy(start % (past.last() + 1));
        let x = past.message(x);
        tally.note(met[0], !merge(&mut once, &x).is_empty());
        let mut twice = once.clone();
        prop_assert_eq!(merge(&mut twice, &x), Vec::new());
        assert_same(&once, &twice);
        Ok(())
    });
}

#[test]
fn i3_merge_of_states_is_associative() {
    let met = ["three different states"];
    let given = (past(), any::<[u64; 3]>());
    holds(256, &met, given, |(past, at), tally| {
        let [a, b, c] = at.map(|seq| past.copy(seq % (past.last() + 1)));
        let join = |mut into: Replica, from: &Replica| {
            let entries = from.entries.clone();
            into.apply_state(State {
                at: from.at(),
                entries,
            });
            into
        };
        let numbers = [a.seq(), b.seq(), c.seq()];
        tally.note(
            met[0],
            numbers[0] != numbers[1] && numbers[1] != numbers[2] && numbers[0] != numbers[2],
        );
        let left = join(join(a.clone(), &b), &c);
        let right = join(a, &join(b, &c));
        assert_same(&left, &right);
        Ok(())
    });
}

/// In one piece, in any pieces, or as a state: the same.
#[test]
fn i5_operations_and_states_agree() {
    let met = ["several pieces"];
    let given = (past(), prop::collection::vec(any::<u64>(), 0..6));
    holds(256, &met, given, |(past, cuts), tally| {
        let mut cuts: Vec<u64> = cuts
            .into_iter()
            .map(|cut| cut % (past.last() + 1))
            .collect();
        cuts.extend([0, past.last()]);
        cuts.sort_unstable();
        tally.note(
            met[0],
            cuts.windows(2).filter(|cut| cut[0] < cut[1]).count() > 1,
        );
        let mut pieces = Replica::new(node(), 0, LIFE);
        for piece in cuts.windows(2) {
            merge(&mut pieces, &past.message(Say::Ops(piece[0], piece[1])));
        }
        assert_same(&pieces, &past.copy(past.last()));
        Ok(())
    });
}

/// I12: the parts of a state, put together, are the state, and none of it shows before the last one.
#[test]
fn i12_a_state_in_parts_is_the_state() {
    let met = ["several parts"];
    let given = (past(), 1..5usize);
    holds(256, &met, given, |(past, size), tally| {
        let replica = Replica::new(node(), 0, LIFE);
        let parts = parts(&past, size);
        tally.note(met[0], parts.len() > 1);
        let (state, rest) = assemble(&replica, &parts);
        prop_assert_eq!(rest, 0);
        prop_assert_eq!(&state.unwrap().entries, &past.states[past.last() as usize]);
        Ok(())
    });
}

/// The last state of a past in parts of so many entries.
fn parts(past: &Past, size: usize) -> Vec<Part> {
    let state = &past.states[past.last() as usize];
    let stored: Vec<Stored> = state.values().map(Kept::stored).collect();
    let mut pieces: Vec<Vec<Stored>> = stored.chunks(size).map(<[Stored]>::to_vec).collect();
    if pieces.is_empty() {
        pieces.push(Vec::new());
    }
    let count = pieces.len() as u32;
    let part = |(part, entries)| Part {
        at: Position {
            life: LIFE,
            seq: past.last(),
        },
        part: part as u32,
        parts: count,
        entries,
    };
    pieces.into_iter().enumerate().map(part).collect()
}

/// Puts parts together: the state, once it is whole, and how many parts were left then.
fn assemble(replica: &Replica, parts: &[Part]) -> (Option<State>, usize) {
    let visible = VisibleSet::default();
    let mut names = SharedNames::new(&visible);
    let mut assembly = Some(Assembly::new(&parts[0]));
    for (index, part) in parts.iter().enumerate() {
        let Some(current) = assembly.take() else {
            break;
        };
        let (assembled, rest) = current.add(part.clone(), replica, &mut names);
        assembly = rest;
        match assembled {
            Assembled::Waiting => {}
            Assembled::Complete(state) => return (Some(state), parts.len() - index - 1),
            Assembled::Broken => return (None, parts.len() - index - 1),
        }
    }
    (None, 0)
}

fn some_past() -> Past {
    Past::of(&[(0, 0), (0, 1), (2, 0), (0, 2), (5, 1), (0, 3)])
}

#[test]
fn i6_a_state_with_a_missing_doubled_or_foreign_part_is_dropped() {
    let replica = Replica::new(node(), 0, LIFE);
    let whole = parts(&some_past(), 1);
    assert_eq!(whole.len(), 3);
    let missing = [whole[0].clone(), whole[2].clone()];
    assert!(assemble(&replica, &missing).0.is_none());
    let doubled = [
        whole[0].clone(),
        whole[0].clone(),
        whole[1].clone(),
        whole[2].clone(),
    ];
    assert!(assemble(&replica, &doubled).0.is_none());
    let mut foreign = whole.clone();
    foreign[1].at.seq += 1;
    assert!(assemble(&replica, &foreign).0.is_none());
    assert!(assemble(&replica, &whole[..2]).0.is_none(), "not whole");
    assert!(assemble(&replica, &whole).0.is_some());
}

#[test]
fn i8_a_newer_state_cannot_bring_back_what_was_deleted() {
    let past = some_past();
    let mut replica = past.copy(past.last());
    let mut lie = past.state(past.last());
    lie.at.seq += 1;
    lie.entries.insert(2, past.states[2][&2].clone());
    assert_eq!(replica.apply_state(lie), Some(Vec::new()));
    assert_eq!(replica.entries, past.states[past.last() as usize]);
}

/// What is gone of a copy, and what is held of it.
fn gone_and_held(replica: &Replica) -> (Vec<u64>, Vec<u64>) {
    let (entries, gone) = replica.clone().into_parts();
    let gone = gone.numbers().clone();
    assert!(entries.keys().all(|put_seq| !gone.contains(put_seq)));
    let held = replica.held().map(|entry| entry.reference.put_seq());
    (gone.into_iter().collect(), held.collect())
}

fn about(kind: u8, from: u64, put_seq: u64) -> Told {
    Told::Ops(Ops {
        life: LIFE,
        from,
        ops: vec![Op {
            kind,
            value: None,
            gone: Some(put_seq),
        }],
    })
}

#[test]
fn i8_what_is_gone_stays_so_as_long_as_its_owner_has_it_and_no_longer() {
    let past = Past::of(&[(0, 0), (0, 1), (0, 2), (3, 0), (3, 1)]);
    let mut replica = past.copy(past.last());
    assert_eq!(gone_and_held(&replica), (vec![], vec![1, 2]));
    replica.mark_gone(1);
    replica.mark_gone(77);
    assert_eq!(
        gone_and_held(&replica),
        (vec![1], vec![2]),
        "what is not there is not gone"
    );
    assert_eq!(
        merge(&mut replica, &about(Op::HOLD, 5, 1)),
        [],
        "it is held already"
    );
    let mut shown = replica.clone();
    let others = past.states[5].range(2..).map(|(_, kept)| &kept.entry);
    shown.shown_after(&Gone::of(others));
    assert_eq!(
        gone_and_held(&shown),
        (vec![1, 2], vec![]),
        "what is tracked is not gone"
    );
    let mut deleted = replica.clone();
    assert_eq!(merge(&mut deleted, &about(Op::DELETE, 6, 1)).len(), 1);
    assert_eq!(gone_and_held(&deleted), (vec![], vec![2]));
    let mut state = past.state(past.last());
    state.at.seq = 9;
    state.entries.remove(&1);
    assert_eq!(replica.apply_state(state).unwrap().len(), 1);
    assert_eq!(gone_and_held(&replica), (vec![], vec![2]));
}

/// Whatever is held is gone here when its owner goes on. A state lists as tracked what the operations do that led to it.
#[test]
fn i9_what_is_tracked_after_a_state_does_not_depend_on_what_is_gone() {
    let met = [
        "an update of what is gone",
        "tracked anew in the slot of what is gone",
    ];
    let wishes = prop::collection::vec((0..7u8, 0..2usize), 0..20);
    let given = (wishes, any::<[u64; 2]>());
    holds(1_024, &met, given, |(wishes, at), tally| {
        let past = Past::of(&wishes);
        let at = at.map(|seq| seq % (past.last() + 1));
        let (from, to) = (at[0].min(at[1]), at[0].max(at[1]));
        prop_assume!(!past.halves.contains(&from) && !past.halves.contains(&to));
        let mut by_ops = past.copy(from);
        let held: Vec<u64> = by_ops
            .held()
            .map(|entry| entry.reference.put_seq())
            .collect();
        held.iter().for_each(|put_seq| by_ops.mark_gone(*put_seq));
        let slots: Vec<Slot> = by_ops.gone().map(Slot::of).collect();
        let mut by_state = by_ops.clone();
        merge(&mut by_ops, &past.message(Say::Ops(from, to)));
        merge(&mut by_state, &past.message(Say::State(to)));
        assert_same(&by_ops, &by_state);
        let tracked = |replica: &Replica| -> Vec<u64> {
            replica
                .live()
                .map(|entry| entry.reference.put_seq())
                .collect()
        };
        prop_assert_eq!(tracked(&by_ops), tracked(&by_state));
        let fresh = gone_and_held(&by_state).0;
        tally.note(met[0], fresh.iter().any(|put_seq| *put_seq > from));
        let updated = by_state.live().filter(|entry| entry.previous.is_some());
        let mut updated = updated.filter(|entry| entry.reference.put_seq() > from);
        tally.note(
            met[1],
            updated.any(|entry| slots.contains(&Slot::of(entry))),
        );
        Ok(())
    });
}

/// Somebody else tracks in the slot of a held entry that is gone here. More was done than the log keeps, so a state comes.
#[test]
fn i9_what_is_tracked_anew_in_the_slot_of_what_is_gone_is_listed() {
    // Tracked, held, tracked anew, updated, and updated once more.
    let past = Past::of(&[(0, 0), (3, 0), (0, 0), (2, 0), (2, 0)]);
    for (known, state) in [(3, 4), (3, 5), (2, 4), (2, 5)] {
        let mut replica = past.copy(known);
        replica.mark_gone(1);
        let changes = replica.apply_state(past.state(state)).unwrap();
        let joined = changes
            .iter()
            .filter(|change| matches!(change, Change::Joined(_)));
        assert_eq!(joined.count(), 1, "from {known} to {state}");
        assert_eq!(gone_and_held(&replica), (vec![1], vec![]));
        assert_eq!(replica.live().count(), 1);
    }
}

/// The same, and what was tracked anew is held by then; what is gone is there still, or is not.
#[test]
fn i9_what_was_tracked_anew_beside_what_is_gone_is_listed_though_it_is_held() {
    let past = Past::of(&[(0, 0), (3, 0), (0, 0), (2, 0), (3, 0)]);
    let mut replica = past.copy(2);
    replica.mark_gone(1);
    replica.apply_state(past.state(5)).unwrap();
    assert_eq!(gone_and_held(&replica), (vec![1], vec![4]));
}

/// Operations that a state has already, of another life, or about what its parts cannot have, add nothing to it.
#[test]
fn i3_i20_a_state_on_its_way_takes_what_follows_it_and_nothing_else() {
    let past = Past::of(&[(0, 0), (0, 1), (0, 2), (2, 0)]);
    let all = parts(&past, 1);
    let replica = Replica::new(node(), 0, LIFE);
    let visible = VisibleSet::default();
    let names = &mut SharedNames::new(&visible);
    let mut assembly = Assembly::new(&all[0]);
    let last = past.last();
    let more = [
        about(Op::HOLD, last, last),
        about(Op::DELETE, last + 1, last + 7),
    ];
    let [Told::Ops(held), Told::Ops(unknown)] = more else {
        panic!("operations");
    };
    let mut known = past.ops[last as usize - 1..].to_vec();
    known.extend(held.ops);
    let overlapping = Ops {
        life: LIFE,
        from: last - 1,
        ops: known,
    };
    let foreign = Ops {
        life: LIFE.next().unwrap(),
        ..overlapping.clone()
    };
    assert!(!assembly.follow(foreign, &replica, names));
    assert!(assembly.follow(overlapping, &replica, names));
    assert!(assembly.follow(unknown, &replica, names));
    assert_eq!(assembly.state.at.seq, last + 2);
    assert_eq!(assembly.overtaken(), (0, 1), "the hold alone");
    assert!(
        assembly.state.entries.is_empty(),
        "all of it is still to come"
    );
}

#[test]
fn i10_an_entry_in_place_is_not_changed_by_a_later_state() {
    let past = some_past();
    let mut replica = past.copy(past.last());
    let mut lie = past.state(past.last());
    lie.at.seq += 1;
    let (seq, honest) = past.states[past.last() as usize].last_key_value().unwrap();
    let other = Entry {
        meta: Bytes::from_static(b"a lie"),
        ..Entry::clone(&honest.entry)
    };
    lie.entries.insert(*seq, kept(&Arc::new(other), false));
    replica.apply_state(lie);
    assert_eq!(replica.entries.get(seq), Some(honest));
}

#[test]
fn i20_a_message_of_another_life_changes_nothing() {
    let past = some_past();
    let mut replica = Replica::new(node(), 0, LIFE.next().unwrap());
    assert_eq!(
        merge(&mut replica, &past.message(Say::Ops(0, past.last()))),
        []
    );
    assert_eq!(
        merge(&mut replica, &past.message(Say::State(past.last()))),
        []
    );
    assert_eq!(replica.seq(), 0);
}

#[test]
fn an_unknown_operation_counts_and_changes_nothing() {
    let mut replica = Replica::new(node(), 0, LIFE);
    let ops = Ops {
        life: LIFE,
        from: 0,
        ops: vec![Op {
            kind: 77,
            value: None,
            gone: Some(1),
        }],
    };
    assert_eq!(merge(&mut replica, &Told::Ops(ops)), []);
    assert_eq!(replica.seq(), 1);
}
