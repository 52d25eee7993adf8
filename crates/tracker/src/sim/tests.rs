//! Random histories, and what must have happened in them.

use super::*;

#[test]
fn random_histories_keep_every_promise() {
    let mut report = Report::default();
    for seed in 0..120 {
        let plan = Plan {
            nodes: 2 + (seed % 4) as usize,
            steps: 200,
        };
        report.add(&run(seed, plan));
    }
    println!("{report:#?}");
}
