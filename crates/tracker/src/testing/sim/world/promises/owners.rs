//! The promises about what owners do, several of them under one key: I7, I26 and I27.

use super::*;

/// Several nodes track and untrack under one key at once, in any order, over links that lose and swap. What is tracked in
/// the end is listed everywhere as it was tracked, and nothing else is there.
#[test]
fn i7_what_is_tracked_anew_survives_every_removal() {
    let met = [
        "survived a removal by a node that had not heard of it",
        "survived its own earlier removal, of which not all had heard",
        "survived the removal of another's, of which not all had heard",
    ];
    let wish = (0..5usize, 0..3u64, any::<bool>(), 0..80u64);
    let wishes = prop::collection::vec(wish, 1..40);
    holds(48, &met, (history(), wishes), |(history, wishes), tally| {
        let mut world = played(history);
        world.weather = Weather::Foul;
        let mut wished: BTreeMap<(Index, u64), Arc<Entry>> = BTreeMap::new();
        let mut removed: BTreeMap<PresenceRef, (Index, u64)> = BTreeMap::new();
        let mut concurrent = met.map(|case| (case, BTreeSet::new()));
        for (node, owner, there, wait) in wishes {
            let of = (node % world.nodes.len(), owner);
            if there {
                if let Some(entry) = world.track_under_one_key(of) {
                    let still = removed.iter().filter(|(gone, _)| world.is_listed(**gone));
                    for (_, by) in still {
                        let case = if *by == of { 1 } else { 2 };
                        concurrent[case].1.insert(entry.reference);
                    }
                    wished.insert(of, entry);
                }
            } else if let Some(gone) = world.untrack_under_one_key(of) {
                let list = world.list(of.0);
                let others = wished.values().map(|entry| entry.reference);
                concurrent[0]
                    .1
                    .extend(others.filter(|other| !list.contains_key(other) && *other != gone));
                wished.remove(&of);
                removed.insert(gone, of);
            }
            world.pass(Duration::from_millis(wait));
        }
        wished.retain(|(of, _), _| {
            world.nodes[*of].running.is_some() && world.nodes[*of].draining.is_none()
        });
        world.become_quiet();
        let wished: BTreeMap<_, _> = wished.into_values().map(|e| (e.reference, e)).collect();
        for node in world.alive() {
            let mut list = world.list(node);
            list.retain(|_, entry| entry.topic == slot_at(apart(0)).topic);
            prop_assert_eq!(&list, &wished, "node {}", node);
        }
        for (case, survivors) in concurrent {
            let survivors = survivors
                .iter()
                .filter(|reference| wished.contains_key(reference));
            tally.add(case, survivors.count());
        }
        Ok(())
    });
}

/// Some of the owners die, on all nodes at once: their entries leave their own node at once and the others in the end, unless
/// they are held first; what the other owners track stays.
#[test]
fn i26_dead_owners_leave_nothing_anywhere() {
    let met = [
        "listed elsewhere when its owner died",
        "held for a grace when its owner died",
        "of an owner that lives",
    ];
    let dying = prop::collection::btree_set(1..5u64, 1..4);
    holds(48, &met, (history(), dying), |(history, dying), tally| {
        let mut world = played(history);
        let mut dead = BTreeSet::new();
        for node in world.alive() {
            let mut held = BTreeSet::new();
            for owner in &dying {
                let of = |own: &Own| own.entry.owner == *owner;
                let own = world.running(node).own.values().filter(|own| of(own));
                let own: Vec<Own> = own.cloned().collect();
                world.act(node, |world, running, now| {
                    assert_eq!(running.shard.owner_died(*owner, now), own.len());
                    running.own.retain(|_, own| !of(own));
                    own.iter().for_each(|own| world.connection_ended(node, own));
                });
                let drains = world.nodes[node].draining.is_some();
                let holds = own.iter().filter(|own| drains || !own.drop_grace.is_zero());
                held.extend(holds.map(|own| own.entry.reference));
                dead.extend(own.iter().map(|own| own.entry.reference));
            }
            let list = world.list(node);
            let mut left = dead.iter().filter(|entry| list.contains_key(entry));
            prop_assert!(left.all(|entry| held.contains(entry) || !world.wrote(node, *entry)));
            tally.add(
                met[1],
                held.iter().filter(|entry| list.contains_key(entry)).count(),
            );
        }
        for node in world.alive() {
            let list = world.list(node);
            let elsewhere = dead.iter().filter(|entry| !world.wrote(node, **entry));
            tally.add(
                met[0],
                elsewhere.filter(|entry| list.contains_key(entry)).count(),
            );
        }
        world.become_quiet();
        let truth = world.tracked_by(&world.alive());
        prop_assert!(truth.values().all(|entry| !dying.contains(&entry.owner)));
        tally.add(met[2], truth.len());
        for node in world.alive() {
            prop_assert_eq!(&world.list(node), &truth, "node {}", node);
        }
        world.finish();
        Ok(())
    });
}

/// On every node, in the same slot: what is tracked is refused and left as it is, and anew it has another reference; what is not there is
/// not updated, before and after its owner's death, and who has it instead is named.
#[test]
fn i27_twice_is_refused_and_nothing_is_not_updated() {
    let met = [
        "tracked already",
        "nothing there to update",
        "only another node's there to update",
        "nothing there after its owner's death",
        "only another node's there after its owner's death",
    ];
    let at = (1..5u64, 0..3usize, 0..4usize);
    holds(96, &met, (history(), at), |(history, at), tally| {
        let mut world = played(history);
        let slot = slot_at(at);
        for node in world.alive() {
            let tracked = world
                .running(node)
                .own
                .get(&at)
                .map(|own| own.entry.clone());
            match tracked {
                Some(there) => {
                    tally.add(met[0], 1);
                    let (position, list) = (world.running(node).shard.at(), world.list(node));
                    let refused = world.try_track(node, &slot).unwrap_err();
                    prop_assert_eq!(&refused, &there);
                    prop_assert_eq!(
                        (world.running(node).shard.at(), world.list(node)),
                        (position, list)
                    );
                    world.nodes[node].running.as_mut().unwrap().own.remove(&at);
                    prop_assert_eq!(world.try_untrack(node, &slot), Ok(true));
                    let anew = world.try_track(node, &slot).unwrap();
                    prop_assert!(anew.reference != there.reference && anew.previous.is_none());
                    prop_assert!(anew.reference.put_seq() > there.reference.put_seq());
                }
                None => {
                    let only_others = world.is_refused(node, &slot);
                    tally.add(met[if only_others { 2 } else { 1 }], 1);
                    world.try_track(node, &slot).unwrap();
                }
            }
            world.act(node, |_, running, now| {
                let before = running.own.len();
                running.own.retain(|own, _| own.0 != at.0);
                let tracked = before - running.own.len() + 1;
                assert_eq!(running.shard.owner_died(at.0, now), tracked);
            });
            let only_others = world.is_refused(node, &slot);
            tally.add(met[if only_others { 4 } else { 3 }], 1);
        }
        Ok(())
    });
}

impl World {
    /// Tracks under a key that the random steps leave alone, if that owner does not yet.
    fn track_under_one_key(&mut self, (node, owner): (Index, u64)) -> Option<Arc<Entry>> {
        let (slot, meta) = (slot_at(apart(owner)), self.meta());
        let mut made = None;
        self.act(node, |world, running, now| {
            made = running
                .shard
                .track(&slot, meta, now)
                .ok()
                .map(|(_, entry)| entry);
            made.iter().for_each(|entry| world.written(node, entry));
        });
        made
    }

    /// Ends that again, if it is there.
    fn untrack_under_one_key(&mut self, (node, owner): (Index, u64)) -> Option<PresenceRef> {
        let slot = slot_at(apart(owner));
        let mut ended = None;
        self.act(node, |world, running, now| {
            ended = running.shard.own_slot(&slot).map(|entry| entry.reference);
            assert_eq!(
                running.shard.untrack(&slot, now).is_ok_and(|ended| ended),
                ended.is_some()
            );
            ended
                .into_iter()
                .for_each(|entry| world.truth.ended(entry, world.step));
        });
        ended
    }

    fn is_listed(&self, reference: PresenceRef) -> bool {
        let mut lists = self.alive().into_iter().map(|node| self.list(node));
        lists.any(|list| list.contains_key(&reference))
    }

    fn wrote(&self, node: Index, reference: PresenceRef) -> bool {
        let list = self.alive().into_iter().map(|viewer| self.list(viewer));
        let mut entries = list.filter_map(|list| list.get(&reference).cloned());
        entries.any(|entry| entry.node == self.names[node])
    }

    fn try_track(&mut self, node: Index, slot: &Slot) -> Result<Arc<Entry>, Arc<Entry>> {
        let mut result = None;
        self.act(node, |world, running, now| {
            let tracked = running.shard.track(slot, Bytes::from_static(b"anew"), now);
            let tracked = tracked.map(|(_, entry)| entry);
            tracked.iter().for_each(|entry| world.written(node, entry));
            result = Some(tracked);
        });
        result.unwrap()
    }

    fn try_untrack(&mut self, node: Index, slot: &Slot) -> Result<bool, Refusal> {
        let mut result = None;
        self.act(node, |_, running, now| {
            result = Some(running.shard.untrack(slot, now))
        });
        result.unwrap()
    }

    /// Checks that nothing in a slot is updated, and who is named instead. Whether somebody is.
    fn is_refused(&mut self, node: Index, slot: &Slot) -> bool {
        let here = self.names[node].clone();
        let mut only_others = false;
        self.act(node, |_, running, now| {
            let entries = running.shard.entries(&slot.topic);
            let nodes: Vec<NodeName> = entries.by_key(&slot.key).map(|e| e.node.clone()).collect();
            only_others = !nodes.is_empty() && !nodes.contains(&here);
            let at = running.shard.at();
            match running.shard.update(slot, None, Bytes::new(), now) {
                Err(Refusal::NotOwner(named)) => assert!(only_others && nodes.contains(&named)),
                refused => assert_eq!((refused, only_others), (Err(Refusal::NoPresence), false)),
            }
            assert_eq!(running.shard.at(), at, "nothing happened");
        });
        only_others
    }
}
