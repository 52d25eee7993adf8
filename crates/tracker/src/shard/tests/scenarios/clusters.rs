//! T: nodes that come, go, stand still, come back, and miss what others say.

use super::*;

impl Net {
    /// What a node's copy of another one has, shown or not.
    fn copied(&self, here: usize, of: usize) -> Vec<String> {
        let peer = self.shards[here].peers.get(&name(of));
        let copy = peer.and_then(|peer| peer.replica.as_ref());
        let entries = copy.into_iter().flat_map(|copy| copy.live());
        entries.map(|entry| entry.key.to_string()).collect()
    }

    fn shown_life(&self, here: usize, of: usize) -> Option<Life> {
        self.shards[here].shown_life(&name(of))
    }
}

/// Whom that node asks.
fn pulls(sent: &[(usize, usize, Message)], from: usize) -> Vec<usize> {
    let pulls = sent
        .iter()
        .filter(|(a, _, message)| *a == from && matches!(message, Message::Pull(_)));
    pulls.map(|(_, to, _)| *to).collect()
}

/// Who is sent a whole state, by the first parts.
fn states(sent: &[(usize, usize, Message)]) -> Vec<(usize, usize)> {
    let first = |message: &Message| matches!(message, Message::Part(part) if part.part == 0);
    let sent = sent.iter().filter(|(_, _, message)| first(message));
    sent.map(|(from, to, _)| (*from, *to)).collect()
}

#[test]
fn t1_a_quiet_shard_speaks_again_and_again_and_says_only_how_far_it_is() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(settings().vector_period);
    net.told(1);
    net.sent.clear();
    for vectors in 1..=20 {
        net.pass(settings().vector_period / 2);
        assert_eq!(net.said(0, 1), [], "between two");
        net.pass(settings().vector_period / 2);
        let said = net.said(0, 1);
        let [Message::Vector(vector)] = &said[..] else {
            panic!("{vectors}: {said:?}");
        };
        assert_eq!(vector.at, net.shards[0].at());
    }
    assert_eq!(net.told(1), NOTHING);
}

/// All that it said at first is lost, and what it tracked then. Its next vector makes the other one ask.
#[test]
fn t2_who_hears_of_a_node_by_its_vector_asks_for_what_it_missed() {
    let mut net = Net::new(2);
    net.deaf = BTreeSet::from([(0, 1), (1, 0)]);
    net.up(0, 1);
    net.track_many(0, 0..30);
    net.pass(settings().vector_period - 2 * PERIOD);
    net.deaf.clear();
    assert_eq!((net.counts(), net.seq(1, 0)), (vec![30, 0], None));
    net.sent.clear();
    net.pass(PERIOD);
    assert_eq!((pulls(&net.sent, 1), net.seq(1, 0)), (vec![0], Some(30)));
    assert_eq!(pulls(&net.sent, 0), [0; 0]);
    assert_eq!(states(&net.sent), [(0, 1)], "the answer");
    assert_eq!(net.take_diffs(1), [(30, 0)]);
    net.assert_lists(1, &[0]);
    net.assert_nothing_pending(1, 0);
}

#[test]
fn t3_who_missed_two_nodes_asks_each_of_them_once_and_for_its_own() {
    let mut net = Net::meshed(3);
    net.deaf = BTreeSet::from([(0, 1), (0, 2)]);
    net.track(1, "bob");
    net.track(2, "cem");
    net.pass(PERIOD);
    net.deaf.clear();
    assert_eq!(
        (net.keys(1).as_str(), net.keys(2).as_str()),
        ("bob cem", "bob cem")
    );
    assert_eq!(net.told(0), NOTHING);
    net.sent.clear();
    net.settled();
    let mut told = net.told(0);
    told.sort();
    assert_eq!(told, ["+bob", "+cem"]);
    let mut asked = pulls(&net.sent, 0);
    asked.sort();
    assert_eq!(asked, [1, 2], "each once");
    assert_eq!((pulls(&net.sent, 1), pulls(&net.sent, 2)), (vec![], vec![]));
    for (from, message) in net.sent.iter().map(|(from, _, message)| (*from, message)) {
        let Message::Ops(ops) = message else { continue };
        let own = |op: &Op| {
            op.value
                .as_ref()
                .is_none_or(|value| &*value.key == ["", "bob", "cem"][from])
        };
        assert!(
            ops.ops.iter().all(own),
            "node {from} tells of another: {ops:?}"
        );
    }
}

/// Before anybody has forgotten it, and after.
#[test]
fn t4_a_node_that_crashed_and_came_back_has_nothing_of_before_anywhere() {
    for away in [Duration::from_secs(1), PERMDOWN + Duration::from_secs(5)] {
        let mut net = Net::meshed(3);
        net.track(0, "old");
        net.track(0, "new");
        net.pass(PERIOD);
        let before = net.history_of(0);
        net.stop(0);
        for other in [1, 2] {
            assert_eq!(net.told(other), ["+new +old", "-new -old"]);
        }
        net.pass(away);
        net.begin(0, 2, &[1, 2]);
        net.settled();
        net.hear_all(1, 0, before);
        assert_eq!(net.counts(), [0, 0, 0]);
        net.track(0, "new");
        net.settled();
        for node in 0..3 {
            net.assert_lists(node, &[0]);
            assert_eq!(net.told(node), ["+new"], "away for {away:?}");
        }
    }
}

#[test]
fn t5_a_suspended_node_comes_back_as_it_was_and_a_restarted_one_anew() {
    let mut net = Net::meshed(3);
    let others = [1, 2];
    let all_told = |net: &mut Net, expected: &[&str]| {
        for other in others {
            assert_eq!(net.told(other), expected, "node {other}");
        }
    };
    net.track(0, "ann");
    net.pass(PERIOD);
    all_told(&mut net, &["+ann"]);
    let (before, first) = (net.references(1), net.shards[0].at().life);
    // It stands still: only the others find that out.
    for other in others {
        net.down_at(other, 0);
    }
    all_told(&mut net, &["-ann"]);
    for other in others {
        assert_eq!(
            (net.keys(other).as_str(), net.shown_life(other, 0)),
            ("", None)
        );
        let kept = net.shards[other].have(&name(0)).map(|at| at.life);
        assert_eq!(kept, Some(first), "out of sight, and kept");
    }
    net.pass(Duration::from_secs(10));
    all_told(&mut net, &[]);
    // It goes on, and links anew.
    others.into_iter().for_each(|other| net.up(0, other));
    all_told(&mut net, &["+ann"]);
    for other in others {
        assert_eq!(
            (net.references(other), net.shown_life(other, 0)),
            (before.clone(), Some(first))
        );
    }
    net.stop(0);
    all_told(&mut net, &["-ann"]);
    assert_eq!((net.keys(1).as_str(), net.keys(2).as_str()), ("", ""));
    net.begin(0, 2, &others);
    all_told(&mut net, &[]);
    let second = net.shards[0].at().life;
    assert!(second > first);
    assert_eq!(net.counts(), [0, 0, 0], "nothing of before");
    net.track(0, "ann");
    net.pass(PERIOD);
    all_told(&mut net, &["+ann"]);
    for other in others {
        assert_eq!(net.shown_life(other, 0), Some(second));
        assert_ne!(net.references(other), before, "only what is new");
        net.assert_lists(other, &[0]);
    }
    net.stop(0);
    all_told(&mut net, &["-ann"]);
    for other in others {
        let kept = net.shards[other].have(&name(0)).map(|at| at.life);
        assert_eq!((kept, net.shown_life(other, 0)), (Some(second), None));
    }
    net.pass(PERMDOWN - Duration::from_secs(1));
    assert_eq!(net.copied(1, 0), ["ann"]);
    net.pass(Duration::from_secs(3));
    for other in others {
        assert_eq!(
            (net.copied(other, 0).len(), net.seq(other, 0)),
            (0, None),
            "dropped"
        );
        assert_eq!(
            net.shards[other].stats().remembered_peers,
            2,
            "but for its number"
        );
    }
    net.pass(PERMDOWN);
    for other in others {
        assert_eq!(net.shards[other].stats().remembered_peers, 1, "forgotten");
    }
    all_told(&mut net, &[]);
}

#[test]
fn t6_a_change_is_listed_here_at_once_and_elsewhere_after_the_period() {
    let mut net = Net::meshed(3);
    net.track_as(0, "ann", "1");
    net.track_as(0, "bob", "2");
    assert_eq!(net.told(0), ["+ann=1", "+bob=2"]);
    assert_eq!(
        (net.keys(0).as_str(), net.keys(1).as_str()),
        ("ann bob", "")
    );
    net.pass(PERIOD);
    for other in [1, 2] {
        assert_eq!(net.told(other), ["+ann=1 +bob=2"]);
        assert_eq!(net.keys(other), "ann bob");
    }
    net.untrack(0, "ann");
    assert_eq!(
        (net.told(0), net.keys(0).as_str()),
        (vec!["-ann=1".into()], "bob")
    );
    assert_eq!(net.keys(1), "ann bob");
    net.pass(PERIOD);
    assert_eq!(net.shards[0].owner_died(1, net.now), 1);
    net.run();
    assert_eq!(
        (net.told(0), net.keys(0).as_str()),
        (vec!["-bob=2".into()], "")
    );
    net.pass(PERIOD);
    for other in [1, 2] {
        assert_eq!(net.told(other), ["-ann=1", "-bob=2"]);
        assert_eq!(net.keys(other), "");
    }
}

#[test]
fn a_guard_that_ends_is_as_if_it_was_untracked() {
    let mut net = Net::meshed(2);
    let ticket = net.track(0, "ann");
    net.pass(PERIOD);
    assert_eq!(net.shards[0].release(&ticket, net.now), Some(1));
    net.run();
    net.pass(PERIOD);
    for node in 0..2 {
        assert_eq!(net.told(node), ["+ann", "-ann"]);
    }
}

#[test]
fn t7_a_killed_node_leaves_and_is_kept_out_of_sight_until_it_is_forgotten() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.track(1, "bob");
    net.pass(PERIOD);
    net.told(1);
    net.stop(0);
    assert_eq!(
        (net.told(1), net.keys(1).as_str()),
        (vec!["-ann".into()], "bob")
    );
    net.pass(PERMDOWN - PERIOD);
    for other in [1, 2] {
        assert_eq!(net.copied(other, 0), ["ann"], "out of sight only");
    }
    net.pass(2 * PERIOD);
    for other in [1, 2] {
        assert_eq!((net.copied(other, 0).len(), net.seq(other, 0)), (0, None));
        assert_eq!(net.keys(other), "bob");
    }
    assert_eq!(net.told(1), NOTHING, "it had left already");
}

#[test]
fn t8_untracking_ends_what_was_meant_and_nothing_else() {
    let mut net = Net::meshed(2);
    let now = net.now;
    assert_eq!(net.shards[0].untrack(&slot("nobody"), now), Ok(false));
    let at = net.shards[0].at();
    for key in ["a", "b", "c", "d"] {
        net.track(0, key);
    }
    let beside = Net::slot_of(2, "a");
    net.shards[0].track(&beside, Bytes::new(), now).unwrap();
    net.run();
    assert_eq!(
        net.shards[0].at().seq,
        at.seq + 5,
        "nothing was done for nobody"
    );
    net.told(0);
    net.untrack(0, "a");
    assert_eq!(
        (net.told(0), net.keys(0).as_str()),
        (vec!["-a".into()], "a b c d")
    );
    assert!(net.shards[0].owner_has_entries(1), "others of it stay");
    assert_eq!(net.shards[0].untrack(&slot("a"), now), Ok(false), "once");
    for last in ["b", "c", "d"] {
        assert!(net.shards[0].owner_has_entries(1));
        net.untrack(0, last);
    }
    assert!(!net.shards[0].owner_has_entries(1), "that was the last one");
    assert!(net.shards[0].owner_has_entries(2));
    for key in ["e", "f"] {
        net.track(0, key);
    }
    net.pass(PERIOD);
    assert_eq!(net.keys(1), "a e f");
    net.told(0);
    net.told(1);
    assert_eq!(net.shards[0].untrack_owner(1, now), 2, "all of it");
    net.run();
    assert_eq!(net.told(0), ["-e -f"]);
    assert!(!net.shards[0].owner_has_entries(1));
    assert_eq!(net.shards[0].untrack_owner(1, now), 0);
    net.pass(PERIOD);
    assert_eq!(
        (net.told(1), net.keys(1).as_str()),
        (vec!["-e -f".into()], "a")
    );
    net.assert_lists(1, &[0]);
}

#[test]
fn t10_nothing_cannot_be_updated_and_twice_is_refused_in_one_slot_only() {
    let mut net = Net::new(1);
    let now = net.now;
    let refused = net.shards[0].update(&slot("ann"), None, Bytes::new(), now);
    assert_eq!(refused, Err(Refusal::NoPresence));
    net.track_as(0, "ann", "1");
    let (at, there) = (
        net.shards[0].at(),
        net.shards[0].own_slot(&slot("ann")).cloned(),
    );
    let twice = net.shards[0].track(&slot("ann"), "2".into(), now);
    assert_eq!(twice.err(), there, "told what is there");
    net.run();
    assert_eq!(
        (net.told(0), net.shards[0].at()),
        (vec!["+ann=1".into()], at),
        "and nothing else"
    );
    let elsewhere = Slot {
        topic: "other".into(),
        ..slot("ann")
    };
    for free in [elsewhere, slot("bob"), Net::slot_of(2, "ann")] {
        let refused = net.shards[0].update(&free, None, Bytes::new(), now);
        assert_eq!(refused, Err(Refusal::NoPresence), "{free:?}");
        assert!(
            net.shards[0].track(&free, Bytes::new(), now).is_ok(),
            "{free:?}"
        );
        net.run();
    }
    assert_eq!(net.count(0), 4);
    net.untrack(0, "ann");
    let refused = net.shards[0].update(&slot("ann"), None, Bytes::new(), now);
    assert_eq!(refused, Err(Refusal::NoPresence), "no more");
    net.track_as(0, "ann", "3");
    assert_ne!(net.shards[0].own_slot(&slot("ann")).cloned(), there);
}

#[test]
fn t11_goodbye_of_a_tracker_is_final_for_its_life_and_the_next_one_is_heard() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let link = net.link(1, 0);
    let at = net.shards[0].at();
    net.told(1);
    net.shards[0].leave(net.now);
    net.run();
    assert_eq!(
        (net.told(1), net.seq(1, 0)),
        (vec!["-ann".into()], None),
        "at once, and no copy stays"
    );
    assert_eq!((net.keys(0), net.keys(1)), (String::new(), String::new()));
    let ghost = |life| {
        Message::Ops(Ops {
            life,
            from: 0,
            ops: vec![put("ghost")],
        })
    };
    let word = Message::Vector(vector(at, Vec::new()));
    net.hear_all(1, 0, vec![ghost(at.life), word, ghost(at.life)]);
    assert_eq!(
        (net.told(1), net.keys(1).as_str()),
        (vec![], ""),
        "what comes late"
    );
    // Another tracker in the same process, which believes that it started earlier.
    let earlier = Life {
        started: 3,
        ..life(1)
    };
    net.shards[0] = Shard::new(name(0), earlier, settings());
    net.track(0, "bob");
    let event = MemberEvent::Up(net.member(1, link));
    net.shards[0].handle_member(&event, net.now);
    net.run();
    assert_eq!((net.keys(0), net.keys(1)), ("bob".into(), "bob".into()));
    assert!(net.shards[0].at().life > at.life, "it took a higher number");
    // The goodbye of the tracker before comes once more.
    let farewell = Farewell::leaving();
    let again = Message::Goodbye(crate::message::Goodbye {
        life: at.life,
        farewell,
    });
    net.hear_all(1, 0, vec![again]);
    assert_eq!(
        (net.told(1), net.keys(1).as_str()),
        (vec!["+bob".into()], "bob")
    );
}

/// One is killed, another one starts: it asks once, and nobody tells it of the dead.
#[test]
fn t12_in_a_rolling_update_the_new_node_gets_each_state_once_and_nothing_of_the_dead() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.track_many(0, 0..20);
    net.track_many(1, 0..5);
    net.stop(1);
    assert_eq!(
        (net.copied(0, 1).len(), net.count(0)),
        (5, 20),
        "kept, out of sight"
    );
    net.sent.clear();
    net.up(0, 2);
    assert_eq!(states(&net.sent), [(0, 2)], "exactly one");
    assert_eq!(pulls(&net.sent, 2), [0; 0], "its hello was the question");
    assert_eq!((net.take_diffs(2), net.seq(2, 1)), (vec![(20, 0)], None));
    net.take_sent();
    net.settled();
    assert_eq!(net.take_sent(), [], "and asks no more");
    net.pass(PERMDOWN);
    assert_eq!(
        (net.copied(0, 1).len(), net.seq(0, 1)),
        (0, None),
        "later it is forgotten"
    );
    assert_eq!((net.take_sent(), net.take_diffs(2)), (vec![], vec![]));
    net.assert_lists(2, &[0]);
}

#[test]
fn t12_each_of_three_restarted_in_turn_gets_each_state_once() {
    let mut net = Net::meshed(3);
    for node in 0..3 {
        net.track_many(node, 0..20);
    }
    for node in 0..3 {
        let others = net.others(node);
        net.stop(node);
        net.sent.clear();
        net.begin(node, 2, &others);
        let asked: Vec<_> = others.iter().map(|other| (*other, node)).collect();
        assert_eq!(states(&net.sent), asked, "one of each");
        net.take_sent();
        net.settled();
        assert_eq!(net.take_sent(), [], "and asks no more");
        net.assert_lists(node, &others);
        net.track_many(node, 0..20);
        net.assert_lists(node, &[0, 1, 2]);
    }
}
