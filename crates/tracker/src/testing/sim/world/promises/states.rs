//! The promises about what a node answers who lacks something: I12 and I23.

use super::*;

impl World {
    /// What a node answers to another one.
    fn answers(&mut self, asked: Index, asking: Index, question: &Message) -> Vec<Message> {
        let said = self.said.len();
        self.hear(asked, asking, &question.encode());
        let said = self.said[said..].iter();
        let answers = said.filter(|(from, to, _)| (*from, *to) == (asked, asking));
        answers
            .map(|(_, _, bytes)| Message::decode(bytes).unwrap().unwrap())
            .collect()
    }

    /// Asks a node for all that it has, in the place of another one, until a shard that has nothing has that; and in how many parts
    /// it came. What is on its way to the other one already may be older: then the rest is asked for.
    fn copied(&mut self, asked: Index, asking: Index) -> (Shard, usize) {
        let stranger = NodeName::new("zz").unwrap();
        let mut copy = Shard::new(stranger, Life::first_of(1), self.settings);
        let member = self.member(asked, LinkId(1), self.nodes[asked].incarnation);
        let origin = Origin {
            node: member.node.clone(),
            incarnation: member.incarnation,
            link: member.link,
        };
        copy.handle_member(&MemberEvent::Up(member), Duration::ZERO);
        let nothing = Pull {
            have: None,
            taken: None,
        };
        let (mut questions, mut parts) = (VecDeque::from([Message::Pull(nothing)]), 0);
        while let Some(question) = questions.pop_front() {
            for answer in self.answers(asked, asking, &question) {
                parts += usize::from(matches!(answer, Message::Part(_)));
                copy.handle_message(&origin, answer, Duration::ZERO);
                copy.settle();
                while let Some(effect) = copy.poll_effect() {
                    if let Effect::SendTo(_, question) = effect
                        && matches!(question, Message::PartTaken(_) | Message::Pull(_))
                    {
                        questions.push_back(question);
                    }
                }
            }
        }
        (copy, parts)
    }
}

/// Who has nothing and asks for all has what the node has, live or held, as its users know it, whatever it went through before. Who is as
/// far as the node is told nothing.
#[test]
fn i12_a_state_is_the_whole_list_and_ones_own_position_nothing() {
    let met = [
        "in several parts",
        "in one part",
        "live",
        "held",
        "written under an earlier number",
    ];
    holds(48, &met, history(), |history, tally| {
        let mut world = played(history);
        world.become_quiet();
        let grace = Duration::from_secs(20);
        for node in world.alive() {
            if world.random.one_in(2) {
                world.renumber(node);
            }
            // Under a key of the node's own, so that nobody's return ends what is held.
            for owner in 0..3 {
                let (owner, topic, key) = apart(owner);
                let at = (owner, topic, key + node);
                world.track_at(node, at, Bytes::from_static(b"held"), grace);
            }
            world.owner_ends(node, apart(1).0, true);
            world.owner_ends(node, apart(2).0, false);
        }
        world.pass(Duration::from_secs(1));
        for asked in world.alive() {
            let Some(asking) = world.running(asked).links.keys().next().copied() else {
                continue;
            };
            let at = world.running(asked).shard.at();
            let asks = Pull {
                have: Some(at),
                taken: None,
            };
            let nothing = world.answers(asked, asking, &Message::Pull(asks));
            let is_nothing = matches!(nothing.as_slice(), [Message::Ops(ops)] if ops.ops.is_empty() && ops.from == at.seq);
            prop_assert!(is_nothing, "{:?}", nothing);
            let (copy, parts) = world.copied(asked, asking);
            prop_assert!(parts > 0);
            tally.note(met[usize::from(parts == 1)], true);
            prop_assert_eq!(copy.have(&world.names[asked]), Some(at));
            let mut held = Vec::new();
            let mut live = BTreeMap::new();
            for kept in copy.contents_of(&world.names[asked]) {
                let earlier = |generation: &u64| *generation == world.nodes[asked].generation;
                let lives = world.generations.iter();
                let lives = lives.filter(|((of, _), one)| *of == asked && earlier(one));
                let before = lives.filter(|((_, life), _)| *life != at.life);
                let mut writers =
                    before.map(|((_, life), _)| Writer::new(world.names[asked].as_str(), 0, *life));
                let writer = kept.entry.reference.writer();
                tally.note(met[4], writers.any(|other| other == writer));
                if kept.held {
                    held.push(Arc::clone(&kept.entry));
                } else {
                    live.insert(kept.entry.reference, Arc::clone(&kept.entry));
                }
            }
            prop_assert_eq!(&live, &world.tracked(asked));
            let dead: Vec<u64> = held.iter().map(|entry| entry.owner).collect();
            prop_assert_eq!(dead, vec![apart(1).0]);
            tally.add(met[2], live.len());
            tally.add(met[3], held.len());
            let mut listed: Vec<_> = copy.listed().cloned().collect();
            // Where something is tracked beside it, and nobody told of that, its user is back.
            let mut all: Vec<_> = live.into_values().collect();
            listed.sort_by_key(|entry| entry.reference);
            prop_assert!(all.iter().any(|entry| entry.key == held[0].key));
            all.sort_by_key(|entry| entry.reference);
            prop_assert_eq!(listed, all);
        }
        Ok(())
    });
}

/// What an owner's log still has is said by a model: the longest end of its history that fits into its bytes.
#[test]
fn i23_who_lacks_some_operations_gets_those_or_one_state() {
    let met = [
        "lacks what is in the log",
        "lacks what is there no more",
        "lacks the last that the log has",
        "lacks one more than that",
    ];
    let wishes = prop::collection::vec((0..4u8, 0..4u64), 0..30);
    let asked = (
        history(),
        wishes,
        any::<prop::sample::Index>(),
        any::<bool>(),
    );
    holds(96, &met, asked, |(history, wishes, lacks, edge), tally| {
        let mut world = steady(history);
        // So far it has only tracked: one operation for each entry, in their order.
        let mut sizes: Vec<usize> = world.tracked(0).values().map(|e| wire_size(e)).collect();
        prop_assert_eq!(sizes.len() as u64, world.running(0).shard.at().seq);
        for (what, owner) in wishes {
            let tracked = world.running(0).own.contains_key(&apart(owner));
            match what {
                0 | 1 => world.track_at(0, apart(owner), Bytes::from(vec![7; 30]), Duration::ZERO),
                2 => world.update_at(0, apart(owner), Bytes::from(vec![7; 90])),
                _ => world.untrack_at(0, apart(owner), false),
            }
            let now = world.running(0).own.get(&apart(owner));
            let size = match (tracked, what) {
                (false, 0 | 1) | (true, 2) => wire_size(&now.unwrap().entry),
                (true, 3) => OP_OVERHEAD_BYTES,
                _ => continue,
            };
            sizes.push(size);
        }
        world.pass(Duration::from_secs(1));
        let at = world.running(0).shard.at();
        prop_assert_eq!(at.seq, sizes.len() as u64);
        let mut room = world.settings.log_bytes;
        let fits = sizes.iter().rev().take_while(|size| {
            let fits = **size <= room;
            room = room.saturating_sub(**size);
            fits
        });
        let first = at.seq - fits.count() as u64;
        let seq = match edge {
            true => first.saturating_sub(lacks.index(2) as u64),
            false => lacks.index(at.seq as usize + 1) as u64,
        };
        let have = Some(Position { seq, ..at });
        let (mut next, mut states) = (seq, BTreeSet::new());
        for answer in world.answers(0, 1, &Message::Pull(Pull { have, taken: None })) {
            match answer {
                Message::Ops(ops) => {
                    prop_assert_eq!(ops.from, next, "one after the other");
                    next = ops.to();
                }
                Message::Part(part) => {
                    prop_assert_eq!(part.at, at);
                    states.insert(part.parts);
                }
                other => panic!("{other:?}"),
            }
        }
        let covered = seq >= first;
        let expected = if covered { (at.seq, 0) } else { (seq, 1) };
        prop_assert_eq!((next, states.len()), expected);
        tally.note(met[0], covered && seq < at.seq);
        tally.note(met[1], !covered);
        tally.note(met[2], first > 0 && seq == first);
        tally.note(met[3], seq + 1 == first);
        Ok(())
    });
}
