//! How graces end, told apart by who held what they were for.

use super::*;
use crate::visible::HeldBy;

/// What a node lists as held before an input.
pub(super) struct Graces {
    used: u64,
    held: Vec<(Arc<Entry>, &'static str)>,
}

impl Graces {
    pub(super) fn of(shard: &Shard) -> Self {
        let held = shard.held_places();
        let held = held.map(|held| (Arc::clone(&held.entry), used(&held.of)));
        Self {
            used: shard.stats().grace_used,
            held: held.collect(),
        }
    }

    /// What has given way since then to a user that is back: the names of the paths.
    pub(super) fn given_way(self, shard: &Shard) -> Vec<&'static str> {
        if shard.stats().grace_used == self.used {
            return Vec::new();
        }
        let gave_way = |entry: &Entry| {
            let listed = shard.entries(&entry.topic);
            let mut there = listed.by_key(&entry.key).peekable();
            there.peek().is_some() && there.all(|other| other.reference != entry.reference)
        };
        let held = self.held.into_iter();
        held.filter(|(entry, _)| gave_way(entry))
            .map(|(_, name)| name)
            .collect()
    }
}

fn used(by: &HeldBy) -> &'static str {
    match by {
        HeldBy::Own => "grace used: in the own log",
        HeldBy::Copy(_) => "grace used: in a copy",
        HeldBy::Set(..) => "grace used: in a held set",
    }
}

impl World {
    /// Does what is due, and counts the graces that end by it.
    pub(super) fn handle_tick(&mut self, running: &mut Running, now: Duration) {
        let due = running.shard.sets_due(now);
        for (node, life) in due.filter(|_| !self.lied_to) {
            let of = self.names.iter().position(|name| *name == node);
            let of = of.expect("a node of this cluster");
            if let Some(generation) = self.generations.get(&(of, life)) {
                self.truth.grace_ends((of, *generation), self.now);
            }
        }
        let (heard, unheard) = running.shard.held_sets_due(now);
        let before = running.shard.stats().grace_ended;
        running.shard.handle_tick(now);
        let ended = running.shard.stats().grace_ended - before;
        let own = ended.saturating_sub(unheard);
        for (name, count) in [
            ("grace outlasted: its node is heard", heard),
            ("grace ended: of a held set", unheard),
            ("grace ended: in the own log", own),
        ] {
            self.report.add_to(name, count);
        }
    }
}
