//! A simulation of whole clusters on the real router: random histories, and watchers for every promise.
//!
//! A history is its seed. Replay one with `INTEREST_SEED=<seed> cargo test -p matryoshka-pubsub histories`, play more of them
//! with `INTEREST_HISTORIES=<count>`.

mod early;
mod history;
mod mutants;
mod pipe;
mod random;
mod registry;
mod setup;
mod stories;
mod watch;
mod world;

use super::Counters;
use super::variant::Variant;
use world::{Kept, World};

/// Histories in a test run.
const HISTORIES: u64 = 3_200;

fn play(seed: u64, variant: Variant) -> Kept {
    World::new(seed, variant).play()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn assert_kept(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        if let Err(broken) = play(seed, Variant::Right) {
            let (property, how) = (broken.property, broken.how);
            panic!("INTEREST_SEED={seed}: \"{property}\" is broken: {how}");
        }
    }
}

#[test]
fn histories_keep_every_promise() {
    if let Some(seed) = number("INTEREST_SEED") {
        return assert_kept(std::iter::once(seed));
    }
    let histories = number("INTEREST_HISTORIES").unwrap_or(HISTORIES);
    println!("seeds 0 to {}", histories - 1);
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || assert_kept((half..histories).step_by(2)));
        }
    });
}

/// A simulation in which something never happens says nothing about it.
#[test]
fn histories_visit_every_path() {
    let mut total = [0; 13];
    for seed in 0..200 {
        let mut world = World::new(seed, Variant::Right);
        world.play().expect("the right router keeps its promises");
        for node in &world.nodes {
            for (sum, count) in total.iter_mut().zip(counts(node.router.counters())) {
                *sum += count;
            }
        }
    }
    println!("{total:?}");
    assert!(total.iter().all(|count| *count >= 50), "{total:?}");
}

fn counts(counters: Counters) -> [u64; 13] {
    let Counters {
        sent,
        held,
        flooded_start,
        flooded_full,
        flooded_old_peer,
        flooded_over_limit,
        flushed,
        replayed,
        trimmed,
        arrived_for_nobody,
        dropped,
        gaps,
        resyncs,
    } = counters;
    [
        sent,
        held,
        flooded_start,
        flooded_full,
        flooded_old_peer,
        flooded_over_limit,
        flushed,
        replayed,
        trimmed,
        arrived_for_nobody,
        dropped,
        gaps,
        resyncs,
    ]
}
