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
