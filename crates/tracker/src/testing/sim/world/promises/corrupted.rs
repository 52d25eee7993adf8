//! The promise that nobody changes what another node wrote, of messages that came out of order in a peer gone mad: I10.

use super::*;

/// How a peer gone mad writes: bits flipped in what somebody said, cut off, or two of them put together.
#[derive(Clone, Debug)]
enum Corruption {
    Bits(Vec<(prop::sample::Index, u8)>),
    Cut(prop::sample::Index),
    Splice(prop::sample::Index, prop::sample::Index),
    Kind(u16),
}

const HEADER: usize = 6;

impl Corruption {
    fn any() -> impl Strategy<Value = Self> {
        let index = any::<prop::sample::Index>;
        let bits = prop::collection::vec((index(), 1..=255u8), 1..4);
        prop_oneof![
            6 => bits.prop_map(Self::Bits),
            1 => index().prop_map(Self::Cut),
            3 => (index(), index()).prop_map(|(other, at)| Self::Splice(other, at)),
            1 => (0..20u16).prop_map(Self::Kind),
        ]
    }

    fn of(&self, bytes: &[u8], said: &[(Index, Index, Bytes)]) -> Vec<u8> {
        let mut made = bytes.to_vec();
        match self {
            Self::Bits(flips) => {
                // Behind the header: a wrong length is no message.
                let body = &mut made[HEADER..];
                for (at, flip) in flips
                    .iter()
                    .filter(|_| !body.is_empty())
                    .collect::<Vec<_>>()
                {
                    let at = at.index(body.len());
                    body[at] ^= flip;
                }
            }
            Self::Cut(at) => made.truncate(HEADER + at.index(made.len() - HEADER + 1)),
            Self::Splice(other, at) => {
                // The same kind, mostly: what a position, an offer or an entry is stands in the same place.
                let kind = &bytes[..2];
                let alike = said.iter().filter(|(_, _, bytes)| &bytes[..2] == kind);
                let alike: Vec<_> = alike.collect();
                let other = &other.get(&alike).2;
                let at = HEADER + at.index(made.len().min(other.len()) - HEADER + 1);
                made.truncate(at);
                made.extend(&other[at..]);
            }
            Self::Kind(kind) => made[..2].copy_from_slice(&kind.to_be_bytes()),
        }
        let length = (made.len() - HEADER) as u32;
        made[2..HEADER].copy_from_slice(&length.to_be_bytes());
        made
    }
}

/// All kinds of messages have been said: one node ended in a restart, another one started anew and took what is held of it.
#[test]
fn i10_what_a_peer_corrupts_changes_nothing_of_others() {
    let met = [
        "corrupted, and still a message",
        "a hello or goodbye",
        "about a held set",
        "entries or operations",
        "an entry of a third node that lives",
    ];
    let pick = (any::<prop::sample::Index>(), Corruption::any(), 0..40u64);
    let picks = prop::collection::vec(pick, 200);
    holds(24, &met, (history(), picks), |(history, picks), tally| {
        let mut world = steady((history.0, history.1.max(4), history.2));
        world.tracks_something(0);
        let grace = Duration::from_secs(25);
        world.nodes[0].draining = Some(grace);
        let generation = world.nodes[0].generation;
        world.truth.restart_announced(0, generation, grace);
        world.act(0, |_, running, _| running.shard.restart(grace));
        world.pass(Duration::from_millis(300));
        world.crash(0);
        world.crash(1);
        world.start(1);
        world.tracks_something(1);
        world.tracks_something(2);
        world.pass(Duration::from_secs(5));
        let said = world.said.clone();
        let alive = world.alive();
        let liar = world.nodes.len() - 1;
        let honest: Vec<Index> = alive.iter().copied().filter(|node| *node != liar).collect();
        let truth = world.tracked_by(&honest);
        // Names and lives that are over may be made up.
        let others = |world: &World, node: Index| {
            let mut list = world.list(node);
            list.retain(|_, entry| honest.iter().any(|of| world.names[*of] == entry.node));
            list
        };
        for (pick, corruption, wait) in picks {
            let (_, to, bytes) = pick.get(&said);
            if !honest.contains(to) {
                continue;
            }
            let Ok(Some(message)) = Message::decode(&corruption.of(bytes, &said)) else {
                continue;
            };
            tally.add(met[0], 1);
            let greets = matches!(message, Message::Hello(_) | Message::Goodbye(_));
            tally.note(met[1], greets);
            let holds = match &message {
                Message::HeldPart(_) | Message::HeldPull(_) => true,
                Message::Vector(vector) => !vector.held.is_empty(),
                Message::Hello(hello) => !hello.held.is_empty(),
                _ => false,
            };
            tally.note(met[2], holds);
            tally.note(
                met[3],
                matches!(message, Message::Ops(_) | Message::Part(_)),
            );
            let list = world.list(*to).into_values();
            let third = list.filter(|entry| {
                let of = world.names.iter().position(|name| *name == entry.node);
                of.is_some_and(|of| of != *to && honest.contains(&of))
            });
            tally.add(met[4], third.count());
            world.hear_lie(*to, liar, &message);
            prop_assert_eq!(&others(&world, *to), &truth);
            world.pass(Duration::from_millis(wait));
        }
        world.break_and_heal([(1, liar), (1, 2)]);
        for node in &honest {
            prop_assert_eq!(&others(&world, *node), &truth, "node {}", node);
        }
        Ok(())
    });
}
