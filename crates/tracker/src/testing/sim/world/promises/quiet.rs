//! The promises about what is said while nothing happens, and who is asked: I22 and I24.

use super::*;

#[test]
fn i22_quiet_is_quiet_even_if_not_everybody_hears_everybody() {
    let met = ["a third node hears both", "both track something"];
    let given = (history(), (0..5usize, 0..5usize));
    holds(48, &met, given, |(history, cut), tally| {
        let mut world = played(history);
        world.become_quiet();
        let count = world.nodes.len();
        let a = cut.0 % count;
        let b = (a + 1 + cut.1 % (count - 1)) % count;
        world.part(a, b);
        world.pass(SETTLING);
        world.noise.clear();
        world.pass(Duration::from_secs(60));
        prop_assert_eq!(&world.noise, &Vec::<&str>::new());
        let alive = world.alive();
        let both = alive.contains(&a) && alive.contains(&b);
        tally.note(met[0], both && alive.len() > 2);
        tally.note(
            met[1],
            both && !world.tracked(a).is_empty() && !world.tracked(b).is_empty(),
        );
        Ok(())
    });
}

/// A node that announced a restart is away, and two that hold what it had do not hear each other, and a third hears both. As long as the
/// grace lasts they offer it to each other, and nobody asks.
#[test]
fn i22_quiet_is_quiet_while_a_restart_is_held_and_not_everybody_hears_everybody() {
    let met = [
        "held by both, and by a third that hears both",
        "back under a later life",
    ];
    let given = (history(), 0..5usize, any::<bool>());
    holds(48, &met, given, |(history, which, back), tally| {
        let mut world = steady((history.0, history.1.max(4), history.2));
        let count = world.nodes.len();
        let [node, a, b, third] = [0, 1, 2, 3].map(|other| (which + other) % count);
        world.tracks_something(node);
        world.announce_restart_for(node, Duration::from_secs(25), true);
        world.pass(Duration::from_millis(300));
        world.crash(node);
        world.pass(Duration::from_secs(3));
        if back {
            world.start(node);
        }
        world.part(a, b);
        world.pass(Duration::from_secs(5));
        world.noise.clear();
        world.pass(Duration::from_secs(12));
        prop_assert_eq!(&world.noise, &Vec::<&str>::new());
        let holds = |at| world.running(at).shard.stats().held_sets_now == 1;
        let apart = world.running(a).shard.shown_life(&world.names[b]).is_none();
        tally.note(met[0], apart && [a, b, third].into_iter().all(holds));
        tally.note(met[1], back);
        Ok(())
    });
}

/// Any peers say that they see more of some others: each of those is asked, once, and nobody else.
#[test]
fn i24_what_is_missing_is_asked_from_its_owner_once() {
    let met = ["told by one", "told by several"];
    let given = (
        history(),
        prop::collection::vec((1..5usize, 1..5usize, 1..9u64), 1..12),
    );
    holds(48, &met, given, |(history, hints), tally| {
        let mut world = steady((history.0, 5, history.2));
        let (mut missing, mut tellers) = (BTreeSet::new(), BTreeMap::new());
        for (teller, owner, more) in hints {
            if teller == owner {
                continue;
            }
            let mut at = world.running(0).shard.have(&world.names[owner]).unwrap();
            at.seq += more;
            let heard = vec![Heard {
                node: world.names[owner].as_str().to_owned(),
                at,
            }];
            let teller_at = world.running(teller).shard.at();
            let vector = Vector {
                at: teller_at,
                heard,
                formerly: Vec::new(),
                goodbye: None,
                held: Vec::new(),
            };
            world.hear(0, teller, &Message::Vector(vector).encode());
            tellers
                .entry(owner)
                .or_insert_with(BTreeSet::new)
                .insert(teller);
            missing.insert(owner);
        }
        for tellers in tellers.values() {
            tally.add(met[usize::from(tellers.len() > 1)], 1);
        }
        let said = world.said.len();
        // A question that was not answered would be asked again within that time.
        world.pass(Duration::from_secs(10));
        let pulls = world.said[said..].iter().filter(|(from, _, bytes)| {
            *from == 0 && matches!(Message::decode(bytes), Ok(Some(Message::Pull(_))))
        });
        let asked: Vec<Index> = pulls.map(|(_, to, _)| *to).collect();
        let once: BTreeSet<Index> = asked.iter().copied().collect();
        prop_assert_eq!((asked.len(), &once), (missing.len(), &missing));
        Ok(())
    });
}
