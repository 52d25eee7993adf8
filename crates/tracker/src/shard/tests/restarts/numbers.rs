//! Other numbers of a node: what it says of them itself, what others say, and what of that counts.

use super::*;

/// Whose numbers these are, who is told of them, and who tells.
const NODE: usize = 0;
const HEARER: usize = 1;
const TELLER: usize = 2;

fn later() -> Life {
    life(1).next().unwrap()
}

impl Net {
    /// The teller says that it holds what the node has under that number, and which ones it had before.
    fn told_of_number(&mut self, at: Position, formerly: Life) {
        let offer = Offer {
            node: name(NODE).as_str().to_owned(),
            at,
            left: GRACE.as_millis() as u64,
            formerly: vec![formerly],
        };
        let says = Vector {
            held: vec![offer],
            ..vector(self.shards[TELLER].at(), Vec::new())
        };
        let link = self.link(HEARER, TELLER);
        self.hear(HEARER, TELLER, link, Message::Vector(says));
        self.run();
    }

    /// The node says that it has that number, and which ones it had before.
    fn says_number(&mut self, life: Life, formerly: &[Life]) {
        let says = Vector {
            formerly: formerly.to_vec(),
            ..vector(Position { life, seq: 1 }, Vec::new())
        };
        let link = self.link(HEARER, NODE);
        self.hear(HEARER, NODE, link, Message::Vector(says));
        self.run();
    }

    /// Under which numbers the hearer holds something of the node.
    fn held_numbers(&self) -> Vec<Life> {
        let held = self.shards[HEARER].held.keys();
        held.map(|(_, life)| *life).collect()
    }
}

/// It said here, under the number that it had, that this is its end. So it took no later one, and what still comes of it is late.
#[test]
fn i8_i20_who_said_its_end_took_no_later_number_whatever_others_say() {
    let mut net = Net::meshed(3).about_to_restart(GRACE);
    net.shards[NODE].leave(net.now);
    net.run();
    net.take_diffs(HEARER);
    net.deaf.insert((HEARER, NODE));
    let at = Position {
        life: later(),
        seq: 1,
    };
    net.told_of_number(at, life(1));
    assert_eq!(net.held_numbers(), [life(1)]);
    net.says_number(life(1), &[]);
    assert_eq!(net.shards[HEARER].have(&name(NODE)), None, "it is late");
    net.pass(GRACE - PERIOD);
    assert_eq!(
        (net.keys(HEARER), net.take_diffs(HEARER)),
        ("ann".into(), vec![])
    );
}

/// The first word of an earlier version under its next number does not say which one it had: that is taken for over, and held. The next
/// word does, and then nothing is held of who is heard.
#[test]
fn i8_what_is_held_of_a_former_number_goes_as_its_node_names_that_late() {
    let mut net = Net::meshed(2).about_to_restart(GRACE);
    net.deaf.insert((HEARER, NODE));
    net.untrack(NODE, "ann");
    net.track(NODE, "bob");
    net.renumber(NODE, 7);
    net.translate = Some((NODE, |message| match message {
        Message::Vector(says) => Some(Message::Vector(Vector {
            formerly: Vec::new(),
            ..says.clone()
        })),
        message => Some(message.clone()),
    }));
    let number = net.shards[NODE].at().life;
    net.says_number(number, &[]);
    net.deaf.clear();
    net.pass(settings().vector_period);
    assert_eq!(net.shards[HEARER].shown_life(&name(NODE)), Some(number));
    assert_eq!(
        (net.keys(HEARER).as_str(), net.held_numbers()),
        ("ann bob", vec![life(1)])
    );
    net.translate = None;
    net.pass(settings().vector_period);
    assert_eq!(
        (net.keys(HEARER).as_str(), net.held_numbers()),
        ("bob", vec![])
    );
}

/// Out of reach is what the node had under its last number. Others say that it ended under a lower one, which had that before.
#[test]
fn i4_i8_a_copy_out_of_reach_is_not_held_under_a_lower_number() {
    let mut net = Net::meshed(3);
    net.track(NODE, "ann");
    net.renumber(NODE, 7);
    net.pass(PERIOD);
    let copy = net.shards[HEARER].have(&name(NODE));
    assert_eq!(copy, Some(net.shards[NODE].at()));
    net.down(NODE, HEARER);
    let at = Position {
        life: later(),
        seq: 1,
    };
    net.told_of_number(at, net.shards[NODE].at().life);
    assert_eq!(net.shards[HEARER].have(&name(NODE)), copy);
    assert_eq!(
        (net.keys(HEARER), net.held_numbers()),
        (String::new(), vec![])
    );
}

/// What comes over the link of another process, of a number of the one before, renames nothing of that: neither what is out of reach nor
/// what is held.
#[test]
fn i4_i20_a_word_of_a_number_that_does_not_count_renames_nothing() {
    for announced in [false, true] {
        let mut net = Net::meshed(2);
        net.track(NODE, "ann");
        if announced {
            net.shards[NODE].restart(GRACE);
            net.run();
        }
        net.pass(PERIOD);
        net.restart(NODE, 5);
        let (copy, held) = (net.shards[HEARER].have(&name(NODE)), net.held_numbers());
        assert_eq!(
            (copy.is_some(), held.len()),
            (!announced, usize::from(announced))
        );
        net.deaf.insert((HEARER, NODE));
        net.up(NODE, HEARER);
        net.says_number(later(), &[life(1)]);
        assert_eq!(net.shards[HEARER].have(&name(NODE)), copy);
        assert_eq!(net.held_numbers(), held);
        assert_eq!(net.shards[HEARER].stats().refused_lives, 1);
    }
}

/// It said itself that it has another number. Whoever missed that, and holds what it had under the one before, has what is over.
#[test]
fn i8_what_a_node_had_under_a_number_that_it_gave_up_is_not_taken_from_others() {
    let mut net = Net::meshed(3);
    net.track(NODE, "ann");
    net.pass(PERIOD);
    net.renumber(NODE, 7);
    net.untrack(NODE, "ann");
    net.pass(PERIOD);
    let at = Position {
        life: life(1),
        seq: 1,
    };
    net.told_of_number(at, Life::first_of(0));
    assert_eq!(net.shards[HEARER].stats().held_sets_asked, 0);
}
