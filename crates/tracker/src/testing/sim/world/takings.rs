//! Whether held sets are taken over as a whole, in however many parts they come.

use super::*;
use crate::message::HeldPart;

/// What a node has of a held set before a part of it arrives.
pub(super) struct Taking {
    of: NodeName,
    at: Position,
    /// How many sets it has taken.
    taken: u64,
    /// Up to here it knows what there is, and what is over of that.
    covered: u64,
    /// It is not the first part.
    goes_on: bool,
}

impl Taking {
    fn of(shard: &Shard, part: &HeldPart) -> Option<Self> {
        let of = NodeName::new(&part.set.node).ok()?;
        let lives = || part.set.formerly.iter().chain([&part.set.at.life]);
        let sets = lives().filter_map(|life| Some(shard.held_set(&of, *life)?.seq));
        let copy = shard.have(&of);
        let copy = copy.filter(|at| lives().any(|life| *life == at.life));
        let covered = sets.chain(copy.map(|at| at.seq)).max();
        Some(Self {
            at: part.set.at,
            taken: shard.stats().held_sets_taken,
            covered: covered.unwrap_or(0),
            goes_on: part.after > Some(0),
            of,
        })
    }
}

impl World {
    /// A node is told something, and what it asks another one for is noted.
    pub(super) fn told_by(
        &mut self,
        node: Index,
        from: Index,
        message: &Message,
        tell: impl FnOnce(&mut Self),
    ) {
        let asks = |world: &Self| {
            let running = world.nodes[node].running.as_ref()?;
            let asks = running.shard.asks_for(&world.names[from])?;
            Some((asks, running.shard.stats().held_sets_asked))
        };
        let before = asks(self);
        let taking = match (message, &self.nodes[node].running) {
            (Message::HeldPart(part), Some(running)) => Taking::of(&running.shard, part),
            _ => None,
        };
        tell(self);
        if let (Some((before, asked)), Some((now, asked_now))) = (before, asks(self))
            && before == now
            && asked < asked_now
        {
            self.report.count("held set asked for again");
        }
        if let Some(taking) = taking.filter(|_| !self.lied_to) {
            self.check_taken(node, from, &taking);
        }
    }

    /// If a set was taken by that, all is here that its teller holds, or is gone. The teller may have gone on since, and then has another one.
    fn check_taken(&mut self, node: Index, from: Index, taking: &Taking) {
        let Taking { of, at, .. } = taking;
        let shard = |index: Index| self.nodes[index].running.as_ref().map(|at| &at.shard);
        let taker = shard(node).filter(|shard| shard.stats().held_sets_taken > taking.taken);
        let here = taker.and_then(|shard| shard.held_set(of, at.life));
        let there = shard(from).and_then(|shard| shard.held_set(of, at.life));
        let (Some(here), Some(there)) = (here, there.filter(|set| set.seq == at.seq)) else {
            return;
        };
        let number = |entry: &Arc<Entry>| entry.reference.put_seq();
        let known: BTreeSet<u64> = here.iter().map(number).collect();
        for put_seq in there.iter().map(number).filter(|n| *n > taking.covered) {
            assert!(
                known.contains(&put_seq) || here.gone().numbers().contains(&put_seq),
                "I9: n{node} took {at:?} of {of} from n{from}, without {put_seq}"
            );
        }
        self.report.count("held set taken as a whole");
        if taking.goes_on {
            self.report
                .count("held set taken as a whole, in several parts");
        }
    }
}
