//! The promise about nodes that do not hear each other for a while, and whose entries change meanwhile: I17.

use super::*;

/// What a user does while some nodes do not hear each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Track,
    Update,
    Untrack,
}

impl Change {
    /// Some of them, each on some node, with a chance that decides the rest.
    pub(super) fn some() -> impl Strategy<Value = Vec<(Index, (Change, u64))>> {
        let change = prop_oneof![Just(Self::Track), Just(Self::Update), Just(Self::Untrack)];
        prop::collection::vec((0..5usize, (change, any::<u64>())), 4..24)
    }
}

impl World {
    /// A user of a node tracks something, or updates or untracks what is tracked there. Gives what it was before.
    pub(super) fn change(
        &mut self,
        node: Index,
        (change, pick): (Change, u64),
    ) -> Option<PresenceRef> {
        self.step += 1;
        self.random = Random::new(pick);
        let which = self.random.below(self.running(node).own.len().max(1));
        let place = self.running(node).own.iter().nth(which);
        let place = place.map(|(at, own)| (*at, own.entry.reference));
        match (change, place) {
            (Change::Track, _) | (_, None) => {
                self.track(node);
                return None;
            }
            (Change::Update, Some((at, _))) => {
                let meta = self.meta();
                self.update_at(node, at, meta);
            }
            (Change::Untrack, Some((at, _))) => self.untrack_at(node, at, false),
        }
        place.map(|(_, before)| before)
    }
}

/// Some pairs cannot speak, and on all nodes entries change: each node lists its own and those of whom it hears, as they are. When all
/// can speak again, all list everything, and what nobody touched has the reference that it had.
#[test]
fn i17_a_split_shows_what_is_heard_and_heals_with_the_same_references() {
    let met = [
        "hidden by the split",
        "one that both hear who do not hear each other",
        "changed on both sides of a cut",
        "tracked while some could not hear it",
        "updated while some could not hear it",
        "untracked while some could not hear it",
        "untouched, and back with its reference",
    ];
    let given = (
        history(),
        prop::collection::vec((0..5usize, 0..5usize), 1..8),
        Change::some(),
    );
    holds(48, &met, given, |(history, cuts, changes), tally| {
        let mut world = steady(history);
        let mut untouched = world.tracked_by(&world.alive());
        let count = world.nodes.len();
        let mut cut = BTreeSet::new();
        for (a, b) in cuts {
            let (a, b) = (a % count, b % count);
            if a != b {
                world.part(a, b);
                cut.extend([(a, b), (b, a)]);
            }
        }
        prop_assume!(!cut.is_empty());
        let mut changed = BTreeSet::new();
        // At first the end of the links is not even noticed.
        for changes in changes.chunks(changes.len().div_ceil(2)) {
            for (node, change) in changes {
                let node = node % count;
                let before = world.change(node, *change);
                before.map(|before| untouched.remove(&before));
                if cut.iter().any(|(a, _)| *a == node) {
                    changed.insert(node);
                    let what = [Change::Track, Change::Update, Change::Untrack];
                    for (what, case) in what.into_iter().zip(&met[3..]) {
                        let done = what == change.0 && before.is_some() != (what == Change::Track);
                        tally.note(case, done);
                    }
                }
                world.pass(Duration::from_millis(40));
            }
            world.pass(SETTLING);
            let all = world.tracked_by(&world.alive());
            for node in 0..count {
                let heard: Vec<Index> = (0..count)
                    .filter(|other| !cut.contains(&(node, *other)))
                    .collect();
                prop_assert_eq!(world.list(node), world.tracked_by(&heard), "node {}", node);
                tally.add(met[0], all.len() - world.list(node).len());
                let between = |other: &Index| {
                    !cut.contains(&(node, *other))
                        && cut
                            .iter()
                            .any(|(a, b)| *a == node && !cut.contains(&(*b, *other)) && b != other)
                };
                tally.add(
                    met[1],
                    (0..count)
                        .filter(|other| *other != node && between(other))
                        .count(),
                );
            }
        }
        let both = |(a, b): &(Index, Index)| changed.contains(a) && changed.contains(b);
        tally.note(met[2], cut.iter().any(both));
        world.heal_all();
        world.pass(SETTLING);
        let all = world.tracked_by(&world.alive());
        for node in 0..count {
            let list = world.list(node);
            prop_assert_eq!(&list, &all, "node {}", node);
            for (reference, entry) in &untouched {
                prop_assert_eq!(list.get(reference), Some(entry), "node {}", node);
                let hidden = |at: Index| cut.contains(&(node, at)) && entry.node == world.names[at];
                tally.note(met[6], (0..count).any(hidden));
            }
        }
        Ok(())
    });
}
