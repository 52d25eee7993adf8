//! What users do: they are tracked, say something new of themselves, and go.

use super::*;

impl World {
    fn slot(&mut self) -> At {
        let owner = 1 + self.random.below(4) as u64;
        (owner, self.random.below(3), self.random.below(4))
    }

    pub(super) fn track(&mut self, node: Index) {
        let at = self.slot();
        let meta = self.meta();
        let grace = if self.random.one_in(5) {
            self.random.millis(4_000)
        } else {
            Duration::ZERO
        };
        self.track_at(node, at, meta, grace);
    }

    pub(super) fn track_at(&mut self, node: Index, at: At, meta: Bytes, grace: Duration) {
        self.act(node, |world, running, now| {
            let result = running.shard.track(&slot_at(at), meta, now);
            match (running.own.get(&at), result) {
                (None, Ok((ticket, entry))) => {
                    let node_at = &world.nodes[node];
                    world.truth.written(&entry, node, node_at.generation);
                    running.shard.set_drop_grace(&ticket, grace);
                    let own = Own {
                        ticket,
                        entry,
                        drop_grace: grace,
                        held_ahead: false,
                    };
                    running.own.insert(at, own);
                }
                (Some(own), Err(found)) => {
                    assert_eq!(own.entry, found, "I27");
                    world.report.count("track refused: tracked already");
                }
                (expected, got) => panic!("I27: tracked {expected:?}, track gave {got:?}"),
            }
        });
    }

    pub(super) fn update(&mut self, node: Index) {
        let at = self.slot();
        let meta = self.meta();
        self.update_at(node, at, meta);
    }

    pub(super) fn update_at(&mut self, node: Index, at: At, meta: Bytes) {
        self.act(node, |world, running, now| {
            let result = running.shard.update(&slot_at(at), None, meta, now);
            match (running.own.get_mut(&at), result) {
                (Some(own), Ok(new)) => {
                    assert_eq!(new.previous, Some(own.entry.reference), "I16");
                    let generation = world.nodes[node].generation;
                    world.truth.written(&new, node, generation);
                    world.truth.ended(own.entry.reference, world.step);
                    if own.held_ahead {
                        world.truth.held(new.reference);
                    }
                    own.entry = new;
                }
                (None, Err(Refusal::NoPresence)) => {}
                (None, Err(Refusal::NotOwner(other))) => {
                    assert_ne!(other, world.nodes[node].name, "I10");
                    world.report.count("update refused: not the owner");
                }
                (expected, got) => panic!("I27: tracked {expected:?}, update gave {got:?}"),
            }
        });
    }

    pub(super) fn untrack(&mut self, node: Index) {
        let at = self.slot();
        let by_ticket = self.random.one_in(2);
        self.untrack_at(node, at, by_ticket);
    }

    pub(super) fn untrack_at(&mut self, node: Index, at: At, by_ticket: bool) {
        self.act(node, |world, running, now| {
            let tracked = running.own.remove(&at);
            let removed = match &tracked {
                Some(own) if by_ticket => running.shard.release(&own.ticket, now) == Some(at.0),
                _ => match running.shard.untrack(&slot_at(at), now) {
                    Ok(removed) => removed,
                    Err(Refusal::NotOwner(other)) => {
                        assert_ne!(other, world.nodes[node].name, "I10");
                        world.report.count("untrack refused: not the owner");
                        false
                    }
                    Err(refusal) => panic!("I27: untrack gave {refusal:?}"),
                },
            };
            assert_eq!(removed, tracked.is_some(), "I27: untrack");
            if let Some(own) = tracked {
                if by_ticket {
                    world.connection_ended(node, &own);
                } else {
                    world.truth.ended(own.entry.reference, world.step);
                }
                assert_eq!(
                    running.shard.release(&own.ticket, now),
                    None,
                    "a ticket ends once"
                );
            }
        });
    }

    pub(super) fn owner_dies(&mut self, node: Index) {
        let owner = 1 + self.random.below(4) as u64;
        let died = self.random.below(4) > 0;
        if died && self.nodes[node].draining.is_some() && self.random.below(4) > 0 {
            return self.close_and_come_back(node, owner);
        }
        self.owner_ends(node, owner, died);
    }

    pub(super) fn owner_ends(&mut self, node: Index, owner: u64, died: bool) {
        self.act(node, |world, running, now| {
            let count = if died {
                running.shard.owner_died(owner, now)
            } else {
                running.shard.untrack_owner(owner, now)
            };
            let dead: Vec<_> = running
                .own
                .keys()
                .filter(|at| at.0 == owner)
                .copied()
                .collect();
            assert_eq!(count, dead.len(), "I26: all that a dead owner tracked goes");
            for at in dead {
                match running.own.remove(&at) {
                    Some(own) if died => world.connection_ended(node, &own),
                    Some(own) => world.truth.ended(own.entry.reference, world.step),
                    None => {}
                }
            }
            world.report.count("owner died");
        });
    }

    /// Nobody untracked it: it is held if a restart was announced, or if it was tracked so.
    pub(super) fn connection_ended(&mut self, node: Index, own: &Own) {
        self.report.count("connection ended");
        let reference = own.entry.reference;
        if !own.drop_grace.is_zero() || self.nodes[node].draining.is_some() {
            self.truth.held(reference);
            if self.nodes[node].draining.is_none() {
                let grace = self.nodes[node].rate.takes(own.drop_grace);
                self.truth.dropped(reference, self.now + grace);
            }
        } else {
            self.truth.ended(reference, self.step);
        }
    }

    pub(super) fn meta(&mut self) -> Bytes {
        let length = self.random.below(120);
        (0..length).map(|_| self.random.next() as u8).collect()
    }
}
