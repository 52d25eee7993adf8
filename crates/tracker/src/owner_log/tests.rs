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

/// More than any of these logs has.
const FORGETS_NOTHING: usize = 1 << 30;

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

/// References that nothing names but what is held, an operation that is still in the log, or the value that came of an update: others were
/// told them, and are told the same after each further number.
#[test]
fn i8_a_reference_keeps_its_life_whatever_alone_still_names_it() {
    let mut log = log(300);
    let lives: Vec<Life> = std::iter::successors(Some(LIFE), |life| life.next())
        .take(8)
        .collect();
    let mut next = lives[1..].iter();
    let mut renumber = |log: &mut OwnerLog| log.renumber(*next.next().unwrap());
    let held = slot(1, "t", "held");
    log.put(&held, meta("one")).unwrap();
    let kept = log.hold(&held, None).unwrap();
    renumber(&mut log);
    log.put(&slot(1, "t", "updated"), meta("one")).unwrap();
    renumber(&mut log);
    let (_, updated) = log.update(&slot(1, "t", "updated"), meta("two")).unwrap();
    renumber(&mut log);
    log.all_pushed();
    while log.covers(4) {
        log.put(&slot(2, "t", "more"), meta("one")).unwrap();
        log.delete(&slot(2, "t", "more"));
        log.all_pushed();
    }
    renumber(&mut log);
    let (_, logged) = log.put(&slot(1, "t", "logged"), meta("one")).unwrap();
    log.delete(&slot(1, "t", "logged"));
    (0..2).for_each(|_| renumber(&mut log));
    let value = |entry: &Arc<Entry>| log.value(entry);
    assert_eq!(value(&kept).born, Some(lives[0]));
    assert_eq!(value(&updated).born, Some(lives[2]));
    assert_eq!(value(&updated).previous_born, Some(lives[1]));
    let put = log.ops_after(logged.reference.put_seq() - 1).next();
    let put = put.and_then(|(op, _)| op.value).unwrap();
    assert_eq!((&*put.key, put.born), ("logged", Some(lives[4])));
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

/// As the end of the process does: what is given up has no end of its own any more, in whatever pieces.
#[test]
fn i21_what_is_given_up_has_no_end() {
    let mut log = log(10_000);
    for key in ["a", "b", "c"] {
        log.put(&slot(1, "t", key), meta("v")).unwrap();
    }
    log.hold(&slot(1, "t", "a"), Some(Duration::from_secs(1)));
    log.hold(&slot(1, "t", "b"), Some(Duration::from_secs(2)));
    for (left, next) in [(2, Some(1)), (1, Some(2)), (0, None)] {
        assert_eq!(log.clear(1).len(), 1);
        log.assert_consistent();
        assert_eq!(log.frozen().len(), left);
        assert_eq!(log.next_expiry(), next.map(Duration::from_secs));
    }
}

/// What users, connections and time do to a log.
#[derive(Clone, Debug)]
enum Wish {
    Put(u64, usize),
    Update(u64, usize),
    Delete(u64, usize),
    /// That is held for so long when its connection ends.
    Grace(u64, usize, u64),
    /// Its connection ends: it is held for so long, or to the end of the log.
    Hold(u64, usize, Option<u64>),
    HoldAhead(u64, usize),
    /// The user of the held entry that comes so far is back.
    Gone(usize),
    Expire(u64),
    Renumber,
    Push,
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let at = (1..3u64, 0..4usize);
    // In steps, so that what ends ends just when the time is looked at, too.
    let steps = |most: u64| (0..most).prop_map(|step| 100 * step);
    let held = (at.clone(), prop::option::of(steps(9)));
    let wish = prop_oneof![
        6 => at.clone().prop_map(|(owner, key)| Wish::Put(owner, key)),
        4 => at.clone().prop_map(|(owner, key)| Wish::Update(owner, key)),
        3 => at.clone().prop_map(|(owner, key)| Wish::Delete(owner, key)),
        2 => (at.clone(), 0..3u64).prop_map(|((owner, key), grace)| Wish::Grace(owner, key, grace)),
        3 => held.prop_map(|((owner, key), until)| Wish::Hold(owner, key, until)),
        2 => at.prop_map(|(owner, key)| Wish::HoldAhead(owner, key)),
        2 => (0..9usize).prop_map(Wish::Gone),
        2 => steps(5).prop_map(Wish::Expire),
        1 => Just(Wish::Renumber),
        2 => Just(Wish::Push),
    ];
    prop::collection::vec(wish, 0..80)
}

fn at(owner: u64, key: usize) -> Slot {
    slot(owner, "t", &format!("k{key}"))
}

/// A log, the time, and what is to be in it: by a model that knows nothing of how it is laid out.
#[derive(Debug)]
struct Beside {
    log: OwnerLog,
    now: Duration,
    slots: BTreeMap<(u64, usize), Tracked>,
    /// By number; with an end, or none.
    held: BTreeMap<u64, Waiting>,
    seq: u64,
}

#[derive(Clone, Debug)]
struct Tracked {
    entry: Arc<Entry>,
    ticket: Ticket,
    grace: Duration,
}

#[derive(Clone, Debug)]
struct Waiting {
    entry: Arc<Entry>,
    until: Option<Duration>,
    gone: bool,
    /// It is said when the time is looked at next that its user is back.
    untold: bool,
    /// When that was said.
    told: Option<Duration>,
}

impl Waiting {
    /// When it may be over at the earliest, and has to be at the latest.
    fn ends(&self) -> Option<(Duration, Duration)> {
        let until = self.until?;
        let end = |after: Duration| self.told.map_or(until, |told| until.min(told + after));
        Some((end(MAY_BE_TOLD), end(MUST_BE_TOLD)))
    }
}

/// Between these two times after its user's return came here a lost connection's entry is deleted, unless its grace ends: not at once, for
/// the deletion must not overtake the new entry on its way to a third node; and not much later.
const MAY_BE_TOLD: Duration = Duration::from_secs(1);
const MUST_BE_TOLD: Duration = Duration::from_secs(5);

impl Beside {
    fn new(limit: usize) -> Self {
        Self {
            log: log(limit),
            now: Duration::ZERO,
            slots: BTreeMap::new(),
            held: BTreeMap::new(),
            seq: 0,
        }
    }

    fn is_held(&self, of: (u64, usize)) -> bool {
        let tracked = self.slots.get(&of);
        tracked.is_some_and(|there| self.held.contains_key(&there.entry.reference.put_seq()))
    }

    fn hold(&mut self, entry: Arc<Entry>, until: Option<Duration>) {
        self.seq += 1;
        let waiting = Waiting {
            entry,
            until,
            gone: false,
            untold: false,
            told: None,
        };
        let put_seq = waiting.entry.reference.put_seq();
        self.held.insert(put_seq, waiting);
    }

    /// Grants a wish in both, and compares what is said of it. Whether it did anything.
    fn grant(&mut self, wish: &Wish) -> bool {
        let before = self.seq;
        match *wish {
            Wish::Put(owner, key) => {
                let made = self.log.put(&at(owner, key), meta("v"));
                match (self.slots.get(&(owner, key)), made) {
                    (Some(there), Err(found)) => assert_eq!(there.entry, found, "I27"),
                    (None, Ok((ticket, entry))) => {
                        self.seq += 1;
                        assert_eq!(entry.reference.put_seq(), self.seq);
                        let grace = Duration::ZERO;
                        let tracked = Tracked {
                            entry,
                            ticket,
                            grace,
                        };
                        self.slots.insert((owner, key), tracked);
                    }
                    (expected, got) => panic!("I27: {expected:?}, {got:?}"),
                }
            }
            Wish::Update(owner, key) => {
                let updated = self.log.update(&at(owner, key), meta("w"));
                let there = self.slots.get_mut(&(owner, key));
                assert_eq!(updated.is_some(), there.is_some());
                if let (Some(there), Some((old, new))) = (there, updated) {
                    self.seq += 1;
                    assert_eq!((&old, new.previous), (&there.entry, Some(old.reference)));
                    assert_eq!(new.reference.put_seq(), self.seq);
                    self.held.remove(&old.reference.put_seq());
                    there.entry = new;
                }
            }
            Wish::Delete(owner, key) => {
                let there = self.slots.remove(&(owner, key)).map(|there| there.entry);
                assert_eq!(self.log.delete(&at(owner, key)), there);
                if let Some(entry) = there {
                    self.seq += 1;
                    self.held.remove(&entry.reference.put_seq());
                }
            }
            Wish::Grace(owner, key, seconds) => {
                if let Some(there) = self.slots.get_mut(&(owner, key)) {
                    there.grace = Duration::from_secs(seconds);
                    self.log.set_drop_grace(&there.ticket, there.grace);
                }
            }
            Wish::Hold(owner, key, millis) => {
                let until = millis.map(|millis| self.now + Duration::from_millis(millis));
                let ahead = self.is_held((owner, key));
                let there = self.slots.remove(&(owner, key));
                let entry = there.map(|there| there.entry).filter(|_| !ahead);
                assert_eq!(self.log.hold(&at(owner, key), until), entry);
                entry.into_iter().for_each(|entry| self.hold(entry, until));
            }
            Wish::HoldAhead(owner, key) => {
                let there = self.slots.get(&(owner, key)).map(|there| &there.entry);
                let entry = there.filter(|_| !self.is_held((owner, key))).cloned();
                assert_eq!(self.log.hold_ahead(&at(owner, key)), entry);
                entry.into_iter().for_each(|entry| self.hold(entry, None));
            }
            Wish::Gone(which) => {
                let mut shown = self.held.iter_mut().filter(|(_, held)| !held.gone);
                if let Some((put_seq, held)) = shown.nth(which) {
                    self.log.mark_gone(*put_seq);
                    (held.gone, held.untold) = (true, true);
                }
            }
            Wish::Expire(millis) => {
                self.now += Duration::from_millis(millis);
                for held in self.held.values_mut().filter(|held| held.untold) {
                    (held.untold, held.told) = (false, Some(self.now));
                }
                let mut shown = self.log.expire(self.now);
                let mut over = BTreeSet::new();
                self.held.retain(|_, held| {
                    let stays = self.log.is_held(&held.entry);
                    let (may, must) = held.ends().unwrap_or((Duration::MAX, Duration::MAX));
                    assert!(stays || may <= self.now, "I14: {held:?} is over too early");
                    assert!(!stays || self.now < must, "I26: {held:?} is not over");
                    if !stays {
                        self.seq += 1;
                        over.extend((!held.gone).then_some(held.entry.reference));
                    }
                    stays
                });
                shown.sort_by_key(|entry| entry.reference);
                let shown: BTreeSet<_> = shown.into_iter().map(|entry| entry.reference).collect();
                assert_eq!(shown, over, "I26: what is over was still shown");
            }
            Wish::Renumber => self.log.renumber(self.log.at().life.next().unwrap()),
            Wish::Push => self.log.all_pushed(),
        }
        self.log.assert_consistent();
        self.compare();
        self.seq > before
    }

    fn compare(&self) {
        let log = &self.log;
        assert_eq!(log.at().seq, self.seq, "one number for each operation");
        let entries: Vec<_> = self
            .slots
            .values()
            .map(|there| there.entry.clone())
            .collect();
        assert_eq!(log.iter().cloned().collect::<Vec<_>>(), entries);
        let held = |entry: &Arc<Entry>| self.held.contains_key(&entry.reference.put_seq());
        let live: Vec<_> = entries
            .iter()
            .filter(|entry| !held(entry))
            .cloned()
            .collect();
        assert_eq!(log.live().cloned().collect::<Vec<_>>(), live);
        let shown = self.held.values().filter(|held| !held.gone);
        let shown: Vec<_> = shown.map(|held| held.entry.clone()).collect();
        assert_eq!(log.held().cloned().collect::<Vec<_>>(), shown);
        let kept = |entry: &Arc<Entry>, held| Kept {
            entry: entry.clone(),
            held,
        };
        let frozen = live.iter().map(|entry| kept(entry, false));
        let held = self.held.values().map(|held| kept(&held.entry, true));
        let mut frozen: Vec<Kept> = frozen.chain(held).collect();
        frozen.sort_by_key(|kept| kept.entry.reference.put_seq());
        assert_eq!(log.frozen(), frozen);
        for ((owner, key), there) in &self.slots {
            assert_eq!(log.slot_of(&there.ticket), Some(at(*owner, *key)));
            assert_eq!(log.drop_grace(&at(*owner, *key)), there.grace);
        }
        for owner in 1..3 {
            let of = self.slots.keys().filter(|at| at.0 == owner);
            let slots: Vec<Slot> = of.map(|(owner, key)| at(*owner, *key)).collect();
            assert_eq!(log.slots(owner, usize::MAX), slots);
            assert_eq!(log.owner_has_entries(owner), !slots.is_empty());
            for (first, rest) in slots.iter().zip(1..) {
                let after = log.slots_after(owner, Some(first), usize::MAX);
                assert_eq!(after, slots[rest..]);
            }
        }
        let untold = |held: &Waiting| held.untold && held.until.is_some();
        let next = log.next_expiry();
        if self.held.values().any(untold) {
            return assert_eq!(next, Some(Duration::ZERO));
        }
        let ends = || self.held.values().filter_map(Waiting::ends);
        let (may, must) = (ends().map(|end| end.0).min(), ends().map(|end| end.1).min());
        assert!(may <= next && next <= must, "{may:?}, {next:?}, {must:?}");
    }
}

/// Beside the model: whatever is asked of the log, in however many ways it finds it.
#[test]
fn i21_all_indexes_tell_the_same() {
    let met = [
        "held until a time, and over",
        "held ahead, and updated",
        "held ahead, and closed",
        "held, and its user back",
        "told that its user was back",
        "renumbered with something held",
        "a grace of what ended",
    ];
    let given = (wishes(), 200..4_000usize);
    holds(256, &met, given, |(wishes, limit), tally| {
        let mut both = Beside::new(limit);
        for wish in wishes {
            let held = both.held.len();
            let grace = |of: &(u64, usize)| {
                let there = both.slots.get(of);
                there.is_some_and(|there| !there.grace.is_zero())
            };
            match wish {
                Wish::Update(owner, key) => tally.note(met[1], both.is_held((owner, key))),
                Wish::Hold(owner, key, _) => {
                    tally.note(met[2], both.is_held((owner, key)));
                    tally.note(met[6], grace(&(owner, key)));
                }
                Wish::Gone(_) => tally.note(met[3], held > 0),
                Wish::Expire(_) => {
                    let untold = both.held.values();
                    let untold = untold.filter(|held| held.untold && held.until.is_some());
                    tally.add(met[4], untold.count());
                }
                Wish::Renumber => tally.note(met[5], held > 0),
                _ => {}
            }
            let expires = matches!(wish, Wish::Expire(_));
            both.grant(&wish);
            tally.note(met[0], expires && both.held.len() < held);
        }
        Ok(())
    });
}

/// Beside a log that forgets nothing: every answer is the same, whatever was truncated.
#[test]
fn i11_a_truncated_log_changes_no_answer() {
    let met = ["after something was forgotten"];
    let given = (wishes(), 0..2_000usize);
    holds(128, &met, given, |(wishes, limit), tally| {
        let (mut short, mut whole) = (Beside::new(limit), Beside::new(FORGETS_NOTHING));
        for wish in &wishes {
            prop_assert_eq!(short.grant(wish), whole.grant(wish));
            short.log.all_pushed();
            let (short, whole) = (&short.log, &whole.log);
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
        let (mut short, mut whole) = (Beside::new(limit), Beside::new(FORGETS_NOTHING));
        for wish in &wishes {
            short.grant(wish);
            whole.grant(wish);
            short.log.all_pushed();
            let (short, whole) = (&short.log, &whole.log);
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
