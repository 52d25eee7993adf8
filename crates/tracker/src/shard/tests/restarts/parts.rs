//! Held sets that are passed on in several parts: whatever is late, lost or said twice, they are taken as a whole or not at all.

use proptest::prelude::*;

use super::*;
use crate::message::{HeldPart, HeldPull};
use crate::testing::tally::holds;

/// Who has the set, and who takes it.
const TELLER: usize = 1;
const TAKER: usize = 2;

/// What one says to the other and has not arrived yet, in its order.
#[derive(Debug, Default)]
struct Ways {
    under_way: BTreeMap<(usize, usize), VecDeque<Message>>,
    /// All parts that have been said.
    parts: Vec<Message>,
    /// The last question.
    asked: Option<HeldPull>,
    repeated: bool,
}

impl Ways {
    /// What has been said since the last call is under way.
    fn take(&mut self, net: &mut Net) {
        for (from, to, message) in net.sent.drain(..) {
            match &message {
                Message::HeldPart(_) => self.parts.push(message.clone()),
                Message::HeldPull(pull) => {
                    self.repeated |= self.asked.replace(pull.clone()).as_ref() == Some(pull);
                }
                _ => {}
            }
            let way = self.under_way.entry((from, to)).or_default();
            way.push_back(message);
        }
    }

    fn next(&mut self, from: usize, to: usize) -> Option<Message> {
        self.under_way.get_mut(&(from, to))?.pop_front()
    }
}

impl Net {
    /// The teller holds what another node tracked. Its link to the taker is up, and nothing that is said over that arrives by itself.
    fn with_set_of(entries: usize) -> (Self, Ways) {
        let mut net = Self::new(3);
        net.up(0, TELLER);
        for key in 0..entries {
            net.track(0, &format!("k{key:02}"));
        }
        net.pass(PERIOD);
        net.shards[0].restart(PERMDOWN);
        net.run();
        net.down(0, TELLER);
        net.deaf.extend([(TELLER, TAKER), (TAKER, TELLER)]);
        net.take_sent();
        net.up(TELLER, TAKER);
        let mut ways = Ways::default();
        ways.take(&mut net);
        (net, ways)
    }

    /// The next message from one to the other arrives.
    fn pass_on(&mut self, ways: &mut Ways, from: usize, to: usize) -> Option<Message> {
        let message = ways.next(from, to)?;
        self.arrives(ways, from, to, &message);
        Some(message)
    }

    fn arrives(&mut self, ways: &mut Ways, from: usize, to: usize, message: &Message) {
        self.hear(to, from, self.link(to, from), message.clone());
        self.run();
        ways.take(self);
    }

    /// All that is under way arrives, and whatever is said because of it.
    fn all_arrives(&mut self, ways: &mut Ways) {
        while self.pass_on(ways, TELLER, TAKER).is_some()
            || self.pass_on(ways, TAKER, TELLER).is_some()
        {}
    }

    fn taken(&self) -> u64 {
        self.shards[TAKER].stats().held_sets_taken
    }
}

fn is_part(message: &Message) -> bool {
    matches!(message, Message::HeldPart(_))
}

/// The second part takes longer than a question is waited for, and meanwhile the teller's vector is here, so it is asked for again. That answer
/// is late, too, or lost.
#[test]
fn i9_a_part_of_a_set_that_is_late_is_not_taken_for_the_first() {
    for lost in [false, true] {
        let (mut net, mut ways) = Net::with_set_of(20);
        while !net
            .pass_on(&mut ways, TELLER, TAKER)
            .is_some_and(|message| is_part(&message))
        {
            net.pass_on(&mut ways, TAKER, TELLER);
        }
        while net.pass_on(&mut ways, TAKER, TELLER).is_some() {}
        let second = ways.next(TELLER, TAKER).filter(is_part);
        net.pass(settings().vector_period);
        ways.take(&mut net);
        while net.pass_on(&mut ways, TELLER, TAKER).is_some() {}
        while net.pass_on(&mut ways, TAKER, TELLER).is_some() {}
        assert!(ways.repeated);
        let again = ways.next(TELLER, TAKER).filter(is_part);
        net.arrives(&mut ways, TELLER, TAKER, &second.unwrap());
        if !lost {
            net.arrives(&mut ways, TELLER, TAKER, &again.unwrap());
        }
        net.all_arrives(&mut ways);
        assert_eq!((net.taken(), net.take_diffs(TAKER)), (1, vec![(20, 0)]));
        assert_eq!(net.references(TAKER), net.references(TELLER));
    }
}

/// Who waits for the set of its first peer is not done with it.
#[test]
fn i28_a_part_of_a_set_that_comes_twice_does_not_end_the_wait_for_it() {
    let (mut net, mut ways) = Net::with_set_of(20);
    let first = loop {
        net.pass_on(&mut ways, TAKER, TELLER);
        let message = net.pass_on(&mut ways, TELLER, TAKER);
        if let Some(first) = message.filter(is_part) {
            break first;
        }
    };
    net.arrives(&mut ways, TELLER, TAKER, &first);
    assert!(!net.shards[TAKER].caught_up_once());
    net.all_arrives(&mut ways);
    assert!(net.shards[TAKER].caught_up_once());
    assert_eq!(net.references(TAKER), net.references(TELLER));
}

/// Each part takes long, and none so long that it would be asked for again, though the vectors between them tell of the set as well.
#[test]
fn i22_a_set_that_comes_slowly_is_not_asked_for_again() {
    let (mut net, mut ways) = Net::with_set_of(20);
    while net.taken() == 0 {
        net.pass(RETRY_PERIOD / 2);
        ways.take(&mut net);
        while net
            .pass_on(&mut ways, TELLER, TAKER)
            .is_some_and(|message| !is_part(&message))
        {}
        while net.pass_on(&mut ways, TAKER, TELLER).is_some() {}
    }
    assert!(net.now > 2 * settings().vector_period);
    assert!(!ways.repeated);
}

/// An earlier version does not say what its parts follow.
#[test]
fn i12_parts_of_an_earlier_version_are_taken() {
    let (mut net, mut ways) = Net::with_set_of(20);
    loop {
        while net.pass_on(&mut ways, TAKER, TELLER).is_some() {}
        let Some(message) = ways.next(TELLER, TAKER) else {
            break;
        };
        let message = match message {
            Message::HeldPart(part) => Message::HeldPart(HeldPart {
                after: None,
                ..part
            }),
            other => other,
        };
        net.arrives(&mut ways, TELLER, TAKER, &message);
    }
    assert_eq!(net.references(TAKER), net.references(TELLER));
    assert_eq!(net.taken(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next message from the teller arrives, or from the taker.
    Told,
    Asked,
    /// It does not.
    ToldLost,
    AskedLost,
    /// One of all parts that were ever said arrives once more.
    Again(prop::sample::Index),
    /// The user of one of these is back by the teller, and leaves.
    Back(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Told),
        8 => Just(Step::Asked),
        1 => Just(Step::ToldLost),
        1 => Just(Step::AskedLost),
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        1 => (0..20usize).prop_map(Step::Back),
        2 => (100..2_500u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 5..60)
}

/// When a set is taken all is here that the teller holds at that time: what is gone there since it was asked for may be here as well. In the
/// end it is taken.
#[test]
fn i9_a_held_set_is_taken_as_a_whole_whatever_is_late_or_lost_or_comes_twice() {
    let met = [
        "in several parts",
        "asked again",
        "a part once more",
        "gone meanwhile",
    ];
    holds(
        512,
        &met,
        (1..20usize, steps()),
        |(entries, steps), tally| {
            let (mut net, mut ways) = Net::with_set_of(entries);
            let mut taken = 0;
            let talk = [Step::Told, Step::Asked].repeat(30);
            let calm = [vec![Step::Wait(2_000)], talk].concat().repeat(12);
            for step in steps.into_iter().chain(calm) {
                match step {
                    Step::Told => drop(net.pass_on(&mut ways, TELLER, TAKER)),
                    Step::Asked => drop(net.pass_on(&mut ways, TAKER, TELLER)),
                    Step::ToldLost => drop(ways.next(TELLER, TAKER)),
                    Step::AskedLost => drop(ways.next(TAKER, TELLER)),
                    Step::Again(index) => {
                        if !ways.parts.is_empty() {
                            let part = index.get(&ways.parts).clone();
                            tally.note("a part once more", net.taken() == 0);
                            net.arrives(&mut ways, TELLER, TAKER, &part);
                        }
                    }
                    Step::Back(key) => {
                        let key = format!("k{key:02}");
                        if net.taken() == 0 && net.keys(TELLER).contains(&key) {
                            net.track(TELLER, &key);
                            net.untrack(TELLER, &key);
                            ways.take(&mut net);
                            tally.note("gone meanwhile", !ways.parts.is_empty());
                        }
                    }
                    Step::Wait(millis) => {
                        net.pass(Duration::from_millis(millis));
                        ways.take(&mut net);
                    }
                }
                if net.taken() > taken {
                    taken = net.taken();
                    let here = net.references(TAKER);
                    let there = net.references(TELLER);
                    prop_assert!(
                        there.iter().all(|one| here.contains(one)),
                        "{here:?} of {there:?}"
                    );
                }
            }
            prop_assert_eq!(taken, 1);
            tally.note("in several parts", ways.parts.len() > 1);
            tally.note("asked again", ways.repeated);
            Ok(())
        },
    );
}

/// While it comes its teller says again that it has it.
#[test]
fn i22_a_set_that_is_offered_again_while_it_comes_is_asked_for_once() {
    let (mut net, mut ways) = Net::with_set_of(20);
    while !net
        .pass_on(&mut ways, TELLER, TAKER)
        .is_some_and(|message| is_part(&message))
    {
        net.pass_on(&mut ways, TAKER, TELLER);
    }
    let says = Vector {
        held: net.shards[TELLER].offers(net.now),
        ..vector(net.shards[TELLER].at(), Vec::new())
    };
    net.arrives(&mut ways, TELLER, TAKER, &Message::Vector(says));
    net.all_arrives(&mut ways);
    assert_eq!((net.taken(), net.take_diffs(TAKER)), (1, vec![(20, 0)]));
    assert_eq!(net.shards[TAKER].stats().held_sets_asked, 1);
}
