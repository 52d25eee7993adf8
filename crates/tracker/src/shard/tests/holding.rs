//! A restarting node closes connections: what their users track is held everywhere before that.

use super::*;
use crate::message::{Confirm, Hello};
use crate::peer::SILENT_PERIODS;
use crate::shard::holding::CONFIRM_LIMIT;

const GRACE: Duration = Duration::from_secs(10);

impl Net {
    /// Three nodes that all list ann, of the first one, which has announced a restart.
    fn restarting() -> Self {
        let mut net = Self::meshed(3);
        net.track(0, "ann");
        net.pass(PERIOD);
        net.shards[0].restart(GRACE);
        net.run();
        net.all_diffs();
        net
    }

    fn hold(&mut self, owner: u64) {
        self.shards[0].hold(&[owner], self.now);
        self.run();
    }

    fn close(&mut self, owner: u64) {
        self.shards[0].owner_died(owner, self.now);
        self.run();
    }

    /// Joins and leaves in each diff of each node since the last call.
    fn all_diffs(&mut self) -> Vec<Vec<(usize, usize)>> {
        let nodes = 0..self.shards.len();
        nodes.map(|node| self.take_diffs(node)).collect()
    }

    /// A node says how far its copy of the first one is.
    fn confirmed(&mut self, by: usize, at: Position) {
        let confirmed = Message::Confirmed(Confirm { at });
        self.hear(0, by, self.link(0, by), confirmed);
        self.run();
    }

    /// A second connection of ann to the first node.
    fn track_beside(&mut self) {
        let beside = Slot {
            owner: 2,
            ..slot("ann")
        };
        let tracked = self.shards[0].track(&beside, Bytes::new(), self.now);
        assert!(tracked.is_ok());
        self.pass(PERIOD);
        self.all_diffs();
    }
}

#[test]
fn i14_a_hold_is_over_only_once_all_who_are_linked_know_of_it() {
    for deaf in [1, 2] {
        let mut net = Net::restarting();
        net.deaf.insert((deaf, 0));
        net.hold(1);
        net.pass(PERIOD);
        assert_eq!(net.held, [], "node {deaf} knows nothing");
        net.deaf.clear();
        net.hold(1);
        assert_eq!(net.held, [true, true], "it has asked for what it missed");
        assert_eq!(net.all_diffs(), [[], [], []], "all still list her");
    }
}

#[test]
fn i14_what_was_confirmed_to_another_life_says_nothing_of_this_one() {
    let mut net = Net::restarting();
    net.deaf.insert((1, 0));
    net.hold(1);
    let other = Position {
        life: life(0),
        seq: 9,
    };
    net.confirmed(1, other);
    assert_eq!(net.held, []);
    net.confirmed(1, net.shards[0].at());
    assert_eq!(net.held, [true]);
}

/// While one is waited for, another one's earlier word comes late, and then it begins another life over the same link.
#[test]
fn i14_what_was_confirmed_stays_so() {
    let mut net = Net::restarting();
    net.deaf.insert((2, 0));
    net.hold(1);
    let at = net.shards[0].at();
    let another = life(1).next().unwrap();
    net.confirmed(1, Position { seq: 1, ..at });
    let hello = Hello {
        at: Position {
            life: another,
            seq: 0,
        },
        have: None,
        least: None,
        formerly: Vec::new(),
        goodbye: None,
        held: Vec::new(),
        hears: Vec::new(),
    };
    net.hear(0, 1, net.link(0, 1), Message::Hello(hello));
    assert_eq!(net.held, []);
    net.confirmed(2, at);
    assert_eq!(net.held, [true]);
}

/// Of two questions the earlier one is overtaken, and the operations come one by one: the answer is about both.
#[test]
fn i14_of_several_questions_the_furthest_is_answered() {
    let mut net = Net::restarting();
    net.track_beside();
    net.deaf.insert((1, 0));
    net.hold(1);
    net.hold(2);
    let at = net.shards[0].at();
    let link = net.link(1, 0);
    for seq in [at.seq, at.seq - 1] {
        let at = Position { seq, ..at };
        net.hear(1, 0, link, Message::Confirm(Confirm { at }));
    }
    let missing = net.shards[0].ops_after(at.seq - 2).remove(0);
    for (from, op) in (missing.from..).zip(missing.ops) {
        let (life, ops) = (missing.life, vec![op]);
        net.hear(1, 0, link, Message::Ops(Ops { life, from, ops }));
        net.run();
    }
    assert_eq!(net.held, [true, true]);
}

#[test]
fn i14_who_is_closed_after_that_changes_places_in_one_diff_on_each_node() {
    for back in 0..3 {
        let mut net = Net::restarting();
        net.hold(1);
        assert_eq!(net.held, [true]);
        net.close(1);
        net.track(back, "ann");
        net.pass(PERIOD);
        assert_eq!(
            net.all_diffs(),
            [[(1, 1)], [(1, 1)], [(1, 1)]],
            "by node {back}"
        );
        assert_eq!(net.shards[0].stats().holds_unconfirmed, 0);
    }
}

#[test]
fn i14_who_comes_back_by_the_restarted_node_changes_places_in_one_diff_as_well() {
    let mut net = Net::restarting();
    net.hold(1);
    net.close(1);
    net.shards[0].leave(net.now);
    net.run();
    net.restart(0, 2);
    net.up(0, 1);
    net.up(0, 2);
    net.pass(PERIOD);
    assert_eq!(net.keys(0), "ann", "held by the others");
    net.all_diffs();
    net.track(0, "ann");
    net.pass(PERIOD);
    assert_eq!(net.all_diffs(), [[(1, 1)], [(1, 1)], [(1, 1)]]);
}

#[test]
fn who_leaves_on_purpose_while_held_is_gone_at_once() {
    let mut net = Net::restarting();
    net.hold(1);
    net.untrack(0, "ann");
    net.pass(PERIOD);
    assert_eq!(net.all_diffs(), [[(0, 1)], [(0, 1)], [(0, 1)]]);
    net.close(1);
    net.pass(GRACE);
    assert_eq!(net.all_diffs(), [[], [], []]);
}

#[test]
fn i16_what_is_updated_while_held_stays_held() {
    let mut net = Net::restarting();
    net.hold(1);
    let updated = net.shards[0].update(&slot("ann"), None, Bytes::new(), net.now);
    assert!(updated.is_ok());
    net.pass(PERIOD);
    assert_eq!(net.all_diffs(), [[(1, 1)], [(1, 1)], [(1, 1)]]);
    net.track(1, "ann");
    net.pass(PERIOD);
    assert_eq!(
        net.all_diffs(),
        [[(1, 1)], [(1, 1)], [(1, 1)]],
        "not yet closed"
    );
}

/// Whichever of the two is updated, and however the operations of the update are cut into messages: the other connection's entry keeps
/// its place and its grace.
#[test]
fn i16_what_is_updated_while_held_takes_nobody_elses_place() {
    let lengths = [1, settings().chunk_bytes];
    for (owner, length) in [1, 2]
        .into_iter()
        .flat_map(|owner| lengths.map(|length| (owner, length)))
    {
        let mut net = Net::restarting();
        net.track_beside();
        net.hold(1);
        net.hold(2);
        net.all_diffs();
        let of = Slot {
            owner,
            ..slot("ann")
        };
        let meta = Bytes::from(vec![7; length]);
        let updated = net.shards[0].update(&of, None, meta, net.now);
        assert!(updated.is_ok());
        net.pass(PERIOD);
        assert_eq!(
            net.all_diffs(),
            [[(1, 1)], [(1, 1)], [(1, 1)]],
            "{owner}, {length}"
        );
        net.track(1, "ann");
        net.pass(PERIOD);
        assert_eq!(
            net.all_diffs(),
            [[(1, 2)], [(1, 2)], [(1, 2)]],
            "{owner}, {length}"
        );
    }
}

/// Ann is back elsewhere, and her old connection says something before it ends: she is not listed there again, on no node, however it is
/// told, one operation at a time, several, or as a state; nor when the new place leaves.
#[test]
fn i14_what_is_updated_after_it_gave_way_is_listed_nowhere() {
    for (length, updates, lost) in [
        (1, 1, false),
        (settings().chunk_bytes, 2, false),
        (1, 1, true),
        (1, 2, true),
    ] {
        let mut net = Net::restarting();
        net.hold(1);
        net.track(1, "ann");
        net.pass(PERIOD);
        assert_eq!(net.all_diffs(), [[(1, 1)], [(1, 1)], [(1, 1)]]);
        if lost {
            net.deaf.insert((2, 0));
        }
        for _ in 0..updates {
            let meta = Bytes::from(vec![7; length]);
            let updated = net.shards[0].update(&slot("ann"), None, meta, net.now);
            assert!(updated.is_ok());
            net.run();
        }
        if lost {
            for _ in 0..30 {
                net.track(0, "bob");
                net.untrack(0, "bob");
            }
            net.pass(PERIOD);
            net.all_diffs();
            net.deaf.clear();
            net.pass(settings().vector_period + RETRY_PERIOD);
            assert_eq!(net.shards[2].stats().states_taken, 1);
        }
        net.pass(PERIOD);
        assert_eq!(net.all_diffs(), [[], [], []], "{length}, {updates}, {lost}");
        net.untrack(1, "ann");
        net.pass(PERIOD);
        assert_eq!(net.all_diffs(), [[(0, 1)], [(0, 1)], [(0, 1)]]);
        net.close(1);
        net.shards[0].leave(net.now);
        net.run();
        net.pass(PERIOD);
        assert_eq!(net.all_diffs(), [[], [], []], "nor at its end");
    }
}

#[test]
fn i27_what_is_held_ahead_is_tracked_until_its_connection_ends() {
    let mut net = Net::restarting();
    net.hold(1);
    assert!(
        net.shards[0]
            .track(&slot("ann"), Bytes::new(), net.now)
            .is_err()
    );
    assert_eq!(net.shards[0].stats().own_entries, 1);
    net.close(1);
    assert_eq!(net.shards[0].stats().own_entries, 0);
    assert_eq!(net.shards[0].untrack(&slot("ann"), net.now), Ok(false));
}

#[test]
fn a_link_that_ends_is_waited_for_no_longer_and_one_that_comes_up_is() {
    let mut net = Net::restarting();
    net.down(0, 2);
    net.deaf.insert((1, 0));
    net.hold(1);
    net.up(0, 2);
    let confirmed = |(from, _, message): &(usize, usize, Message)| {
        *from == 2 && matches!(message, Message::Confirmed(_))
    };
    assert!(net.sent.iter().any(confirmed));
    assert_eq!(net.held, []);
    net.down(0, 1);
    assert_eq!(net.held, [true]);
}

/// Nobody comes back by a tracker that is over, and it does not answer: the second of two drains waits for those who are there.
#[test]
fn who_has_ended_is_not_waited_for_though_its_link_is_up() {
    for restarts in [true, false] {
        let mut net = Net::restarting();
        if restarts {
            net.shards[1].restart(GRACE);
        }
        net.shards[1].leave(net.now);
        net.run();
        net.deaf.insert((0, 1));
        net.hold(1);
        assert_eq!(net.held, [true], "it ended before: {restarts}");
    }
}

#[test]
fn who_ends_or_falls_silent_meanwhile_is_waited_for_no_longer() {
    for restarts in [true, false] {
        let mut net = Net::restarting();
        net.deaf.insert((1, 0));
        net.hold(1);
        assert_eq!(net.held, []);
        if restarts {
            net.shards[1].restart(GRACE);
        }
        net.shards[1].leave(net.now);
        net.run();
        assert_eq!(net.held, [true], "{restarts}");
    }
    let mut net = Net::restarting();
    net.deaf.extend([(0, 1), (1, 0)]);
    let silent = settings().vector_period * SILENT_PERIODS;
    net.pass(silent - CONFIRM_LIMIT / 2);
    net.hold(1);
    assert_eq!(net.held, []);
    net.pass(CONFIRM_LIMIT / 2);
    assert_eq!(net.held, [true]);
}

#[test]
fn holds_end_in_their_order_and_one_of_nothing_says_so_too() {
    let mut net = Net::restarting();
    net.deaf.insert((1, 0));
    net.hold(1);
    net.hold(7);
    assert_eq!(net.held, [], "behind the first one");
    net.pass(CONFIRM_LIMIT);
    assert_eq!(net.held, [false, true]);
}

/// Much is held in several steps, and whoever waits is answered after the last one.
#[test]
fn i14_a_hold_in_pieces_is_confirmed_as_a_whole() {
    let mut net = Net::restarting();
    net.track(0, "bob");
    net.track(0, "cem");
    let other = Slot {
        owner: 2,
        ..slot("dan")
    };
    assert!(net.shards[0].track(&other, Bytes::new(), net.now).is_ok());
    net.pass(PERIOD);
    let (owners, mut at, mut pieces) = ([1, 2, 7], HoldAt::default(), Vec::new());
    while !at.is_past(&owners) {
        pieces.push(net.shards[0].hold_some(&owners, &mut at, 2, net.now));
        net.run();
        assert_eq!(net.held, []);
    }
    assert_eq!(pieces, [2, 2, 2, 1], "an owner is looked at once more");
    net.shards[0].confirm_hold(&at, net.now);
    net.run();
    assert_eq!(net.held, [true]);
    for node in 0..3 {
        assert_eq!(net.shards[node].held_listed(), 4, "{node}");
    }
}

#[test]
fn without_an_announced_restart_nothing_is_held() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_sent();
    net.hold(1);
    assert_eq!(net.held, [true]);
    assert!(net.take_sent().is_empty());
    net.close(1);
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "");
}

/// Whoever comes too late for the operations gets the state, in which a held entry is marked as such.
#[test]
fn a_state_says_what_is_held_ahead() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.shards[0].restart(GRACE);
    net.hold(1);
    net.shards.push(Shard::new(name(2), life(1), settings()));
    net.diffs.push(Vec::new());
    net.up(0, 2);
    net.track(2, "ann");
    assert_eq!(net.references(2).len(), 1);
    net.pass(PERIOD);
    assert_eq!(net.references(0), net.references(2));
}

/// A node is linked and runs no such tracker, or not yet: it is waited for once, until it says something.
#[test]
fn who_never_said_anything_is_waited_for_once() {
    let mut net = Net::new(3);
    net.translate = Some((2, |_| None));
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        net.up(a, b);
    }
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(GRACE);
    net.run();
    net.hold(1);
    net.pass(CONFIRM_LIMIT);
    assert_eq!(net.held, [false]);
    net.hold(1);
    assert_eq!(net.held, [false, true], "at once");
    net.translate = None;
    net.pass(settings().vector_period);
    net.track_beside();
    net.deaf.insert((2, 0));
    net.hold(2);
    assert_eq!(net.held.len(), 2, "it counts, as it speaks");
    net.pass(CONFIRM_LIMIT);
    assert_eq!(net.held, [false, true, false]);
}
