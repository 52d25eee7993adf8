//! What is held beside other places of its user, or gave way to one, and is updated where it is out of reach.

use super::*;

/// The node that restarts, one that loses it, one that goes on hearing it, and one that has another place of the user.
const OWNER: usize = 0;
const HEARER: usize = 1;
const OTHER: usize = 2;
const BESIDE: usize = 3;

impl Net {
    /// The owner drains, and its entry of ann is held, before its connection ends. All linked know that.
    fn draining(mut self) -> Self {
        self.track(OWNER, "ann");
        self.pass(PERIOD);
        self.shards[OWNER].restart(GRACE);
        self.shards[OWNER].hold(&[1], self.now);
        self.pass(PERIOD);
        self
    }

    /// The connection, still open, says something new so many times.
    fn update(&mut self, times: usize) {
        for _ in 0..times {
            let updated = self.shards[OWNER].update(&slot("ann"), None, Bytes::new(), self.now);
            assert!(updated.is_ok());
            self.run();
        }
        self.pass(PERIOD);
    }

    fn linked(nodes: usize, links: &[(usize, usize)]) -> Self {
        let mut net = Self::new(nodes);
        links.iter().for_each(|(a, b)| net.up(*a, *b));
        net
    }
}

#[test]
fn i14_what_is_updated_out_of_reach_stays_beside_the_other_places() {
    for updates in 0..3 {
        let mut net = Net::meshed(3);
        let beside = Slot {
            owner: 2,
            ..slot("ann")
        };
        let tracked = net.shards[HEARER].track(&beside, Bytes::new(), net.now);
        assert!(tracked.is_ok());
        net.pass(PERIOD);
        let mut net = net.draining();
        net.down(OWNER, HEARER);
        net.update(updates);
        net.take_diffs(HEARER);
        net.up(OWNER, HEARER);
        net.pass(PERIOD);
        let diffs = vec![(1, 1); usize::from(updates > 0)];
        assert_eq!(net.take_diffs(HEARER), diffs, "{updates}");
        assert_eq!(net.shards[HEARER].shown_life(&name(OWNER)), Some(life(1)));
        for node in 0..3 {
            assert_eq!(net.keys(node), "ann ann", "{updates}, node {node}");
            assert_eq!(net.references(node), net.references(OWNER));
            assert_eq!(net.shards[node].held_listed(), 1);
        }
        net.track(OTHER, "ann");
        net.pass(PERIOD);
        for node in 0..3 {
            assert_eq!(net.shards[node].held_listed(), 0, "she is back");
        }
    }
}

/// Only the hearer and a third one know of the other place.
#[test]
fn i14_what_was_updated_in_the_set_of_another_stays_beside_the_other_places() {
    for updates in 0..3 {
        let mut net = Net::linked(4, &[(OWNER, HEARER), (OWNER, OTHER), (HEARER, BESIDE)]);
        net.track(BESIDE, "ann");
        net.pass(PERIOD);
        let mut net = net.draining();
        net.down(OWNER, HEARER);
        net.update(updates);
        net.down(OWNER, OTHER);
        net.take_diffs(HEARER);
        net.up(HEARER, OTHER);
        net.pass(PERIOD);
        let diffs = vec![(1, 1); usize::from(updates > 0)];
        assert_eq!(net.take_diffs(HEARER), diffs, "{updates}");
        for node in [HEARER, BESIDE] {
            assert_eq!(net.keys(node), "ann ann", "{updates}, node {node}");
            assert_eq!(net.shards[node].held_listed(), 1);
        }
        let held = net.references(OTHER);
        assert_eq!(held.len(), 1);
        assert!(net.references(HEARER).contains(&held[0]));
    }
}

/// Ann came back by the hearer, and left. What her old connection says later is over there too, however often it spoke: whether the set of
/// another one tells it, or its own node.
#[test]
fn i8_what_gave_way_and_was_updated_out_of_reach_stays_away() {
    for (updates, heard) in [
        (0, false),
        (1, false),
        (2, false),
        (3, false),
        (0, true),
        (1, true),
        (2, true),
    ] {
        let case = format!("{updates} updates, heard again: {heard}");
        let mut net = Net::meshed(3).draining();
        net.down(HEARER, OTHER);
        net.down(OWNER, HEARER);
        net.track(HEARER, "ann");
        net.untrack(HEARER, "ann");
        net.update(updates);
        net.track(OWNER, "bob");
        net.pass(PERIOD);
        assert_eq!(net.keys(HEARER), "", "{case}");
        if heard {
            net.up(OWNER, HEARER);
            net.pass(PERIOD);
            assert_eq!(net.shards[HEARER].shown_life(&name(OWNER)), Some(life(1)));
        } else {
            net.down(OWNER, OTHER);
            net.up(HEARER, OTHER);
            net.pass(PERIOD);
            assert_eq!(net.shards[HEARER].stats().held_sets_taken, 1, "{case}");
        }
        assert_eq!(
            (net.keys(HEARER), net.keys(OTHER)),
            ("bob".into(), "ann bob".into()),
            "{case}"
        );
    }
}

/// What a further set adds is beside those alone that its teller lists beside it.
#[test]
fn i14_what_a_further_set_adds_gives_way_to_what_its_teller_does_not_list() {
    for told in [false, true] {
        let mut net = Net::linked(4, &[(OWNER, HEARER), (OWNER, OTHER), (HEARER, BESIDE)]);
        let mut net = {
            if told {
                net.up(OTHER, BESIDE);
            }
            net.draining()
        };
        net.down(OWNER, HEARER);
        net.track(BESIDE, "bob");
        net.pass(PERIOD);
        net.track(OWNER, "bob");
        net.pass(PERIOD);
        net.down(OWNER, OTHER);
        net.up(HEARER, OTHER);
        net.pass(PERIOD);
        let keys = if told { "ann bob bob" } else { "ann bob" };
        assert_eq!(net.keys(HEARER), keys, "told: {told}");
        assert_eq!(net.shards[HEARER].held_listed(), 1 + usize::from(told));
    }
}

/// Ann came back by the hearer, and left. Her old connection, which is heard all the time, says something more.
#[test]
fn i8_what_gave_way_and_is_updated_stays_away_where_its_node_is_heard() {
    let mut net = Net::meshed(2).draining();
    net.track(HEARER, "ann");
    net.pass(PERIOD);
    net.untrack(HEARER, "ann");
    net.pass(PERIOD);
    net.take_diffs(HEARER);
    net.update(2);
    assert_eq!(
        (net.keys(HEARER), net.take_diffs(HEARER)),
        (String::new(), vec![])
    );
}
