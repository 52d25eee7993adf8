//! A thousand histories of whole clusters, each of 200 random steps and then quiet.

use matryoshka_tracker::testing::sim;

#[test]
fn every_promise_holds_in_a_thousand_histories() {
    match sim::many(0, 1_000) {
        Ok(report) => assert_eq!(
            sim::never_happened(&report),
            Vec::<&str>::new(),
            "{report:#?}"
        ),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn what_once_failed_is_replayed() {
    for (seed, plan) in sim::CORPUS {
        if let Err(failure) = sim::examine(*seed, *plan) {
            panic!("{failure}");
        }
    }
}
