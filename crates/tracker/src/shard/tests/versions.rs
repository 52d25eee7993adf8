//! Neighbouring versions in one cluster: one that knows nothing of held sets and former numbers beside those that do.

use super::*;
use crate::shard::holding::CONFIRM_LIMIT;

/// What an earlier version reads of a message, and what it would have said itself; nothing if it skips it.
fn as_before(message: &Message) -> Option<Message> {
    let mut message = message.clone();
    match &mut message {
        Message::HeldPull(_) | Message::HeldPart(_) => return None,
        Message::Confirm(_) | Message::Confirmed(_) => return None,
        Message::Hello(hello) => {
            hello.held.clear();
            hello.hears.clear();
            hello.goodbye = hello.goodbye.filter(|goodbye| goodbye.is_leaving());
        }
        Message::Vector(vector) => {
            vector.held.clear();
            vector.formerly.clear();
            vector.goodbye = None;
        }
        Message::Pull(pull) => pull.taken = None,
        Message::Goodbye(goodbye) if !goodbye.farewell.is_leaving() => return None,
        _ => {}
    }
    Some(message)
}

impl Net {
    /// The node is of an earlier version: what it says and hears is what that knew.
    fn is_earlier(&mut self, node: usize) {
        self.translate = Some((node, as_before));
    }
}

#[test]
fn an_earlier_version_skips_held_sets_and_lists_what_lives() {
    let mut net = Net::meshed(3);
    net.is_earlier(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(Duration::from_secs(3));
    net.run();
    net.down(0, 1);
    net.down(0, 2);
    net.pass(PERIOD);
    assert_eq!((net.keys(1), net.keys(2)), ("ann".into(), String::new()));
    net.restart(0, 2);
    net.up(0, 1);
    net.up(0, 2);
    net.track(0, "bob");
    net.settled();
    for node in 0..3 {
        assert_eq!(net.keys(node), "bob", "{node}");
    }
    assert!(
        net.shards
            .iter()
            .all(|shard| shard.stats().malformed_messages == 0)
    );
}

#[test]
fn an_earlier_version_takes_a_higher_number_and_is_followed() {
    let mut net = Net::meshed(3);
    net.is_earlier(2);
    net.track(2, "ann");
    net.pass(PERIOD);
    net.shards[2].handle_member(&MemberEvent::Renumbered(Incarnation(9)), net.now);
    net.run();
    net.track(2, "bob");
    net.settled();
    for node in 0..3 {
        assert_eq!(net.keys(node), "ann bob", "{node}");
    }
}

#[test]
fn an_earlier_version_confirms_nothing_and_is_waited_for_no_longer_than_the_limit() {
    let mut net = Net::meshed(3);
    net.is_earlier(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(Duration::from_secs(3));
    net.shards[0].hold(&[1], net.now);
    net.run();
    net.pass(CONFIRM_LIMIT - PERIOD);
    assert_eq!(net.held, []);
    net.pass(PERIOD);
    assert_eq!(net.held, [false]);
    assert_eq!(net.shards[0].stats().holds_unconfirmed, 1);
    assert_eq!(net.shards[2].stats().malformed_messages, 0);
    assert_eq!(net.keys(2), "ann");
}

/// Bytes with and without the fields that came later are read alike, and a kind that came later is skipped.
#[test]
fn later_fields_are_left_out_if_they_are_empty() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.settled();
    for (_, _, message) in &net.sent {
        let bytes = message.encode();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("held"), "{message:?}");
        let plain = as_before(message).map(|message| message.encode());
        assert_eq!(plain, Some(bytes), "{message:?}");
    }
}
