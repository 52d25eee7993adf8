//! The simulator itself.

use super::*;

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

#[test]
fn a_run_that_lacks_something_says_what() {
    let missing = never_happened(&run(7, Plan::usual(7)));
    assert!(
        missing.contains(&"renumbered") || missing.contains(&"log truncated"),
        "{missing:?}"
    );
}
