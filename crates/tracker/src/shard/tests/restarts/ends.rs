//! What is told of an end: by the node itself, by who saw it, by who was told; and what of it counts where.

use super::*;
use crate::message::{Goodbye, HeldPart, HeldValue, Hello};
use crate::reference::{PresenceRef, Writer};

/// Who is told, and who tells.
const HEARER: usize = 1;
const TELLER: usize = 2;

fn at(incarnation: u64, started: u64) -> Life {
    Life {
        incarnation,
        started,
    }
}

impl Net {
    /// The teller says that it holds one entry of a life of a node, and what that is. Whether it was asked for that.
    fn told_of_set(&mut self, node: &str, life: Life, key: &str) -> bool {
        let asked = self.shards[HEARER].stats().held_sets_asked;
        let set = Offer {
            node: node.to_owned(),
            at: Position { life, seq: 1 },
            left: PERMDOWN.as_millis() as u64,
            formerly: Vec::new(),
        };
        let value = HeldValue {
            topic: "t".into(),
            key: key.into(),
            meta: Bytes::new(),
            owner: 1,
            reference: PresenceRef::new(Writer::new(node, 0, life), 1),
            previous: None,
            beside: Vec::new(),
        };
        let part = HeldPart {
            set: set.clone(),
            entries: vec![value],
            more: false,
            after: None,
        };
        let mut vector = vector(self.shards[TELLER].at(), Vec::new());
        vector.held = vec![set];
        let link = self.link(HEARER, TELLER);
        self.deaf.insert((TELLER, HEARER));
        for message in [Message::Vector(vector), Message::HeldPart(part)] {
            self.hear(HEARER, TELLER, link, message);
            self.run();
        }
        self.deaf.remove(&(TELLER, HEARER));
        self.shards[HEARER].stats().held_sets_asked > asked
    }
}

/// One held the tracker to the end under an earlier number: as it saw itself, or as it was told. Another one took the set under the
/// later number from who saw that end, and passes it on.
#[test]
fn i8_what_was_held_to_the_end_is_known_by_its_former_number_however_it_comes() {
    for told in [false, true] {
        let mut net = Net::new(5);
        let witness = if told { 4 } else { 1 };
        for (a, b) in [(0, witness), (0, 2), (2, 3)] {
            net.up(a, b);
        }
        if told {
            net.up(witness, 1);
        }
        let mut net = net.about_to_restart(GRACE);
        net.down(0, witness);
        net.pass(GRACE / 2);
        net.renumber(0, 7);
        net.pass(PERIOD);
        net.down(0, 2);
        net.pass(PERIOD);
        net.down(2, 3);
        assert_eq!((net.keys(1), net.keys(3)), ("ann".into(), "ann".into()));
        net.pass(GRACE / 2);
        assert_eq!((net.keys(1), net.keys(3)), (String::new(), "ann".into()));
        let asked = net.shards[1].stats().held_sets_asked;
        net.up(1, 3);
        net.pass(settings().vector_period);
        assert_eq!((net.keys(1), net.keys(3)), (String::new(), "ann".into()));
        assert_eq!(net.shards[1].stats().held_sets_asked, asked, "told: {told}");
    }
}

/// The user of a held entry was back by the one that holds it, and left. Then the node itself is heard again, in the same life, and still
/// has the entry as a held one.
#[test]
fn i8_what_gave_way_in_a_held_set_stays_away_when_its_node_is_heard_again() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    assert_eq!(net.shards[0].owner_died(1, net.now), 1);
    net.run();
    net.pass(PERIOD);
    net.down(0, 1);
    assert_eq!(net.keys(1), "ann", "held");
    net.track(1, "ann");
    net.untrack(1, "ann");
    net.take_diffs(1);
    net.up(0, 1);
    net.pass(PERIOD);
    assert_eq!(net.shards[1].shown_life(&name(0)), Some(life(1)));
    assert_eq!((net.keys(0), net.keys(1)), ("ann".into(), String::new()));
    assert_eq!(net.take_diffs(1), []);
}

/// One only lost its link, and knows of no restart. What it has of the node becomes a held set, and is not asked for; if it is behind,
/// it asks for what it lacks. So it is, too, if the node took another number, whether it heard of that or not.
#[test]
fn i9_i23_a_copy_that_is_out_of_reach_becomes_the_set_that_others_hold() {
    for (renumbered, heard, behind) in [
        (false, false, false),
        (false, false, true),
        (true, false, false),
        (true, true, false),
        (true, false, true),
    ] {
        let case = format!("renumbered: {renumbered}, heard: {heard}, behind: {behind}");
        let mut net = Net::meshed(3);
        net.track(0, "ann");
        net.pass(PERIOD);
        if heard {
            net.renumber(0, 7);
        }
        net.down(0, 1);
        if renumbered && !heard {
            net.renumber(0, 7);
        }
        if behind {
            net.track(0, "bob");
        }
        net.shards[0].restart(GRACE);
        net.run();
        net.pass(PERIOD);
        assert_eq!(net.keys(1), "", "{case}");
        net.down(0, 2);
        net.pass(PERIOD);
        let listed = if behind { "ann bob" } else { "ann" };
        assert_eq!(
            (net.keys(1).as_str(), net.keys(2).as_str()),
            (listed, listed),
            "{case}"
        );
        let asked = net.shards[1].stats().held_sets_asked;
        assert_eq!(asked, u64::from(behind), "{case}");
        net.pass(GRACE);
        assert_eq!(
            (net.keys(1), net.keys(2)),
            (String::new(), String::new()),
            "{case}"
        );
    }
}

/// It is heard again, so it is not over, though its state does not come: what is held of it is shown here meanwhile, and not passed on.
#[test]
fn i26_a_set_of_who_is_heard_again_is_not_passed_on() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    assert_eq!(net.shards[1].offers(net.now).len(), 1);
    net.translate = Some((0, |message| {
        let is_part = matches!(message, Message::Part(_));
        (!is_part).then(|| message.clone())
    }));
    net.up(0, 1);
    assert!(net.shards[1].have(&name(0)).is_some());
    assert_eq!(net.keys(1), "ann");
    assert!(net.shards[1].offers(net.now).is_empty());
    net.down(0, 1);
    assert_eq!(net.shards[1].offers(net.now).len(), 1);
}

/// What others say of the end makes a set of the copy, under the number that they name: listed beside nothing that it was not told of, and
/// over for those alone who pass it on. The node's own word counts for more.
#[test]
fn i8_i10_a_copy_that_is_held_at_others_word_takes_no_place_and_ends_no_life() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.track(0, "bob");
    net.pass(PERIOD);
    net.down(0, 1);
    net.renumber(0, 7);
    let beside = Slot {
        owner: 2,
        ..slot("ann")
    };
    net.shards[1].track(&beside, Bytes::new(), net.now).unwrap();
    net.run();
    let offer = Offer {
        node: name(0).as_str().to_owned(),
        at: net.shards[0].at(),
        left: GRACE.as_millis() as u64,
        formerly: vec![life(1)],
    };
    let mut vector = vector(net.shards[2].at(), Vec::new());
    vector.held = vec![offer];
    net.hear(1, 2, net.link(1, 2), Message::Vector(vector));
    net.run();
    assert_eq!(net.keys(1), "ann bob", "of ann the new place only");
    let held: Vec<Life> = net.shards[1].held.keys().map(|(_, life)| *life).collect();
    assert_eq!(held, [life(7)]);
    assert_eq!(
        net.shards[1].held[&(name(0), life(7))].told_by(),
        Some(&name(2))
    );
    net.pass(GRACE);
    assert_eq!(net.keys(1), "ann");
    net.up(0, 1);
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(0), net.keys(1)),
        ("ann ann bob".into(), "ann ann bob".into())
    );
    assert_eq!(
        net.shards[0].stats().renumbered,
        1,
        "its own word was enough"
    );
}

/// It saw that the user of a held entry was back, and lost the node without knowing that it restarts. Who did not see the user still has
/// the entry, with others that came later.
#[test]
fn i8_what_gave_way_in_a_copy_does_not_come_with_the_set_of_another() {
    let mut net = Net::meshed(3);
    let ticket = net.track(0, "ann");
    net.shards[0].set_drop_grace(&ticket, PERMDOWN);
    assert_eq!(net.shards[0].release(&ticket, net.now), Some(1));
    net.pass(PERIOD);
    net.down(1, 2);
    net.track(1, "ann");
    net.untrack(1, "ann");
    net.down(0, 1);
    net.up(1, 2);
    net.track(0, "bob");
    net.shards[0].restart(GRACE);
    net.run();
    net.pass(PERIOD);
    net.down(0, 2);
    net.pass(PERIOD);
    assert_eq!((net.keys(1), net.keys(2)), ("bob".into(), "ann bob".into()));
    assert_eq!(net.shards[1].stats().held_sets_taken, 1);
}

/// Of many entries, in more than one part: nothing is listed before the last one, and then all is.
#[test]
fn i12_a_set_in_parts_is_the_set() {
    let mut net = Net::new(3);
    net.up(0, 1);
    for key in 0..20 {
        net.track(0, &format!("k{key:02}"));
    }
    net.pass(PERIOD);
    net.shards[0].restart(GRACE);
    net.run();
    net.down(0, 1);
    net.take_sent();
    net.up(1, 2);
    let parts = net.take_sent();
    let parts = parts
        .iter()
        .filter(|message| matches!(message, Message::HeldPart(_)));
    assert!(parts.count() > 3);
    assert_eq!(net.references(2), net.references(1));
    assert_eq!(
        (net.keys(2).split(' ').count(), net.take_diffs(2)),
        (20, vec![(20, 0)])
    );
    assert!(net.shards[2].caught_up_once());
}

/// While a set is asked for, parts of others come: of another life of its node, and of the same life of another node.
#[test]
fn i6_a_part_of_another_set_completes_nothing() {
    let mut net = Net::new(3);
    net.up(HEARER, TELLER);
    net.deaf.insert((TELLER, HEARER));
    let offer = |node: &str, life| Offer {
        node: node.to_owned(),
        at: Position { life, seq: 1 },
        left: 10_000,
        formerly: Vec::new(),
    };
    let mut word = vector(net.shards[TELLER].at(), Vec::new());
    word.held = vec![offer("a", life(1))];
    let link = net.link(HEARER, TELLER);
    net.hear(HEARER, TELLER, link, Message::Vector(word));
    for other in [offer("a", life(2)), offer("d", life(1))] {
        let part = HeldPart {
            set: other,
            entries: Vec::new(),
            more: false,
            after: None,
        };
        net.hear(HEARER, TELLER, link, Message::HeldPart(part));
        net.run();
        assert_eq!(net.shards[HEARER].stats().held_sets_taken, 0);
    }
    let part = HeldPart {
        set: offer("a", life(1)),
        entries: Vec::new(),
        more: false,
        after: None,
    };
    net.hear(HEARER, TELLER, link, Message::HeldPart(part));
    assert_eq!(net.shards[HEARER].stats().held_sets_taken, 1);
    net.run();
}

/// A question for a set is lost. As long as the set is offered, it is asked again.
#[test]
fn i9_a_set_whose_question_was_lost_is_asked_for_again() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.up(1, 2);
    let mut net = net.about_to_restart(GRACE);
    net.deaf.insert((1, 2));
    net.down(0, 1);
    net.pass(settings().vector_period);
    assert_eq!(net.keys(2), "");
    net.deaf.clear();
    net.pass(2 * settings().vector_period);
    assert_eq!(net.keys(2), "ann");
}

/// What one was told it tells others, and how long that still lasts. So nobody holds it for longer than who saw the end.
#[test]
fn i26_a_set_goes_from_hand_to_hand_with_what_is_left_of_its_grace() {
    let mut net = Net::new(5);
    for node in 0..4 {
        net.up(node, node + 1);
    }
    let mut net = net.about_to_restart(GRACE);
    net.down(0, 1);
    let ended = net.now;
    net.pass(PERIOD);
    net.down(3, 4);
    net.pass(GRACE / 2);
    net.up(3, 4);
    net.pass(GRACE - PERIOD - (net.now - ended));
    for node in 1..5 {
        assert_eq!(net.keys(node), "ann", "node {node}");
    }
    net.pass(PERIOD);
    for node in 1..5 {
        assert_eq!(net.keys(node), "", "node {node}");
    }
}

/// Only a link broke in the drain. The node is heard again, but what it has is not here yet when the grace is over: it is not.
#[test]
fn i17_who_is_heard_again_before_its_grace_ends_is_not_over() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    net.track(0, "bob");
    net.pass(GRACE - PERIOD);
    net.take_diffs(1);
    net.deaf.insert((1, 0));
    net.up(0, 1);
    let hello = net.sent.iter().rev().find_map(|(from, _, message)| {
        let hello = *from == 0 && matches!(message, Message::Hello(_));
        hello.then(|| message.clone())
    });
    net.hear(1, 0, net.link(1, 0), hello.unwrap());
    net.run();
    net.pass(4 * PERIOD);
    assert_eq!((net.keys(1).as_str(), net.take_diffs(1)), ("ann", vec![]));
    net.deaf.clear();
    net.pass(2 * RETRY_PERIOD);
    assert_eq!(
        (net.keys(1).as_str(), net.take_diffs(1)),
        ("ann bob", vec![(1, 0)])
    );
    assert_eq!(net.shards[1].stats().refused_lives, 0);
    assert_eq!(
        (net.shards[0].at().life, net.shards[1].stats().held_sets_now),
        (life(1), 0)
    );
}

/// A node leaves for good. What is held of that life and of those before it in the same process goes too, and is not taken again; what
/// is held of the process before, of a later life, or of another node stays.
#[test]
fn i8_i26_who_leaves_for_good_ends_what_is_held_of_its_process_and_no_more() {
    let mut net = Net::new(3);
    net.up(HEARER, TELLER);
    for (node, life, key) in [
        ("a", at(1, 9), "earlier"),
        ("a", at(1, 11), "later"),
        ("a", at(0, 9), "process before"),
        ("d", at(1, 9), "another node"),
    ] {
        assert!(net.told_of_set(node, life, key), "{key}");
    }
    net.up(0, HEARER);
    assert_eq!(
        net.keys(HEARER),
        "another node earlier later process before"
    );
    net.take_diffs(HEARER);
    net.shards[0].leave(net.now);
    net.run();
    assert_eq!(net.keys(HEARER), "another node later process before");
    assert_eq!(net.take_diffs(HEARER), [(0, 1)]);
    for over in [8, 9, 10] {
        assert!(!net.told_of_set("a", at(1, over), "over"), "{over}");
    }
    assert!(net.told_of_set("a", at(0, 8), "process before, too"));
    net.restart(0, 2);
    net.up(0, HEARER);
    for over in [9, 10] {
        assert!(!net.told_of_set("a", at(1, over), "over"), "{over}");
    }
    assert_eq!(
        net.keys(HEARER),
        "another node later process before process before, too"
    );
}

/// It was announced while they did not hear each other, or the announcement was lost. The first word over the next link says it again,
/// and so does each vector.
#[test]
fn i15_a_restart_is_announced_again_with_the_first_word_and_with_each_vector() {
    for by_vector in [false, true] {
        let mut net = Net::meshed(2);
        net.track(0, "ann");
        net.pass(PERIOD);
        if by_vector {
            net.deaf.insert((1, 0));
        } else {
            net.down(0, 1);
        }
        net.shards[0].restart(GRACE);
        net.run();
        if by_vector {
            net.deaf.clear();
            net.pass(settings().vector_period);
        } else {
            net.up(0, 1);
        }
        net.take_diffs(1);
        net.down(0, 1);
        assert_eq!((net.keys(1).as_str(), net.take_diffs(1)), ("ann", vec![]));
    }
}

/// Another tracker of the same process speaks over the same link: the one before had announced that.
#[test]
fn i15_what_a_later_life_replaces_over_one_link_is_held_if_that_was_announced() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.take_diffs(1);
    net.shards[0] = Shard::new(name(0), life(1).next().unwrap(), settings());
    let event = MemberEvent::Up(net.member(1, net.link(0, 1)));
    net.shards[0].handle_member(&event, net.now);
    net.run();
    net.pass(PERIOD);
    assert_eq!((net.keys(1).as_str(), net.take_diffs(1)), ("ann", vec![]));
    net.track(0, "ann");
    net.pass(PERIOD);
    assert_eq!(net.take_diffs(1), [(1, 1)]);
}

/// A node took another number, and of all that it said then only its goodbye came. That does not say what the number was before: who
/// took it for a word of another tracker would drop what is there.
#[test]
fn i14_a_goodbye_introduces_no_life() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_diffs(1);
    net.deaf.insert((1, 0));
    net.renumber(0, 7);
    let goodbye = Goodbye {
        life: net.shards[0].at().life,
        farewell: Farewell::restarting(GRACE),
    };
    net.hear(1, 0, net.link(1, 0), Message::Goodbye(goodbye));
    net.run();
    assert_eq!((net.keys(1).as_str(), net.take_diffs(1)), ("ann", vec![]));
    net.deaf.clear();
    net.shards[0].restart(GRACE);
    net.run();
    net.pass(settings().vector_period);
    net.down(0, 1);
    assert_eq!((net.keys(1).as_str(), net.take_diffs(1)), ("ann", vec![]));
}

/// The user is back while the copy still catches up that takes the place of the set, and leaves again before it has.
#[test]
fn i8_what_gave_way_while_a_copy_caught_up_stays_away() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    assert_eq!(net.shards[0].owner_died(1, net.now), 1);
    net.run();
    net.pass(PERIOD);
    net.down(0, 1);
    net.deaf.insert((1, 0));
    net.up(0, 1);
    let word = Message::Vector(vector(net.shards[0].at(), Vec::new()));
    net.hear(1, 0, net.link(1, 0), word);
    net.run();
    assert_eq!(net.keys(1), "ann", "held, and on its way");
    net.track(1, "ann");
    net.untrack(1, "ann");
    net.take_diffs(1);
    net.deaf.clear();
    net.pass(2 * settings().vector_period);
    assert_eq!(net.shards[1].shown_life(&name(0)), Some(life(1)));
    assert_eq!((net.keys(1), net.take_diffs(1)), (String::new(), vec![]));
}

/// Whoever starts has what is held as soon as it has what its first peer tracks, and not some seconds later.
#[test]
fn i15_a_first_state_has_what_is_held() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.track(1, "bob");
    let mut net = net.about_to_restart(GRACE);
    net.down(0, 1);
    net.up(1, 2);
    assert_eq!(net.keys(2), "ann bob");
    assert!(net.shards[2].caught_up_once());
}

/// What was tracked in the last moment of a drain, before it was pushed.
#[test]
fn i9_what_is_tracked_last_before_an_announced_end_is_held() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.track(0, "bob");
    net.shards[0].leave(net.now);
    net.run();
    assert_eq!(net.keys(1), "ann bob");
}

/// Two connections of one user, on a node that ends: neither of the two entries gives way to the other.
#[test]
fn i15_of_one_key_all_entries_are_held() {
    let mut net = Net::meshed(2);
    let beside = Slot {
        owner: 2,
        ..slot("ann")
    };
    assert!(net.shards[0].track(&beside, Bytes::new(), net.now).is_ok());
    let mut net = net.about_to_restart(GRACE);
    net.take_diffs(1);
    net.restart(0, 2);
    assert_eq!(
        (net.keys(1).as_str(), net.take_diffs(1)),
        ("ann ann", vec![])
    );
}

/// Its grace was over here, and then it was heard and listed again, under another number. So its next restart is another one.
#[test]
fn i9_who_is_listed_again_after_its_grace_is_held_again() {
    let mut net = Net::meshed(3).about_to_restart(GRACE);
    net.down(0, 1);
    net.pass(GRACE + PERIOD);
    net.up(0, 1);
    net.pass(settings().vector_period);
    let number = net.shards[0].at().life;
    assert!(number > life(1), "it took another number");
    assert_eq!(net.shards[1].shown_life(&name(0)), Some(number));
    net.down(0, 1);
    net.track(0, "bob");
    net.pass(PERIOD);
    net.down(0, 2);
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(1), net.keys(2)),
        ("ann bob".into(), "ann bob".into())
    );
}

/// One that holds what the node tracked under its number before says so, as the node has taken the next.
#[test]
fn i15_a_node_does_not_ask_for_what_is_its_own_under_a_former_number() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    net.renumber(0, 7);
    net.deaf.insert((0, 1));
    net.up(0, 1);
    net.deaf.clear();
    net.offer(1, 0, GRACE);
    assert_eq!(net.shards[0].stats().held_sets_asked, 0);
    assert_eq!(net.keys(0), "ann");
}

/// The end of a life is remembered for two permdown periods: so long one may offer what it had that was told it last.
#[test]
fn i18_that_a_node_left_is_remembered_for_two_permdown_periods() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].leave(net.now);
    net.run();
    net.down(0, HEARER);
    net.down(0, TELLER);
    net.pass(PERMDOWN + PERMDOWN / 2);
    assert_eq!(net.shards[HEARER].stats().remembered_peers, 1);
    assert!(!net.told_of_set("a", life(1), "ann"));
    net.pass(PERMDOWN / 2 + settings().vector_period);
    assert!(net.told_of_set("a", life(1), "ann"), "not for ever");
}

/// The link of one comes back in the drain, under another number of the node, and breaks at once. What it holds is that of the new number,
/// and of the one before, and it was seen here: who held that to its end does not take it, and when its grace is over neither is heard.
#[test]
fn i8_i20_what_is_held_goes_on_as_seen_here_when_its_node_says_its_next_number() {
    let mut net = Net::new(3);
    net.up(0, HEARER);
    net.up(0, TELLER);
    let mut net = net.about_to_restart(GRACE);
    net.down(0, HEARER);
    net.pass(GRACE / 2);
    net.down(0, TELLER);
    net.renumber(0, 7);
    net.deaf.insert((TELLER, 0));
    net.up(0, TELLER);
    let hello = net.sent.iter().rev().find_map(|(from, _, message)| {
        let hello = *from == 0 && matches!(message, Message::Hello(_));
        hello.then(|| message.clone())
    });
    net.hear(TELLER, 0, net.link(TELLER, 0), hello.unwrap());
    net.run();
    net.down(0, TELLER);
    net.deaf.clear();
    net.pass(GRACE / 2);
    assert_eq!(
        (net.keys(HEARER), net.keys(TELLER)),
        (String::new(), "ann".into())
    );
    net.up(HEARER, TELLER);
    net.pass(settings().vector_period);
    assert_eq!(net.shards[HEARER].stats().held_sets_asked, 0);
    net.pass(GRACE / 2);
    assert_eq!(net.keys(TELLER), "");
    let number = net.shards[0].at().life;
    net.up(0, TELLER);
    net.pass(PERIOD);
    assert!(net.shards[0].at().life > number, "it took a higher number");
    assert_eq!(net.keys(TELLER), "ann");
}

/// Numbers only rise: one that is said to have been another's is not, if it is higher.
#[test]
fn i4_what_is_held_takes_no_lower_number() {
    let mut net = Net::new(3);
    net.up(HEARER, TELLER);
    assert!(net.told_of_set("a", at(1, 11), "ann"));
    let mut word = vector(net.shards[TELLER].at(), Vec::new());
    word.held = vec![Offer {
        node: "a".to_owned(),
        at: Position {
            life: at(1, 9),
            seq: 0,
        },
        left: GRACE.as_millis() as u64,
        formerly: vec![at(1, 11)],
    }];
    net.hear(
        HEARER,
        TELLER,
        net.link(HEARER, TELLER),
        Message::Vector(word),
    );
    net.run();
    let held = net.shards[HEARER].held.keys();
    assert!(held.eq([&(name(0), at(1, 11))]));
}

/// The goodbye of a restarted tracker is lost, and its hello says it again. How far that one was is no measure for the next one over the
/// same link.
#[test]
fn i9_who_ended_by_its_hello_does_not_spoil_the_link_for_the_next_tracker() {
    for by_hello in [true, false] {
        let mut net = Net::meshed(2);
        for key in ["a", "b", "c"] {
            net.track(0, key);
        }
        net.pass(PERIOD);
        net.shards[0].restart(GRACE);
        net.run();
        net.deaf.insert((1, 0));
        net.shards[0].leave(net.now);
        net.run();
        net.deaf.clear();
        let at = net.shards[0].at();
        let goodbye = Some(Farewell::restarted(GRACE));
        let told = Vector {
            goodbye,
            ..vector(at, Vec::new())
        };
        let word = match by_hello {
            true => Message::Hello(Hello {
                at,
                have: None,
                least: None,
                formerly: Vec::new(),
                goodbye,
                held: Vec::new(),
                hears: Vec::new(),
            }),
            false => Message::Vector(told),
        };
        net.hear(1, 0, net.link(1, 0), word);
        net.run();
        net.shards[0] = Shard::new(name(0), life(1).next().unwrap(), settings());
        let event = MemberEvent::Up(net.member(1, net.link(0, 1)));
        net.shards[0].handle_member(&event, net.now);
        net.track(0, "new");
        net.pass(PERIOD);
        assert_eq!(net.keys(1), "a b c new");
    }
}

/// A copy is here under a former number when another node tells that its tracker ended under a later one.
#[test]
fn i8_a_set_that_is_made_from_a_copy_knows_the_number_that_the_copy_had() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.down(0, 1);
    let (before, seq) = (net.shards[0].at().life, net.shards[0].at().seq);
    let life = before.next().unwrap();
    let offer = Offer {
        node: name(0).as_str().to_owned(),
        at: Position { life, seq },
        left: 5_000,
        formerly: vec![before],
    };
    let word = Message::Vector(Vector {
        held: vec![offer],
        ..vector(net.shards[2].at(), Vec::new())
    });
    net.hear(1, 2, net.link(1, 2), word);
    net.run();
    let set = &net.shards[1].held[&(name(0), life)];
    assert_eq!((set.iter().count(), set.formerly()), (1, &[before][..]));
}

/// It ends by a panic, or with its runtime, within a drain and before it has told what it did last.
#[test]
fn i8_what_ended_just_before_the_last_words_is_not_held() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.track(0, "bob");
    net.shards[0].restart(GRACE);
    net.pass(PERIOD);
    net.untrack(0, "ann");
    for word in net.shards[0].last_words() {
        net.hear(1, 0, net.link(1, 0), word);
    }
    net.down(0, 1);
    assert_eq!(net.keys(1), "bob");
    assert_eq!(net.shards[0].last_words().len(), 0, "once");
}

/// What is held of a node was held of its number before. That is over, whoever told of the later one: the node itself, or one that holds
/// it. Nothing that has ended here since comes back with the set that somebody still has under the earlier number.
#[test]
fn i8_what_was_held_under_a_former_number_is_not_taken_under_it_again() {
    for itself in [true, false] {
        let mut net = Net::new(3);
        net.up(HEARER, TELLER);
        assert!(net.told_of_set("a", life(1), "ann"));
        assert_eq!(net.keys(HEARER), "ann");
        net.track(HEARER, "ann");
        net.untrack(HEARER, "ann");
        assert_eq!(net.keys(HEARER), "");
        let later = life(1).next().unwrap();
        let at = Position {
            life: later,
            seq: 1,
        };
        let (from, mut says) = match itself {
            true => {
                net.up(0, HEARER);
                net.deaf.extend([(0, HEARER), (HEARER, 0)]);
                (0, vector(at, Vec::new()))
            }
            false => (TELLER, vector(net.shards[TELLER].at(), Vec::new())),
        };
        let formerly = vec![life(1)];
        match itself {
            true => says.formerly = formerly,
            false => {
                says.held = vec![Offer {
                    node: "a".to_owned(),
                    at,
                    left: PERMDOWN.as_millis() as u64,
                    formerly,
                }]
            }
        }
        net.take_diffs(HEARER);
        net.hear(HEARER, from, net.link(HEARER, from), Message::Vector(says));
        net.run();
        assert!(!net.told_of_set("a", life(1), "ann"), "by itself: {itself}");
        assert_eq!(net.take_diffs(HEARER), [], "by itself: {itself}");
    }
}

/// It was asked for before its node was heard, and comes when that is.
#[test]
fn i8_a_set_that_comes_once_its_node_is_heard_is_not_taken() {
    let mut net = Net::new(3).about_to_restart(GRACE);
    net.up(0, TELLER);
    net.pass(PERIOD);
    net.down(0, TELLER);
    assert_eq!(net.keys(TELLER), "ann");
    net.untrack(0, "ann");
    net.deaf.insert((HEARER, TELLER));
    net.up(HEARER, TELLER);
    let held = net.shards[TELLER].offers(net.now);
    let says = vector(net.shards[TELLER].at(), Vec::new());
    let link = net.link(HEARER, TELLER);
    net.hear(
        HEARER,
        TELLER,
        link,
        Message::Vector(Vector { held, ..says }),
    );
    net.run();
    let mut sent = net.sent.iter().rev();
    let part = sent.find(|(from, _, sent)| *from == TELLER && matches!(sent, Message::HeldPart(_)));
    let part = part.map(|(_, _, part)| part.clone()).unwrap();
    net.up(0, HEARER);
    net.take_diffs(HEARER);
    net.hear(HEARER, TELLER, link, part);
    net.run();
    assert_eq!(net.shards[HEARER].stats().held_sets_now, 0);
    assert_eq!(
        (net.keys(HEARER), net.take_diffs(HEARER)),
        (String::new(), vec![])
    );
}

/// Until what a peer offered is here, a first state is not.
#[test]
fn i15_a_first_state_waits_for_what_is_held() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.track(1, "bob");
    let mut net = net.about_to_restart(GRACE);
    net.down(0, 1);
    net.translate = Some((2, |message| match message {
        Message::HeldPart(_) => None,
        message => Some(message.clone()),
    }));
    net.up(1, 2);
    assert_eq!(net.keys(2), "bob");
    assert!(!net.shards[2].caught_up_once());
    net.translate = None;
    net.pass(2 * settings().vector_period);
    assert_eq!(net.keys(2), "ann bob");
    assert!(net.shards[2].caught_up_once());
}
