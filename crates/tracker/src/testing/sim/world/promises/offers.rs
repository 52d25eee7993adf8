//! The promise that nothing brings back what is over, of what is said of held sets while some of their time is left: I8.

use super::*;
use crate::message::Offer;

/// A message that tells of held sets: which it was of all that were sent, and what it says.
#[derive(Debug)]
struct Told {
    index: usize,
    message: Message,
}

impl Told {
    fn offers(&mut self) -> Vec<&mut Offer> {
        match &mut self.message {
            Message::Hello(hello) => hello.held.iter_mut().collect(),
            Message::Vector(vector) => vector.held.iter_mut().collect(),
            Message::HeldPart(part) => vec![&mut part.set],
            _ => Vec::new(),
        }
    }
}

impl World {
    /// What was said of held sets since so many messages were sent.
    fn told_of_held(&self, since: usize) -> Vec<Told> {
        let said = self.said.iter().enumerate().skip(since);
        let told = said.map(|(index, (_, _, bytes))| Told {
            index,
            message: Message::decode(bytes).unwrap().unwrap(),
        });
        let mut told: Vec<Told> = told.collect();
        told.retain_mut(|told| told.offers().iter().any(|offer| offer.left > 0));
        told
    }

    /// As its sender would say it now, who counts the time that is left by its own clock; if there is some, and if that tracker runs.
    fn is_left_of(&self, told: &Told) -> Option<Told> {
        let (from, _, _) = self.said[told.index];
        let (generation, at) = self.said_by[told.index];
        let runs = self.nodes[from].running.is_some();
        if !runs || self.nodes[from].generation != generation {
            return None;
        }
        let since = self.now - at;
        let passed = self.nodes[from].rate.shows(since).as_millis() as u64 + 1;
        let mut now = Told {
            index: told.index,
            message: told.message.clone(),
        };
        let offers = now.offers().into_iter();
        let left = offers.map(|offer| {
            offer.left = offer.left.saturating_sub(passed);
            offer.left
        });
        (left.max() > Some(0)).then_some(now)
    }
}

/// In the midst of a history with many restarts, after each of its steps, all that was said of held sets arrives once more over whatever
/// link there is, as long as something is left of their time. What a node saw leave for good does not come back, of which its
/// watcher looks at each diff, and in the end every list is what is tracked.
#[test]
fn i8_nothing_that_was_said_of_a_grace_brings_back_what_is_over_while_it_lasts() {
    let met = [
        "of what is held here",
        "of what has ended here",
        "of what is not known here",
        "all that is held, asked for once more",
    ];
    let steps = prop::collection::vec((any::<u64>(), 0..8u8), 20..100);
    let given = (any::<u64>(), 3..6usize, steps);
    holds(64, &met, given, |(seed, nodes, steps), tally| {
        let mut world = World::new(seed, nodes);
        world.voice = Voice::Silent;
        let mut told = Vec::new();
        for (chance, what) in steps {
            let since = world.said.len();
            if what == 0 {
                world.step += 1;
                world.random = Random::new(chance);
                let node = world.random.below(nodes);
                world.restart_as_announced(node);
            } else {
                world.step(chance);
            }
            told.extend(world.told_of_held(since));
            told.retain(|told| world.is_left_of(told).is_some());
            let again = told.iter().filter_map(|told| world.is_left_of(told));
            for mut again in again.collect::<Vec<_>>() {
                let (from, to, _) = world.said[again.index];
                let Some(running) = &world.nodes[to].running else {
                    continue;
                };
                let asked = running.shard.stats().held_sets_taken;
                let offers = again.offers();
                for offer in offers.into_iter().filter(|offer| offer.left > 0) {
                    let name = NodeName::new(&offer.node).unwrap();
                    let of = world.names.iter().position(|other| *other == name).unwrap();
                    let life = offer.at.life;
                    let over = world
                        .generations
                        .get(&(of, life))
                        .is_some_and(|one| running.watcher.saw_over((of, *one), &world.truth));
                    let held = running.shard.holds(&name, life);
                    tally.note(met[0], held);
                    tally.note(met[1], over && !held);
                    tally.note(met[2], !over && !held && of != to);
                }
                world.hear(to, from, &again.message.encode());
                let running = world.nodes[to].running.as_ref().unwrap();
                tally.note(met[3], running.shard.stats().held_sets_taken > asked);
            }
        }
        world.become_quiet();
        world.finish();
        Ok(())
    });
}
