//! Scenarios that trackers have stumbled over, each by its id: S of the state (`states.rs`), K of what is known of others (here), T of
//! clusters (`clusters.rs`), X of those that random tests elsewhere have found (`found.rs`). T9 and T13 stand in `tests/it`, T14 in
//! `tests/it/pools.rs`. Beside them the stories of promises that one cluster tells.

use super::*;
use crate::peer::Link;

impl Net {
    fn slot_of(owner: u64, key: &str) -> Slot {
        Slot { owner, ..slot(key) }
    }

    fn track_many(&mut self, node: usize, keys: std::ops::Range<usize>) {
        for key in keys {
            self.track(node, &format!("{node}-{key:03}"));
        }
        self.pass(PERIOD);
    }

    fn untrack_many(&mut self, node: usize, keys: std::ops::Range<usize>) {
        for key in keys {
            self.untrack(node, &format!("{node}-{key:03}"));
        }
        self.pass(PERIOD);
    }

    fn count(&self, node: usize) -> usize {
        self.shards[node].listed().count()
    }

    fn counts(&self) -> Vec<usize> {
        (0..self.shards.len())
            .map(|node| self.count(node))
            .collect()
    }

    /// The process of a node is over; its links are found to be so.
    fn stop(&mut self, node: usize) {
        for other in (0..self.shards.len()).filter(|other| *other != node) {
            self.down(node, other);
        }
    }

    /// It begins again, with that incarnation, and links to these.
    fn begin(&mut self, node: usize, incarnation: u64, others: &[usize]) {
        self.restart(node, incarnation);
        for other in others {
            self.up(node, *other);
        }
    }

    pub(super) fn settled(&mut self) {
        self.pass(Duration::from_secs(5));
    }

    /// As [`down`](Self::down), but only one end has found the link to be over. The other one still believes in it.
    fn down_at(&mut self, here: usize, there: usize) {
        if let Some(link) = self.links.remove(&(here, there)) {
            let event = MemberEvent::Down(self.member(there, link));
            self.shards[here].handle_member(&event, self.now);
        }
        self.run();
    }

    fn track_as(&mut self, node: usize, key: &str, meta: &'static str) {
        let tracked = self.shards[node].track(&slot(key), meta.into(), self.now);
        tracked.expect("the slot is free");
        self.run();
    }

    fn update_to(&mut self, node: usize, key: &str, meta: &'static str) -> Arc<Entry> {
        let updated = self.shards[node].update(&slot(key), None, meta.into(), self.now);
        self.run();
        updated.expect("it is tracked")
    }

    /// The diffs of a node since the last call, each as what joined and what left: by key, and by value if it has one of its own.
    fn told(&mut self, node: usize) -> Vec<String> {
        let steps = std::mem::take(&mut self.diffs[node]).into_iter();
        let told = steps.map(|step| {
            let joins = step.diff.joins.iter().map(|entry| ('+', entry));
            let leaves = step.diff.leaves.iter().map(|entry| ('-', entry));
            let changes = joins.chain(leaves);
            let changes = changes.map(|(sign, entry)| format!("{sign}{}", said_of(entry)));
            changes.collect::<Vec<_>>().join(" ")
        });
        told.collect()
    }

    /// What one node has said to another one since the last call of this, vectors included.
    fn said(&mut self, from: usize, to: usize) -> Vec<Message> {
        let sent = std::mem::take(&mut self.sent).into_iter();
        let way = sent.filter(|(a, b, _)| (*a, *b) == (from, to));
        way.map(|(_, _, message)| message).collect()
    }

    /// All that a node tracks, as one message.
    fn state_of(&self, node: usize) -> Message {
        let own = &self.shards[node].own;
        Message::Part(Part {
            at: own.at(),
            part: 0,
            parts: 1,
            entries: own.frozen().iter().map(|kept| own.stored(kept)).collect(),
        })
    }

    /// All that a node ever did, as messages. It is little enough to be in the log.
    fn history_of(&self, node: usize) -> Vec<Message> {
        let ops = self.shards[node].ops_after(0).into_iter();
        ops.map(Message::Ops).collect()
    }

    /// These come from a node, over the link that it believes in.
    fn hear_all(&mut self, to: usize, from: usize, messages: Vec<Message>) {
        for message in messages {
            self.hear(to, from, self.link(from, to), message);
            self.run();
        }
    }

    /// All that a node has said already comes again, as operations and as a state. Nothing comes of it.
    fn assert_heard(&mut self, to: usize, from: usize) {
        let listed = self.references(to);
        let have = self.shards[to].have(&name(from));
        let before = self.shards[to].stats();
        let mut again = self.history_of(from);
        again.push(self.state_of(from));
        again.extend(self.history_of(from));
        let count = again.len() as u64;
        self.hear_all(to, from, again);
        assert_eq!(self.told(to), NOTHING, "said again");
        assert_eq!(self.references(to), listed, "said again");
        assert_eq!(self.shards[to].have(&name(from)), have, "said again");
        let after = self.shards[to].stats();
        let old = (
            after.old_ops - before.old_ops,
            after.old_states - before.old_states,
        );
        assert_eq!(old, (count - 1, 1), "known as old");
    }

    fn others(&self, node: usize) -> Vec<usize> {
        let all = 0..self.shards.len();
        all.filter(|other| *other != node).collect()
    }

    /// How far a node's copy of another one is: nothing, if it has none.
    fn seq(&self, here: usize, of: usize) -> Option<u64> {
        self.shards[here].have(&name(of)).map(|at| at.seq)
    }

    /// Nothing of a peer is awaited, suspected or half here.
    fn assert_nothing_pending(&self, here: usize, of: usize) {
        let peer = &self.shards[here].peers[&name(of)];
        let link = peer.link.as_ref().expect("it is linked");
        assert!(!peer.behind() && peer.caught_up());
        assert!(link.suspicion.is_none() && link.assembly.is_none() && link.asked.is_none());
    }

    /// References of all that these nodes track.
    fn tracked_by(&self, nodes: &[usize]) -> BTreeSet<String> {
        let own = nodes.iter().flat_map(|node| self.shards[*node].own.iter());
        own.map(|entry| entry.reference.to_string()).collect()
    }

    /// A node lists exactly what these track.
    fn assert_lists(&self, node: usize, tracked_by: &[usize]) {
        let listed: BTreeSet<String> = self.references(node).into_iter().collect();
        assert_eq!(listed, self.tracked_by(tracked_by), "node {node}");
        assert_eq!(listed.len(), self.count(node), "node {node}: none twice");
    }
}

/// No diff, or no list of them.
const NOTHING: [&str; 0] = [];

/// The key of an entry, with its value if that is not the usual one.
fn said_of(entry: &Entry) -> String {
    match std::str::from_utf8(&entry.meta) {
        Ok(meta) if !meta.is_empty() && meta.is_ascii() && meta.len() < 100 => {
            format!("{}={meta}", entry.key)
        }
        _ => entry.key.to_string(),
    }
}

/// Whether the word that says so comes at once, or with the next vector only.
#[test]
fn i14_renumbering_shows_nobody_anything() {
    for lost in [false, true] {
        let mut net = Net::meshed(2);
        net.track(0, "ann");
        net.pass(PERIOD);
        let before = net.references(1);
        net.diffs.iter_mut().for_each(Vec::clear);
        if lost {
            net.deaf.insert((1, 0));
        }
        net.shards[0].handle_member(&MemberEvent::Renumbered(Incarnation(7)), net.now);
        net.run();
        assert_eq!(net.shards[0].at().life, life(7));
        net.deaf.clear();
        net.pass(settings().vector_period);
        assert_eq!(net.shards[1].shown_life(&name(0)), Some(life(7)));
        net.track(0, "bob");
        net.pass(Duration::from_secs(5));
        assert_eq!(
            (net.keys(0), net.keys(1)),
            ("ann bob".into(), "ann bob".into())
        );
        assert_eq!(net.take_diffs(1), [(1, 0)]);
        assert!(
            before
                .iter()
                .all(|reference| net.references(1).contains(reference))
        );
        net.up(0, 1);
        assert_eq!(
            net.references(0),
            net.references(1),
            "also after a new link"
        );
    }
}

/// A part of a state of the first node, which has one entry in each part.
fn part_of(seq: u64, part: u32, parts: u32) -> Message {
    let stored = Stored {
        held: false,
        put_seq: 40 + u64::from(part),
        value: put(&format!("k{part}")).value.unwrap(),
    };
    let at = Position { life: life(1), seq };
    let entries = vec![stored];
    Message::Part(Part {
        at,
        part,
        parts,
        entries,
    })
}

#[test]
fn i6_a_state_that_is_broken_off_changes_nothing() {
    let broken = [
        (
            "it ends before its last part",
            vec![part_of(50, 0, 3), part_of(50, 1, 3)],
            0,
        ),
        (
            "a part of a later one",
            vec![part_of(50, 0, 3), part_of(50, 1, 3), part_of(60, 1, 3)],
            1,
        ),
        (
            "a part is missing",
            vec![part_of(50, 0, 3), part_of(50, 2, 3)],
            1,
        ),
        (
            "a part comes twice",
            vec![part_of(50, 0, 2), part_of(50, 1, 3)],
            1,
        ),
        ("the first is missing", vec![part_of(50, 1, 2)], 1),
        (
            "parts are told to be fewer",
            vec![part_of(50, 0, 3), part_of(50, 1, 2)],
            1,
        ),
    ];
    for (why, messages, count) in broken {
        let mut net = Net::meshed(2);
        net.track(0, "ann");
        net.pass(PERIOD);
        net.take_diffs(1);
        net.deaf.insert((1, 0));
        for message in messages {
            net.hear_all(1, 0, vec![message]);
            assert_eq!(
                (net.told(1), net.keys(1).as_str()),
                (vec![], "ann"),
                "{why}"
            );
            assert_eq!(net.seq(1, 0), Some(1), "{why}");
        }
        assert_eq!(net.shards[1].stats().broken_states, count, "{why}");
    }
}

/// Whoever asked again gets it from its first part on.
#[test]
fn i6_a_state_that_begins_anew_is_taken_whole() {
    let mut net = Net::meshed(2);
    net.deaf.insert((1, 0));
    net.hear_all(1, 0, vec![part_of(50, 0, 2), part_of(50, 0, 2)]);
    assert_eq!(net.told(1), NOTHING);
    net.hear_all(1, 0, vec![part_of(50, 1, 2)]);
    assert_eq!(
        (net.told(1), net.seq(1, 0)),
        (vec!["+k0 +k1".into()], Some(50))
    );
    assert_eq!(net.shards[1].stats().broken_states, 0);
}

/// Another tracker runs where one did, over the same link, and nobody was told that the first one ended.
#[test]
fn i15_a_tracker_that_takes_the_place_of_another_over_one_link_is_listed_in_its_place() {
    let mut net = Net::meshed(2);
    for key in ["a", "b", "c"] {
        net.track(0, key);
        net.pass(PERIOD);
    }
    net.told(1);
    let later = life(1).next().unwrap();
    net.shards[0] = Shard::new(name(0), later, settings());
    net.track(0, "new");
    let event = MemberEvent::Up(net.member(1, net.link(0, 1)));
    net.shards[0].handle_member(&event, net.now);
    net.run();
    assert_eq!(
        (net.told(1), net.keys(1).as_str()),
        (vec!["-a -b -c".into(), "+new".into()], "new")
    );
    net.assert_nothing_pending(1, 0);
}

impl Net {
    /// A node says that another one is so far, as it claims.
    fn claim(&mut self, to: usize, from: usize, of: usize, at: Position) {
        let node = name(of).as_str().to_owned();
        let vector = vector(self.shards[from].at(), vec![Heard { node, at }]);
        self.hear(to, from, self.link(to, from), Message::Vector(vector));
        self.run();
    }

    /// Who was asked by a node since the last call.
    fn asked_by(&mut self, node: usize) -> Vec<usize> {
        self.pass(3 * PERIOD);
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.filter(|(from, _, message)| *from == node && matches!(message, Message::Pull(_)))
            .map(|(_, to, _)| to)
            .collect()
    }
}

#[test]
fn k1_only_a_higher_number_of_the_same_life_is_more() {
    let mut net = Net::meshed(3);
    net.track(2, "cem");
    net.track(2, "dan");
    net.pass(PERIOD);
    net.asked_by(0);
    let here = net.shards[0].have(&name(2)).unwrap();
    let at = |incarnation, seq| Position {
        life: life(incarnation),
        seq,
    };
    for no_more in [at(1, 1), here, at(0, 7), at(9, 7)] {
        net.claim(0, 1, 2, no_more);
        assert_eq!(net.asked_by(0), [], "{no_more:?} is not more than {here:?}");
    }
    net.claim(0, 1, 2, at(1, 3));
    assert_eq!(net.asked_by(0), [2]);
}

#[test]
fn k2_of_several_claims_about_one_owner_the_highest_counts_and_each_owner_is_asked_once() {
    let mut net = Net::meshed(4);
    net.asked_by(0);
    let at = |seq| Position { life: life(1), seq };
    for (from, of, seq) in [(1, 2, 4), (3, 2, 6), (1, 2, 5), (2, 3, 5)] {
        net.claim(0, from, of, at(seq));
    }
    let suspected = |net: &Net, node: usize| {
        let link = net.shards[0].peers[&name(node)].link.as_ref();
        link.and_then(|link| link.suspicion).map(|more| more.seq)
    };
    assert_eq!((suspected(&net, 2), suspected(&net, 3)), (Some(6), Some(5)));
    assert_eq!(net.asked_by(0), [2, 3]);
}

#[test]
fn k3_of_what_a_peer_tells_the_first_is_the_lower_bound_and_the_highest_the_upper_one() {
    let mut link = Link::new(LinkId(1), 1, Duration::ZERO);
    assert_eq!((link.target, link.known), (None, 0), "nothing is told");
    for seq in [4, 9, 2] {
        link.announced(seq);
    }
    assert_eq!((link.target, link.known), (Some(4), 9));
    link.restart();
    assert_eq!((link.target, link.known), (None, 0), "of another life");
}

#[test]
fn i9_of_two_held_sets_the_further_one_adds_what_the_other_lacks() {
    let mut net = Net::meshed(3);
    let grace = Duration::from_secs(10);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(grace);
    net.run();
    net.deaf.insert((1, 0));
    net.track(0, "bob");
    net.pass(PERIOD);
    net.stop(0);
    assert_eq!((net.keys(1), net.keys(2)), ("ann".into(), "ann bob".into()));
    net.pass(2 * PERIOD);
    for node in [1, 2] {
        assert_eq!(net.keys(node), "ann bob");
    }
    net.pass(grace);
    assert_eq!((net.keys(1), net.keys(2)), (String::new(), String::new()));
}

/// Real clients are back after ten milliseconds. The old place and the new one of each then change in one diff, on all nodes.
#[test]
fn i14_who_is_back_at_once_after_a_restart_closed_their_connection_is_never_listed_twice() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.shards[0].restart(Duration::from_secs(10));
    // Another change has just begun the usual period.
    net.track(0, "bob");
    assert_eq!(net.shards[0].owner_died(1, net.now), 2);
    net.run();
    net.pass(Duration::from_millis(10));
    net.diffs.iter_mut().for_each(Vec::clear);
    net.track(1, "ann");
    net.pass(PERIOD);
    for node in 0..3 {
        assert_eq!(net.take_diffs(node), [(1, 1)], "on node {node}");
    }
}

#[test]
fn a_first_state_has_the_entries_of_all_whom_the_first_peer_hears() {
    let mut net = Net::new(3);
    net.up(0, 1);
    net.track(0, "ann");
    net.track(1, "bob");
    net.pass(PERIOD);
    net.up(2, 1);
    assert_eq!(net.keys(2), "bob");
    assert!(!net.shards[2].caught_up_once(), "ann is there, and missing");
    net.up(2, 0);
    assert!(net.shards[2].caught_up_once());
    assert_eq!(net.keys(2), "ann bob");
}

#[test]
fn a_first_state_waits_for_nobody_who_is_not_there() {
    for first_peer_knows in [true, false] {
        let mut net = Net::new(3);
        net.up(0, 1);
        net.pass(PERIOD);
        if first_peer_knows {
            net.down(0, 1);
        }
        net.up(2, 1);
        assert_eq!(net.shards[2].caught_up_once(), first_peer_knows);
        if !first_peer_knows {
            // As soon as it does, its next vector says so.
            net.down(0, 1);
            net.pass(settings().vector_period);
            assert!(net.shards[2].caught_up_once());
        }
    }
    let mut net = Net::new(3);
    net.up(0, 1);
    net.up(2, 1);
    net.deaf.insert((2, 0));
    net.up(2, 0);
    assert!(!net.shards[2].caught_up_once());
    net.down(1, 2);
    net.deaf.clear();
    assert!(
        !net.shards[2].caught_up_once(),
        "nobody is there who told anything"
    );
}

/// A restart of which only one of two heard. The other one has heard the next life, lost it again, and is then offered what
/// is held of the life before, which left its list long ago.
#[test]
fn i15_what_a_later_life_replaced_is_not_taken_from_others() {
    let mut net = Net::meshed(3);
    net.track(0, "ann");
    net.pass(Duration::from_secs(1));
    net.deaf.extend([(1, 0), (1, 2)]);
    net.shards[0].restart(Duration::from_secs(30));
    net.run();
    net.restart(0, 2);
    assert_eq!((net.keys(1).as_str(), net.keys(2).as_str()), ("", "ann"));
    net.deaf.clear();
    net.up(0, 1);
    net.pass(Duration::from_secs(3));
    assert_eq!(net.keys(1), "", "the later life is heard, and has nothing");
    net.down(0, 1);
    net.take_sent();
    net.pass(Duration::from_secs(5));
    assert_eq!(net.keys(2), "ann", "it is still offered");
    assert_eq!(net.keys(1), "", "what left does not come back");
    let asked = |message: &Message| matches!(message, Message::HeldPull(_));
    assert!(!net.take_sent().iter().any(asked), "nor is it asked for");
}

/// Who heard a life and held it until its grace ended does not take its word: the tracker needs a new number. Who only had the
/// word of others for its end hears it.
#[test]
fn i20_a_life_whose_grace_ended_is_not_heard() {
    let mut net = Net::new(3);
    net.up(0, 2);
    net.up(1, 2);
    net.track(0, "ann");
    net.pass(Duration::from_secs(1));
    net.shards[0].restart(Duration::from_secs(3));
    net.run();
    net.down(0, 2);
    net.pass(Duration::from_secs(1));
    assert_eq!(net.keys(1), "ann", "held, from hearsay");
    net.pass(Duration::from_secs(4));
    assert_eq!(net.keys(1), "", "its grace is over");
    net.up(0, 1);
    net.pass(Duration::from_secs(1));
    assert_eq!(net.shards[1].stats().refused_lives, 0);
    assert_eq!(net.shards[1].shown_life(&name(0)), Some(life(1)));
    net.up(0, 2);
    net.pass(Duration::from_secs(1));
    assert!(net.shards[2].stats().refused_lives > 0);
    assert!(net.shards[0].at().life > life(1), "it took a higher number");
    for node in 1..3 {
        let shown = net.shards[node].shown_life(&name(0));
        assert_eq!(shown, Some(net.shards[0].at().life));
        assert_eq!(net.keys(node), "ann");
    }
}

mod clusters;
mod found;
mod states;
