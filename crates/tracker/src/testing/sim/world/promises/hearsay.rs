//! The promise about those of whom a node only hears: I13.

use super::*;

/// Others tell of a node that this one never heard, hears no more, or has forgotten: with each vector if they hear it, and as much as
/// somebody makes up. It does not come to be here by that, its copy does not move, nothing of it is listed, and it is not asked.
#[test]
fn i13_nobody_exists_by_hearsay() {
    let met = [
        "of a stranger",
        "of one that is cut off, which others hear",
        "of one that was forgotten, which others hear",
        "others say that they have more",
    ];
    let given = (history(), 0..3usize, 1..PresenceRef::NUMBERS, 0..9usize);
    holds(48, &met, given, |(history, case, seq, which), tally| {
        let mut world = steady((history.0, history.1.max(3), history.2));
        let count = world.nodes.len();
        let [viewer, of, from] = [0, 1, 2].map(|next| (which + next) % count);
        world.tracks_something(of);
        let (mut name, mut life) = (NodeName::new("zz").unwrap(), Life::first_of(seq));
        if case > 0 {
            name = world.names[of].clone();
            life = world.running(of).shard.at().life;
            world.part(viewer, of);
            world.pass(Duration::from_secs(4));
            if case > 1 {
                let permdown = world.settings.permdown_period;
                world.pass(permdown + permdown / 10);
            }
            world.track_at(of, apart(1), Bytes::new(), Duration::ZERO);
        }
        tally.note(met[case], true);
        let seen = |world: &World| {
            let shard = &world.running(viewer).shard;
            let listed: Vec<_> = shard.listed().filter(|e| e.node == name).cloned().collect();
            let asked = shard.stats().pulls_sent;
            (shard.have(&name), shard.remembers(&name), listed, asked)
        };
        let before = seen(&world);
        prop_assert_eq!(before.0.is_some(), case == 1);
        prop_assert_eq!(&before.2, &Vec::<Arc<Entry>>::new());
        let heard = vec![Heard {
            node: name.as_str().to_owned(),
            at: Position { life, seq },
        }];
        let at = world.running(from).shard.at();
        let vector = Message::Vector(Vector {
            at,
            heard,
            formerly: Vec::new(),
            goodbye: None,
            held: Vec::new(),
        });
        let hello = Message::Hello(Hello {
            at,
            have: None,
            least: None,
            formerly: Vec::new(),
            goodbye: None,
            held: Vec::new(),
            hears: vec![name.as_str().to_owned()],
        });
        for message in [vector, hello] {
            world.hear(viewer, from, &message.encode());
        }
        let said = world.said.len();
        // A question to the stranger would fail in `effect`, which knows all nodes.
        world.pass(Duration::from_secs(5));
        prop_assert_eq!(seen(&world), before);
        for (teller, to, bytes) in &world.said[said..] {
            let Message::Vector(vector) = Message::decode(bytes).unwrap().unwrap() else {
                continue;
            };
            let more = |heard: &Heard| name == heard.node.as_str();
            let tells = *teller != of && *to == viewer && vector.heard.iter().any(more);
            tally.note(met[3], tells);
        }
        Ok(())
    });
}

/// One dies or is cut off: the others remember it for the permdown period, and name it to nobody, in whatever they say. But if they hold what
/// it had, since it announced that, they offer that set as long as its grace lasts.
#[test]
fn i13_nobody_names_whom_it_does_not_hear() {
    let met = [
        "a vector",
        "a first word",
        "of one that is remembered",
        "the set of one that is held",
    ];
    let how = (any::<bool>(), any::<bool>());
    let given = (history(), 0..5usize, how);
    holds(
        48,
        &met,
        given,
        |(history, which, (crashed, announced)), tally| {
            let mut world = steady((history.0, history.1.max(3), history.2));
            let (count, gone) = (world.nodes.len(), which % world.nodes.len());
            if announced {
                world.announce_restart(gone);
                world.pass(Duration::from_millis(300));
            }
            if crashed {
                world.crash(gone);
            }
            let others: Vec<Index> = (0..count).filter(|other| *other != gone).collect();
            for other in &others {
                world.part(gone, *other);
            }
            // A link breaks between two others, and each says how far it is over the next one.
            let name = world.names[gone].clone();
            let told = |world: &World| {
                others
                    .iter()
                    .all(|other| !world.running(*other).links.contains_key(&gone))
            };
            while !told(&world) {
                world.pass(Duration::from_millis(50));
            }
            let said = world.said.len();
            world.cut(others[0], others[1]);
            world.pass(Duration::from_secs(4));
            world.connect_all();
            world.pass(Duration::from_secs(6));
            for (from, _, bytes) in &world.said[said..] {
                if *from == gone {
                    continue;
                }
                let known = world.running(*from).shard.have(&name).is_some();
                tally.note(met[2], known);
                let mut message = Message::decode(bytes).unwrap().unwrap();
                match &mut message {
                    Message::Vector(vector) => {
                        tally.add(met[0], 1);
                        tally.add(met[3], vector.held.len());
                        vector.held.clear();
                    }
                    Message::Hello(hello) => {
                        tally.add(met[1], 1);
                        hello.held.clear();
                    }
                    Message::HeldPull(_) | Message::HeldPart(_) => continue,
                    _ => {}
                }
                let names = format!("{message:?}").contains(&format!("{:?}", name.as_str()));
                prop_assert!(!names, "n{} says {:?}", from, message);
            }
            Ok(())
        },
    );
}
