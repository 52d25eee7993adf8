//! What comes late: news of links and lives that others have replaced, and what is here already.

use super::*;
use crate::message::Confirm;
use crate::peer::Peer;
use crate::replica::Replica;

/// Whoever sends a state that is here already hears so at its first part, and sends no more of it.
#[test]
fn i23_of_a_state_that_is_here_already_one_part_is_enough() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_sent();
    let first = Part {
        at: net.shards[0].at(),
        part: 0,
        parts: 3,
        entries: Vec::new(),
    };
    net.hear(1, 0, net.link(1, 0), Message::Part(first));
    net.run();
    let taken = net.take_sent().into_iter().map(|message| match message {
        Message::PartTaken(taken) => taken.part,
        other => panic!("{other:?}"),
    });
    assert_eq!(taken.collect::<Vec<_>>(), [2], "the last one");
    assert_eq!(net.shards[1].stats().old_states, 1);
}

#[test]
fn i17_news_of_a_link_that_was_replaced_change_nothing() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let earlier = net.link(1, 0);
    net.down(0, 1);
    net.up(0, 1);
    net.pass(PERIOD);
    net.take_sent();
    let member = net.member(0, earlier);
    for event in [MemberEvent::Up(member.clone()), MemberEvent::Down(member)] {
        net.shards[1].handle_member(&event, net.now);
        net.run();
        assert_eq!(net.keys(1), "ann", "{event:?}");
    }
    net.shards[1].handle_gap(&name(0), earlier, net.now);
    net.pass(4 * PERIOD);
    assert_eq!(net.take_sent(), [], "nothing is suspected to be missing");
    assert_eq!(net.shards[1].stats().gaps, 0);
}

#[test]
fn i20_the_end_of_a_life_that_was_replaced_ends_nothing() {
    let mut net = Net::meshed(2);
    net.restart(0, 2);
    net.up(0, 1);
    net.track(0, "ann");
    net.pass(PERIOD);
    let link = net.link(1, 0);
    let before = Member::up(name(0), Incarnation(1), link);
    net.shards[1].handle_member(&MemberEvent::Leaving(before), net.now);
    net.run();
    assert_eq!(net.keys(1), "ann");
}

/// The node has restarted, and a third one tells late which number it took before that.
#[test]
fn i4_a_number_that_was_taken_before_a_restart_lowers_nothing() {
    let mut peer = Peer::new(3);
    peer.replica = Some(Replica::new(name(1), 0, life(1)));
    peer.renumber(life(2), &[life(1)]);
    assert_eq!(peer.have().map(|at| at.life), Some(life(2)));
    assert_eq!(peer.floor.life, Life::first_of(3));
    peer.renumber(life(4), &[life(2)]);
    assert_eq!(peer.floor.life, life(4));
}

/// A message of another life comes before the word that says what that life was before.
fn comes_before_the_first_word(message: Message) {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    net.take_sent();
    let before = net.shards[1].have(&name(0));
    net.deaf.insert((0, 1));
    net.hear(1, 0, net.link(1, 0), message);
    net.run();
    assert_eq!(
        (net.keys(1), net.shards[1].have(&name(0))),
        ("ann".into(), before)
    );
    let sent = net.take_sent();
    assert!(matches!(sent[..], [Message::Pull(_)]), "{sent:?}");
}

fn not_introduced() -> Position {
    let life = life(1).next().unwrap();
    Position { life, seq: 1 }
}

/// Operations of it: the word is asked for, and nothing of them taken.
#[test]
fn i20_operations_of_a_life_that_is_not_introduced_change_nothing() {
    comes_before_the_first_word(Message::Ops(Ops {
        life: not_introduced().life,
        from: 0,
        ops: vec![put("ghost")],
    }));
}

/// As of operations, so of a goodbye: only what tells the former numbers begins a life.
#[test]
fn i20_a_goodbye_of_a_life_that_is_not_introduced_changes_nothing() {
    comes_before_the_first_word(Message::Goodbye(Goodbye {
        life: not_introduced().life,
        farewell: Farewell::restarting(Duration::from_secs(10)),
    }));
}

#[test]
fn i20_a_state_of_a_life_that_is_not_introduced_changes_nothing() {
    comes_before_the_first_word(Message::Part(Part {
        at: not_introduced(),
        part: 0,
        parts: 1,
        entries: Vec::new(),
    }));
}

#[test]
fn i20_a_question_of_a_life_that_is_not_introduced_whether_a_hold_is_known_changes_nothing() {
    let at = not_introduced();
    comes_before_the_first_word(Message::Confirm(Confirm { at }));
}

/// A tracker takes a higher number and is asked for its state, which is here before its hello: of what it tracks nothing leaves or joins
/// anew.
#[test]
fn i14_a_state_under_a_later_number_that_overtakes_its_hello_shows_nobody_anything() {
    let mut net = Net::meshed(2);
    net.track(0, "ann");
    net.pass(PERIOD);
    let (link, references) = (net.link(1, 0), net.references(1));
    let before = net.shards[0].at();
    net.deaf.insert((1, 0));
    net.shards[0].renumber(life(1).next().unwrap(), net.now);
    net.run();
    net.deaf.clear();
    net.take_diffs(1);
    let at = net.shards[0].at();
    assert!(at.life > before.life, "{at:?}");
    let kept = net.shards[0].own.frozen();
    let entries = kept.iter().map(|kept| net.shards[0].own.stored(kept));
    let state = Part {
        at,
        part: 0,
        parts: 1,
        entries: entries.collect(),
    };
    net.hear(1, 0, link, Message::Part(state));
    net.pass(settings().vector_period);
    assert_eq!(net.shards[1].have(&name(0)), Some(at));
    assert_eq!((net.take_diffs(1), net.references(1)), (vec![], references));
}
