//! The promises about what is held: for how long it is listed, and what ends it earlier.

use super::*;

/// Longer than a change needs to every node in fair weather.
const SOON: Duration = Duration::from_secs(1);

/// So long a message needs in fair weather, and a look at who lists what.
const WAY: Duration = Duration::from_millis(61);

const OWNERS: std::ops::Range<u64> = 0..3;

/// Owners whose connections are closed in turn: so many that some hold is confirmed in time over slow links.
const CLOSED: std::ops::Range<u64> = 0..8;

/// A key of its own for each owner: what is held gives way to whatever comes under its key.
fn place(owner: u64) -> At {
    let (owner, topic, key) = apart(owner);
    (owner, topic, key + owner as usize)
}

impl World {
    /// Some owners of a node track under keys that no other node has.
    fn track_apart(&mut self, node: Index, drop_grace: Duration) -> BTreeSet<PresenceRef> {
        let mut made = BTreeSet::new();
        self.act(node, |world, running, now| {
            for owner in OWNERS {
                let slot = slot_at(place(owner));
                let (ticket, entry) = running.shard.track(&slot, Bytes::new(), now).unwrap();
                running.shard.set_drop_grace(&ticket, drop_grace);
                let generation = world.nodes[node].generation;
                world.truth.written(&entry, node, generation);
                made.insert(entry.reference);
            }
        });
        self.pass(SOON);
        made
    }

    /// What a node lists of those.
    fn listed_apart(&self, node: Index) -> BTreeSet<PresenceRef> {
        let list = self.list(node).into_values();
        list.filter(|entry| entry.owner >= 100)
            .map(|entry| entry.reference)
            .collect()
    }

    fn announce(&mut self, node: Index, grace: Duration) {
        let generation = self.nodes[node].generation;
        self.nodes[node].draining = Some(grace);
        self.truth.restart_announced(node, generation, grace);
        self.act(node, |_, running, _| running.shard.restart(grace));
        self.pass(SOON);
    }

    /// Looks at who lists what is held: each node until its grace ends, and from some time after that no more. Gives how often it was
    /// listed, and how often no more.
    fn watch_graces(
        &mut self,
        held: &BTreeSet<PresenceRef>,
        ends: &[(Index, Duration)],
        late: Duration,
    ) -> [usize; 2] {
        let mut looks = [0; 2];
        let last = ends.iter().map(|(_, end)| *end + late).max().unwrap();
        let time = last - self.now + SOON;
        self.watch(time, |world| {
            for (node, end) in ends {
                let listed = world.listed_apart(*node);
                assert!(
                    *end < world.now || listed == *held,
                    "node {node}: {listed:?}"
                );
                assert!(
                    world.now <= *end + late || listed.is_empty(),
                    "node {node}: {listed:?}"
                );
                looks[usize::from(listed.is_empty())] += 1;
            }
        });
        looks
    }

    /// When a grace is over that begins now, by the clock of a node.
    fn grace_by(&self, node: Index, grace: Duration) -> Duration {
        self.now + self.nodes[node].rate.takes(grace)
    }

    /// How often something has happened so far.
    fn so_far(&self, what: &str) -> u64 {
        self.report.counts.get(what).copied().unwrap_or_default()
    }
}

#[test]
fn i15_what_a_restart_holds_is_listed_until_its_grace_ends() {
    let met = [
        "listed while its grace lasts",
        "no more when it is over",
        "a grace that ends elsewhere at another time",
    ];
    let given = (history(), 0..5usize, 500..4_000u64);
    holds(48, &met, given, |(history, which, grace), tally| {
        let (mut world, grace) = (steady(history), Duration::from_millis(grace));
        let node = which % world.nodes.len();
        let held = world.track_apart(node, Duration::ZERO);
        world.announce(node, grace);
        world.act(node, |_, running, now| {
            running.own.clear();
            running.shard.leave(now);
        });
        // Each by its own clock, from when it hears of the end.
        let others = world.alive().into_iter().filter(|other| *other != node);
        let ends: Vec<_> = others
            .map(|other| (other, world.grace_by(other, grace)))
            .collect();
        let [listed, over] = world.watch_graces(&held, &ends, WAY);
        tally.add(met[0], listed);
        tally.add(met[1], over);
        tally.note(met[2], ends.iter().any(|(_, end)| *end != ends[0].1));
        Ok(())
    });
}

/// The order of a drain: held, known to all, closed, and at once back by any node. Each node has the new place and the end of the old
/// one in one diff, whichever of the two it would have heard of first.
#[test]
fn i14_who_is_closed_once_all_know_changes_places_in_one_diff() {
    let met = ["confirmed in time"];
    let given = (history(), 0..5usize);
    holds(48, &met, given, |(history, which), tally| {
        let mut world = steady(history);
        let node = which % world.nodes.len();
        for owner in CLOSED {
            world.track_at(node, place(owner), Bytes::new(), Duration::ZERO);
        }
        world.announce(node, Duration::from_secs(25));
        let mut confirmed = 0;
        for owner in CLOSED {
            let before =
                ["hold confirmed", "place changed in one diff"].map(|what| world.so_far(what));
            world.close_and_come_back(node, place(owner).0);
            world.pass(SOON);
            if world.so_far("hold confirmed") > before[0] {
                confirmed += 1;
                let moves = world.so_far("place changed in one diff") - before[1];
                prop_assert_eq!(moves, world.nodes.len() as u64, "owner {}", owner);
            }
        }
        prop_assert!(confirmed > 0, "all links were too slow to say anything");
        tally.add(met[0], confirmed);
        Ok(())
    });
}

/// A user has places on two nodes, or two on one, and one of them is closed: each node lists both all the time, however often the
/// other one is updated, and the return takes the place of the closed one alone.
#[test]
fn i14_of_two_places_the_closed_one_stays_until_it_is_back() {
    let met = [
        "two places on one node",
        "places on two nodes",
        "the one that stays updated",
        "back on the node that closed",
        "back beside the one that stays",
        "back on a third node",
    ];
    let given = (history(), 0..5usize, 0..5usize, 0..5usize, 0..4usize);
    let property = |(history, which, apart, back, updates): (History, _, _, _, _),
                    tally: &Tally| {
        let mut world = steady(history);
        let count = world.nodes.len();
        let (node, beside, back) = (which % count, (which + apart) % count, back % count);
        let (closed, stays) = ((100, 9, 9), (101, 9, 9));
        for (node, at) in [(node, closed), (beside, stays)] {
            world.track_at(node, at, Bytes::new(), Duration::ZERO);
        }
        world.announce(node, Duration::from_secs(25));
        let both = |world: &World| {
            for viewer in world.alive() {
                assert_eq!(world.listed_apart(viewer).len(), 2, "node {viewer}");
            }
        };
        both(&world);
        world.hold(node, closed.0);
        for update in 0..=updates {
            world.watch(SOON / 2, both);
            if update < updates {
                world.update_at(beside, stays, Bytes::new());
            }
        }
        world.owner_ends(node, closed.0, true);
        world.watch(SOON, both);
        world.track_at(back, (102, 9, 9), Bytes::new(), Duration::ZERO);
        world.watch(SOON, both);
        tally.note(met[usize::from(node != beside)], true);
        tally.add(met[2], updates);
        tally.note(met[3], back == node);
        tally.note(met[4], back == beside);
        tally.note(met[5], back != node && back != beside);
        Ok(())
    };
    holds(48, &met, given, property);
}

#[test]
fn i26_a_lost_connection_is_held_for_its_grace_and_no_longer() {
    let met = [
        "listed while its grace lasts",
        "no more when it is over",
        "its owner's clock is not another's",
    ];
    let given = (history(), 0..5usize, 500..4_000u64);
    holds(48, &met, given, |(history, which, grace), tally| {
        let (mut world, grace) = (steady(history), Duration::from_millis(grace));
        let node = which % world.nodes.len();
        let held = world.track_apart(node, grace);
        world.act(node, |world, running, now| {
            for owner in OWNERS {
                assert_eq!(running.shard.owner_died(place(owner).0, now), 1);
            }
            let until = world.now + world.nodes[node].rate.takes(grace);
            for entry in &held {
                world.truth.held(*entry);
                world.truth.dropped(*entry, until);
            }
        });
        // By its owner's clock alone, which then tells the others.
        let end = world.grace_by(node, grace);
        let ends: Vec<_> = world
            .alive()
            .into_iter()
            .map(|other| (other, end))
            .collect();
        let told = world.nodes[node]
            .rate
            .takes(world.settings.broadcast_period);
        let [listed, over] = world.watch_graces(&held, &ends, told + WAY);
        tally.add(met[0], listed);
        tally.add(met[1], over);
        let others = world.alive().into_iter();
        let mut others = others.map(|other| world.nodes[other].rate);
        tally.note(met[2], others.any(|rate| rate != world.nodes[node].rate));
        Ok(())
    });
}

/// One node holds what another one has, which it only does not hear. Meanwhile all of that ends, perhaps the other takes a
/// higher number, and then it is heard again, long before the grace is over.
#[test]
fn i8_a_held_set_ends_when_its_tracker_is_heard_again() {
    let met = [
        "a held set",
        "heard again under its number",
        "heard again under a later one",
    ];
    let given = (history(), 0..5usize, any::<bool>());
    holds(48, &met, given, |(history, which, renumbered), tally| {
        let mut world = steady(history);
        let count = world.nodes.len();
        let (node, viewer) = (which % count, (which + 1) % count);
        let held = world.track_apart(node, Duration::ZERO);
        world.announce(node, Duration::from_secs(25));
        world.part(node, viewer);
        world.pass(4 * SOON);
        prop_assert_eq!(&world.listed_apart(viewer), &held);
        let sets = world.running(viewer).shard.stats().held_sets_now;
        tally.add(met[0], sets as usize);
        world.act(node, |world, running, now| {
            for owner in OWNERS {
                assert_eq!(running.shard.untrack_owner(place(owner).0, now), 1);
            }
            held.iter()
                .for_each(|entry| world.truth.ended(*entry, world.step));
        });
        if renumbered {
            world.renumber(node);
        }
        world.heal_all();
        world.pass(5 * SOON);
        for other in world.alive() {
            prop_assert_eq!(world.listed_apart(other), BTreeSet::new(), "node {}", other);
        }
        tally.note(met[1 + usize::from(renumbered)], true);
        Ok(())
    });
}
