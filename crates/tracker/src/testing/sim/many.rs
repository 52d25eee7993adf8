//! Many histories, on all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{Failure, Plan, Report, examine};

/// Runs the usual plan of so many seeds from `first` on, each of them twice in every hundred to see that it is the same.
///
/// # Errors
///
/// The first failure, shortened.
///
/// # Panics
///
/// If two runs of one seed differ.
pub fn many(first: u64, count: u64) -> Result<Report, Box<Failure>> {
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    let work = || {
        let mut report = Report::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || failed.load(Ordering::Relaxed) > 0 {
                return Ok(report);
            }
            match checked(first + index) {
                Ok(history) => report.add(&history),
                Err(failure) => {
                    failed.store(1, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = Report::default();
        for worker in workers {
            all.add(&worker.join().expect("a history's panic is caught")?);
        }
        Ok(all)
    })
}

fn checked(seed: u64) -> Result<Report, Box<Failure>> {
    let plan = Plan::usual(seed);
    let report = examine(seed, plan)?;
    if seed.is_multiple_of(REPEAT_EVERY) {
        let again = examine(seed, plan)?;
        assert_eq!(report, again, "seed {seed} gives two histories");
    }
    Ok(report)
}

/// One history in so many is run twice.
const REPEAT_EVERY: u64 = 50;

/// So many histories have everything in them that can happen.
pub const ENOUGH: u64 = 1_000;
