//! News of links, lives and numbers: what comes of each, and what is not to come of it.

use matryoshka_pubsub::cluster::{MemberState, MemberTable};

use super::*;

const GRACE: Duration = Duration::from_secs(10);

/// A number is the node's own matter, and only rises; who has left takes none any more.
#[test]
fn i4_a_number_is_taken_only_if_it_is_higher_and_not_after_the_goodbye() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let own = |net: &Net| net.shards[0].at().life.incarnation;
    for (told, taken) in [(7, 7), (3, 7), (7, 7)] {
        let event = MemberEvent::Renumbered(Incarnation(told));
        net.shards[0].handle_member(&event, net.now);
        net.run();
        assert_eq!(own(&net), taken, "told {told}");
    }
    let there = [MemberEvent::Up(net.member(1, net.link(0, 1)))];
    net.shards[0].handle_reset(&there, Incarnation(8), net.now);
    net.run();
    assert_eq!((own(&net), net.keys(1).as_str()), (8, "ann"));
    net.shards[0].leave(net.now);
    net.run();
    net.take_sent();
    net.shards[0].handle_member(&MemberEvent::Renumbered(Incarnation(9)), net.now);
    net.run();
    assert_eq!((own(&net), net.take_sent()), (8, vec![]));
}

/// A node has begun again, and is linked. Over that link comes what its life before said, whose copy is still here.
#[test]
fn i20_over_the_link_of_a_later_incarnation_an_earlier_one_is_not_heard() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let before = Message::Vector(vector(net.shards[0].at(), Vec::new()));
    net.restart(0, 2);
    net.deaf.insert((1, 0));
    net.up(0, 1);
    net.take_diffs(1);
    net.hear(1, 0, net.link(1, 0), before);
    net.run();
    assert_eq!((net.keys(1), net.take_diffs(1)), (String::new(), vec![]));
    assert_eq!(net.shards[1].stats().refused_lives, 1);
}

/// The tracker before it was far when the link came up. That says nothing of the one that follows it over the same link.
#[test]
fn i9_the_next_tracker_over_one_link_is_listed_though_the_one_before_was_further() {
    for drains in [false, true] {
        let mut net = Net::new(2);
        for key in ["a", "b", "c"] {
            net.track(0, key);
        }
        net.up(0, 1);
        if drains {
            net.shards[0].restart(GRACE);
            net.run();
        }
        net.shards[0].leave(net.now);
        net.run();
        net.shards[0] = Shard::new(name(0), life(1).next().unwrap(), settings());
        net.track(0, "new");
        let event = MemberEvent::Up(net.member(1, net.link(0, 1)));
        net.shards[0].handle_member(&event, net.now);
        net.run();
        let listed = if drains { "a b c new" } else { "new" };
        assert_eq!(net.keys(1), listed);
        assert_eq!(net.shards[1].shown_life(&name(0)), life(1).next());
    }
}

/// That a node is forgotten is said of one that is away: what it tracked is dropped. Of one that is linked again it comes too late.
#[test]
fn i18_who_is_forgotten_is_dropped_unless_it_is_linked() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_diffs(1);
    let event = MemberEvent::Forgotten(name(0));
    net.shards[1].handle_member(&event, net.now);
    net.run();
    assert!(net.shards[1].have(&name(0)).is_some());
    net.down(0, 1);
    net.shards[1].handle_member(&event, net.now);
    net.run();
    assert!(net.shards[1].have(&name(0)).is_none());
    assert_eq!(net.take_diffs(1), [(0, 1)]);
}

/// News were lost. Among the nodes that there are is one without a link, and one that leaves for good.
#[test]
fn i17_of_all_nodes_after_a_reset_only_those_count_that_are_linked_and_stay() {
    for (state, listed, over) in [
        (MemberState::Up, "ann bob", false),
        (MemberState::Suspect, "ann bob", false),
        (MemberState::Restarting, "ann bob", false),
        (MemberState::Down, "ann", false),
        (MemberState::Leaving, "ann", true),
    ] {
        let mut net = Net::meshed(3);
        net.track(0, "ann");
        net.track(1, "bob");
        net.pass(PERIOD);
        let others = [net.member(0, net.link(2, 0)), net.member(1, net.link(2, 1))];
        let mut table = MemberTable::new();
        for member in &others {
            table.handle(MemberEvent::Up(member.clone()));
        }
        let member = others[1].clone();
        table.handle(match state {
            MemberState::Up => MemberEvent::Up(member),
            MemberState::Suspect => MemberEvent::Suspect(member),
            MemberState::Restarting => MemberEvent::Restarting(member, GRACE),
            MemberState::Leaving => MemberEvent::Leaving(member),
            MemberState::Down => MemberEvent::Down(member),
        });
        net.shards[2].handle_reset(&table.introduce(), Incarnation(1), net.now);
        net.run();
        assert_eq!(net.keys(2), listed, "{state:?}");
        assert_eq!(net.shards[2].peers[&name(1)].floor.ended, over, "{state:?}");
    }
}

/// Among the news that were lost is that a node restarts, which its trackers do not say: what it has stays listed when its link ends.
#[test]
fn i15_what_the_link_said_of_a_restart_is_known_after_a_reset() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_diffs(1);
    let mut table = MemberTable::new();
    let member = net.member(0, net.link(1, 0));
    table.handle(MemberEvent::Up(member.clone()));
    table.handle(MemberEvent::Restarting(member, GRACE));
    net.shards[1].handle_reset(&table.introduce(), Incarnation(1), net.now);
    net.run();
    net.down(0, 1);
    assert_eq!((net.keys(1), net.take_diffs(1)), ("ann".into(), vec![]));
    net.pass(GRACE);
    assert_eq!(net.take_diffs(1), [(0, 1)]);
}

/// A link broke, and another one comes up: what was missed is told, and nothing that is here already.
#[test]
fn i23_over_a_new_link_only_what_was_missed_is_told() {
    let mut net = Net::meshed(2);
    for key in ["a", "b", "c"] {
        net.track(0, key);
    }
    net.pass(PERIOD);
    net.down(0, 1);
    net.track(0, "d");
    net.pass(PERIOD);
    net.take_sent();
    net.up(0, 1);
    assert_eq!(net.keys(1), "a b c d");
    let told = net.take_sent().into_iter().map(|message| match message {
        Message::Ops(ops) => ops.ops.len(),
        Message::Part(part) => part.entries.len(),
        _ => 0,
    });
    assert_eq!(told.sum::<usize>(), 1);
}

/// Of an earlier state all is here, as comes late. Of the one that is on its way now nothing is, and all of it is still sent.
#[test]
fn i9_what_was_taken_of_an_earlier_state_is_not_taken_of_a_later_one() {
    let mut net = Net::new(2);
    for key in 0..40 {
        net.track(0, &format!("k{key:02}"));
    }
    net.deaf.insert((1, 0));
    net.up(0, 1);
    let sending = |net: &Net| {
        let peer = &net.shards[0].peers[&name(1)];
        peer.link.as_ref().unwrap().sending.is_some()
    };
    assert!(sending(&net));
    let at = net.shards[0].at();
    let taken = |seq| {
        let at = Position { seq, ..at };
        let part = u32::MAX;
        Message::PartTaken(crate::message::PartTaken { at, part })
    };
    net.hear(0, 1, net.link(0, 1), taken(at.seq - 1));
    assert!(sending(&net));
    net.hear(0, 1, net.link(0, 1), taken(at.seq));
    assert!(!sending(&net));
    net.run();
}

/// Operations come beyond a gap, and then some that are older: how far the owner is stays known.
#[test]
fn i4_what_was_told_of_an_owner_is_not_lowered_by_what_comes_late() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.deaf.insert((0, 1));
    let (life, link) = (life(1), net.link(1, 0));
    for from in [6, 0] {
        let ops = vec![put("k")];
        net.hear(1, 0, link, Message::Ops(Ops { life, from, ops }));
        net.run();
    }
    let peer = &net.shards[1].peers[&name(0)];
    assert_eq!(peer.link.as_ref().map(|link| link.known), Some(7));
    assert!(peer.behind());
}

/// All that others say that they have is here: nothing has to be looked at again, and no timer is set for it.
#[test]
fn i22_what_is_here_already_is_not_suspected_to_be_missing() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(PERIOD);
    let mut heard = |seq: u64| {
        let at = Position {
            seq,
            ..net.shards[0].at()
        };
        let heard = Heard {
            node: name(0).as_str().to_owned(),
            at,
        };
        let says = Message::Vector(vector(net.shards[2].at(), vec![heard]));
        net.hear(1, 2, net.link(1, 2), says);
        let link = net.shards[1].link_mut(&name(0)).unwrap();
        link.suspicion.take().map(|suspicion| suspicion.seq)
    };
    assert_eq!([heard(0), heard(1), heard(2)], [None, None, Some(2)]);
}

/// More messages are lost while a question waits for its answer.
#[test]
fn i24_who_was_asked_is_not_asked_again_while_it_may_still_answer() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.deaf.insert((1, 0));
    net.take_sent();
    let asked = |net: &mut Net, time| {
        net.pass(time);
        let sent = net.take_sent().into_iter();
        sent.filter(|message| matches!(message, Message::Pull(_)))
            .count()
    };
    let (link, start) = (net.link(1, 0), net.now);
    for questions in [1, 0] {
        let now = net.now;
        net.shards[1].handle_gap(&name(0), link, now);
        assert_eq!(asked(&mut net, 3 * PERIOD), questions);
    }
    let passed = net.now - start;
    assert_eq!(asked(&mut net, RETRY_PERIOD + 2 * PERIOD - passed), 1);
}

/// A tracker is over, and the one that follows it has a lower number, since the clock was set back. It is here, when something that the first one
/// said comes late: then it is told to take a higher number. What is here of it is hidden meanwhile, and not told again.
#[test]
fn i17_who_is_taken_for_an_earlier_life_goes_on_under_a_higher_number() {
    let started = |started| Life { started, ..life(1) };
    let mut net = Net::new(2);
    net.shards[0] = Shard::new(name(0), started(20), settings());
    net.up(0, 1);
    net.track(0, "bob");
    net.pass(PERIOD);
    let late = Message::Vector(vector(net.shards[0].at(), Vec::new()));
    net.shards[0].leave(net.now);
    net.run();
    net.down(0, 1);
    net.pass(PERMDOWN + PERIOD);
    assert!(!net.shards[1].remembers(&name(0)));
    net.shards[0] = Shard::new(name(0), started(15), settings());
    net.up(0, 1);
    net.track(0, "ann");
    net.pass(PERIOD);
    assert_eq!(net.shards[1].shown_life(&name(0)), Some(started(15)));
    net.take_diffs(1);
    let told = net.shards[0].stats();
    net.hear(1, 0, net.link(1, 0), late);
    net.shards[1].settle();
    assert_eq!(net.shards[1].shown_life(&name(0)), None);
    net.pass(settings().vector_period);
    assert_eq!(
        (net.keys(1), net.take_diffs(1)),
        ("ann".into(), vec![(0, 1), (1, 0)])
    );
    assert!(net.shards[1].shown_life(&name(0)) > Some(started(20)));
    let stats = net.shards[0].stats();
    assert_eq!(stats.states_served, told.states_served);
}

/// It leaves for good, so that its peers' pubsub forgets it with its link, and its clock is set back before it begins again. A peer
/// that has lost news of nodes hears of the forgetting only by what is there now.
#[test]
fn i9_who_left_and_begins_again_after_its_clock_was_set_back_is_heard_at_once() {
    for news_are_lost in [false, true] {
        let mut net = Net::meshed(2);
        net.track(0, "ann");
        net.pass(PERIOD);
        let (before, link) = (net.shards[0].at(), net.link(1, 0));
        let leaving = MemberEvent::Leaving(net.member(0, link));
        net.shards[1].handle_member(&leaving, net.now);
        net.shards[0].leave(net.now);
        net.restart(0, 0);
        if !news_are_lost {
            net.shards[1].handle_member(&MemberEvent::Forgotten(name(0)), net.now);
        }
        net.track(0, "bob");
        net.take_diffs(1);
        net.up(0, 1);
        if news_are_lost {
            let there = [MemberEvent::Up(net.member(0, net.link(1, 0)))];
            net.shards[1].handle_reset(&there, Incarnation(1), net.now);
            net.run();
        }
        net.track(1, "cem");
        net.pass(if news_are_lost { RETRY_PERIOD } else { PERIOD });
        assert_eq!(
            (net.keys(0), net.keys(1)),
            ("bob cem".into(), "bob cem".into())
        );
        // Whatever is still under way of the life before, and what others tell of it.
        let stale = net.shards[1].stats().stale_messages;
        net.hear(1, 0, link, Message::Vector(vector(before, Vec::new())));
        assert_eq!(net.shards[1].stats().stale_messages, stale + 1);
        let held = vec![offer_of(0, before)];
        let says = Message::Vector(Vector {
            held,
            ..vector(net.shards[0].at(), Vec::new())
        });
        net.take_sent();
        net.hear(1, 0, net.link(1, 0), says);
        net.run();
        assert_eq!((net.keys(1), net.take_sent()), ("bob cem".into(), vec![]));
    }
}

/// The same after so many processes that no more ends are remembered one by one: what is below all of these is over, but not a process
/// that the link has taken since.
#[test]
fn i9_whose_clock_was_set_back_after_many_processes_is_heard_at_once() {
    const PROCESSES: u64 = 20;
    let mut net = Net::meshed(2);
    for incarnation in (2..2 + PROCESSES).chain([0]) {
        let leaving = MemberEvent::Leaving(net.member(0, net.link(1, 0)));
        net.shards[1].handle_member(&leaving, net.now);
        net.shards[0].leave(net.now);
        net.restart(0, incarnation);
        net.shards[1].handle_member(&MemberEvent::Forgotten(name(0)), net.now);
        net.track(0, "ann");
        net.up(0, 1);
        net.pass(PERIOD);
        assert_eq!(net.keys(1), "ann", "{incarnation}");
    }
    assert_eq!(net.shards[1].stats().refused_lives, 0);
}

fn offer_of(node: usize, at: Position) -> crate::message::Offer {
    crate::message::Offer {
        node: name(node).as_str().to_owned(),
        at,
        left: 5_000,
        formerly: Vec::new(),
    }
}

impl Net {
    /// The second node misses what the first one tracks, and asks for it in vain.
    fn ask_in_vain(&mut self) {
        self.deaf.insert((1, 0));
        self.track(0, "a");
        self.pass(PERIOD);
        self.deaf = BTreeSet::from([(0, 1)]);
        self.track(0, "b");
        self.pass(PERIOD);
    }
}

#[test]
fn a_lost_question_is_asked_again_before_the_next_vector() {
    let mut net = Net::meshed(2);
    net.ask_in_vain();
    net.deaf.clear();
    assert_eq!(net.shards[1].stats().pulls_sent, 1);
    net.pass(RETRY_PERIOD);
    assert_eq!(
        (net.keys(1).as_str(), net.shards[1].stats().pulls_sent),
        ("a b", 2)
    );
    assert_eq!(net.shards[0].stats().vectors_sent, 0);
}

/// Ever less often, but never more than eight seconds apart: so long after it can be reached again it is asked, at the latest.
#[test]
fn i9_who_does_not_answer_is_asked_again_every_eight_seconds() {
    let mut net = Net::meshed(2);
    net.ask_in_vain();
    let mut asked = Vec::new();
    for _ in 0..60 * 20 {
        let before = net.shards[1].stats().pulls_sent;
        net.pass(PERIOD);
        if net.shards[1].stats().pulls_sent > before {
            asked.push(net.now);
        }
    }
    let apart = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs());
    assert_eq!(apart.collect::<Vec<_>>()[..5], [2, 4, 8, 8, 8]);
}
