//! X: what random tests have found in trackers elsewhere.

use super::*;

#[test]
fn x1_a_node_that_comes_back_gets_what_is_left() {
    let mut net = Net::meshed(3);
    net.track_many(0, 0..1);
    net.track_many(1, 0..52);
    assert_eq!(net.counts(), [53, 53, 53]);
    net.stop(2);
    net.untrack_many(1, 0..51);
    assert_eq!((net.count(0), net.count(1)), (2, 2));
    net.stop(0);
    assert_eq!(net.keys(1), "1-051");
    net.begin(2, 2, &[1]);
    assert_eq!(
        (net.told(2), net.keys(2).as_str()),
        (vec!["+1-051".into()], "1-051")
    );
    net.settled();
    assert_eq!(
        (net.keys(1).as_str(), net.keys(2).as_str()),
        ("1-051", "1-051")
    );
    assert_eq!(net.told(2), NOTHING);
}

#[test]
fn x2_a_fresh_node_learns_of_nodes_it_never_met_only_what_lives() {
    let mut net = Net::meshed(3);
    net.stop(0);
    net.track_many(1, 0..70);
    net.track_many(2, 0..83);
    assert_eq!((net.count(1), net.count(2)), (153, 153));
    net.stop(2);
    assert_eq!(net.count(1), 70);
    net.begin(0, 2, &[1]);
    assert_eq!(net.take_diffs(0), [(70, 0)]);
    net.settled();
    for node in [0, 1] {
        net.assert_lists(node, &[1]);
    }
    assert_eq!((net.take_diffs(0), net.seq(0, 2)), (vec![], None));
}

#[test]
fn x3_removals_cross_a_split_as_joins_do() {
    let mut net = Net::meshed(3);
    net.down(0, 2);
    net.track_many(2, 0..3);
    assert_eq!(net.counts(), [0, 3, 3]);
    for (gone, left) in [(0, 2), (1, 1)] {
        net.untrack_many(2, gone..gone + 1);
        assert_eq!(net.counts(), [0, left, left]);
    }
    net.settled();
    assert_eq!(net.told(0), NOTHING, "of what only the node between hears");
    net.up(0, 2);
    assert_eq!(net.told(0), ["+2-002"]);
    net.settled();
    for node in 0..3 {
        assert_eq!((net.keys(node).as_str(), net.told(0).len()), ("2-002", 0));
    }
}

#[test]
fn x4_much_on_both_sides_of_a_split_with_a_node_gone_in_between() {
    let mut net = Net::meshed(3);
    net.down(1, 2);
    for node in [1, 2] {
        net.track_many(node, 0..100);
    }
    assert_eq!(net.counts(), [200, 100, 100]);
    for node in [1, 2] {
        net.untrack_many(node, 0..50);
    }
    assert_eq!(net.counts(), [100, 50, 50]);
    net.stop(0);
    for hundred in 1..4 {
        for node in [1, 2] {
            net.track_many(node, hundred * 100..(hundred + 1) * 100);
        }
    }
    assert_eq!((net.count(1), net.count(2)), (350, 350));
    for node in [1, 2] {
        net.assert_lists(node, &[node]);
        net.take_diffs(node);
    }
    net.up(1, 2);
    for node in [1, 2] {
        assert_eq!(net.take_diffs(node), [(350, 0)], "in one diff");
    }
    net.settled();
    for node in [1, 2] {
        net.assert_lists(node, &[1, 2]);
        assert_eq!((net.count(node), net.take_diffs(node)), (700, vec![]));
    }
}

#[test]
fn x5_a_restart_during_a_split_holds_nobody_up() {
    let mut net = Net::meshed(3);
    net.track_many(2, 90..95);
    net.down(1, 2);
    net.stop(2);
    net.begin(2, 2, &[0]);
    assert_eq!(
        net.counts(),
        [0, 0, 0],
        "of its earlier life nothing is left"
    );
    for node in 0..3 {
        net.track_many(node, 0..10);
    }
    net.settled();
    assert_eq!(net.counts(), [30, 20, 20]);
    for (node, tracked_by) in [(0, &[0, 1, 2][..]), (1, &[0, 1]), (2, &[0, 2])] {
        net.assert_lists(node, tracked_by);
    }
    net.up(1, 2);
    net.settled();
    for node in 0..3 {
        net.assert_lists(node, &[0, 1, 2]);
    }
}

#[test]
fn x6_seven_nodes_at_once_list_everything() {
    let mut net = Net::meshed(7);
    for key in 0..100 {
        for node in 0..7 {
            net.track(node, &format!("{node}-{key:03}"));
        }
    }
    net.pass(PERIOD);
    for node in 0..7 {
        net.assert_lists(node, &[0, 1, 2, 3, 4, 5, 6]);
        let (joins, leaves): (Vec<_>, Vec<_>) = net.take_diffs(node).into_iter().unzip();
        let told: (usize, usize) = (joins.iter().sum(), leaves.iter().sum());
        assert_eq!(told, (700, 0), "each once");
    }
}

/// One node missed two updates. A third one begins, and hears the newest operations first and an older state second, or the other way
/// round.
#[test]
fn x7_the_newest_value_wins_in_whatever_order_states_and_operations_come() {
    for newest_first in [true, false] {
        let mut net = Net::new(3);
        net.up(0, 1);
        net.track_as(0, "alice", "1");
        net.pass(PERIOD);
        let older = vec![net.state_of(0)];
        net.deaf.insert((1, 0));
        for value in ["2", "3"] {
            net.update_to(0, "alice", value);
            net.pass(PERIOD);
        }
        assert_eq!(net.told(1), ["+alice=1"], "it missed the others");
        net.deaf.insert((2, 0));
        net.up(0, 2);
        net.up(1, 2);
        assert_eq!(net.told(2), NOTHING, "who missed them tells nothing of her");
        let word = Message::Vector(vector(net.shards[0].at(), Vec::new()));
        net.hear_all(2, 0, vec![word]);
        let newest = net.history_of(0);
        let (first, second) = match newest_first {
            true => (newest, older),
            false => (older, newest),
        };
        net.hear_all(2, 0, first);
        let after_first = net.told(2);
        net.hear_all(2, 0, second);
        let told = [after_first, net.told(2)];
        let expected: [Vec<String>; 2] = match newest_first {
            true => [vec!["+alice=3".into()], vec![]],
            false => [vec![], vec!["+alice=3".into()]],
        };
        assert_eq!(told, expected, "never an older value");
        net.deaf.clear();
        net.settled();
        assert_eq!(net.told(1), ["+alice=3 -alice=1"]);
        assert_eq!(net.told(2), NOTHING);
        for node in 0..3 {
            let meta: Vec<_> = net.shards[node].listed().map(|e| e.meta.clone()).collect();
            assert_eq!(meta, ["3"], "{node}");
        }
    }
}

/// It missed the join of x and saw y come and go. Another node missed that y went, and all that is older comes again.
#[test]
fn x8_an_older_state_brings_back_nobody_whose_end_was_seen() {
    let mut net = Net::meshed(3);
    net.deaf.insert((2, 0));
    net.track(0, "x");
    net.pass(PERIOD);
    net.deaf.clear();
    assert_eq!(net.told(2), NOTHING);
    net.track(0, "y");
    net.pass(PERIOD);
    assert_eq!(net.told(2), ["+x +y"], "what it missed comes with it");
    let mut older = net.history_of(0);
    older.push(net.state_of(0));
    older.extend(net.history_of(0));
    net.deaf.insert((1, 0));
    net.untrack(0, "y");
    net.pass(PERIOD);
    assert_eq!(
        (net.told(2), net.keys(1).as_str()),
        (vec!["-y".into()], "x y")
    );
    net.hear_all(2, 0, older);
    assert_eq!((net.told(2), net.keys(2).as_str()), (vec![], "x"));
    // The node that still lists her speaks too.
    net.sent.clear();
    net.settled();
    assert!(!net.said(1, 2).is_empty());
    assert_eq!((net.told(2), net.keys(2).as_str()), (vec![], "x"));
    net.deaf.clear();
    net.settled();
    for node in 0..3 {
        assert_eq!(net.keys(node), "x");
    }
}
