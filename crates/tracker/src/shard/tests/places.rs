//! A user with several places: one of them is held, and the others are no sign that its user is back.

use super::*;

const GRACE: Duration = Duration::from_secs(10);
const BOTH: [u64; 2] = [1, 2];

/// So long after a return came to the node of a lost connection all have heard of both.
const TOLD: Duration = Duration::from_secs(5);

fn place(owner: u64) -> Slot {
    Slot {
        owner,
        ..slot("ann")
    }
}

impl Net {
    /// Three nodes that list places of ann, each of a node and an owner there. The first one has announced a restart.
    fn with_places(places: &[(usize, u64)]) -> Self {
        let mut net = Self::meshed(3);
        net.come(places);
        net.shards[0].restart(GRACE);
        net.run();
        net.diffs.iter_mut().for_each(Vec::clear);
        net
    }

    fn come(&mut self, places: &[(usize, u64)]) {
        for (node, owner) in places {
            let tracked = self.shards[*node].track(&place(*owner), Bytes::new(), self.now);
            assert!(tracked.is_ok());
            self.run();
        }
        self.pass(PERIOD);
    }

    fn update_place(&mut self, node: usize, owner: u64) {
        let updated = self.shards[node].update(&place(owner), None, Bytes::new(), self.now);
        assert!(updated.is_ok());
        self.run();
        self.pass(PERIOD);
    }

    /// The first node closes connections, once all know that it will.
    fn close_held(&mut self, owners: &[u64]) {
        self.held.clear();
        self.shards[0].hold(owners, self.now);
        self.run();
        assert_eq!(self.held, [true]);
        for owner in owners {
            self.shards[0].owner_died(*owner, self.now);
        }
        self.run();
        self.pass(PERIOD);
    }

    /// Joins and leaves in each diff, which all nodes told alike since the last call.
    fn changes(&mut self) -> Vec<(usize, usize)> {
        let first = self.take_diffs(0);
        for node in 1..self.shards.len() {
            assert_eq!(self.take_diffs(node), first, "node {node}");
        }
        first
    }

    /// Of how many places each node knows.
    fn places(&self) -> Vec<usize> {
        let nodes = self.shards.iter();
        nodes.map(|shard| shard.listed().count()).collect()
    }

    /// The first node is over, and another life of it begins, without links.
    fn end_and_begin(&mut self) {
        self.shards[0].leave(self.now);
        self.run();
        self.restart(0, 2);
    }
}

#[test]
fn i14_two_places_on_the_node_are_closed_one_after_the_other_and_no_leave_is_alone() {
    let mut net = Net::with_places(&[(0, 1), (0, 2)]);
    for owner in BOTH {
        net.close_held(&[owner]);
        assert_eq!((net.changes(), net.places()), (vec![], vec![2; 3]));
        net.come(&[(1, owner)]);
        assert_eq!((net.changes(), net.places()), (vec![(1, 1)], vec![2; 3]));
    }
}

/// Of two that are held the first that comes back takes the place of both: nobody knows whether the other one will.
#[test]
fn i14_two_places_closed_at_once_stay_until_the_first_is_back() {
    let mut net = Net::with_places(&[(0, 1), (0, 2)]);
    net.close_held(&BOTH);
    assert_eq!((net.changes(), net.places()), (vec![], vec![2; 3]));
    net.come(&[(1, 1)]);
    assert_eq!((net.changes(), net.places()), (vec![(1, 2)], vec![1; 3]));
    net.come(&[(2, 2)]);
    assert_eq!((net.changes(), net.places()), (vec![(1, 0)], vec![2; 3]));
}

#[test]
fn i14_a_place_on_another_node_is_no_return_and_neither_is_its_update() {
    let mut net = Net::with_places(&[(0, 1), (1, 2)]);
    net.close_held(&[1]);
    assert_eq!((net.changes(), net.places()), (vec![], vec![2; 3]));
    for _ in 0..2 {
        net.update_place(1, 2);
        assert_eq!((net.changes(), net.places()), (vec![(1, 1)], vec![2; 3]));
    }
    net.come(&[(2, 1)]);
    assert_eq!((net.changes(), net.places()), (vec![(1, 1)], vec![2; 3]));
}

#[test]
fn i14_what_is_updated_while_it_is_held_is_no_return_of_the_others() {
    let mut net = Net::with_places(&[(0, 1), (0, 2)]);
    net.shards[0].hold(&BOTH, net.now);
    net.update_place(0, 1);
    assert_eq!((net.changes(), net.places()), (vec![(1, 1)], vec![2; 3]));
    assert_eq!(net.shards[2].held_listed(), 2, "both are held");
}

#[test]
fn i14_whose_grace_ends_leaves_alone_and_the_other_place_stays() {
    let mut net = Net::with_places(&[(0, 1), (1, 2)]);
    net.close_held(&[1]);
    net.end_and_begin();
    net.pass(GRACE);
    for node in [1, 2] {
        assert_eq!(net.take_diffs(node), [(0, 1)], "node {node}");
    }
}

/// The other place is on a node whose link breaks: where it was hidden it is no return either.
#[test]
fn i14_a_place_that_was_out_of_reach_is_no_return() {
    let mut net = Net::with_places(&[(0, 1), (1, 2)]);
    net.close_held(&[1]);
    net.down(1, 2);
    net.up(1, 2);
    net.pass(PERIOD);
    assert_eq!(net.places(), [2; 3]);
    assert_eq!(net.take_diffs(2), [(0, 1), (1, 0)]);
}

/// The same, and the other place changes while it is out of reach: each time more than one step away from what was listed.
#[test]
fn i14_a_place_that_was_updated_out_of_reach_is_no_return_however_often() {
    (1..4).for_each(|updates| updated_out_of_reach_is_no_return(updates, |_| {}));
}

/// Of two places one is held. The other one is out of reach of a node while that happens, and then it is updated so often.
fn updated_out_of_reach_is_no_return(updates: usize, happens: impl Fn(&mut Net)) {
    let mut net = Net::with_places(&[(0, 1), (1, 2)]);
    net.close_held(&[1]);
    net.down(1, 2);
    happens(&mut net);
    for _ in 0..updates {
        net.update_place(1, 2);
    }
    net.up(1, 2);
    net.pass(PERIOD);
    assert_eq!(net.places(), [2; 3], "{updates}");
    assert_eq!(net.take_diffs(2), [(0, 1), (1, 0)], "{updates}");
    net.diffs.iter_mut().for_each(Vec::clear);
    net.come(&[(1, 1)]);
    assert_eq!(net.changes(), [(1, 1)], "its return: {updates}");
}

/// The node of the other place crashes while something is held, and its next process has the numbers of its owners anew: who tracks and
/// updates there before the link is up is no later value of what was listed, but a return.
#[test]
fn i14_what_another_process_of_the_other_place_tracks_is_a_return_however_often_it_was_updated() {
    for updates in 0..3 {
        let mut net = Net::with_places(&[(0, 1), (1, 2)]);
        net.close_held(&[1]);
        net.restart(1, 2);
        let before = net.shards[1].at().seq;
        net.shards[1]
            .track(&slot("bob"), Bytes::new(), net.now)
            .unwrap();
        net.come(&[(1, 2)]);
        for _ in 0..updates {
            net.update_place(1, 2);
        }
        assert!(net.shards[1].at().seq > before);
        net.take_diffs(2);
        net.up(1, 2);
        net.pass(PERIOD);
        let ann = || net.shards[2].listed().filter(|entry| &*entry.key == "ann");
        let nodes: Vec<NodeName> = ann().map(|entry| entry.node.clone()).collect();
        assert_eq!(nodes, [name(1)], "{updates}");
        assert_eq!(net.shards[2].stats().grace_used, 1, "{updates}");
    }
}

/// The updates are lost, and more comes after them than the log has: what is missing is filled by a state.
#[test]
fn i14_a_place_that_was_updated_in_a_gap_is_no_return_however_often() {
    for updates in 1..4 {
        let mut net = Net::with_places(&[(0, 1), (1, 2)]);
        net.close_held(&[1]);
        net.deaf.insert((2, 1));
        for _ in 0..updates {
            net.update_place(1, 2);
        }
        for _ in 0..30 {
            net.track(1, "bob");
            net.untrack(1, "bob");
        }
        net.pass(PERIOD);
        net.deaf.clear();
        net.pass(settings().vector_period + RETRY_PERIOD);
        assert_eq!(net.shards[2].stats().states_taken, 1, "{updates}");
        assert_eq!(net.places(), [2; 3], "{updates}");
        assert_eq!(net.take_diffs(2), [(1, 1)], "{updates}");
    }
}

/// Of the other place the restarted node hears what it was by one node, and what it is by its own, which has updated it since: the one
/// before the other, or after it.
#[test]
fn i14_the_restarted_node_lists_both_places_though_the_other_one_was_updated() {
    for (order, updates) in [([1, 2], 1), ([1, 2], 2), ([2, 1], 1), ([2, 1], 2)] {
        let mut net = Net::with_places(&[(0, 1), (2, 2)]);
        net.close_held(&[1]);
        net.end_and_begin();
        if order == [1, 2] {
            net.up(0, 1);
        } else {
            net.deaf.insert((1, 2));
        }
        for _ in 0..updates {
            net.update_place(2, 2);
        }
        for other in order {
            net.up(0, other);
        }
        assert_eq!(net.places(), [2; 3], "{order:?}, {updates}");
        net.deaf.clear();
        net.pass(settings().vector_period + RETRY_PERIOD);
        net.diffs.iter_mut().for_each(Vec::clear);
        net.come(&[(0, 1)]);
        assert_eq!((net.changes(), net.places()), (vec![(1, 1)], vec![2; 3]));
    }
}

/// The next life of the node hears of the held place by one node and of the other place by another, in either order.
#[test]
fn i14_the_restarted_node_lists_both_places_in_whichever_order_it_hears_of_them() {
    for order in [[1, 2], [2, 1]] {
        let mut net = Net::with_places(&[(0, 1), (2, 2)]);
        net.close_held(&[1]);
        net.end_and_begin();
        for other in order {
            net.up(0, other);
        }
        net.pass(PERIOD);
        assert_eq!(net.places(), [2; 3], "{order:?}");
        net.diffs.iter_mut().for_each(Vec::clear);
        net.come(&[(0, 1)]);
        assert_eq!((net.changes(), net.places()), (vec![(1, 1)], vec![2; 3]));
    }
}

/// Its user is back on a node of which the one that passes the held place on has not heard yet.
#[test]
fn i14_the_restarted_node_takes_a_new_place_for_a_return_in_whichever_order_it_hears_of_it() {
    for order in [[1, 2], [2, 1]] {
        let mut net = Net::with_places(&[(0, 1)]);
        net.close_held(&[1]);
        net.end_and_begin();
        net.deaf.insert((1, 2));
        net.come(&[(2, 1)]);
        for other in order {
            net.up(0, other);
        }
        assert_eq!(net.places(), [1; 3], "{order:?}");
        assert_eq!(net.shards[0].held_listed(), 0, "{order:?}");
    }
}

#[test]
fn i14_a_lost_connection_of_one_of_two_is_held_for_its_grace() {
    let mut net = Net::meshed(3);
    let ticket = net.track(0, "ann");
    net.shards[0].set_drop_grace(&ticket, GRACE);
    net.come(&[(1, 2)]);
    net.changes();
    net.shards[0].release(&ticket, net.now);
    net.run();
    net.pass(GRACE - PERIOD);
    assert_eq!((net.changes(), net.places()), (vec![], vec![2; 3]));
    net.pass(2 * PERIOD);
    assert_eq!((net.changes(), net.places()), (vec![(0, 1)], vec![1; 3]));
}

/// Nobody is asked before a connection is lost. Where its client is back sooner than that is known, the owner's word comes later.
#[test]
fn i14_who_is_back_before_the_loss_is_known_is_listed_twice_for_a_moment_only() {
    let mut net = Net::meshed(3);
    let ticket = net.track(0, "ann");
    net.shards[0].set_drop_grace(&ticket, GRACE);
    net.pass(PERIOD);
    net.shards[0].release(&ticket, net.now);
    net.run();
    net.come(&[(1, 2)]);
    assert_eq!(net.places(), [1, 2, 1]);
    net.pass(TOLD);
    assert_eq!(net.places(), [1; 3]);
}

/// The user is back on another node, and the way from there to a third one stalls for almost as long as a link may be silent. Nothing
/// is lost. It is listed there all the time, and the owner's word that the old place is gone comes after the new one.
#[test]
fn i14_who_is_back_is_listed_where_the_news_of_that_is_late() {
    let mut net = Net::meshed(3);
    let ticket = net.track(0, "ann");
    net.shards[0].set_drop_grace(&ticket, GRACE);
    net.pass(PERIOD);
    net.shards[0].release(&ticket, net.now);
    net.pass(PERIOD);
    net.take_diffs(2);
    net.deaf.insert((2, 1));
    net.sent.clear();
    net.track(1, "ann");
    net.pass(Duration::from_millis(2_400));
    assert_eq!((net.keys(1), net.keys(2)), ("ann".into(), "ann".into()));
    net.deaf.clear();
    for (from, to, message) in std::mem::take(&mut net.sent) {
        if (from, to) == (1, 2) {
            net.hear(2, 1, net.link(2, 1), message);
            net.run();
        }
    }
    assert_eq!(net.take_diffs(2), [(1, 1)]);
    net.pass(TOLD);
    assert_eq!((net.keys(2), net.take_diffs(2)), ("ann".into(), vec![]));
}

/// Others have a tenth of the usual period to hear of it.
#[test]
fn i14_a_lost_connection_is_told_sooner_than_other_changes() {
    let mut net = Net::meshed(2);
    let ticket = net.track(0, "ann");
    net.shards[0].set_drop_grace(&ticket, GRACE);
    net.pass(PERIOD);
    net.shards[0].release(&ticket, net.now);
    net.run();
    assert!(net.shards[0].poll_timeout() <= net.now + PERIOD / 10);
}

/// Two places of two nodes are held, and the user is back in one for the first of them; then the second node ends as well. Whoever starts
/// hears of both held ones, and that the new place is none for the second one: for the first one it is.
#[test]
fn i14_beside_what_one_is_held_is_said_of_that_one_only() {
    let mut net = Net::with_places(&[(0, 1), (1, 2)]);
    net.close_held(&[1]);
    net.come(&[(2, 3)]);
    assert_eq!(net.places(), [2; 3]);
    net.shards[1].restart(GRACE);
    net.run();
    net.restart(1, 2);
    net.pass(PERIOD);
    net.up(1, 0);
    assert_eq!(
        net.shards[1].held_listed(),
        2,
        "nobody has said that one is gone"
    );
    net.up(1, 2);
    assert_eq!(net.places(), [2; 3]);
}

/// A link breaks during the drain, and is back when the user of one of two places is: that one is gone then, and the other one stays.
#[test]
fn i14_who_came_back_while_a_link_was_broken_takes_the_old_place_when_it_is_up() {
    let mut net = Net::with_places(&[(0, 1), (0, 2)]);
    net.close_held(&[1]);
    net.down(0, 2);
    assert_eq!(net.shards[2].held_listed(), 2);
    net.up(0, 2);
    net.pass(PERIOD);
    assert_eq!((net.places(), net.shards[2].held_listed()), (vec![2; 3], 1));
    net.down(0, 2);
    net.come(&[(0, 3)]);
    net.diffs.iter_mut().for_each(Vec::clear);
    net.up(0, 2);
    net.pass(PERIOD);
    assert_eq!(
        (net.take_diffs(2), net.places()),
        (vec![(1, 1)], vec![2; 3])
    );
}

/// The same as above, and the node of the other place takes another number meanwhile.
#[test]
fn i14_a_place_that_was_updated_under_another_number_is_no_return_however_often() {
    (0..4).for_each(|updates| updated_out_of_reach_is_no_return(updates, |net| net.renumber(1, 7)));
}

/// Nor is it one to whom the held place is told, and that it stands beside the other one as that was before.
#[test]
fn i14_the_restarted_node_lists_both_places_though_the_other_one_took_another_number() {
    for updates in 0..4 {
        let mut net = Net::with_places(&[(0, 1), (2, 2)]);
        net.close_held(&[1]);
        net.end_and_begin();
        net.deaf.insert((1, 2));
        net.renumber(2, 7);
        for _ in 0..updates {
            net.update_place(2, 2);
        }
        net.up(0, 1);
        net.up(0, 2);
        assert_eq!(net.places()[0], 2, "{updates}");
    }
}

/// The update is large, and the word that it is held still would have a message of its own.
#[test]
fn i14_a_large_update_of_what_is_held_leaves_the_other_places_what_they_were() {
    let mut net = Net::with_places(&[(0, 1), (1, 2)]);
    net.close_held_ahead();
    net.down(1, 2);
    let meta = Bytes::from(vec![7; settings().chunk_bytes]);
    let updated = net.shards[0].update(&place(1), None, meta, net.now);
    assert!(updated.is_ok());
    net.run();
    net.pass(PERIOD);
    net.up(1, 2);
    net.pass(PERIOD);
    assert_eq!((net.places(), net.shards[2].held_listed()), (vec![2; 3], 1));
}

impl Net {
    /// The first node is about to close its first connection.
    fn close_held_ahead(&mut self) {
        self.shards[0].hold(&[1], self.now);
        self.run();
        self.pass(PERIOD);
    }
}
