//! Random histories, and what must have happened in them.

use proptest::prelude::*;

use super::*;

#[test]
fn every_promise_holds_in_random_histories_and_every_path_is_taken() {
    let mut report = Report::default();
    for seed in 0..120 {
        let plan = Plan {
            nodes: 2 + (seed % 4) as usize,
            steps: 200,
        };
        report.add(&run(seed, plan));
    }
    assert_eq!(never_happened(&report), Vec::<&str>::new(), "{report:#?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let plan = Plan {
        nodes: 4,
        steps: 150,
    };
    let once = run(7, plan);
    assert_eq!(once, run(7, plan));
    assert_ne!(once.trace, run(8, plan).trace);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Other seeds each time; a failing one is printed, and kept by proptest.
    #[test]
    fn i1_any_history_converges_to_what_is_tracked(
        seed in any::<u64>(),
        nodes in 2..6usize,
        steps in 20..150usize,
    ) {
        run(seed, Plan { nodes, steps });
    }
}
