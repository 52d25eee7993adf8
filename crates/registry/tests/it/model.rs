//! P1, P3, P4, P5, P8, P9, P11: any history against a plain vector.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};

use matryoshka_registry::{
    Change, DuplicateRegistry, Listener, Owner, OwnerId, RandomState as Usual, RegisterError,
    Registration, ShardBy, UniqueRegistry,
};
use proptest::prelude::*;
use proptest::sample::Index;

const OWNERS: usize = 4;
const KEYS: u8 = 4;
/// The one that a second listener listens to.
const KEY: u8 = 1;
/// So few that a death of an owner goes beyond it now and then.
const LISTENER_BOUND: usize = 4;

trait Hashing: BuildHasher + Clone + Send + Sync + 'static {}
impl<S: BuildHasher + Clone + Send + Sync + 'static> Hashing for S {}

/// Gives all keys one hash, so that nothing but the keys themselves tells them apart.
#[derive(Clone)]
struct AllAlike;

struct OneHash;

impl BuildHasher for AllAlike {
    type Hasher = OneHash;

    fn build_hasher(&self) -> OneHash {
        OneHash
    }
}

impl Hasher for OneHash {
    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        7
    }
}

#[derive(Clone, Debug)]
enum Step {
    Register { owner: usize, key: u8, value: u8 },
    DropGuard(Index),
    Detach(Index),
    Unregister { owner: usize, key: u8 },
    UnregisterMatch { owner: usize, key: u8, value: u8 },
    Update { owner: usize, key: u8, value: u8 },
    Die(usize),
    TakeEdges,
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, key, value) = (0..OWNERS, 0..KEYS, 0..3_u8);
    let triple = (owner.clone(), key.clone(), value);
    prop_oneof![
        8 => triple.clone().prop_map(|(owner, key, value)| Step::Register { owner, key, value }),
        4 => any::<Index>().prop_map(Step::DropGuard),
        2 => any::<Index>().prop_map(Step::Detach),
        1 => (owner.clone(), key).prop_map(|(owner, key)| Step::Unregister { owner, key }),
        1 => triple.clone().prop_map(|(owner, key, value)| Step::UnregisterMatch { owner, key, value }),
        2 => triple.prop_map(|(owner, key, value)| Step::Update { owner, key, value }),
        1 => owner.prop_map(Step::Die),
        2 => Just(Step::TakeEdges),
    ]
}

/// What is true of one entry.
#[derive(Clone, Debug, PartialEq)]
struct Fact {
    id: usize,
    owner: OwnerId,
    key: u8,
    value: u8,
}

fn taken_by(owner: OwnerId) -> RegisterError {
    RegisterError::AlreadyRegistered { owner }
}

struct World {
    owners: Vec<Owner>,
    guards: Vec<(usize, Registration)>,
    facts: Vec<Fact>,
    next: usize,
}

impl World {
    fn new() -> Self {
        Self {
            owners: (0..OWNERS).map(|_| Owner::new()).collect(),
            guards: Vec::new(),
            facts: Vec::new(),
            next: 0,
        }
    }

    fn note(&mut self, guard: Registration, key: u8, value: u8) {
        let (id, owner) = (self.next, guard.owner());
        self.facts.push(Fact {
            id,
            owner,
            key,
            value,
        });
        self.guards.push((id, guard));
        self.next += 1;
    }

    fn take_guard(&mut self, at: Index) -> Option<(usize, Registration)> {
        (!self.guards.is_empty()).then(|| self.guards.swap_remove(at.index(self.guards.len())))
    }

    fn drop_guard(&mut self, at: Index) {
        if let Some((id, guard)) = self.take_guard(at) {
            drop(guard);
            self.facts.retain(|fact| fact.id != id);
        }
    }

    fn die(&mut self, owner: usize) {
        let dead = std::mem::take(&mut self.owners[owner]);
        let id = dead.id();
        if id.get().is_multiple_of(2) {
            dead.end();
        }
        drop(dead);
        self.facts.retain(|fact| fact.owner != id);
    }

    /// Forgets the facts of that owner and key that are chosen; how many.
    fn forget(&mut self, owner: usize, key: u8, chosen: impl Fn(&Fact) -> bool) -> usize {
        let (id, before) = (self.owners[owner].id(), self.facts.len());
        self.facts
            .retain(|fact| !(fact.owner == id && fact.key == key && chosen(fact)));
        before - self.facts.len()
    }

    fn of(&self, key: u8) -> Vec<(OwnerId, u8)> {
        let facts = self.facts.iter().filter(|fact| fact.key == key);
        facts.map(|fact| (fact.owner, fact.value)).collect()
    }

    fn all(&self) -> Vec<(u8, OwnerId, u8)> {
        let facts = self.facts.iter();
        sorted(
            facts
                .map(|fact| (fact.key, fact.owner, fact.value))
                .collect(),
        )
    }

    fn keys_of(&self, owner: OwnerId) -> Vec<u8> {
        let facts = self.facts.iter().filter(|fact| fact.owner == owner);
        sorted(facts.map(|fact| fact.key).collect())
    }

    fn keys(&self) -> BTreeSet<u8> {
        self.facts.iter().map(|fact| fact.key).collect()
    }
}

/// P8: whoever does what a listener is told knows what is there.
struct Follower {
    listener: Listener<u8, u8>,
    heard: Vec<(u8, OwnerId, u8)>,
}

impl Follower {
    fn new(listener: Listener<u8, u8>) -> Self {
        Self {
            listener,
            heard: Vec::new(),
        }
    }

    fn knows(&mut self) -> Vec<(u8, OwnerId, u8)> {
        while let Some(change) = self.listener.try_recv() {
            self.follow(change);
        }
        sorted(self.heard.clone())
    }

    fn follow(&mut self, change: Change<u8, u8>) {
        let heard = &mut self.heard;
        match change {
            Change::Registered { key, entry } => heard.push((*key, entry.owner(), *entry.value())),
            Change::Unregistered { key, entry, .. } => {
                let gone = (*key, entry.owner(), *entry.value());
                let at = heard.iter().position(|fact| *fact == gone);
                heard.swap_remove(at.expect("what goes has come"));
            }
            Change::Updated { key, entry } => {
                let fact = heard.iter_mut().find(|fact| fact.0 == *key);
                fact.expect("what is updated has come").2 = *entry.value();
            }
            Change::Resync(now) => {
                let now = now.iter();
                *heard = now.map(|(key, e)| (*key, e.owner(), *e.value())).collect();
            }
        }
    }
}

/// Two who follow a registry from its beginning: all of it, and one key.
struct Followers {
    all: Follower,
    keyed: Follower,
}

impl Followers {
    fn check(&mut self, world: &World) {
        assert_eq!(self.all.knows(), world.all());
        let of_key = world.all().into_iter().filter(|fact| fact.0 == KEY);
        assert!(self.keyed.knows().into_iter().eq(of_key));
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

fn run_duplicate(
    hasher: impl Hashing,
    shards: usize,
    shard_by: ShardBy,
    edges: bool,
    steps: &[Step],
) {
    let builder = DuplicateRegistry::builder()
        .shards(shards)
        .shard_by(shard_by)
        .hasher(hasher);
    let groups = &match edges {
        true => builder.edges(|| ()).build(),
        false => builder.build(),
    }
    .unwrap();
    let mut followers = Followers {
        all: Follower::new(groups.listen(LISTENER_BOUND).unwrap()),
        keyed: Follower::new(groups.lookup_and_listen(KEY, LISTENER_BOUND).unwrap().1),
    };
    let mut world = World::new();
    let mut expected_edges = BTreeSet::new();
    for step in steps {
        let before = world.keys();
        match *step {
            Step::Register { owner, key, value } => {
                let guard = groups.register(&world.owners[owner], key, value).unwrap();
                world.note(guard, key, value);
            }
            Step::DropGuard(at) => world.drop_guard(at),
            Step::Detach(at) => drop(world.take_guard(at).map(|(_, guard)| guard.detach())),
            Step::Unregister { owner, key } => {
                let count = groups.unregister(&world.owners[owner], &key);
                assert_eq!(count, world.forget(owner, key, |_| true));
            }
            Step::UnregisterMatch { owner, key, value } => {
                let count = groups.unregister_match(&world.owners[owner], &key, |&v| v == value);
                assert_eq!(count, world.forget(owner, key, |fact| fact.value == value));
            }
            Step::Update { .. } => {}
            Step::Die(owner) => world.die(owner),
            Step::TakeEdges => {
                let taken: BTreeSet<u8> = groups.take_edges().into_iter().collect();
                let expected = std::mem::take(&mut expected_edges);
                assert_eq!(taken, if edges { expected } else { BTreeSet::new() });
            }
        }
        expected_edges.extend(before.symmetric_difference(&world.keys()));
        assert_eq!(groups.edges_pending(), edges && !expected_edges.is_empty());
        check_duplicate(groups, &world, shard_by == ShardBy::Key);
        followers.check(&world);
    }
    world.owners.clear();
    assert_eq!((groups.count(), groups.count_keys()), (0, 0));
}

fn check_duplicate(
    groups: &DuplicateRegistry<u8, u8, impl Hashing>,
    world: &World,
    in_order: bool,
) {
    assert_eq!(groups.count(), world.facts.len());
    assert_eq!(groups.count_keys(), world.keys().len());
    for key in 0..KEYS {
        let expected = world.of(key);
        let entries = groups.lookup(&key);
        let entries = entries.iter().flat_map(|entries| entries.iter());
        let found: Vec<_> = entries.map(|e| (e.owner(), *e.value())).collect();
        assert_eq!(groups.count_key(&key), expected.len());
        assert_eq!(groups.is_registered(&key), !expected.is_empty());
        for owner in &world.owners {
            let own = expected.iter().filter(|(id, _)| *id == owner.id());
            let own: Vec<u8> = own.map(|(_, value)| *value).collect();
            assert_eq!(groups.values(&key, owner.id()), own);
        }
        if in_order {
            assert_eq!(found, expected, "in the order of registration");
        }
        assert_eq!(sorted(found), sorted(expected));
    }
    for owner in &world.owners {
        assert_eq!(sorted(groups.keys(owner.id())), world.keys_of(owner.id()));
    }
}

fn run_unique(names: &UniqueRegistry<u8, u8, impl Hashing>, steps: &[Step]) {
    let mut followers = Followers {
        all: Follower::new(names.listen(LISTENER_BOUND).unwrap()),
        keyed: Follower::new(names.lookup_and_listen(KEY, LISTENER_BOUND).unwrap().1),
    };
    let mut world = World::new();
    for step in steps {
        match *step {
            Step::Register { owner, key, value } => {
                let holder = world.of(key).first().map(|(id, _)| *id);
                match names.register(&world.owners[owner], key, value) {
                    Ok(guard) => {
                        assert_eq!(holder, None);
                        world.note(guard, key, value);
                    }
                    Err(refused) => assert_eq!(holder.map(taken_by), Some(refused)),
                }
            }
            Step::DropGuard(at) => world.drop_guard(at),
            Step::Detach(at) => drop(world.take_guard(at).map(|(_, guard)| guard.detach())),
            Step::Unregister { owner, key } | Step::UnregisterMatch { owner, key, .. } => {
                let removed = names.unregister(&world.owners[owner], &key);
                assert_eq!(usize::from(removed), world.forget(owner, key, |_| true));
            }
            Step::Update { owner, key, value } => {
                let id = world.owners[owner].id();
                let own = world
                    .facts
                    .iter_mut()
                    .find(|fact| fact.key == key && fact.owner == id);
                let updated = names.update_value(&world.owners[owner], &key, |_| value);
                assert_eq!(
                    updated,
                    own.map(|fact| {
                        fact.value = value;
                        value
                    })
                );
            }
            Step::Die(owner) => world.die(owner),
            Step::TakeEdges => {}
        }
        check_unique(names, &world);
        followers.check(&world);
    }
    world.owners.clear();
    assert_eq!(names.count(), 0);
}

fn check_unique(names: &UniqueRegistry<u8, u8, impl Hashing>, world: &World) {
    assert_eq!(names.count(), world.facts.len());
    for key in 0..KEYS {
        let expected = world.of(key).first().copied();
        let found = names.lookup(&key).map(|e| (e.owner(), *e.value()));
        assert_eq!(found, expected);
        assert_eq!(names.whereis(&key), expected.map(|(_, value)| value));
    }
    for owner in &world.owners {
        assert_eq!(sorted(names.keys(owner.id())), world.keys_of(owner.id()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn p1_p11_duplicate_is_a_vector_in_any_layout(steps in prop::collection::vec(step(), 1..120)) {
        for shard_by in [ShardBy::Key, ShardBy::Owner] {
            run_duplicate(Usual::default(), 1, shard_by, false, &steps);
            run_duplicate(Usual::default(), 8, shard_by, false, &steps);
            run_duplicate(AllAlike, 1, shard_by, false, &steps);
        }
    }

    #[test]
    fn p9_edges_are_where_the_set_of_keys_changes(steps in prop::collection::vec(step(), 1..120)) {
        for shard_by in [ShardBy::Key, ShardBy::Owner] {
            run_duplicate(Usual::default(), 8, shard_by, true, &steps);
            run_duplicate(AllAlike, 1, shard_by, true, &steps);
        }
    }

    #[test]
    fn p1_p11_unique_is_a_vector_without_doubles(steps in prop::collection::vec(step(), 1..120)) {
        run_unique(&UniqueRegistry::with_shards(1, Usual::default()), &steps);
        run_unique(&UniqueRegistry::with_shards(8, Usual::default()), &steps);
        run_unique(&UniqueRegistry::with_shards(1, AllAlike), &steps);
    }
}
