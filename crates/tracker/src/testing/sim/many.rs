//! Many histories, on all cores.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{Failure, Plan, Report, examine};

/// Histories to play, one for each seed.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The first seed.
    pub first: u64,
    /// How many seeds from there on.
    pub seeds: u64,
    /// How many nodes each history has; otherwise 2 to 5, as its seed says.
    pub nodes: Option<usize>,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Searched {
    /// How many histories were played to their end.
    pub histories: u64,
    /// What happened in them.
    pub report: Report,
    /// The first that failed, shortened.
    pub failure: Option<Box<Failure>>,
}

impl Search {
    /// The plan of one of its seeds.
    pub fn plan(self, seed: u64) -> Plan {
        let usual = Plan::usual(seed);
        Plan {
            nodes: self.nodes.unwrap_or(usual.nodes),
            ..usual
        }
    }

    /// Plays them, each twice to see that both are the same, until one fails or `goes_on`, which is asked before each and
    /// told how many there were, says no.
    pub fn run(self, goes_on: impl Fn(u64) -> bool + Sync) -> Searched {
        let next = AtomicU64::new(0);
        let over = AtomicBool::new(false);
        let work = || {
            let mut done = Searched::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.seeds || over.load(Ordering::Relaxed) || !goes_on(index) {
                    return done;
                }
                match self.twice(self.first.wrapping_add(index)) {
                    Ok(report) => {
                        done.histories += 1;
                        done.report.add(&report);
                    }
                    Err(failure) => {
                        over.store(true, Ordering::Relaxed);
                        done.failure = Some(failure);
                        return done;
                    }
                }
            }
        };
        let cores = thread::available_parallelism().map_or(2, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            let mut all = Searched::default();
            for worker in workers {
                all.add(worker.join().expect("a history's panic is caught"));
            }
            all
        })
    }

    fn twice(self, seed: u64) -> Result<Report, Box<Failure>> {
        let plan = self.plan(seed);
        let first = examine(seed, plan)?;
        if first == examine(seed, plan)? {
            return Ok(first);
        }
        Err(Box::new(Failure {
            seed,
            nodes: plan.nodes,
            actions: plan.actions(seed),
            message: "its second run was not like its first".to_owned(),
        }))
    }
}

impl Searched {
    fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.report.add(&other.report);
        self.failure = self.failure.take().or(other.failure);
    }
}

/// So many histories have everything in them that can happen.
pub const ENOUGH: u64 = 1_000;
