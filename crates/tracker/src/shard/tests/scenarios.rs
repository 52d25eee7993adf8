//! Scenarios that trackers have stumbled over, each by its id: S of the state, K of what is known of others, T of clusters, X of
//! those that random tests elsewhere have found. Others stand where their subject is: S4 and T11 in `tests.rs` beside this,
//! T9, T13 and T14 in `tests/it`.

use super::*;
use crate::peer::Link;

impl Net {
    fn slot_of(owner: u64, key: &str) -> Slot {
        Slot { owner, ..slot(key) }
    }

    fn track_many(&mut self, node: usize, keys: std::ops::Range<usize>) {
        for key in keys {
            self.track(node, &format!("{node}-{key:03}"));
        }
        self.pass(PERIOD);
    }

    fn untrack_many(&mut self, node: usize, keys: std::ops::Range<usize>) {
        for key in keys {
            self.untrack(node, &format!("{node}-{key:03}"));
        }
        self.pass(PERIOD);
    }

    fn count(&self, node: usize) -> usize {
        self.shards[node].listed().count()
    }

    fn counts(&self) -> Vec<usize> {
        (0..self.shards.len())
            .map(|node| self.count(node))
            .collect()
    }

    /// The process of a node is over; its links are found to be so.
    fn stop(&mut self, node: usize) {
        for other in (0..self.shards.len()).filter(|other| *other != node) {
            self.down(node, other);
        }
    }

    /// It begins again, with that incarnation, and links to these.
    fn begin(&mut self, node: usize, incarnation: u64, others: &[usize]) {
        self.restart(node, incarnation);
        for other in others {
            self.up(node, *other);
        }
    }

    pub(super) fn settled(&mut self) {
        self.pass(Duration::from_secs(5));
    }
}

#[test]
fn s1_a_new_shard_has_nothing_to_tell() {
    let mut net = Net::meshed(2);
    net.take_sent();
    net.shards[0].answer(&name(1), None, Duration::ZERO);
    net.run();
    let told = net.take_sent();
    assert!(
        told.iter().all(|message| match message {
            Message::Ops(ops) => ops.ops.is_empty(),
            Message::Hello(hello) => hello.at.seq == 0,
            _ => false,
        }),
        "{told:?}"
    );
    assert_eq!(net.counts(), [0, 0]);
}

#[test]
fn s2_what_joins_is_listed_and_what_leaves_is_not() {
    let mut net = Net::new(1);
    net.track(0, "alice");
    assert_eq!(net.keys(0), "alice");
    net.untrack(0, "alice");
    assert_eq!(net.keys(0), "");
}

#[test]
fn s3_two_nodes_see_each_other_join_leave_and_update_and_nothing_twice() {
    let mut net = Net::meshed(2);
    net.track(0, "alice");
    net.track(1, "bob");
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(0), net.keys(1)),
        ("alice bob".into(), "alice bob".into())
    );
    net.take_diffs(1);
    let again = net.shards[0].ops_after(0).remove(0);
    net.hear(1, 0, net.link(1, 0), Message::Ops(again));
    net.run();
    assert_eq!(net.take_diffs(1), [], "merging again");
    net.untrack(0, "alice");
    net.track(1, "carol");
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(0), net.keys(1)),
        ("bob carol".into(), "bob carol".into())
    );
    net.take_diffs(0);
    let now = net.now;
    net.shards[1]
        .update(&slot("carol"), None, Bytes::new(), now)
        .unwrap();
    net.run();
    net.pass(PERIOD);
    assert_eq!(
        net.take_diffs(0),
        [(1, 1)],
        "one join with the new value, one leave"
    );
    assert_eq!(net.references(0), net.references(1));
}

#[test]
fn s5_s6_who_is_heard_by_a_third_node_only_stays_hidden_and_tells_no_diff() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.up(1, 2);
    net.track(0, "bob");
    net.settled();
    assert_eq!((net.keys(1), net.keys(2)), ("bob".into(), String::new()));
    net.untrack(0, "bob");
    net.settled();
    assert_eq!((net.keys(1), net.take_diffs(2)), (String::new(), vec![]));
}

#[test]
fn s7_s8_entries_are_found_by_slot_and_by_key() {
    let mut net = Net::new(1);
    assert!(net.shards[0].own_slot(&slot("alice")).is_none());
    for owner in [1, 2] {
        let slot = Net::slot_of(owner, "alice");
        net.shards[0]
            .track(&slot, Bytes::new(), Duration::ZERO)
            .unwrap();
    }
    net.run();
    let found = net.shards[0].own_slot(&slot("alice")).unwrap();
    assert_eq!((found.reference.put_seq(), found.owner), (1, 1));
    assert!(net.shards[0].own_slot(&slot("bob")).is_none());
    let list = net.shards[0].entries("t");
    assert_eq!(
        (list.by_key("alice").count(), list.by_key("bob").count()),
        (2, 0)
    );
    assert!(net.shards[0].entries("other").is_empty());
}

#[test]
fn s9_who_is_hidden_vanishes_and_the_others_stay() {
    let mut net = Net::meshed(3);
    for node in 0..3 {
        net.track(node, ["ann", "bob", "cem"][node]);
    }
    net.pass(PERIOD);
    assert_eq!(net.keys(0), "ann bob cem");
    net.down(0, 1);
    assert_eq!(net.keys(0), "ann cem");
    net.down(0, 2);
    assert_eq!(net.keys(0), "ann");
}

#[test]
fn s11_s12_operations_have_numbers_and_none_may_be_missing() {
    let mut net = Net::meshed(2);
    net.track(0, "x");
    net.pass(PERIOD);
    net.untrack(0, "x");
    net.pass(PERIOD);
    net.track(0, "x");
    net.pass(PERIOD);
    assert_eq!(net.shards[1].have(&name(0)).unwrap().seq, 3);
    let (link, life) = (net.link(1, 0), net.shards[0].at().life);
    let gap = Ops {
        life,
        from: 7,
        ops: vec![put("ghost")],
    };
    net.deaf.insert((1, 0));
    net.hear(1, 0, link, Message::Ops(gap));
    net.run();
    assert_eq!((net.keys(1).as_str(), net.shards[1].stats().gaps), ("x", 1));
}

#[test]
fn s14_s15_what_two_nodes_do_at_once_is_all_there() {
    let mut net = Net::meshed(3);
    net.track(0, "x");
    net.untrack(0, "x");
    net.track(1, "x");
    net.track(0, "a");
    net.track(1, "b");
    net.pass(PERIOD);
    for node in 0..3 {
        assert_eq!(net.keys(node), "a b x");
    }
}

#[test]
fn t1_a_quiet_shard_speaks_now_and_then() {
    let mut net = Net::meshed(2);
    net.pass(Duration::from_secs(20));
    assert!(net.shards[0].stats().vectors_sent >= 9);
}

#[test]
fn t2_who_comes_late_gets_everything() {
    let mut net = Net::new(2);
    net.track_many(0, 0..30);
    net.up(0, 1);
    assert_eq!(net.counts(), [30, 30]);
}

#[test]
fn t3_who_missed_two_nodes_asks_each_of_them_for_its_own() {
    let mut net = Net::meshed(3);
    net.deaf = BTreeSet::from([(0, 1), (0, 2)]);
    net.track(1, "bob");
    net.track(2, "cem");
    net.pass(PERIOD);
    net.deaf.clear();
    net.settled();
    assert_eq!(net.keys(0), "bob cem");
    assert_eq!(net.shards[0].stats().pulls_sent, 2);
}

#[test]
fn t4_t7_a_killed_node_leaves_is_kept_out_of_sight_forgotten_and_back_with_nothing_old() {
    let mut net = Net::meshed(3);
    net.track(0, "old");
    net.pass(PERIOD);
    net.stop(0);
    assert_eq!((net.keys(1), net.keys(2)), (String::new(), String::new()));
    assert!(
        net.shards[1].have(&name(0)).is_some(),
        "T7: out of sight only"
    );
    net.pass(PERMDOWN + Duration::from_secs(5));
    assert!(net.shards[1].have(&name(0)).is_none());
    net.begin(0, 2, &[1, 2]);
    net.settled();
    assert_eq!(net.counts(), [0, 0, 0]);
}

#[test]
fn t5_a_suspended_node_comes_back_as_it_was_and_a_restarted_one_anew() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let before = net.references(1);
    net.take_diffs(1);
    net.down(0, 1);
    net.up(0, 1);
    assert_eq!(
        (net.take_diffs(1), net.references(1)),
        (vec![(0, 1), (1, 0)], before.clone())
    );
    net.stop(0);
    net.begin(0, 2, &[1]);
    net.track(0, "ann");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "ann");
    assert_ne!(net.references(1), before);
}

#[test]
fn t8_untracking_ends_what_was_meant_and_nothing_else() {
    let mut net = Net::meshed(2);
    let now = net.now;
    assert_eq!(net.shards[0].untrack(&slot("nobody"), now), Ok(false));
    net.track(0, "a");
    net.track(0, "b");
    net.untrack(0, "a");
    assert!(net.shards[0].owner_has_entries(1));
    assert_eq!(net.shards[0].untrack_owner(1, now), 1);
    net.run();
    assert!(!net.shards[0].owner_has_entries(1));
    net.pass(PERIOD);
    assert_eq!(net.counts(), [0, 0]);
}

#[test]
fn t10_nothing_cannot_be_updated_and_twice_is_refused_in_one_slot_only() {
    let mut net = Net::new(1);
    let now = net.now;
    let shard = &mut net.shards[0];
    let refused = shard.update(&slot("ann"), None, Bytes::new(), now);
    assert_eq!(refused, Err(Refusal::NoPresence));
    shard.track(&slot("ann"), Bytes::new(), now).unwrap();
    assert!(shard.track(&slot("ann"), Bytes::new(), now).is_err());
    let elsewhere = Slot {
        topic: "other".into(),
        ..slot("ann")
    };
    for free in [elsewhere, slot("bob"), Net::slot_of(2, "ann")] {
        assert!(shard.track(&free, Bytes::new(), now).is_ok());
    }
    net.run();
}

#[test]
fn t12_in_a_rolling_update_the_new_node_gets_each_state_once() {
    let mut net = Net::meshed(3);
    net.track_many(1, 0..20);
    net.stop(0);
    net.take_sent();
    net.begin(0, 2, &[1, 2]);
    let first_parts = |sent: &[Message]| {
        let first = |m: &&Message| matches!(m, Message::Part(part) if part.part == 0);
        sent.iter().filter(first).count()
    };
    assert_eq!(first_parts(&net.take_sent()), 1);
    net.settled();
    assert_eq!(net.take_sent(), [], "and asks no more");
    assert_eq!(net.counts(), [20, 20, 20]);
}

#[test]
fn x1_a_node_that_comes_back_gets_what_is_left() {
    let mut net = Net::meshed(3);
    net.track_many(0, 0..1);
    net.track_many(1, 0..52);
    net.stop(2);
    net.untrack_many(1, 0..51);
    net.stop(0);
    net.begin(2, 2, &[1]);
    net.settled();
    assert_eq!((net.count(1), net.count(2)), (1, 1));
}

#[test]
fn x2_a_fresh_node_learns_of_nodes_it_never_met_only_what_lives() {
    let mut net = Net::meshed(3);
    net.stop(0);
    net.track_many(1, 0..70);
    net.track_many(2, 0..83);
    net.stop(2);
    net.begin(0, 2, &[1]);
    net.settled();
    assert_eq!((net.count(0), net.count(1)), (70, 70));
}

#[test]
fn x3_removals_cross_a_split_as_joins_do() {
    let mut net = Net::meshed(3);
    net.down(0, 2);
    net.track_many(2, 0..3);
    assert_eq!(net.counts(), [0, 3, 3]);
    net.untrack_many(2, 0..1);
    net.untrack_many(2, 1..2);
    net.up(0, 2);
    net.settled();
    assert_eq!(net.counts(), [1, 1, 1]);
}

#[test]
fn x4_much_on_both_sides_of_a_split_with_a_node_gone_in_between() {
    let mut net = Net::meshed(3);
    net.down(1, 2);
    for node in [1, 2] {
        net.track_many(node, 0..100);
        net.untrack_many(node, 0..50);
    }
    net.stop(0);
    for hundred in 1..4 {
        for node in [1, 2] {
            net.track_many(node, hundred * 100..(hundred + 1) * 100);
        }
    }
    net.up(1, 2);
    net.settled();
    assert_eq!((net.count(1), net.count(2)), (700, 700));
}

#[test]
fn x5_a_restart_during_a_split_holds_nobody_up() {
    let mut net = Net::meshed(3);
    net.down(1, 2);
    net.stop(2);
    net.begin(2, 2, &[0]);
    for node in 0..3 {
        net.track_many(node, 0..10);
    }
    net.settled();
    assert_eq!(net.counts(), [30, 20, 20]);
}

#[test]
fn x6_seven_nodes_at_once_list_everything() {
    let mut net = Net::meshed(7);
    for node in 0..7 {
        net.track_many(node, 0..100);
    }
    net.settled();
    assert_eq!(net.counts(), [700; 7]);
}

#[test]
fn x7_the_newest_value_wins_in_whatever_order_states_and_operations_come() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.track(0, "alice");
    net.pass(PERIOD);
    net.deaf.insert((1, 0));
    for value in [b"2", b"3"] {
        let now = net.now;
        let value = Bytes::from_static(value);
        net.shards[0]
            .update(&slot("alice"), None, value, now)
            .unwrap();
        net.run();
        net.pass(PERIOD);
    }
    net.up(0, 2);
    net.up(1, 2);
    net.deaf.clear();
    net.settled();
    for node in 0..3 {
        let meta: Vec<_> = net.shards[node].listed().map(|e| e.meta.clone()).collect();
        assert_eq!(meta, [Bytes::from_static(b"3")], "{node}");
    }
}

#[test]
fn x8_an_older_state_brings_back_nobody_whose_end_was_seen() {
    let mut net = Net::new(3);
    net.up(0, 2);
    net.deaf.insert((2, 0));
    net.track(0, "x");
    net.pass(PERIOD);
    net.deaf.clear();
    net.track(0, "y");
    net.pass(PERIOD);
    let older = Part {
        at: net.shards[0].at(),
        part: 0,
        parts: 1,
        entries: {
            let own = &net.shards[0].own;
            own.frozen().iter().map(|kept| own.stored(kept)).collect()
        },
    };
    net.untrack(0, "y");
    net.pass(PERIOD);
    net.settled();
    assert_eq!(net.keys(2), "x");
    net.hear(2, 0, net.link(2, 0), Message::Part(older));
    net.run();
    net.settled();
    assert_eq!(net.keys(2), "x");
}

#[test]
fn renumbering_shows_nobody_anything() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let before = net.references(1);
    net.diffs.iter_mut().for_each(Vec::clear);
    net.shards[0].handle_member(&MemberEvent::Renumbered(Incarnation(7)), net.now);
    net.run();
    net.track(0, "bob");
    net.pass(Duration::from_secs(5));
    assert_eq!(
        (net.keys(0), net.keys(1)),
        ("ann bob".into(), "ann bob".into())
    );
    assert_eq!(net.take_diffs(1), [(1, 0)]);
    assert!(
        before
            .iter()
            .all(|reference| net.references(1).contains(reference))
    );
    net.up(0, 1);
    assert_eq!(
        net.references(0),
        net.references(1),
        "also after a new link"
    );
}

#[test]
fn i6_a_state_that_is_broken_off_changes_nothing() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_diffs(1);
    let part = |part, seq| {
        let stored = Stored {
            held: false,
            put_seq: 40,
            value: put("ghost").value.unwrap(),
        };
        let at = Position { life: life(1), seq };
        let entries = vec![stored];
        Message::Part(Part {
            at,
            part,
            parts: 3,
            entries,
        })
    };
    let link = net.link(1, 0);
    net.deaf.insert((1, 0));
    for message in [part(0, 50), part(1, 50), part(1, 60)] {
        net.hear(1, 0, link, message);
        net.run();
        assert_eq!((net.take_diffs(1), net.keys(1)), (vec![], "ann".into()));
    }
    assert_eq!(net.shards[1].stats().broken_states, 1);
}

#[test]
fn s10_what_was_forgotten_stays_so_when_its_node_is_back_without_it() {
    let mut net = Net::meshed(3);
    net.track(1, "bob");
    net.track(2, "cem");
    net.pass(PERIOD);
    net.down(0, 1);
    net.down(1, 2);
    net.untrack(1, "bob");
    net.pass(PERMDOWN + Duration::from_secs(5));
    assert!(net.shards[0].have(&name(1)).is_none());
    net.take_diffs(0);
    net.up(0, 1);
    net.settled();
    assert_eq!((net.keys(0), net.take_diffs(0)), ("cem".into(), vec![]));
    assert_eq!(net.shards[0].entries("t").by_key("bob").count(), 0);
}

#[test]
fn s13_a_vector_names_only_who_is_heard_and_its_receiver_adds_nobody() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.up(1, 2);
    for node in 0..3 {
        net.track(node, ["ann", "bob", "cem"][node]);
    }
    net.settled();
    let named = |net: &Net, node: usize| -> Vec<String> {
        let hints = net.shards[node].next_hints();
        let mut names: Vec<String> = hints.into_iter().map(|heard| heard.node).collect();
        names.sort();
        names
    };
    assert_eq!(
        (named(&net, 0), named(&net, 1)),
        (vec!["b".into()], vec!["a".into(), "c".into()])
    );
    assert!(net.shards[0].have(&name(2)).is_none());
    net.down(1, 2);
    assert_eq!(named(&net, 1), ["a"]);
}

impl Net {
    /// A node says that another one is so far, as it claims.
    fn claim(&mut self, to: usize, from: usize, of: usize, at: Position) {
        let node = name(of).as_str().to_owned();
        let vector = vector(self.shards[from].at(), vec![Heard { node, at }]);
        self.hear(to, from, self.link(to, from), Message::Vector(vector));
        self.run();
    }

    /// Who was asked by a node since the last call.
    fn asked_by(&mut self, node: usize) -> Vec<usize> {
        self.pass(3 * PERIOD);
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.filter(|(from, _, message)| *from == node && matches!(message, Message::Pull(_)))
            .map(|(_, to, _)| to)
            .collect()
    }
}

#[test]
fn k1_only_a_higher_number_of_the_same_life_is_more() {
    let mut net = Net::meshed(3);
    net.track(2, "cem");
    net.track(2, "dan");
    net.pass(PERIOD);
    net.asked_by(0);
    let here = net.shards[0].have(&name(2)).unwrap();
    let at = |incarnation, seq| Position {
        life: life(incarnation),
        seq,
    };
    for no_more in [at(1, 1), here, at(0, 7), at(9, 7)] {
        net.claim(0, 1, 2, no_more);
        assert_eq!(net.asked_by(0), [], "{no_more:?} is not more than {here:?}");
    }
    net.claim(0, 1, 2, at(1, 3));
    assert_eq!(net.asked_by(0), [2]);
}

#[test]
fn k2_of_several_claims_about_one_owner_the_highest_counts_and_each_owner_is_asked_once() {
    let mut net = Net::meshed(4);
    net.asked_by(0);
    let at = |seq| Position { life: life(1), seq };
    for (from, of, seq) in [(1, 2, 4), (3, 2, 6), (1, 2, 6), (2, 3, 5)] {
        net.claim(0, from, of, at(seq));
    }
    let suspected = |net: &Net, node: usize| {
        let link = net.shards[0].peers[&name(node)].link.as_ref();
        link.and_then(|link| link.suspicion).map(|more| more.seq)
    };
    assert_eq!((suspected(&net, 2), suspected(&net, 3)), (Some(6), Some(5)));
    assert_eq!(net.asked_by(0), [2, 3]);
}

#[test]
fn k3_of_what_a_peer_tells_the_first_is_the_lower_bound_and_the_highest_the_upper_one() {
    let mut link = Link::new(LinkId(1), Duration::ZERO);
    assert_eq!((link.target, link.known), (None, 0), "nothing is told");
    for seq in [4, 9, 2] {
        link.announced(seq);
    }
    assert_eq!((link.target, link.known), (Some(4), 9));
    link.restart();
    assert_eq!((link.target, link.known), (None, 0), "of another life");
}

#[test]
fn i9_of_two_held_sets_the_further_one_adds_what_the_other_lacks() {
    let mut net = Net::meshed(3);
    let grace = Duration::from_secs(10);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(grace);
    net.run();
    net.deaf.insert((1, 0));
    net.track(0, "bob");
    net.pass(PERIOD);
    net.stop(0);
    assert_eq!((net.keys(1), net.keys(2)), ("ann".into(), "ann bob".into()));
    net.pass(2 * PERIOD);
    for node in [1, 2] {
        assert_eq!(net.keys(node), "ann bob");
    }
    net.pass(grace);
    assert_eq!((net.keys(1), net.keys(2)), (String::new(), String::new()));
}

/// Real clients are back after ten milliseconds. The old place and the new one of each then change in one diff, on all nodes.
#[test]
fn i14_who_is_back_at_once_after_a_restart_closed_their_connection_is_never_listed_twice() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(Duration::from_secs(10));
    // Another change has just begun the usual period.
    net.track(0, "bob");
    assert_eq!(net.shards[0].owner_died(1, net.now), 2);
    net.run();
    net.pass(Duration::from_millis(10));
    net.diffs.iter_mut().for_each(Vec::clear);
    net.track(1, "ann");
    net.pass(PERIOD);
    for node in 0..3 {
        assert_eq!(net.take_diffs(node), [(1, 1)], "on node {node}");
    }
}

#[test]
fn a_first_state_has_the_entries_of_all_whom_the_first_peer_hears() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.track(0, "ann");
    net.track(1, "bob");
    net.pass(PERIOD);
    net.up(2, 1);
    assert_eq!(net.keys(2), "bob");
    assert!(!net.shards[2].caught_up_once(), "ann is there, and missing");
    net.up(2, 0);
    assert!(net.shards[2].caught_up_once());
    assert_eq!(net.keys(2), "ann bob");
}

#[test]
fn a_first_state_waits_for_nobody_who_is_not_there() {
    for first_peer_knows in [true, false] {
        let mut net = Net::new(3);
        net.up(0, 1);
        net.pass(PERIOD);
        if first_peer_knows {
            net.down(0, 1);
        }
        net.up(2, 1);
        assert_eq!(net.shards[2].caught_up_once(), first_peer_knows);
        if !first_peer_knows {
            // As soon as it does, its next vector says so.
            net.down(0, 1);
            net.pass(settings().vector_period);
            assert!(net.shards[2].caught_up_once());
        }
    }
    let mut net = Net::new(3);
    net.up(0, 1);
    net.up(2, 1);
    net.deaf.insert((2, 0));
    net.up(2, 0);
    assert!(!net.shards[2].caught_up_once());
    net.down(1, 2);
    net.deaf.clear();
    assert!(
        !net.shards[2].caught_up_once(),
        "nobody is there who told anything"
    );
}

/// A restart of which only one of two heard. The other one has heard the next life, lost it again, and is then offered what
/// is held of the life before, which left its list long ago.
#[test]
fn i15_what_a_later_life_replaced_is_not_taken_from_others() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(Duration::from_secs(1));
    net.deaf.extend([(1, 0), (1, 2)]);
    net.shards[0].restart(Duration::from_secs(30));
    net.run();
    net.restart(0, 2);
    assert_eq!((net.keys(1).as_str(), net.keys(2).as_str()), ("", "ann"));
    net.deaf.clear();
    net.up(0, 1);
    net.pass(Duration::from_secs(3));
    assert_eq!(net.keys(1), "", "the later life is heard, and has nothing");
    net.down(0, 1);
    net.take_sent();
    net.pass(Duration::from_secs(5));
    assert_eq!(net.keys(2), "ann", "it is still offered");
    assert_eq!(net.keys(1), "", "what left does not come back");
    let asked = |message: &Message| matches!(message, Message::HeldPull(_));
    assert!(!net.take_sent().iter().any(asked), "nor is it asked for");
}

/// Who heard a life and held it until its grace ended does not take its word: the tracker needs a new number. Who only had the
/// word of others for its end hears it.
#[test]
fn i20_a_life_whose_grace_ended_is_not_heard() {
    let mut net = Net::new(3);
    net.up(0, 2);
    net.up(1, 2);
    net.track(0, "ann");
    net.pass(Duration::from_secs(1));
    net.shards[0].restart(Duration::from_secs(3));
    net.run();
    net.down(0, 2);
    net.pass(Duration::from_secs(1));
    assert_eq!(net.keys(1), "ann", "held, from hearsay");
    net.pass(Duration::from_secs(4));
    assert_eq!(net.keys(1), "", "its grace is over");
    net.up(0, 1);
    net.pass(Duration::from_secs(1));
    assert_eq!(net.shards[1].stats().refused_lives, 0);
    assert_eq!(net.shards[1].shown_life(&name(0)), Some(life(1)));
    net.up(0, 2);
    net.pass(Duration::from_secs(1));
    assert!(net.shards[2].stats().refused_lives > 0);
    assert!(net.shards[0].at().life > life(1), "it took a higher number");
    for node in 1..3 {
        let shown = net.shards[node].shown_life(&name(0));
        assert_eq!(shown, Some(net.shards[0].at().life));
        assert_eq!(net.keys(node), "ann");
    }
}
