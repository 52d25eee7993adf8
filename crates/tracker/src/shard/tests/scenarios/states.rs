//! S: what a node makes of what it does and of what others say.

use super::*;
use crate::message::Pull;

#[test]
fn s1_a_new_shard_has_nothing_to_tell() {
    let mut net = Net::meshed(2);
    assert_eq!(net.shards[0].own.frozen(), [], "nor a state");
    net.sent.clear();
    net.shards[0].answer(
        &name(1),
        &Pull {
            have: None,
            taken: None,
        },
        net.now,
    );
    net.run();
    let told = net.said(0, 1);
    let [Message::Hello(hello), Message::Ops(ops)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((hello.at.seq, hello.held.len()), (0, 0));
    assert_eq!((ops.from, ops.ops.len()), (0, 0));
    assert_eq!((net.counts(), net.told(1).len()), (vec![0, 0], 0));
}

#[test]
fn s2_what_joins_is_listed_under_its_topic_and_what_leaves_is_not() {
    let mut net = Net::new(1);
    net.track(0, "alice");
    assert_eq!(net.told(0), ["+alice"]);
    let listed = |net: &Net, topic: &str| net.shards[0].entries(topic).by_key("alice").count();
    assert_eq!((listed(&net, "t"), listed(&net, "other")), (1, 0));
    net.untrack(0, "alice");
    assert_eq!(net.told(0), ["-alice"]);
    assert_eq!((listed(&net, "t"), net.count(0)), (0, 0));
}

#[test]
fn s3_two_nodes_see_each_other_join_leave_and_update_and_nothing_twice() {
    let mut net = Net::meshed(2);
    net.track(0, "alice");
    net.track(1, "bob");
    assert_eq!(
        (net.told(0), net.told(1)),
        (vec!["+alice".into()], vec!["+bob".into()])
    );
    net.pass(PERIOD);
    assert_eq!(
        (net.told(0), net.told(1)),
        (vec!["+bob".into()], vec!["+alice".into()])
    );
    net.assert_heard(0, 1);
    net.assert_heard(1, 0);
    net.untrack(0, "alice");
    assert_eq!(net.keys(1), "alice bob", "not told yet");
    net.pass(PERIOD);
    assert_eq!(
        (net.told(1), net.keys(1).as_str()),
        (vec!["-alice".into()], "bob")
    );
    assert_eq!(net.shards[1].entries("t").by_key("alice").count(), 0);
    net.assert_heard(1, 0);
    net.told(0);
    net.track_as(1, "carol", "1");
    net.pass(PERIOD);
    assert_eq!(
        (net.told(0), net.keys(0).as_str()),
        (vec!["+carol=1".into()], "bob carol")
    );
    assert_eq!(net.references(0), net.references(1));
    net.update_to(1, "carol", "2");
    net.pass(PERIOD);
    assert_eq!(net.told(0), ["+carol=2 -carol=1"], "one join, one leave");
    assert_eq!(net.shards[0].entries("t").by_key("carol").count(), 1);
    assert_eq!(net.keys(0), "bob carol");
    assert_eq!(net.references(0), net.references(1));
    net.assert_heard(0, 1);
}

#[test]
fn s4_a_node_that_is_down_stays_hidden_whatever_it_says_until_it_is_up() {
    let mut net = Net::meshed(2);
    net.track(1, "bob");
    net.pass(PERIOD);
    assert_eq!(net.told(0), ["+bob"]);
    let (before, at) = (net.references(0), net.seq(0, 1));
    net.down_at(0, 1);
    assert_eq!(
        (net.told(0), net.keys(0).as_str()),
        (vec!["-bob".into()], "")
    );
    // It does not know of the break, and goes on: pushes, vectors, and all that it has said so far.
    net.track(1, "late");
    net.settled();
    let mut all = net.history_of(1);
    all.push(net.state_of(1));
    net.hear_all(0, 1, all);
    assert_eq!(
        (net.told(0), net.keys(0).as_str()),
        (vec![], ""),
        "while it is down"
    );
    assert_eq!(net.seq(0, 1), at, "nor is it kept for later");
    assert!(net.shards[0].stats().stale_messages > 3);
    net.untrack(1, "late");
    net.up(0, 1);
    assert_eq!(
        (net.told(0), net.references(0)),
        (vec!["+bob".into()], before)
    );
}

/// Whoever is heard by a third node only is not listed, and no diff tells of it: neither if the two have never met, nor if they
/// have, and their link broke.
#[test]
fn s5_s6_who_is_heard_by_a_third_node_only_stays_hidden_and_tells_no_diff() {
    for met in [false, true] {
        let mut net = Net::new(3);
        net.up(0, 1);
        net.up(1, 2);
        net.track(0, "ann");
        if met {
            net.up(0, 2);
            assert_eq!(net.told(2), ["+ann"]);
            net.down(0, 2);
            assert_eq!(net.told(2), ["-ann"]);
        }
        net.settled();
        net.told(1);
        net.sent.clear();
        net.track(0, "bob");
        net.settled();
        assert_eq!(
            (net.told(1), net.keys(1).as_str()),
            (vec!["+bob".into()], "ann bob")
        );
        assert_eq!(
            (net.told(2), net.keys(2).as_str()),
            (vec![], ""),
            "S5, met: {met}"
        );
        net.untrack(0, "bob");
        net.settled();
        assert_eq!(
            (net.told(1), net.keys(1).as_str()),
            (vec!["-bob".into()], "ann")
        );
        assert_eq!(
            (net.told(2), net.keys(2).as_str()),
            (vec![], ""),
            "S6, met: {met}"
        );
        let asked = net.said(2, 1);
        assert!(
            asked
                .iter()
                .all(|message| matches!(message, Message::Vector(_))),
            "{asked:?}"
        );
        net.up(0, 2);
        net.settled();
        assert_eq!(net.told(2), ["+ann"], "once it is heard itself");
    }
}

#[test]
fn s7_an_entry_is_found_by_its_owner_topic_and_key_and_by_no_other() {
    let mut net = Net::new(1);
    assert!(net.shards[0].own_slot(&slot("alice")).is_none());
    assert!(!net.shards[0].owner_has_entries(1));
    net.track(0, "alice");
    let found = net.shards[0].own_slot(&slot("alice")).unwrap();
    assert_eq!((found.reference.put_seq(), found.owner), (1, 1));
    assert!(net.shards[0].owner_has_entries(1) && !net.shards[0].owner_has_entries(2));
    let other_topic = Slot {
        topic: "other".into(),
        ..slot("alice")
    };
    for wrong in [slot("bob"), other_topic, Net::slot_of(2, "alice")] {
        assert!(net.shards[0].own_slot(&wrong).is_none(), "{wrong:?}");
    }
}

#[test]
fn s8_a_key_has_the_values_of_all_its_owners_and_an_unknown_one_has_none() {
    let mut net = Net::meshed(2);
    for (owner, meta) in [(1, "desk"), (2, "phone")] {
        let slot = Net::slot_of(owner, "alice");
        net.shards[0].track(&slot, meta.into(), net.now).unwrap();
    }
    net.track_as(1, "alice", "elsewhere");
    net.track(1, "alicia");
    net.pass(PERIOD);
    for node in 0..2 {
        let list = net.shards[node].entries("t");
        let mut found: Vec<_> = list
            .by_key("alice")
            .map(|entry| (entry.node.clone(), entry.owner, entry.meta.clone()))
            .collect();
        found.sort();
        let expected = [
            (name(0), 1, "desk".into()),
            (name(0), 2, "phone".into()),
            (name(1), 1, "elsewhere".into()),
        ];
        assert_eq!(found, expected, "node {node}");
        assert_eq!(list.by_key("bob").count(), 0);
        assert_eq!(net.shards[node].entries("other").by_key("alice").count(), 0);
    }
}

#[test]
fn s9_who_is_hidden_vanishes_and_the_others_stay() {
    let mut net = Net::meshed(3);
    for (here, there) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        assert_eq!(net.seq(here, there), Some(0), "all know of all, at nothing");
    }
    for node in 0..3 {
        net.track(node, ["ann", "bob", "cem"][node]);
    }
    net.pass(PERIOD);
    assert_eq!(net.keys(0), "ann bob cem");
    net.told(0);
    net.down(0, 1);
    assert_eq!(
        (net.keys(0).as_str(), net.told(0)),
        ("ann cem", vec!["-bob".into()])
    );
    net.down(0, 2);
    assert_eq!(
        (net.keys(0).as_str(), net.told(0)),
        ("ann", vec!["-cem".into()])
    );
    assert!(net.shards[0].entries("other").is_empty());
    assert_eq!(
        (net.keys(1).as_str(), net.keys(2).as_str()),
        ("bob cem", "bob cem")
    );
}

#[test]
fn s10_what_was_forgotten_stays_so_until_its_node_says_it_again() {
    let mut net = Net::meshed(3);
    net.track(1, "bob");
    net.track(2, "cem");
    net.pass(PERIOD);
    net.told(0);
    net.down(0, 1);
    net.down(1, 2);
    assert_eq!(net.told(0), ["-bob"]);
    net.pass(PERMDOWN + Duration::from_secs(5));
    assert_eq!(
        (net.seq(0, 1), net.told(0)),
        (None, vec![]),
        "forgotten without a word"
    );
    net.deaf.insert((0, 1));
    net.up(0, 1);
    assert_eq!(
        (net.keys(0).as_str(), net.told(0)),
        ("cem", vec![]),
        "a link alone"
    );
    assert_eq!(net.shards[0].entries("t").by_key("bob").count(), 0);
    net.untrack(1, "bob");
    net.deaf.clear();
    net.settled();
    assert_eq!(
        (net.keys(0).as_str(), net.told(0)),
        ("cem", vec![]),
        "its word, without bob"
    );
    net.track(1, "bob");
    net.pass(PERIOD);
    assert_eq!(net.told(0), ["+bob"]);
}

#[test]
fn s11_operations_have_numbers_and_each_is_told_as_it_comes() {
    let mut net = Net::meshed(2);
    let steps = [(true, "+x"), (false, "-x"), (true, "+x")];
    for (number, (joins, told)) in (1..).zip(steps) {
        match joins {
            true => drop(net.track(0, "x")),
            false => net.untrack(0, "x"),
        }
        net.pass(PERIOD);
        assert_eq!(
            (net.told(1), net.seq(1, 0)),
            (vec![told.into()], Some(number))
        );
        net.assert_nothing_pending(1, 0);
    }
    assert_eq!(net.shards[1].stats().gaps, 0);
}

/// Two pieces of what a node did, with one operation missing between them: neither order of theirs fills the gap.
#[test]
fn s12_pieces_with_a_gap_between_them_are_not_put_together() {
    for later_first in [false, true] {
        let mut net = Net::meshed(2);
        for key in ["a", "b", "c"] {
            net.track_as(0, key, "1");
        }
        let life = net.shards[0].at().life;
        let all = net.shards[0].ops_after(0).remove(0).ops;
        let piece = |from: usize| {
            let ops = vec![all[from].clone()];
            Message::Ops(Ops {
                life,
                from: from as u64,
                ops,
            })
        };
        // What it asks for does not arrive.
        net.deaf.insert((0, 1));
        let pieces = match later_first {
            true => [(piece(2), None, 0), (piece(0), Some("+a=1"), 1)],
            false => [(piece(0), Some("+a=1"), 1), (piece(2), None, 1)],
        };
        for (piece, told, seq) in pieces {
            net.hear_all(1, 0, vec![piece]);
            let told: Vec<String> = told.map(str::to_owned).into_iter().collect();
            assert_eq!((net.told(1), net.seq(1, 0)), (told, Some(seq)));
        }
        assert_eq!((net.keys(1).as_str(), net.shards[1].stats().gaps), ("a", 1));
        net.deaf.clear();
        net.settled();
        assert_eq!(
            (net.told(1), net.keys(1).as_str()),
            (vec!["+b=1 +c=1".into()], "a b c")
        );
        net.assert_nothing_pending(1, 0);
    }
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
    let named = |net: &mut Net, from: usize, to: usize| -> Vec<String> {
        net.sent.clear();
        net.pass(settings().vector_period);
        let said = net.said(from, to);
        let vector = said.iter().find_map(|message| match message {
            Message::Vector(vector) => Some(vector.heard.clone()),
            _ => None,
        });
        let mut names: Vec<String> = vector
            .unwrap()
            .into_iter()
            .map(|heard| heard.node)
            .collect();
        names.sort();
        names
    };
    assert_eq!(named(&mut net, 0, 1), ["b"]);
    assert_eq!(named(&mut net, 1, 0), ["a", "c"]);
    assert_eq!(net.shards[0].have(&name(2)), None);
    assert_eq!(net.shards[0].stats().remembered_peers, 1);
    assert_eq!(net.told(0), ["+ann", "+bob"]);
    net.down(1, 2);
    assert_eq!(
        named(&mut net, 1, 0),
        ["a"],
        "who is out of reach is not named"
    );
}

#[test]
fn s14_what_two_nodes_tell_at_once_is_all_there() {
    let mut net = Net::meshed(3);
    for (node, key) in [(0, "a"), (1, "b"), (0, "c"), (1, "d")] {
        net.track(node, key);
    }
    net.pass(PERIOD);
    assert_eq!(net.told(2), ["+a +c", "+b +d"]);
    assert_eq!((net.seq(2, 0), net.seq(2, 1)), (Some(2), Some(2)));
    for node in 0..3 {
        assert_eq!(net.keys(node), "a b c d");
        net.assert_lists(node, &[0, 1]);
    }
}

#[test]
fn s15_what_one_node_ends_as_another_begins_it_ends_there_only() {
    let mut net = Net::meshed(3);
    net.track(0, "x");
    net.untrack(0, "x");
    net.track(1, "x");
    let join = net.history_of(1);
    net.pass(PERIOD);
    assert_eq!(net.told(2), ["+x"], "of the one that ended nothing is told");
    net.assert_lists(2, &[1]);
    let listed: Vec<_> = net.shards[2]
        .listed()
        .map(|entry| entry.node.clone())
        .collect();
    assert_eq!(listed, [name(1)]);
    assert_eq!(
        (net.seq(2, 0), net.seq(2, 1)),
        (Some(2), Some(1)),
        "numbers of what ended are kept"
    );
    net.assert_heard(2, 0);
    net.assert_heard(2, 1);
    net.untrack(1, "x");
    net.pass(PERIOD);
    assert_eq!((net.told(2), net.seq(2, 1)), (vec!["-x".into()], Some(2)));
    net.hear_all(2, 1, join);
    assert_eq!((net.told(2), net.counts()), (vec![], vec![0, 0, 0]));
}
