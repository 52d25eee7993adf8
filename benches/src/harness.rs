//! Times a subject and its baseline in turn, so that both meet the same machine, and prints medians.

use std::time::{Duration, Instant};

/// Pairs of samples per comparison.
const SAMPLES: usize = 301;

/// Something that can be done many times.
pub(crate) trait Work {
    /// Does it once. Only this is timed.
    fn run(&mut self);

    /// Makes it as it was before.
    fn reset(&mut self);
}

/// The median time of one run of each.
pub(crate) struct Comparison {
    pub(crate) baseline: Duration,
    pub(crate) subject: Duration,
}

impl Comparison {
    /// `runs` per sample. The order within a pair alternates, so that neither always finds the caches warm.
    pub(crate) fn of(baseline: &mut dyn Work, subject: &mut dyn Work, runs: u32) -> Self {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for pair in 0..SAMPLES {
            if pair % 2 == 0 {
                first.push(sample(baseline, runs));
                second.push(sample(subject, runs));
            } else {
                second.push(sample(subject, runs));
                first.push(sample(baseline, runs));
            }
        }
        Self {
            baseline: median(first),
            subject: median(second),
        }
    }

    /// How many times the baseline the subject takes.
    pub(crate) fn ratio(&self) -> f64 {
        self.subject.as_secs_f64() / self.baseline.as_secs_f64()
    }

    /// What the subject takes more than the baseline, in nanoseconds.
    pub(crate) fn above_ns(&self) -> f64 {
        (self.subject.as_secs_f64() - self.baseline.as_secs_f64()) * 1e9
    }
}

fn sample(work: &mut dyn Work, runs: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..runs {
        work.run();
    }
    let elapsed = start.elapsed();
    work.reset();
    elapsed / runs
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}
