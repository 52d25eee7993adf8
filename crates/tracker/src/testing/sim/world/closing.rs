//! A node that is about to end closes connections, and their users are back by another one.

use super::*;

impl World {
    /// As a drain does: the owner's connection is closed once all know that its entries are held, and its users come back elsewhere.
    pub(super) fn close_and_come_back(&mut self, node: Index, owner: u64) {
        self.hold(node, owner);
        if self.random.one_in(4) {
            let time = self.random.millis(20);
            self.pass(time);
            self.update(node);
            self.untrack(node);
        }
        let waits = |world: &Self| {
            let running = world.nodes[node].running.as_ref();
            running.is_some_and(|running| !running.holds.is_empty())
        };
        let patience = self.now + Duration::from_millis(600);
        while waits(self) && self.now < patience {
            self.pass(Duration::from_millis(5));
        }
        let running = self.nodes[node].running.as_ref();
        let tracked = running.into_iter().flat_map(|running| running.own.keys());
        let places: Vec<At> = tracked.filter(|at| at.0 == owner).copied().collect();
        self.owner_ends(node, owner, true);
        let other = self.random.below(self.nodes.len());
        let tracked = |world: &Self, at: &At| {
            let running = world.nodes[other].running.as_ref();
            running.is_some_and(|running| running.own.contains_key(at))
        };
        for at in places {
            if !tracked(self, &at) {
                let meta = self.meta();
                self.track_at(other, at, meta, Duration::ZERO);
            }
        }
    }

    pub(super) fn hold(&mut self, node: Index, owner: u64) {
        self.act(node, |world, running, now| {
            running.shard.hold(&[owner], now);
            let mut held = Vec::new();
            for (_, own) in running.own.iter_mut().filter(|(at, _)| at.0 == owner) {
                own.held_ahead = true;
                world.truth.held(own.entry.reference);
                held.push(own.entry.reference);
            }
            running.holds.push_back(held);
        });
    }
}
