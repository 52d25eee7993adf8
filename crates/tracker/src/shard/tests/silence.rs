//! A tracker that is closed while its node stays, and whose goodbye is lost: nobody answers there any more.

use super::*;
use crate::peer::{ASKED_PERIODS, SILENT_PERIODS};

const GRACE: Duration = Duration::from_secs(10);

fn periods(count: u32) -> Duration {
    settings().vector_period * count
}

impl Net {
    /// Ann is tracked on the first node, and nothing comes from there to the second any more, though their link stays.
    fn silenced(mut self) -> Self {
        self.track(0, "ann");
        self.pass(PERIOD);
        self.take_diffs(1);
        self.take_sent();
        self.deaf.insert((1, 0));
        self
    }
}

#[test]
fn i8_what_a_closed_tracker_had_leaves_though_its_goodbye_was_lost_and_its_link_stays() {
    let mut net = Net::meshed(2).silenced();
    net.shards[0].leave(net.now);
    net.run();
    net.deaf.insert((0, 1));
    net.pass(periods(SILENT_PERIODS - 1));
    assert_eq!(net.keys(1), "ann");
    net.pass(periods(1));
    assert_eq!(net.take_diffs(1), [(0, 1)]);
    net.pass(PERMDOWN);
    assert!(net.shards[1].have(&name(0)).is_none(), "dropped");
    let asked = u64::from(SILENT_PERIODS - ASKED_PERIODS);
    assert_eq!(net.shards[1].stats().pulls_sent, asked, "and no more");
    assert_eq!(net.shards[1].stats().silent_peers, 1);
    // Another tracker begins over the same link.
    net.deaf.clear();
    let next = life(1).next().unwrap();
    net.shards[0] = Shard::new(name(0), next, settings());
    let up = MemberEvent::Up(net.member(1, net.link(0, 1)));
    net.shards[0].handle_member(&up, net.now);
    net.track(0, "bob");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "bob");
}

/// All that it ever said arrives once more over the link that stays, first while there is a copy still, then when there is none.
#[test]
fn i8_what_a_closed_tracker_said_is_not_heard_again_after_its_silence() {
    let mut net = Net::meshed(2);
    for key in ["ann", "bob", "cid"] {
        net.track(0, key);
    }
    net.pass(PERIOD);
    net.untrack(0, "cid");
    net.pass(periods(2));
    let mut said = std::mem::take(&mut net.sent);
    said.retain(|(from, to, _)| (*from, *to) == (0, 1));
    let is_hello = |message: &Message| matches!(message, Message::Hello(_));
    let is_vector = |message: &Message| matches!(message, Message::Vector(_));
    assert!(said.iter().any(|(_, _, said)| is_hello(said)));
    assert!(said.iter().any(|(_, _, said)| is_vector(said)));
    net.deaf.extend([(0, 1), (1, 0)]);
    net.shards[0].leave(net.now);
    net.run();
    net.pass(periods(SILENT_PERIODS));
    assert_eq!(net.take_diffs(1).last(), Some(&(0, 2)));
    let link = net.link(1, 0);
    for copies in [1, 0] {
        for (_, _, message) in &said {
            net.hear(1, 0, link, message.clone());
            net.run();
            assert_eq!(net.take_diffs(1), [], "{message:?}");
        }
        assert_eq!(net.shards[1].have(&name(0)).iter().count(), copies);
        net.sent.clear();
        net.pass(PERMDOWN);
        let names = |message: &Message| {
            let named = |vector: &Vector| !vector.heard.is_empty();
            matches!(message, Message::Vector(vector) if named(vector))
        };
        assert!(!net.sent.iter().any(|(_, _, sent)| names(sent)));
    }
}

/// Of whom nothing was listed nothing leaves, but nobody is told any more that it is heard.
#[test]
fn i13_who_is_silent_is_not_named_though_it_never_tracked_anything() {
    let mut net = Net::meshed(3);
    net.pass(periods(1));
    let names = |net: &mut Net| {
        net.sent.clear();
        net.pass(periods(1));
        let mut said = net.sent.iter().filter(|(from, ..)| *from == 1);
        said.any(|(_, _, message)| match message {
            Message::Vector(vector) => vector.heard.iter().any(|of| of.node == name(0).as_str()),
            _ => false,
        })
    };
    assert!(names(&mut net));
    net.deaf.extend([(0, 1), (1, 0)]);
    net.pass(periods(SILENT_PERIODS));
    assert_eq!(net.shards[1].stats().silent_peers, 1);
    assert!(!names(&mut net));
    // Nothing of it can come back, so it needs no other number when it speaks.
    net.deaf.clear();
    net.track(0, "ann");
    net.pass(periods(1));
    assert_eq!(
        (net.keys(1), net.shards[0].at().life),
        ("ann".into(), life(1))
    );
}

/// Whoever stood still for long is listed again once it has said how far it is, and nothing that went meanwhile.
#[test]
fn i19_who_was_silent_and_speaks_again_is_listed_again() {
    let mut net = Net::meshed(2);
    net.track(0, "bob");
    let mut net = net.silenced();
    net.pass(periods(SILENT_PERIODS));
    assert_eq!(net.keys(1), "");
    net.untrack(0, "ann");
    net.pass(PERIOD);
    net.deaf.clear();
    net.take_diffs(1);
    net.pass(periods(1) + RETRY_PERIOD);
    assert_eq!(net.keys(1), "bob");
    assert_eq!(net.take_diffs(1), [(1, 0)]);
}

/// A node with a longer vector period is asked, and answers.
#[test]
fn i9_who_answers_is_not_silent() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].vector_at = Duration::MAX;
    net.take_diffs(1);
    net.pass(periods(4 * SILENT_PERIODS));
    assert_eq!(net.shards[0].stats().vectors_sent, 0);
    assert_eq!(net.take_diffs(1), []);
    assert_eq!(net.shards[1].stats().silent_peers, 0);
}

#[test]
fn i26_what_a_silent_node_had_is_held_if_it_announced_a_restart() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.shards[0].restart(GRACE);
    net.run();
    net.pass(PERIOD);
    net.deaf.extend([(0, 1), (1, 0)]);
    net.shards[0].leave(net.now);
    net.run();
    net.pass(periods(SILENT_PERIODS) + GRACE - 2 * PERIOD);
    assert_eq!(net.keys(1), "ann", "held from when it was noticed");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "");
}

/// All is late that was said while this node itself did not run.
#[test]
fn i17_who_stood_still_itself_takes_nobody_for_silent() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_diffs(1);
    net.now += periods(100);
    net.pass(PERIOD);
    assert_eq!(net.take_diffs(1), []);
}

/// A queue that is full at each period may lose the words of one node each time, and always of the same one.
#[test]
fn i9_whose_words_are_lost_on_the_way_is_not_silent_before_they_are_not() {
    let mut net = Net::meshed(2).silenced();
    net.deaf.insert((0, 1));
    let lost = |net: &mut Net| {
        let (link, now) = (net.link(1, 0), net.now);
        net.shards[1].handle_gap(&name(0), link, now);
    };
    for _ in 0..4 * SILENT_PERIODS {
        net.pass(periods(1));
        lost(&mut net);
    }
    assert_eq!(net.keys(1), "ann");
    net.pass(periods(SILENT_PERIODS));
    assert_eq!(
        (net.keys(1).as_str(), net.shards[1].stats().silent_peers),
        ("", 1)
    );
    lost(&mut net);
    net.pass(periods(SILENT_PERIODS));
    assert_eq!(net.keys(1), "");
    assert_eq!(net.shards[1].stats().silent_peers, 1, "once");
}

/// What it had is held, and its link comes back, but of its tracker only the first word. Then it is silent, and what it said earlier comes
/// once more: that may have been said before it was closed.
#[test]
fn i8_i26_what_is_held_of_who_falls_silent_is_held_for_its_grace_and_not_heard_again() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.shards[0].restart(PERMDOWN);
    net.run();
    net.pass(periods(1));
    let mut said = std::mem::take(&mut net.sent);
    said.retain(|(from, ..)| *from == 0);
    net.down(0, 1);
    let ends = net.now + PERMDOWN;
    net.deaf.extend([(0, 1), (1, 0)]);
    net.up(0, 1);
    let link = net.link(1, 0);
    let word = Message::Vector(vector(net.shards[0].at(), Vec::new()));
    net.hear(1, 0, link, word);
    net.run();
    net.shards[0].leave(net.now);
    net.run();
    net.pass(periods(SILENT_PERIODS));
    assert_eq!(
        (net.keys(1).as_str(), net.shards[1].stats().silent_peers),
        ("ann", 1)
    );
    for (_, _, message) in said {
        net.hear(1, 0, link, message);
        net.run();
    }
    assert_eq!(net.shards[1].have(&name(0)), None);
    net.pass(ends - net.now);
    assert_eq!(net.keys(1), "");
}

/// Two periods are not silence, though the permdown period is not longer than they are.
#[test]
fn i1_who_is_late_is_not_dropped_however_short_the_permdown_period_is() {
    let mut net = Net::new(2);
    let short = Settings {
        permdown_period: settings().vector_period * 3 / 2,
        ..settings()
    };
    net.shards[1] = Shard::new(name(1), life(1), short);
    net.up(0, 1);
    net.track(0, "bob");
    let mut net = net.silenced();
    net.untrack(0, "ann");
    net.pass(periods(2));
    assert_eq!(net.keys(1), "ann bob");
    net.deaf.clear();
    net.pass(periods(2));
    assert_eq!(net.keys(1), "bob");
}

/// It fell silent, its link ended, and its pubsub has forgotten the node: what it said comes once more over a link of the same process.
#[test]
fn i8_who_fell_silent_is_over_though_its_node_was_forgotten_since() {
    let mut net = Net::meshed(2).silenced();
    net.shards[0].leave(net.now);
    net.run();
    net.pass(periods(SILENT_PERIODS));
    net.down(0, 1);
    net.shards[1].handle_member(&MemberEvent::Forgotten(name(0)), net.now);
    net.run();
    assert_eq!(net.shards[1].stats().remembered_peers, 0);
    net.up(0, 1);
    let at = Position {
        life: life(1),
        seq: 1,
    };
    let word = Message::Vector(vector(at, Vec::new()));
    net.hear(1, 0, net.link(1, 0), word);
    net.run();
    assert_eq!(net.shards[1].have(&name(0)), None);
    assert_eq!(net.shards[1].stats().refused_lives, 1);
}
