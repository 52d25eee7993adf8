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
    net.pass(2 * PERIOD);
    assert_eq!(net.keys(1), "ann bob");
    net.deaf.clear();
    net.pass(2 * settings().vector_period);
    assert_eq!(net.keys(1), "ann bob");
    assert_eq!(net.shards[1].stats().held_sets_now, 0);
}

/// Whoever never met the node takes over what another one holds, for as long as that one does.
#[test]
fn i26_who_takes_a_set_from_another_holds_it_no_longer_than_that_one() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.up(1, 2);
    let mut net = net.about_to_restart(GRACE);
    net.down(0, 1);
    net.pass(2 * settings().vector_period);
    assert_eq!((net.keys(1), net.keys(2)), ("ann".into(), "ann".into()));
    assert_eq!(net.shards[2].stats().held_sets_taken, 1);
    net.pass(GRACE - 2 * settings().vector_period - PERIOD);
    assert_eq!((net.keys(1), net.keys(2)), ("ann".into(), "ann".into()));
    net.pass(PERIOD);
    assert_eq!((net.keys(1), net.keys(2)), (String::new(), String::new()));
}

/// Two hold the same, and offer it to each other again and again.
#[test]
fn i23_a_set_that_is_here_is_not_asked_for() {
    let mut net = Net::meshed(3).about_to_restart(GRACE);
    net.restart(0, 2);
    net.pass(3 * settings().vector_period);
    for node in [1, 2] {
        let stats = net.shards[node].stats();
        assert_eq!((net.keys(node).as_str(), stats.held_sets_asked), ("ann", 0));
    }
}

/// It was told by another one, whose grace ended. Who saw the end of the node later offers it still.
#[test]
fn i8_a_set_that_was_told_and_has_ended_is_not_taken_again() {
    let mut net = Net::new(4);
    net.up(0, 1);
    net.up(0, 3);
    net.up(1, 2);
    let mut net = net.about_to_restart(GRACE);
    net.down(0, 1);
    net.pass(GRACE / 2);
    net.down(0, 3);
    assert_eq!((net.keys(2), net.keys(3)), ("ann".into(), "ann".into()));
    net.pass(GRACE / 2);
    assert_eq!((net.keys(2), net.keys(3)), (String::new(), "ann".into()));
    net.take_diffs(2);
    net.up(2, 3);
    net.pass(settings().vector_period);
    assert_eq!((net.keys(2), net.keys(3)), (String::new(), "ann".into()));
    assert_eq!(net.take_diffs(2), []);
}

/// The copy of the life that announced a restart was never shown, so nothing of it is held; nor is anything of the next one, which
/// announced nothing.
#[test]
fn i15_an_announcement_is_of_one_life_only() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.down(0, 1);
    net.track(0, "new");
    net.shards[0].restart(GRACE);
    net.deaf.insert((1, 0));
    net.up(0, 1);
    let word = Message::Goodbye(crate::message::Goodbye {
        life: life(1),
        farewell: Farewell::restarting(GRACE),
    });
    net.hear(1, 0, net.link(1, 0), word);
    net.run();
    net.deaf.clear();
    net.restart(0, 2);
    net.up(0, 1);
    net.track(0, "bob");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "bob");
    net.down(0, 1);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets),
        (String::new(), 0)
    );
}

/// News of the link name the incarnation that will restart. What is here of another one is not held.
#[test]
fn i15_a_restart_announced_by_another_incarnation_holds_nothing() {
    for (incarnation, listed) in [(1, "ann"), (0, ""), (2, "")] {
        let mut net = Net::meshed(2);
        net.track(0, "ann");
        net.pass(PERIOD);
        let member = Member::up(name(0), Incarnation(incarnation), net.link(1, 0));
        let event = MemberEvent::Restarting(member, GRACE);
        net.shards[1].handle_member(&event, net.now);
        net.down(0, 1);
        assert_eq!(net.keys(1), listed, "{incarnation}");
    }
}

/// A tracker was lost without a word, and another began in the same process. Then the process announces its restart, by its link and so before
/// the other one's first word is there: what the lost one tracked is not held, what the other one tracks is.
#[test]
fn i15_a_restart_that_overtakes_a_later_trackers_first_word_is_not_about_the_one_before() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let later = Life {
        started: 11,
        ..life(1)
    };
    net.shards[0] = Shard::new(name(0), later, settings());
    let event = MemberEvent::Restarting(net.member(0, net.link(1, 0)), GRACE);
    net.shards[1].handle_member(&event, net.now);
    let event = MemberEvent::Up(net.member(1, net.link(0, 1)));
    net.shards[0].handle_member(&event, net.now);
    net.run();
    net.track(0, "bob");
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets),
        ("bob".into(), 0)
    );
    net.down(0, 1);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets),
        ("bob".into(), 1)
    );
}

/// The node is back within the grace, and leaves for good: that is the end of its second life, not of what is held of the first.
#[test]
fn i26_a_later_life_that_leaves_does_not_end_the_grace_of_an_earlier_one() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.restart(0, 2);
    let ended = net.now;
    net.up(0, 1);
    net.track(0, "bob");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "ann bob");
    net.take_diffs(1);
    net.shards[0].leave(net.now);
    net.run();
    assert_eq!(
        (net.keys(1).as_str(), net.take_diffs(1)),
        ("ann", vec![(0, 1)])
    );
    net.pass(GRACE - PERIOD - (net.now - ended));
    assert_eq!(net.keys(1), "ann");
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(1).as_str(), net.take_diffs(1)),
        ("", vec![(0, 1)])
    );
}

#[test]
fn i26_a_lost_connection_is_held_to_the_moment_in_which_its_grace_ends() {
    let mut net = Net::meshed(2);
    let ticket = net.track(0, "ann");
    let grace = Duration::from_secs(1);
    net.shards[0].set_drop_grace(&ticket, grace);
    net.pass(PERIOD);
    assert_eq!(net.shards[0].owner_died(1, net.now), 1);
    net.run();
    net.pass(grace - PERIOD);
    assert_eq!((net.keys(0).as_str(), net.keys(1).as_str()), ("ann", "ann"));
    net.pass(PERIOD);
    assert_eq!(net.keys(0), "");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "");
}

/// So long after its grace that nothing of it is left here but that it is over.
#[test]
fn i20_a_life_that_was_held_to_the_end_is_not_heard_when_its_node_is_forgotten() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    net.pass(PERMDOWN + settings().vector_period);
    assert_eq!(
        (net.keys(1).as_str(), net.shards[1].stats().remembered_peers),
        ("", 0)
    );
    net.take_diffs(1);
    net.up(0, 1);
    net.pass(PERIOD);
    assert!(net.shards[1].stats().refused_lives > 0);
    assert!(net.shards[0].at().life > life(1), "it took a higher number");
    assert_eq!(
        net.shards[1].shown_life(&name(0)),
        Some(net.shards[0].at().life)
    );
    assert_eq!(net.keys(1), "ann");
}

mod ends;
mod numbers;
mod parts;
mod places;

/// A set is counted where its tracker was heard to the end, and once, whatever number it gets later and whoever takes it.
#[test]
fn held_sets_are_counted_where_they_were_made() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(Duration::from_secs(10));
    net.shards[0].leave(net.now);
    net.run();
    net.shards.push(Shard::new(name(2), life(1), settings()));
    net.diffs.push(Vec::new());
    net.up(1, 2);
    let counts = |node: usize| {
        let stats = net.shards[node].stats();
        (stats.held_sets, stats.held_sets_taken, stats.held_sets_now)
    };
    assert_eq!((counts(1), counts(2)), ((1, 0, 1), (0, 1, 1)));
}

/// No word of the tracker came that it restarts, only its link says so. The grace is as long, and begins with the end of the link.
#[test]
fn i26_a_grace_that_the_link_alone_tells_ends_when_it_says() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let member = net.member(0, net.link(1, 0));
    let restarting = MemberEvent::Restarting(member, GRACE);
    net.shards[1].handle_member(&restarting, net.now);
    net.run();
    net.pass(GRACE / 2);
    net.down(0, 1);
    net.pass(GRACE - PERIOD);
    assert_eq!(net.keys(1), "ann");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "");
}

/// The tracker has said how long its grace is, and its link says something else: the tracker's own word counts.
#[test]
fn i26_a_grace_that_the_tracker_told_is_not_made_longer_by_its_link() {
    let told = Duration::from_secs(4);
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(told);
    net.run();
    let member = net.member(0, net.link(1, 0));
    let restarting = MemberEvent::Restarting(member, GRACE);
    net.shards[1].handle_member(&restarting, net.now);
    net.run();
    net.down(0, 1);
    net.pass(told - PERIOD);
    assert_eq!(net.keys(1), "ann");
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "");
}

/// What is held of a life that is heard again is further than its node says that it is: when the grace is over, its word alone counts, and
/// at once.
#[test]
fn i17_who_is_heard_again_is_listed_as_it_says_when_the_grace_is_over() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    net.shards[1].held.values_mut().for_each(|set| set.seq += 5);
    net.untrack(0, "ann");
    net.pass(GRACE - 10 * PERIOD);
    net.up(0, 1);
    net.pass(9 * PERIOD);
    assert_eq!(net.keys(1), "ann");
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets_now),
        ("".into(), 0)
    );
    net.track(0, "bob");
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(1), net.shards[0].at().life),
        ("bob".into(), life(1))
    );
}

/// It is heard again, and what is held of it listed until all of it is here; then it leaves for good.
#[test]
fn i26_who_leaves_before_all_of_it_is_here_ends_what_is_held_of_that_very_life() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    net.shards[1].held.values_mut().for_each(|set| set.seq += 5);
    net.up(0, 1);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets_now),
        ("ann".into(), 1)
    );
    let goodbye = Goodbye {
        life: life(1),
        farewell: Farewell::leaving(),
    };
    net.hear(1, 0, net.link(1, 0), Message::Goodbye(goodbye));
    net.run();
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets_now),
        ("".into(), 0)
    );
}

/// The same before the grace is over: its hello may be an old one, its second vector is not.
#[test]
fn i17_who_is_heard_again_is_believed_after_two_vector_periods() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    net.shards[1].held.values_mut().for_each(|set| set.seq += 5);
    net.untrack(0, "ann");
    net.up(0, 1);
    net.pass(2 * settings().vector_period - PERIOD);
    assert_eq!(net.keys(1), "ann");
    net.pass(PERIOD);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets_now),
        ("".into(), 0)
    );
}

/// Its grace is over while all that it has is still on its way, and then its link ends as well.
#[test]
fn i26_what_is_held_beyond_its_grace_ends_with_the_link_of_who_was_heard_again() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.down(0, 1);
    net.track(0, "bob");
    net.pass(GRACE - PERIOD);
    net.deaf.insert((1, 0));
    net.up(0, 1);
    let at = net.shards[0].at();
    net.hear(
        1,
        0,
        net.link(1, 0),
        Message::Vector(vector(at, Vec::new())),
    );
    net.pass(4 * PERIOD);
    assert_eq!(
        (net.keys(1), net.shards[1].have(&name(0)).map(|at| at.seq)),
        ("ann".into(), Some(0))
    );
    net.down(0, 1);
    net.pass(RETRY_PERIOD);
    assert_eq!(
        (net.keys(1), net.shards[1].stats().held_sets_now),
        ("".into(), 0)
    );
}

/// It said that it is over, and its link stays. So long after its grace nobody else remembers that.
#[test]
fn i20_a_life_that_is_over_is_not_heard_over_its_link_however_late() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    let before = net.shards[0].at();
    net.shards[0].leave(net.now);
    net.run();
    net.pass(GRACE);
    assert_eq!(net.keys(1), "");
    net.pass(3 * PERMDOWN);
    assert_eq!(net.shards[1].ended.len(), 0, "forgotten");
    let says = Message::Vector(vector(before, Vec::new()));
    net.hear(1, 0, net.link(1, 0), says);
    net.run();
    assert_eq!(net.shards[1].have(&name(0)), None);
}
