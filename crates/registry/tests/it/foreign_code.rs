//! P7, to the letter: whatever the user wrote for keys and values runs under no lock. Each call of it here changes and reads
//! the registry, first in another thread, which has to finish meanwhile, then in this one, in the one shard there is.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use matryoshka_registry::{DuplicateRegistry, Owner, ShardBy, UniqueRegistry};

/// Nobody waits that long for a lock that nobody holds.
const LONG: Duration = Duration::from_secs(60);

type Watch = Rc<dyn Fn(&'static str)>;

thread_local! {
    /// What is done in this thread whenever code of a [`Watched`] runs.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Not while it is being done.
fn runs(what: &'static str) {
    let watch = WATCH.try_with(RefCell::take).ok().flatten();
    if let Some(watch) = watch {
        watch(what);
        WATCH.set(Some(watch));
    }
}

/// A key or a value that has all the code that a user can write for it.
struct Watched(u8);

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        runs("eq");
        self.0 == other.0
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        runs("hash");
        self.0.hash(state);
    }
}

impl Clone for Watched {
    fn clone(&self) -> Self {
        runs("clone");
        Self(self.0)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        runs("drop");
    }
}

/// All keys alike, so that each is compared with each.
#[derive(Clone, Default)]
struct AllAlike;

impl BuildHasher for AllAlike {
    type Hasher = Constant;

    fn build_hasher(&self) -> Constant {
        Constant
    }
}

struct Constant;

impl Hasher for Constant {
    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        7
    }
}

/// Runs `work`, and `meddle` whenever foreign code runs in it, in another thread that has to finish meanwhile and then here.
/// What ran.
fn watched(
    meddle: impl Fn() + Clone + Send + 'static,
    work: impl FnOnce(),
) -> BTreeSet<&'static str> {
    let ran = Rc::new(RefCell::new(BTreeSet::new()));
    let seen = Rc::clone(&ran);
    let watch: Watch = Rc::new(move |what| {
        seen.borrow_mut().insert(what);
        let theirs = meddle.clone();
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            theirs();
            done.send(()).unwrap();
        });
        let outcome = is_done.recv_timeout(LONG);
        outcome.unwrap_or_else(|_| panic!("another thread waits for a {what}"));
        meddle();
    });
    WATCH.set(Some(watch));
    work();
    WATCH.set(None);
    ran.take()
}

type Groups<S> = DuplicateRegistry<Watched, Watched, S>;

fn groups<S>(shard_by: ShardBy, hasher: S) -> Groups<S>
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    let builder = DuplicateRegistry::builder().shards(1).shard_by(shard_by);
    builder.edges(|| ()).hasher(hasher).build().unwrap()
}

/// Reads the key that is used, and changes others, so that who is watched still finds what it expects.
fn meddle_with_groups<S>(groups: &Groups<S>)
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    let owner = Owner::new();
    let register = |key| groups.register(&owner, Watched(key), Watched(0)).unwrap();
    for key in [8, 9] {
        let guard = register(key);
        let copied = groups.lookup(&Watched(key));
        register(key).detach();
        assert!(groups.count_key(&Watched(key)) >= 2 && groups.is_registered(&Watched(key)));
        drop((guard, copied));
    }
    drop(groups.lookup(&Watched(1)));
    drop(groups.lookup_and_listen(Watched(9), 1).unwrap());
    groups.unregister(&owner, &Watched(8));
    groups.take_edges();
    groups.count();
}

fn use_groups<S>(groups: &Groups<S>)
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    let (owner, other) = (Owner::new(), Owner::new());
    let register = |owner: &Owner, key, value| {
        let added = groups.register(owner, Watched(key), Watched(value));
        added.unwrap()
    };
    let mut listener = groups.listen(10).unwrap();
    let (snapshot, mut keyed) = groups.lookup_and_listen(Watched(1), 2).unwrap();
    assert!(snapshot.is_empty());
    let guards = [(1, 1), (1, 2), (2, 3)].map(|(key, value)| register(&owner, key, value));
    let out = groups.lookup(&Watched(1)).unwrap();
    assert_eq!(out.len(), 2);
    // While a snapshot is out, changes copy.
    register(&other, 1, 4).detach();
    register(&other, 3, 5).detach();
    drop(guards);
    assert_eq!(groups.values(&Watched(1), other.id()).len(), 1);
    assert_eq!(groups.match_values(&Watched(1), |v| v.0 == 4).len(), 1);
    assert!(groups.is_registered(&Watched(3)) && !groups.is_registered(&Watched(2)));
    assert_eq!(groups.count_key(&Watched(1)), 1);
    assert_eq!(groups.keys(other.id()).len(), 2);
    assert_eq!(groups.parts(&Watched(1)).len(), 1);
    assert!(!groups.take_edges().is_empty());
    let removed = groups.unregister_match(&other, &Watched(1), |v| v.0 == 4);
    assert_eq!(removed, 1);
    assert!(listener.try_recv().is_some() && keyed.try_recv().is_some());
    drop((listener, keyed, out));
    register(&owner, 1, 6).detach();
    drop(other);
    owner.end();
    assert_eq!(groups.count(), 0);
    let late = groups.register(&owner, Watched(1), Watched(7));
    assert!(late.is_err());
}

fn groups_let_foreign_code_run<S>(hasher: S)
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    for shard_by in [ShardBy::Key, ShardBy::Owner] {
        let groups = groups(shard_by, hasher.clone());
        let theirs = groups.clone();
        let ran = watched(move || meddle_with_groups(&theirs), || use_groups(&groups));
        assert_eq!(ran, BTreeSet::from(ALL));
    }
}

/// What a user can write for a key or a value.
const ALL: [&str; 4] = ["clone", "drop", "eq", "hash"];

#[test]
fn p7_groups_let_foreign_code_run_as_long_as_it_likes() {
    groups_let_foreign_code_run(RandomState::new());
}

#[test]
fn p7_so_they_do_where_each_key_is_compared_with_each() {
    groups_let_foreign_code_run(AllAlike);
}

type Names<S> = UniqueRegistry<Watched, Watched, S>;

fn meddle_with_names<S>(names: &Names<S>)
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    let owner = Owner::new();
    // Two threads may be here.
    let taken = names.register(&owner, Watched(9), Watched(0));
    names.update_value(&owner, &Watched(9), |_| Watched(1));
    drop(taken);
    drop(names.lookup(&Watched(1)));
    drop(names.lookup_and_listen(Watched(9), 1).unwrap());
    names.count();
}

fn use_names<S>(names: &Names<S>)
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    let (owner, other) = (Owner::new(), Owner::new());
    let mut listener = names.listen(10).unwrap();
    let (_, mut keyed) = names.lookup_and_listen(Watched(1), 2).unwrap();
    let first = names.register(&owner, Watched(1), Watched(1)).unwrap();
    let taken = names.register(&other, Watched(1), Watched(2));
    assert!(taken.is_err());
    let second = names.register(&other, Watched(2), Watched(2)).unwrap();
    let updated = names.update_value(&owner, &Watched(1), |old| Watched(old.0 + 10));
    assert!(updated.is_some_and(|new| new.0 == 11));
    assert!(names.whereis(&Watched(1)).is_some() && names.lookup(&Watched(2)).is_some());
    assert_eq!(names.keys(owner.id()).len(), 1);
    assert!(names.unregister_match(&other, &Watched(2), |v| v.0 == 2));
    assert!(!names.unregister(&other, &Watched(2)));
    assert!(listener.try_recv().is_some() && keyed.try_recv().is_some());
    drop((listener, keyed));
    drop((first, second));
    let again = names.register(&other, Watched(1), Watched(3));
    again.unwrap().detach();
    drop(other);
    owner.end();
    assert!(names.whereis(&Watched(1)).is_none());
    assert!(names.register(&owner, Watched(1), Watched(4)).is_err());
}

fn names_let_foreign_code_run<S>(hasher: S)
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    let names = Names::with_shards(1, hasher);
    let theirs = names.clone();
    let ran = watched(move || meddle_with_names(&theirs), || use_names(&names));
    assert_eq!(ran, BTreeSet::from(ALL));
    assert_eq!(names.count(), 0);
}

#[test]
fn p7_names_let_foreign_code_run_as_long_as_it_likes() {
    names_let_foreign_code_run(RandomState::new());
    names_let_foreign_code_run(AllAlike);
}

#[test]
fn p7_locks_by_key_let_foreign_code_run_as_long_as_it_likes() {
    let names: UniqueRegistry<Watched, (), AllAlike> = UniqueRegistry::with_shards(1, AllAlike);
    let locks = names.locks();
    let theirs = locks.clone();
    let meddle = move || {
        // Two threads may be here.
        drop(theirs.try_lock(Watched(9)));
        drop(theirs.lock(Watched(9)));
    };
    let ran = watched(meddle, || {
        let held = locks.try_lock(Watched(1)).unwrap();
        let other = locks.lock_timeout(Watched(2), LONG).unwrap();
        assert!(locks.try_lock(Watched(1)).is_none());
        let impatient = locks.lock_timeout(Watched(1), Duration::from_nanos(1));
        assert!(impatient.is_err());
        drop(held);
        drop(other);
        drop(locks.lock_blocking(Watched(1)));
    });
    assert_eq!(
        ran,
        BTreeSet::from(["drop", "eq", "hash"]),
        "none is cloned"
    );
}

/// What a value's code costs who wrote it, it costs nobody else: a panic of it changes nothing.
#[test]
fn a_panic_in_the_comparison_of_keys_changes_nothing() {
    let groups = groups(ShardBy::Key, AllAlike);
    let owner = Owner::new();
    groups
        .register(&owner, Watched(1), Watched(1))
        .unwrap()
        .detach();
    let broken: Watch = Rc::new(|what| assert_ne!(what, "eq", "it breaks"));
    WATCH.set(Some(broken));
    let register = || groups.register(&owner, Watched(1), Watched(2));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(register));
    WATCH.set(None);
    assert!(outcome.is_err());
    assert_eq!(groups.count(), 1);
    groups
        .register(&owner, Watched(1), Watched(3))
        .unwrap()
        .detach();
    assert_eq!(groups.values(&Watched(1), owner.id()).len(), 2);
}
