//! What is held after an announced restart: by whom, for how long, and what nobody takes over any more.

use super::*;
use crate::message::Offer;

const GRACE: Duration = Duration::from_secs(10);

impl Net {
    /// All linked nodes list ann, of the first one, which has announced a restart.
    fn about_to_restart(mut self, grace: Duration) -> Self {
        self.track(0, "ann");
        self.pass(PERIOD);
        self.shards[0].restart(grace);
        self.run();
        self
    }

    /// A node says that it holds what the first one tracked, and how long that still lasts.
    fn offer(&mut self, from: usize, to: usize, left: Duration) {
        let offer = Offer {
            node: "a".to_owned(),
            at: Position {
                life: life(1),
                seq: 1,
            },
            left: left.as_millis() as u64,
            formerly: Vec::new(),
        };
        let mut vector = vector(self.shards[from].at(), Vec::new());
        vector.held = vec![offer];
        self.hear(to, from, self.link(to, from), Message::Vector(vector));
        self.run();
    }
}

#[test]
fn i26_an_offer_makes_a_grace_shorter_and_never_longer() {
    let mut net = Net::meshed(3).about_to_restart(GRACE);
    net.restart(0, 2);
    net.offer(2, 1, 2 * GRACE);
    net.pass(GRACE);
    assert_eq!((net.keys(1), net.keys(2)), (String::new(), String::new()));
    let mut net = Net::meshed(3).about_to_restart(GRACE);
    net.restart(0, 2);
    net.offer(2, 1, GRACE / 2);
    net.pass(GRACE / 2);
    assert_eq!(net.keys(1), "");
}

#[test]
fn i18_nothing_is_held_for_longer_than_the_permdown_period() {
    let mut net = Net::meshed(2).about_to_restart(2 * PERMDOWN);
    net.restart(0, 2);
    net.pass(PERMDOWN - PERIOD);
    assert_eq!(net.keys(1), "ann");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "");
}

/// Only one link broke during the drain. Whoever is behind it holds what the node tracks, and nobody else does.
#[test]
fn i15_what_is_heard_itself_is_held_neither_by_others_nor_by_its_own_node() {
    let mut net = Net::meshed(3).about_to_restart(GRACE);
    net.down(0, 1);
    net.pass(2 * settings().vector_period);
    assert_eq!(net.shards[1].stats().held_sets_now, 1);
    net.up(0, 1);
    net.pass(PERIOD);
    for node in 0..3 {
        let stats = net.shards[node].stats();
        assert_eq!(
            (stats.held_sets_now, stats.held_sets_asked),
            (0, 0),
            "{node}"
        );
        assert_eq!(net.keys(node), "ann");
    }
}

/// Of two that hold the same tracker one saw its end under an earlier number, and its grace was over earlier.
#[test]
fn i8_what_was_held_to_the_end_is_not_taken_under_a_later_number() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.up(0, 2);
    let mut net = net.about_to_restart(GRACE);
    net.down(0, 1);
    net.pass(GRACE / 2);
    net.shards[0].handle_member(&MemberEvent::Renumbered(Incarnation(7)), net.now);
    net.pass(PERIOD);
    net.down(0, 2);
    net.pass(GRACE / 2);
    assert_eq!((net.keys(1), net.keys(2)), (String::new(), "ann".into()));
    net.up(1, 2);
    net.pass(settings().vector_period);
    assert_eq!((net.keys(1), net.keys(2)), (String::new(), "ann".into()));
}

/// A node has told its end, and a message that it sent before that was overtaken. Who took it for the node's word would wait for
/// it for ever.
#[test]
fn i20_a_node_that_told_its_end_is_not_heard_any_more() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    let before = vector(net.shards[0].at(), Vec::new());
    net.shards[0].leave(net.now);
    net.run();
    net.hear(1, 0, net.link(1, 0), Message::Vector(before));
    net.run();
    assert_eq!(net.shards[1].stats().refused_lives, 1);
    assert_eq!(net.keys(1), "ann", "held");
    net.pass(GRACE);
    assert_eq!(net.keys(1), "");
}

/// A link that was down during the announcement breaks again before the copy has caught up: the copy may still have what was
/// untracked in between.
#[test]
fn i8_a_copy_that_is_not_shown_is_not_held() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.down(0, 1);
    net.untrack(0, "ann");
    net.shards[0].restart(GRACE);
    net.deaf.insert((1, 0));
    net.up(0, 1);
    let hello = net.sent.iter().rev().find_map(|(from, _, message)| {
        let hello = matches!(message, Message::Hello(hello) if hello.goodbye.is_some());
        (*from == 0 && hello).then(|| message.clone())
    });
    net.hear(1, 0, net.link(1, 0), hello.unwrap());
    net.run();
    assert_eq!(net.shards[1].have(&name(0)).map(|at| at.seq), Some(1));
    net.down(0, 1);
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets),
        (String::new(), 0)
    );
}

/// The first word over a new link is older than what is held: that stays listed until the copy is as far.
#[test]
fn i28_what_is_held_is_listed_until_the_copy_has_it() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    let own = &net.shards[0].own;
    let state = Part {
        at: own.at(),
        part: 0,
        parts: 1,
        entries: own.frozen().iter().map(|kept| own.stored(kept)).collect(),
    };
    net.track(0, "bob");
    net.pass(PERIOD);
    net.down(0, 1);
    assert_eq!(net.keys(1), "ann bob");
    net.deaf.insert((1, 0));
    net.up(0, 1);
    let link = net.link(1, 0);
    net.hear(1, 0, link, Message::Vector(vector(state.at, Vec::new())));
    net.hear(1, 0, link, Message::Part(state));
    net.run();
    assert_eq!(net.keys(1), "ann bob");
    net.deaf.clear();
    net.pass(2 * settings().vector_period);
    assert_eq!(net.keys(1), "ann bob");
    assert_eq!(net.shards[1].stats().held_sets_now, 0);
}
