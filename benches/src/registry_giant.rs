//! One key with 150,000 entries of as many owners, dispatched to ten times a second, while others come and go.
//!
//! Targets, with 1,000 joins and 1,000 leaves a second: the 99th percentile of a join at most 100 us; the 90th of 200
//! dispatches at most 1.5 times that of 200 in quiet. Both layouts are measured.
//!
//! In the quiet run the same coming and going happens under another key: a machine that is all asleep between two dispatches
//! is slower than one that is not, and the question is what the key suffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use matryoshka_pubsub::registry::{DuplicateRegistry, Owner, Registration, ShardBy};

use crate::bar::Bar;

const CROWD: &str = "crowd";
const ENTRIES: usize = 150_000;
const DISPATCHES: usize = 200;
const BETWEEN_DISPATCHES: Duration = Duration::from_millis(100);
/// One join and one leave each time.
const BETWEEN_JOINS: Duration = Duration::from_millis(1);
/// How many of those who joined stay, so that who leaves is not who just came.
const VISITORS: usize = 500;

/// Bars.
const JOIN_P99_US: f64 = 100.0;
const RATIO: f64 = 1.5;

type Crowd = DuplicateRegistry<&'static str, Arc<AtomicU64>>;

/// Prints the table; takes about a minute and a half.
pub(crate) fn run() {
    println!(
        "\none key, {ENTRIES} entries, {DISPATCHES} dispatches at 10 a second, 1,000 joins and 1,000 leaves a second"
    );
    println!(
        "{:>8}  {:>11} {:>11} {:>11} {:>11} {:>12} {:>12} {:>8}",
        "layout",
        "join p50",
        "join p99",
        "leave p50",
        "leave p99",
        "quiet p90",
        "busy p90",
        "ratio"
    );
    for shard_by in [ShardBy::Key, ShardBy::Owner] {
        measure(shard_by);
    }
}

fn measure(shard_by: ShardBy) {
    let crowd = Crowd::builder().shard_by(shard_by).build();
    let crowd = crowd.expect("the default number of shards is no zero");
    let residents: Vec<Owner> = (0..ENTRIES).map(|_| Owner::new()).collect();
    for resident in &residents {
        crowd
            .register(resident, CROWD, Arc::default())
            .expect("its owner lives")
            .detach();
    }
    let (quiet, _) = dispatches_beside(&crowd, "elsewhere");
    let (busy, (joins, leaves)) = dispatches_beside(&crowd, CROWD);
    let join_us = at(&joins, 99).as_secs_f64() * 1e6;
    let ratio = at(&busy, 90).as_secs_f64() / at(&quiet, 90).as_secs_f64();
    println!(
        "{:>8}  {:>11.1?} {:>11.1?} {:>11.1?} {:>11.1?} {:>12.1?} {:>12.1?} {ratio:>7.2}x  join {}, ratio {}",
        format!("{shard_by:?}"),
        at(&joins, 50),
        at(&joins, 99),
        at(&leaves, 50),
        at(&leaves, 99),
        at(&quiet, 90),
        at(&busy, 90),
        Bar::AtMost(JOIN_P99_US).judge(join_us),
        Bar::AtMost(RATIO).judge(ratio),
    );
}

type Churn = (Vec<Duration>, Vec<Duration>);

/// The times of all dispatches, while others come and go under `key`, and theirs.
fn dispatches_beside(crowd: &Crowd, key: &'static str) -> (Vec<Duration>, Churn) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = scope.spawn(|| churn(crowd, key, &done));
        let times = dispatches(crowd);
        done.store(true, Relaxed);
        (times, churn.join().expect("its panic was reported"))
    })
}

/// The times of all dispatches, ascending.
fn dispatches(crowd: &Crowd) -> Vec<Duration> {
    let mut times = Vec::with_capacity(DISPATCHES);
    let mut next = Instant::now();
    for _ in 0..DISPATCHES {
        next += BETWEEN_DISPATCHES;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        crowd.dispatch(CROWD, |entries| {
            for entry in entries {
                entry.value().fetch_add(1, Relaxed);
            }
        });
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times
}

/// The times of all joins and of all leaves, ascending.
fn churn(crowd: &Crowd, key: &'static str, done: &AtomicBool) -> Churn {
    let mut visitors: Vec<(Owner, Registration)> = Vec::new();
    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    let mut next = Instant::now();
    for turn in 0.. {
        if done.load(Relaxed) {
            break;
        }
        next += BETWEEN_JOINS;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let owner = Owner::new();
        let start = Instant::now();
        let guard = crowd
            .register(&owner, key, Arc::default())
            .expect("its owner lives");
        joins.push(start.elapsed());
        visitors.push((owner, guard));
        if visitors.len() > VISITORS {
            let (owner, guard) = visitors.swap_remove(turn % VISITORS);
            let start = Instant::now();
            drop(guard);
            leaves.push(start.elapsed());
            drop(owner);
        }
    }
    joins.sort_unstable();
    leaves.sort_unstable();
    (joins, leaves)
}

fn at(sorted: &[Duration], percentile: usize) -> Duration {
    sorted[(sorted.len() * percentile / 100).min(sorted.len() - 1)]
}
