//! The promises about what nodes come to know: I4 and I9.

use super::*;

/// Every input of every node is looked at by [`World::know`], which lets nothing sink and nothing be dropped but for
/// a reason; what is between two steps, here once more.
#[test]
fn i4_what_is_known_never_shrinks() {
    let met = [
        "copy moved on",
        "copy of a later life",
        "copy dropped: away for the permdown period",
        "life refused",
        "operations heard again",
        "state heard again",
    ];
    let long = prop::collection::vec(any::<u64>(), 60..200);
    let history = (any::<u64>(), 2..6usize, long);
    holds(96, &met, history, |(seed, nodes, actions), tally| {
        let mut world = World::new(seed, nodes);
        world.voice = Voice::Silent;
        let mut known: BTreeMap<(Index, u64, Index), Life> = BTreeMap::new();
        for action in actions {
            world.step(action);
            for node in world.alive() {
                for other in 0..nodes {
                    let Some(has) = world.running(node).shard.have(&world.names[other]) else {
                        continue;
                    };
                    let at = (node, world.nodes[node].generation, other);
                    let had = known.insert(at, has.life);
                    prop_assert!(had <= Some(has.life), "{:?} after {:?}", has, had);
                }
            }
        }
        (0..nodes).for_each(|node| drop(world.stop(node)));
        for case in met {
            let times = world.report.counts.get(case).copied();
            tally.add(case, times.unwrap_or_default() as usize);
        }
        Ok(())
    });
}

/// All links are cut, and then something is tracked on every node: that, and all that did not reach everybody before, is
/// listed by all in the end, as it was tracked.
#[test]
fn i9_what_is_tracked_while_nothing_works_is_listed_in_the_end() {
    let met = [
        "tracked while nobody else could hear",
        "tracked before, and not heard by all",
    ];
    holds(48, &met, history(), |history, tally| {
        let mut world = played(history);
        let count = world.nodes.len();
        for (a, b) in (0..count).flat_map(|a| (0..a).map(move |b| (a, b))) {
            world.part(a, b);
        }
        // What a node tracks that is about to restart ends with it.
        let stay = |world: &World, node: &Index| world.nodes[*node].draining.is_none();
        let alive = world.alive();
        let staying: Vec<Index> = alive
            .iter()
            .copied()
            .filter(|node| stay(&world, node))
            .collect();
        tally.add(met[1], world.unlisted(&world.tracked_by(&staying)));
        let mut late = BTreeMap::new();
        for node in &staying {
            let (slot, meta) = (slot_at(apart(7)), world.meta());
            world.act(*node, |world, running, now| {
                let (_, entry) = running.shard.track(&slot, meta, now).unwrap();
                world.written(*node, &entry);
                late.insert(entry.reference, entry);
            });
        }
        let unheard = world.unlisted(&late);
        prop_assert_eq!(
            unheard,
            late.len() * alive.len().saturating_sub(1),
            "each only where it was tracked"
        );
        tally.add(met[0], unheard);
        let mut online = world.tracked_by(&staying);
        online.extend(late);
        world.become_quiet();
        for node in world.alive() {
            let list = world.list(node);
            for (reference, entry) in &online {
                prop_assert_eq!(list.get(reference), Some(entry), "node {}", node);
            }
        }
        Ok(())
    });
}

impl World {
    /// How many of these entries are missing in lists, counted for each list.
    fn unlisted(&self, entries: &BTreeMap<PresenceRef, Arc<Entry>>) -> usize {
        let alive = self.alive().into_iter();
        let missing = alive.map(|node| {
            let list = self.list(node);
            let missing = entries
                .keys()
                .filter(|reference| !list.contains_key(reference));
            missing.count()
        });
        missing.sum()
    }
}
