//! Peers that lie, about others and to others: what they cannot reach.

use proptest::prelude::*;

use super::*;
use crate::message::{HeldPart, HeldPull, HeldValue, Hello, Offer, PartTaken, Pull};
use crate::reference::{PresenceRef, Writer};
use crate::testing::tally::holds;

const GRACE: Duration = Duration::from_secs(10);

/// Whom it is about, who believes, and who lies.
const VICTIM: usize = 0;
const HEARER: usize = 1;
const LIAR: usize = 2;

const MOST: Life = Life {
    incarnation: u64::MAX,
    started: u64::MAX,
};

fn hello(at: Position, least: Life) -> Message {
    Message::Hello(Hello {
        at,
        have: None,
        least: Some(least),
        formerly: Vec::new(),
        goodbye: None,
        held: Vec::new(),
        hears: Vec::new(),
    })
}

impl Net {
    /// The liar says that it holds that, and if it is asked, makes up an entry for it.
    fn lie(&mut self, offers: Vec<Offer>) -> bool {
        let link = self.link(HEARER, LIAR);
        let mut vector = vector(self.shards[LIAR].at(), Vec::new());
        vector.held = offers.clone();
        self.take_sent();
        self.hear(HEARER, LIAR, link, Message::Vector(vector));
        self.run();
        let mut asked = false;
        while let Some(Message::HeldPull(pull)) = self.take_sent().pop() {
            let of = |offer: &&Offer| offer.at.life == pull.life && offer.node == pull.node;
            let Some(set) = offers.iter().find(of).cloned() else {
                break;
            };
            asked = true;
            let zoe = HeldValue {
                topic: "t".into(),
                key: "zoe".into(),
                meta: Bytes::new(),
                owner: 1,
                reference: PresenceRef::new(Writer::new(&set.node, 0, set.at.life), set.at.seq),
                previous: None,
                beside: Vec::new(),
            };
            let last = set.at.seq & (PresenceRef::NUMBERS - 1);
            let values = self.victims_own().into_iter().chain([(last, zoe)]);
            let values: BTreeMap<u64, HeldValue> = values.collect();
            let part = HeldPart {
                entries: values
                    .into_values()
                    .filter(|v| v.reference.put_seq() <= last)
                    .collect(),
                set,
                more: false,
                after: None,
            };
            self.hear(HEARER, LIAR, link, Message::HeldPart(part));
            self.run();
        }
        asked
    }

    /// What the victim tracks and holds, under its own keys and references, with other values.
    fn victims_own(&self) -> BTreeMap<u64, HeldValue> {
        let own = self.shards[VICTIM].listed();
        let own = own.filter(|entry| entry.node == name(VICTIM));
        let lie = |entry: &Arc<Entry>| HeldValue {
            topic: Arc::clone(&entry.topic),
            key: Arc::clone(&entry.key),
            meta: Bytes::from_static(b"a lie"),
            owner: entry.owner,
            reference: entry.reference,
            previous: None,
            beside: self.shards[VICTIM].listed().map(|e| e.reference).collect(),
        };
        own.map(|entry| (entry.reference.put_seq(), lie(entry)))
            .collect()
    }

    /// What a node lists of the victim, as far as that has it itself.
    fn own_of_victim(&self, node: usize) -> Vec<Arc<Entry>> {
        let own: BTreeSet<_> = self
            .victims_own()
            .into_values()
            .map(|v| v.reference)
            .collect();
        let listed = self.shards[node].listed();
        let listed = listed.filter(|e| e.node == name(VICTIM) && own.contains(&e.reference));
        listed.cloned().collect()
    }

    fn told_implausible(&self) -> usize {
        self.implausible
            .iter()
            .filter(|node| **node == HEARER)
            .count()
    }
}

fn offer_of(node: String) -> Offer {
    Offer {
        node,
        at: Position { life: MOST, seq: 1 },
        left: u64::MAX,
        formerly: (0..16).map(Life::first_of).collect(),
    }
}

fn lives() -> impl Strategy<Value = Life> {
    let numbers = prop_oneof![
        Just(0),
        1..20u64,
        Just(u64::MAX - 1),
        Just(u64::MAX),
        any::<u64>()
    ];
    let incarnations = prop_oneof![4 => 1..3u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    let other = (incarnations, numbers).prop_map(|(incarnation, started)| Life {
        incarnation,
        started,
    });
    prop_oneof![2 => Just(life(1)), 6 => other]
}

fn lies() -> impl Strategy<Value = Vec<Offer>> {
    let seq = prop_oneof![0..4u64, Just(PresenceRef::NUMBERS - 1)];
    let left = prop_oneof![Just(0), Just(1_000), Just(u64::MAX)];
    let formerly = prop::collection::vec(lives(), 0..20);
    // The victim, or a name of nobody's under which the victim's references are offered.
    let node = prop_oneof![3 => Just("a"), 1 => Just("zz")];
    let offer =
        (node, lives(), seq, left, formerly).prop_map(|(node, life, seq, left, formerly)| Offer {
            node: node.to_owned(),
            at: Position { life, seq },
            left,
            formerly,
        });
    prop::collection::vec(offer, 1..6)
}

/// Told while its link is up, or while it is down for a moment: whatever others say that they hold of a node, it is heard at its own
/// word, and all that it tracks is listed.
#[test]
fn i10_whatever_others_offer_of_a_node_its_own_word_counts() {
    let met = [
        "told of who is heard",
        "told of who is away",
        "asked for what was made up",
        "the node drains",
    ];
    let given = (
        prop::collection::vec(lies(), 1..8),
        any::<bool>(),
        any::<bool>(),
    );
    holds(256, &met, given, |(lies, away, drains), tally| {
        let mut net = Net::meshed(3);
        net.track(VICTIM, "ann");
        net.track(VICTIM, "bob");
        let cem = net.shards[VICTIM].track(&slot("cem"), Bytes::new(), net.now);
        let (cem, _) = cem.unwrap();
        net.shards[VICTIM].set_drop_grace(&cem, PERMDOWN);
        net.shards[VICTIM].release(&cem, net.now);
        net.pass(PERIOD);
        if drains {
            net.shards[VICTIM].restart(GRACE);
            net.run();
        }
        net.deaf.insert((LIAR, HEARER));
        if away {
            net.down(VICTIM, HEARER);
        }
        tally.note(met[0], !away);
        tally.note(met[1], away);
        tally.note(met[3], drains);
        for offers in lies {
            let asked = net.lie(offers);
            tally.note(met[2], asked);
            if !away {
                prop_assert_eq!(net.own_of_victim(HEARER), net.own_of_victim(VICTIM));
            }
        }
        net.deaf.clear();
        if away {
            net.up(VICTIM, HEARER);
        }
        net.pass(2 * settings().vector_period + RETRY_PERIOD);
        prop_assert_eq!(net.own_of_victim(HEARER), net.own_of_victim(VICTIM));
        let life = net.shards[VICTIM].at().life;
        prop_assert_eq!(net.shards[HEARER].shown_life(&name(VICTIM)), Some(life));
        // A node that drains may be taken for over, and then needs a new number; one that does not is heard at its own.
        prop_assert!(drains || life == super::life(1), "{:?}", life);
        Ok(())
    });
}

/// Clients know a value by its reference alone: one that came twice and left once would be gone for them.
#[test]
fn i14_a_reference_of_somebody_who_is_there_is_not_listed_under_another_name() {
    let lie = |net: &mut Net| {
        net.lie(vec![Offer {
            node: "zz".to_owned(),
            at: Position {
                life: life(1),
                seq: 3,
            },
            left: 1_000,
            formerly: Vec::new(),
        }])
    };
    for away in [false, true] {
        let mut net = Net::meshed(3);
        net.track(VICTIM, "ann");
        net.pass(PERIOD);
        net.deaf.insert((LIAR, HEARER));
        let own = net.own_of_victim(VICTIM);
        if away {
            net.down(VICTIM, HEARER);
        }
        net.diffs[HEARER].clear();
        assert!(lie(&mut net), "asked for");
        if away {
            let listed = |entry: &Arc<Entry>| entry.node.as_str() == "zz";
            assert!(net.shards[HEARER].listed().any(listed), "held");
            net.up(VICTIM, HEARER);
        }
        assert_eq!(net.own_of_victim(HEARER), own);
        net.pass(settings().vector_period);
        assert_eq!(net.keys(HEARER), "ann", "and the set is over");
        let mut there: BTreeSet<_> = own.iter().map(|entry| entry.reference).collect();
        if away {
            there.clear();
        }
        for step in std::mem::take(&mut net.diffs[HEARER]) {
            for entry in &step.diff.leaves {
                assert!(there.remove(&entry.reference), "left twice");
            }
            for entry in &step.diff.joins {
                assert!(there.insert(entry.reference), "joined twice");
            }
        }
        assert_eq!(there, own.iter().map(|entry| entry.reference).collect());
    }
}

/// Names and lives without end, none of which anybody has.
#[test]
fn i18_what_a_liar_makes_up_costs_so_much_and_no_more() {
    let mut net = Net::meshed(3);
    net.deaf.insert((LIAR, HEARER));
    let link = net.link(HEARER, LIAR);
    // First it answers no question, then each.
    for round in 0..3 {
        let mut vector = vector(net.shards[LIAR].at(), Vec::new());
        vector.held = (0..200u64)
            .map(|number| offer_of(format!("silent-{round}-{number}")))
            .collect();
        net.hear(HEARER, LIAR, link, Message::Vector(vector));
        net.run();
    }
    let wanted = |net: &Net| {
        let peer = &net.shards[HEARER].peers[&name(LIAR)];
        peer.link.as_ref().unwrap().wanted.len()
    };
    assert_eq!(wanted(&net), 256);
    net.down(HEARER, LIAR);
    net.up(HEARER, LIAR);
    for round in 0..40 {
        let offers = (0..200u64).map(|number| offer_of(format!("made-up-{round}-{number}")));
        net.lie(offers.collect());
    }
    let hearer = &net.shards[HEARER];
    assert!(hearer.stats().held_sets_now <= 256);
    assert!(
        hearer.ended_lives() <= 256 + 3 * 16,
        "{}",
        hearer.ended_lives()
    );
    assert!(wanted(&net) <= 256);
    assert_eq!(hearer.stats().remembered_peers, 2);
    net.pass(4 * PERMDOWN);
    assert_eq!(net.shards[HEARER].ended_lives(), 0);
    assert_eq!(net.shards[HEARER].stats().held_sets_now, 0);
}

/// A node itself said when it ended. Nobody else ends what is held of it earlier.
#[test]
fn i26_a_grace_that_counts_from_the_nodes_own_word_is_not_ended_by_others() {
    let mut net = Net::meshed(3);
    net.track(VICTIM, "ann");
    net.pass(PERIOD);
    net.shards[VICTIM].restart(GRACE);
    net.run();
    net.shards[VICTIM].leave(net.now);
    net.run();
    let ended = net.now;
    net.restart(VICTIM, 2);
    net.deaf.insert((LIAR, HEARER));
    let later = Life {
        started: 11,
        ..life(1)
    };
    for (life, formerly) in [(life(1), None), (later, Some(life(1)))] {
        for seq in [0, 1, PresenceRef::NUMBERS - 1] {
            net.lie(vec![Offer {
                node: "a".to_owned(),
                at: Position { life, seq },
                left: 0,
                formerly: formerly.into_iter().collect(),
            }]);
        }
    }
    net.pass(GRACE - PERIOD - (net.now - ended));
    assert_eq!(net.keys(HEARER), "ann");
    net.pass(PERIOD);
    assert_eq!(net.keys(HEARER), "");
}

/// A node ended, and what it had is held. A liar says that it is of the life that the node begins next.
#[test]
fn i20_a_liar_who_names_the_next_life_for_what_is_held_does_not_silence_it() {
    for (said, over) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut net = Net::meshed(3);
        net.track(VICTIM, "ann");
        net.pass(PERIOD);
        net.shards[VICTIM].restart(GRACE);
        net.run();
        if said {
            net.shards[VICTIM].leave(net.now);
            net.run();
        }
        net.restart(VICTIM, 2);
        net.deaf.insert((LIAR, HEARER));
        net.lie(vec![Offer {
            node: "a".to_owned(),
            at: Position {
                life: life(2),
                seq: 0,
            },
            left: u64::MAX,
            formerly: vec![life(1)],
        }]);
        if over {
            net.pass(GRACE);
        }
        net.up(VICTIM, HEARER);
        net.track(VICTIM, "bob");
        net.pass(settings().vector_period);
        let case = format!("said: {said}, over: {over}");
        assert_eq!(net.shards[VICTIM].at().life, life(2), "{case}");
        let heard = net.shards[HEARER].shown_life(&name(VICTIM));
        assert_eq!(heard, Some(life(2)), "{case}");
        assert_eq!(net.shards[HEARER].stats().refused_lives, 0, "{case}");
    }
}

/// Numbers that nobody had would stay with the node's name, and its next life would be taken for an older one.
#[test]
fn i20_nobody_makes_a_tracker_take_a_number_that_no_clock_says() {
    let mut net = Net::meshed(3);
    let own = net.shards[HEARER].at().life;
    let (link, at) = (net.link(HEARER, LIAR), net.shards[LIAR].at());
    let far = |incarnation, started| Life {
        incarnation,
        started,
    };
    let year = 365 * 24 * 60 * 60 * 1_000_000;
    let implausible = [
        MOST,
        far(2, 0),
        far(1, u64::MAX),
        far(1, own.started + year + 1_000_000),
    ];
    for least in implausible {
        net.hear(HEARER, LIAR, link, hello(at, least));
        net.run();
        assert_eq!(net.shards[HEARER].at().life, own, "{least:?}");
    }
    assert_eq!(net.shards[HEARER].stats().refused_numbers, 4);
    assert_eq!(net.told_implausible(), 1, "said once");
    net.hear(HEARER, LIAR, link, hello(at, far(1, own.started + year)));
    net.run();
    assert!(net.shards[HEARER].at().life > own);
    net.restart(HEARER, 2);
    net.track(HEARER, "ann");
    net.up(VICTIM, HEARER);
    assert_eq!(net.keys(VICTIM), "ann");
}

/// A life that is heard keeps lower ones from being heard. Numbers that no clock gave are not heard, whichever message names them.
#[test]
fn i20_no_number_that_a_node_makes_up_silences_who_has_its_name_later() {
    let far = |incarnation, started| Life {
        incarnation,
        started,
    };
    for life in [MOST, far(u64::MAX, 0), far(1, u64::MAX)] {
        let at = Position { life, seq: 0 };
        let leaving = Goodbye {
            life,
            farewell: Farewell::leaving(),
        };
        let lies = [
            hello(at, super::life(1)),
            Message::Vector(vector(at, Vec::new())),
            Message::Goodbye(leaving),
        ];
        for lie in lies {
            let mut net = Net::meshed(3);
            net.hear(HEARER, LIAR, net.link(HEARER, LIAR), lie);
            net.run();
            assert_eq!(net.shards[HEARER].stats().refused_numbers, 1);
            net.track(LIAR, "bob");
            net.pass(PERIOD);
            assert_eq!(net.keys(HEARER), "bob");
            net.restart(LIAR, 2);
            net.up(HEARER, LIAR);
            net.track(LIAR, "ann");
            net.pass(PERIOD);
            assert_eq!(net.keys(HEARER), "ann", "{life:?}");
        }
    }
}

/// A node that was started with its clock at nothing hears the others all the same.
#[test]
fn i29_who_starts_with_no_clock_hears_those_who_have_one() {
    let mut net = Net::new(2);
    let now = 60 * CLOCK_ERROR;
    let clock = Life {
        incarnation: now,
        started: now,
    };
    net.shards[0] = Shard::new(name(0), clock, settings());
    net.track(0, "ann");
    net.up(0, 1);
    assert_eq!(net.keys(1), "ann");
}

/// A number that a clock may have given, and that was too high all the same: the link of the next process is taken in the end.
#[test]
fn i20_a_link_that_was_refused_is_taken_once_the_later_life_is_forgotten() {
    for ends in [false, true] {
        let mut net = Net::meshed(2);
        let at = Position {
            life: life(50),
            seq: 0,
        };
        net.hear(1, 0, net.link(1, 0), hello(at, life(1)));
        net.run();
        net.restart(0, 2);
        net.up(0, 1);
        net.track(0, "ann");
        net.pass(PERIOD);
        assert_eq!(net.keys(1), "");
        if ends {
            net.down(0, 1);
        }
        net.pass(2 * PERMDOWN + 2 * settings().vector_period);
        let stats = net.shards[1].stats();
        assert_eq!(stats.linked_peers, u64::from(!ends));
        assert_eq!(net.keys(1), if ends { "" } else { "ann" });
    }
}

/// A question is small and its answer large.
#[test]
fn i23_who_asks_for_all_again_and_again_is_answered_twice_a_second() {
    for anew in [false, true] {
        asks_for_all_again_and_again(anew);
    }
}

/// Perhaps as another life each time.
fn asks_for_all_again_and_again(anew: bool) {
    let mut net = Net::new(2);
    let mut asker = life(1);
    for key in 0..40 {
        net.track(0, &format!("k{key:02}"));
    }
    net.up(0, 1);
    net.deaf.insert((1, 0));
    net.pass(RETRY_PERIOD);
    let at = net.shards[0].at();
    let before = net.shards[0].stats().states_served;
    for half_seconds in 1..4 {
        for _ in 0..20 {
            let pull = Pull {
                have: None,
                taken: None,
            };
            let part = u32::MAX;
            let link = net.link(0, 1);
            if anew {
                asker = asker.next().unwrap();
                let at = Position {
                    life: asker,
                    seq: 0,
                };
                net.hear(0, 1, link, Message::Vector(vector(at, Vec::new())));
            }
            net.hear(0, 1, link, Message::Pull(pull));
            net.hear(0, 1, link, Message::PartTaken(PartTaken { at, part }));
            net.run();
        }
        let served = net.shards[0].stats().states_served;
        assert_eq!(served, before + half_seconds);
        net.pass(RETRY_PERIOD / 2);
    }
}

/// Nor does who asks for what it missed, for a hello or for a held set: all of them are small questions.
#[test]
fn i23_who_asks_for_a_little_again_and_again_gets_a_bounded_answer() {
    let mut net = Net::meshed(2);
    for key in 0..7 {
        net.track(0, &format!("k{key}"));
    }
    net.pass(RETRY_PERIOD);
    net.deaf.insert((1, 0));
    let at = net.shards[0].at();
    let have = |life| Position {
        life,
        seq: at.seq - 3,
    };
    let link = net.link(0, 1);
    for _ in 0..3 {
        let mut counts = [0; 3];
        for have in [have(at.life), have(life(9))] {
            net.take_sent();
            for _ in 0..100 {
                let pull = Pull {
                    have: Some(have),
                    taken: None,
                };
                net.hear(0, 1, link, Message::Pull(pull));
                net.hear(
                    0,
                    1,
                    link,
                    Message::HeldPull(HeldPull {
                        node: "c".to_owned(),
                        life: life(1),
                        after: None,
                    }),
                );
            }
            net.run();
            for message in net.take_sent() {
                match message {
                    Message::Ops(_) => counts[0] += 1,
                    Message::Hello(_) => counts[1] += 1,
                    Message::HeldPart(_) => counts[2] += 1,
                    _ => {}
                }
            }
            net.pass(RETRY_PERIOD / 2);
        }
        let [ops, hellos, held] = counts;
        assert!((1..=4).contains(&ops), "{ops}");
        assert!((1..=8).contains(&hellos), "{hellos}");
        assert_eq!(held, 2, "one in a step");
    }
}

/// Each is a look at all that is held.
#[test]
fn i18_a_held_set_takes_so_many_numbers_in_a_while_however_many_are_named() {
    let mut net = Net::meshed(3);
    net.track(VICTIM, "ann");
    net.pass(PERIOD);
    net.shards[VICTIM].restart(GRACE);
    net.run();
    net.down(VICTIM, HEARER);
    net.deaf.insert((LIAR, HEARER));
    let numbered = |started| Life { started, ..life(1) };
    let offers = (0..200).map(|number| Offer {
        node: "a".to_owned(),
        at: Position {
            life: numbered(11 + number),
            seq: 1,
        },
        left: 9_000,
        formerly: vec![numbered(10 + number)],
    });
    let mut vector = vector(net.shards[LIAR].at(), Vec::new());
    vector.held = offers.collect();
    let link = net.link(HEARER, LIAR);
    net.hear(HEARER, LIAR, link, Message::Vector(vector));
    net.run();
    let held = |started| net.shards[HEARER].holds(&name(VICTIM), numbered(started));
    let held: Vec<u64> = (10..=210).filter(|started| held(*started)).collect();
    assert_eq!(held, [14], "four later than it was");
    assert_eq!(net.keys(HEARER), "ann");
}

/// Each number costs a look at all entries, and a message to all peers.
#[test]
fn i22_a_tracker_takes_one_higher_number_in_a_vector_period() {
    let mut net = Net::meshed(3);
    net.track(HEARER, "ann");
    let (link, at) = (net.link(HEARER, LIAR), net.shards[LIAR].at());
    for periods in 1..4 {
        for _ in 0..20 {
            let least = net.shards[HEARER].at().life.next().unwrap();
            net.hear(HEARER, LIAR, link, hello(at, least));
            net.run();
        }
        assert_eq!(net.shards[HEARER].stats().renumbered, periods);
        net.pass(settings().vector_period);
    }
    assert_eq!(net.keys(VICTIM), "ann");
}

/// A made-up entry of the victim's life has a number of the victim's, and its user comes here. Then the victim is heard: what it holds itself
/// under that number is another one.
#[test]
fn i10_what_gave_way_of_a_made_up_set_hides_nothing_that_its_node_holds() {
    let mut net = Net::new(3);
    net.up(HEARER, LIAR);
    net.holds_ann();
    net.lie_of("a", life(1), &[made_up("zoe", net.first_of_victim())]);
    assert_eq!(net.keys(HEARER), "zoe");
    net.track(HEARER, "zoe");
    net.untrack(HEARER, "zoe");
    assert_eq!(net.keys(HEARER), "");
    net.up(VICTIM, HEARER);
    net.pass(2 * settings().vector_period + RETRY_PERIOD);
    assert_eq!(net.keys(HEARER), "ann");
}

/// Ann's user is back, and her old place, which its node has still, is not listed any more. Nor is it under the name of an earlier process.
#[test]
fn i8_what_gave_way_in_a_copy_does_not_come_with_a_made_up_set() {
    let mut net = Net::meshed(3).holding_ann();
    net.track(HEARER, "ann");
    net.untrack(HEARER, "ann");
    assert_eq!(net.keys(HEARER), "");
    net.take_diffs(HEARER);
    net.lie_of(
        "a",
        Life::first_of(0),
        &[made_up("ann", net.first_of_victim())],
    );
    assert_eq!(
        (net.keys(HEARER), net.take_diffs(HEARER)),
        (String::new(), vec![])
    );
}

/// While its node is out of reach what gave way of it is listed under another name, and no longer than that.
#[test]
fn i8_what_gave_way_in_a_copy_goes_under_another_name_when_its_node_is_heard() {
    let mut net = Net::meshed(3);
    let ticket = net.track(VICTIM, "ann");
    net.shards[VICTIM].set_drop_grace(&ticket, GRACE);
    net.pass(PERIOD);
    net.shards[VICTIM].release(&ticket, net.now);
    net.pass(PERIOD);
    net.down(VICTIM, LIAR);
    net.down(VICTIM, HEARER);
    net.up(VICTIM, HEARER);
    net.track(HEARER, "ann");
    net.untrack(HEARER, "ann");
    net.down(VICTIM, HEARER);
    assert_eq!(net.keys(HEARER), "");
    net.lie_of("zz", life(1), &[made_up("ann", net.first_of_victim())]);
    assert_eq!(net.keys(HEARER), "ann");
    net.up(VICTIM, HEARER);
    assert_eq!(net.shards[HEARER].shown_life(&name(VICTIM)), Some(life(1)));
    assert_eq!(net.keys(HEARER), "");
}

/// Before the victim is heard its entry is listed under another name, and said to be its own as well.
#[test]
fn i10_i14_what_a_node_holds_itself_takes_the_place_of_its_reference_under_another_name() {
    let mut net = Net::new(3);
    net.up(HEARER, LIAR);
    net.holds_ann();
    let ann = [made_up("ann", net.first_of_victim())];
    net.lie_of("zz", life(1), &ann);
    net.lie_of("a", life(1), &ann);
    let nodes = |net: &Net| {
        let listed = net.shards[HEARER].listed();
        listed
            .map(|entry| entry.node.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes(&net), ["zz"]);
    net.up(VICTIM, HEARER);
    net.pass(2 * settings().vector_period + RETRY_PERIOD);
    assert_eq!(nodes(&net), ["a"]);
}

/// However long others say that it is held yet, and whoever holds it since.
#[test]
fn i26_no_grace_that_others_tell_of_is_longer_than_the_permdown_period() {
    let mut net = Net::meshed(3);
    net.lie_for(
        u64::MAX,
        "zz",
        life(1),
        &[made_up("zoe", net.first_of_victim())],
    );
    assert_eq!(net.keys(HEARER), "zoe");
    net.pass(PERMDOWN - 2 * PERIOD);
    assert_eq!(net.keys(HEARER), "zoe");
    net.pass(3 * PERIOD);
    let keys = [VICTIM, HEARER, LIAR].map(|node| net.keys(node));
    assert_eq!(keys, ["", "", ""]);
}

fn made_up(key: &str, reference: PresenceRef) -> HeldValue {
    HeldValue {
        topic: "t".into(),
        key: key.into(),
        meta: Bytes::new(),
        owner: 1,
        reference,
        previous: None,
        beside: Vec::new(),
    }
}

impl Net {
    /// The victim drains, and holds ann.
    fn holds_ann(&mut self) {
        self.track(VICTIM, "ann");
        self.shards[VICTIM].restart(GRACE);
        self.shards[VICTIM].hold(&[1], self.now);
        self.run();
        self.pass(PERIOD);
    }

    fn holding_ann(mut self) -> Self {
        self.holds_ann();
        self
    }

    /// What the victim tracked first.
    fn first_of_victim(&self) -> PresenceRef {
        PresenceRef::new(Writer::new(name(VICTIM).as_str(), 0, life(1)), 1)
    }

    /// The liar says that it holds these of that life of a node, and is asked for them.
    fn lie_of(&mut self, node: &str, life: Life, entries: &[HeldValue]) {
        self.lie_for(GRACE.as_millis() as u64, node, life, entries);
    }

    /// The same for so many milliseconds more.
    fn lie_for(&mut self, left: u64, node: &str, life: Life, entries: &[HeldValue]) {
        let set = Offer {
            node: node.to_owned(),
            at: Position { life, seq: 1 },
            left,
            formerly: Vec::new(),
        };
        let says = Vector {
            held: vec![set.clone()],
            ..vector(self.shards[LIAR].at(), Vec::new())
        };
        let part = HeldPart {
            set,
            entries: entries.to_vec(),
            more: false,
            after: Some(0),
        };
        self.deaf.insert((LIAR, HEARER));
        for message in [Message::Vector(says), Message::HeldPart(part)] {
            self.hear(HEARER, LIAR, self.link(HEARER, LIAR), message);
            self.run();
        }
        self.deaf.remove(&(LIAR, HEARER));
    }
}

/// A year of microseconds.
const CLOCK_ERROR: u64 = 365 * 24 * 60 * 60 * 1_000_000;
