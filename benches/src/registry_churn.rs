//! One entry registered and unregistered, against a plain `HashMap<K, Vec<V>>` without owners, locks or threads.
//!
//! Target: at most twice the map.

use std::collections::HashMap;

use matryoshka_pubsub::registry::{DuplicateRegistry, Owner};

use crate::bar::Bar;
use crate::harness::{Comparison, Work};

/// Keys that are there all the time, so that the tables are no toys.
const KEYS: u64 = 10_000;

/// Prints the comparison for a key of one's own and for keys with company.
pub(crate) fn run() {
    println!("\nregister and unregister one entry, 10,000 keys in the table");
    println!(
        "{:>28}  {:>12} {:>12} {:>8}",
        "under", "map", "registry", "ratio"
    );
    for (name, company) in [
        ("a key of its own", 0),
        ("a key with one more", 1),
        ("a key with 100 more", 100),
    ] {
        let (mut map, mut registry) = (Map::new(company), Registry::new(company));
        let result = Comparison::of(&mut map, &mut registry, 1_000);
        let (baseline, time, ratio) = (result.baseline, result.subject, result.ratio());
        let verdict = Bar::AtMost(2.0).judge(ratio);
        println!("{name:>28}  {baseline:>12.1?} {time:>12.1?} {ratio:>7.2}x  {verdict}");
    }
}

/// Walks over the keys, so that the caches have to work.
#[derive(Default)]
struct Walk(u64);

impl Walk {
    /// Odd keys are there all the time if there is company, even ones never.
    fn next(&mut self, company: usize) -> u64 {
        self.0 = (self.0 + 7_919) % KEYS;
        self.0 * 2 + u64::from(company > 0)
    }
}

struct Map {
    map: HashMap<u64, Vec<(u64, u64)>>,
    walk: Walk,
    company: usize,
}

impl Map {
    fn new(company: usize) -> Self {
        let others = |n| (0..company.max(1) as u64).map(|value| (n, value)).collect();
        let map = (0..KEYS).map(|n| (n * 2 + 1, others(n)));
        Self {
            map: map.collect(),
            walk: Walk::default(),
            company,
        }
    }
}

impl Work for Map {
    fn run(&mut self) {
        let key = self.walk.next(self.company);
        let (owner, value) = (u64::MAX, key);
        self.map.entry(key).or_default().push((owner, value));
        let entries = self.map.get_mut(&key).expect("just put there");
        let at = entries.iter().position(|entry| entry.0 == owner);
        entries.remove(at.expect("just put there"));
        if entries.is_empty() {
            self.map.remove(&key);
        }
    }

    fn reset(&mut self) {}
}

struct Registry {
    registry: DuplicateRegistry<u64, u64>,
    owner: Owner,
    walk: Walk,
    company: usize,
    _others: Vec<Owner>,
}

impl Registry {
    fn new(company: usize) -> Self {
        let registry = DuplicateRegistry::new();
        let others = (0..company.max(1)).map(|value| {
            let owner = Owner::new();
            for n in 0..KEYS {
                registry
                    .register(&owner, n * 2 + 1, value as u64)
                    .expect("its owner lives")
                    .detach();
            }
            owner
        });
        Self {
            _others: others.collect(),
            owner: Owner::new(),
            walk: Walk::default(),
            registry,
            company,
        }
    }
}

impl Work for Registry {
    fn run(&mut self) {
        let key = self.walk.next(self.company);
        drop(
            self.registry
                .register(&self.owner, key, key)
                .expect("its owner lives"),
        );
    }

    fn reset(&mut self) {}
}
