//! What a step costs: twice as much takes twice as long, not four times.
//!
//! Measured in time on the processor, not by the clock, so that it does not matter what else runs; and only as a ratio.

use std::fs;

use super::*;
use crate::held::Told;
use crate::message::Offer;
use crate::reference::{PresenceRef, Writer};
use crate::replica::{Kept, Replica, State};
use crate::visible::under_one_number;

/// Runs that are small, and how many times larger the large one is.
const SMALL: usize = 4_000;
const TIMES: usize = 8;

/// The time that this thread has been on a processor.
fn on_processor() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux thread has it");
    let nanos = stat.split(' ').next().expect("its first number");
    Duration::from_nanos(nanos.parse().expect("a number of nanoseconds"))
}

/// Some small runs take about as long as one that is as large as all of them.
fn grows_with_size_and_no_faster(mut run: impl FnMut(usize)) {
    let mut time = |runs, size| {
        let start = on_processor();
        (0..runs).for_each(|_| run(size));
        on_processor() - start
    };
    // The fastest of three: what disturbs the processor's memory only ever adds to it.
    let mut fastest = |runs, size| {
        let times = (0..3).map(|_| time(runs, size));
        times.min().expect("there are three")
    };
    let (small, large) = (fastest(TIMES, SMALL), fastest(1, TIMES * SMALL));
    assert!(
        large < 3 * small,
        "{small:?} in small runs, {large:?} in one"
    );
}

fn filled(entries: usize) -> Shard {
    let mut shard = Shard::new(name(0), life(1), settings());
    for number in 0..entries {
        let tracked = shard.track(&slot(&number.to_string()), Bytes::new(), Duration::ZERO);
        assert!(tracked.is_ok());
    }
    end_step(&mut shard);
    shard
}

fn end_step(shard: &mut Shard) {
    shard.settle();
    while shard.poll_effect().is_some() {}
}

#[test]
fn what_an_owner_untracks_at_once_costs_by_its_number() {
    grows_with_size_and_no_faster(|entries| {
        let mut shard = filled(entries);
        assert_eq!(shard.untrack_owner(1, Duration::ZERO), entries);
        end_step(&mut shard);
    });
}

#[test]
fn what_dies_with_an_owner_costs_by_its_number() {
    grows_with_size_and_no_faster(|entries| {
        let mut shard = filled(entries);
        assert_eq!(shard.owner_died(1, Duration::ZERO), entries);
        end_step(&mut shard);
    });
}

#[test]
fn what_a_tracker_gives_up_at_its_end_costs_by_its_number() {
    grows_with_size_and_no_faster(|entries| {
        let mut shard = filled(entries);
        shard.depart();
        assert_eq!(shard.clear(usize::MAX), entries);
        end_step(&mut shard);
    });
}

/// A step asks twice when the next one is due, and each tick ends what is over: neither looks at all that is held.
#[test]
fn what_is_held_costs_nothing_while_it_is_not_over() {
    grows_with_size_and_no_faster(|entries| {
        let mut shard = filled(entries);
        for number in 0..entries {
            let slot = slot(&number.to_string());
            let ticket = shard.own.ticket(&slot).expect("it is tracked");
            shard.set_drop_grace(&ticket, PERMDOWN);
        }
        assert_eq!(shard.owner_died(1, Duration::ZERO), entries);
        end_step(&mut shard);
        for _ in 0..entries {
            assert!(shard.poll_timeout() <= PERMDOWN);
            shard.handle_tick(PERIOD);
            end_step(&mut shard);
        }
    });
}

#[test]
fn many_held_entries_of_one_key_come_and_go_by_their_number() {
    let writer = Writer::new("a", 0, life(1));
    grows_with_size_and_no_faster(|entries| {
        let mut visible = VisibleSet::default();
        let held: Vec<Arc<Entry>> = (0..entries as u64)
            .map(|number| {
                Arc::new(Entry {
                    topic: "t".into(),
                    key: "k".into(),
                    meta: Bytes::new(),
                    reference: PresenceRef::new(writer, number),
                    previous: None,
                    node: name(0),
                    owner: number,
                    verdict: crate::entry::Verdict::default(),
                })
            })
            .collect();
        for entry in &held {
            assert!(visible.insert_held(entry, HeldBy::Own, Beside::Visible, &under_one_number));
        }
        assert_eq!(visible.take_step().len(), 1);
        assert!(held.iter().all(|entry| visible.remove(entry)));
        assert_eq!(visible.take_step().len(), 1);
    });
}

/// A set of many, all of one key, is listed, and gives way.
#[test]
fn a_held_set_of_many_under_one_key_costs_by_their_number() {
    let writer = Writer::new("b", 0, life(1));
    let entry = |number: u64| {
        let entry = Arc::new(Entry {
            topic: "t".into(),
            key: "k".into(),
            meta: Bytes::new(),
            reference: PresenceRef::new(writer, number),
            previous: None,
            node: name(1),
            owner: number,
            verdict: crate::entry::Verdict::default(),
        });
        (number, entry)
    };
    grows_with_size_and_no_faster(|entries| {
        let mut shard = Shard::new(name(0), life(1), settings());
        let seq = entries as u64;
        let offer = Offer {
            node: name(1).as_str().to_owned(),
            at: Position { life: life(1), seq },
            left: 1_000,
            formerly: Vec::new(),
        };
        let entries: BTreeMap<u64, Arc<Entry>> = (1..=seq).map(entry).collect();
        let set = HeldSet::taken(&offer, entries, Told::none(), PERMDOWN);
        shard.keep_set(&name(1), life(1), set, Duration::ZERO);
        end_step(&mut shard);
        assert_eq!(shard.held_listed() as u64, seq);
        assert!(
            shard
                .track(&slot("k"), Bytes::new(), Duration::ZERO)
                .is_ok()
        );
        end_step(&mut shard);
        assert_eq!(shard.listed().count(), 1);
    });
}

/// What was held and gave way here was updated, each more than once, before a state of it came.
#[test]
fn what_gave_way_and_was_updated_costs_by_its_number_when_a_state_comes() {
    let owned = |owner: u64, previous: Option<u64>| Value {
        owner,
        previous,
        ..put("k").value.expect("a put has one")
    };
    grows_with_size_and_no_faster(|entries| {
        let (entries, visible) = (entries as u64, VisibleSet::default());
        let names = &mut SharedNames::new(&visible);
        let mut replica = Replica::new(name(1), 0, life(1));
        let state = |replica: &Replica,
                     seq: u64,
                     numbers: std::ops::RangeInclusive<u64>,
                     names: &mut SharedNames<'_>| {
            let first = *numbers.start();
            let kept = numbers.map(|number| {
                let previous = (first > 1).then(|| number - entries);
                let entry = replica.entry(number, owned(number % entries, previous), names);
                (number, Kept { entry, held: true })
            });
            let at = Position { life: life(1), seq };
            State {
                at,
                entries: kept.collect(),
            }
        };
        let first = state(&replica, entries, 1..=entries, names);
        assert!(replica.apply_state(first).is_some());
        (1..=entries).for_each(|number| replica.mark_gone(number));
        let last = state(&replica, 3 * entries, 2 * entries + 1..=3 * entries, names);
        let changes = replica.apply_state(last).expect("it is newer");
        assert_eq!(replica.gone().count() as u64, entries);
        assert_eq!(changes.len() as u64, entries, "what they were has left");
    });
}
