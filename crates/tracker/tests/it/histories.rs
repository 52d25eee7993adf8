//! Twenty thousand histories of whole clusters, each of 200 random steps and then quiet, in shares that may run beside each
//! other; and the stored histories.

use matryoshka_tracker::testing::sim::{self, Search};

/// So many histories has each share: enough for everything in it to happen.
const SHARE: u64 = sim::ENOUGH;

/// Plays a share, each history twice. Every promise holds, and nothing that can happen is missing.
fn play(share: u64) {
    let search = Search {
        first: share * SHARE,
        seeds: SHARE,
        nodes: None,
    };
    let searched = search.run(|_| true);
    if let Some(failure) = searched.failure {
        panic!("{failure}");
    }
    assert_eq!(searched.histories, SHARE);
    println!("{:#?}", searched.report.counts);
    let missing = sim::never_happened(&searched.report);
    assert_eq!(missing, Vec::<&str>::new(), "{:#?}", searched.report);
}

macro_rules! shares {
    ($($name:ident: $share:expr,)*) => {
        $(
            #[test]
            fn $name() {
                play($share);
            }
        )*
    };
}

shares! {
    every_promise_holds_in_share_00: 0,
    every_promise_holds_in_share_01: 1,
    every_promise_holds_in_share_02: 2,
    every_promise_holds_in_share_03: 3,
    every_promise_holds_in_share_04: 4,
    every_promise_holds_in_share_05: 5,
    every_promise_holds_in_share_06: 6,
    every_promise_holds_in_share_07: 7,
    every_promise_holds_in_share_08: 8,
    every_promise_holds_in_share_09: 9,
    every_promise_holds_in_share_10: 10,
    every_promise_holds_in_share_11: 11,
    every_promise_holds_in_share_12: 12,
    every_promise_holds_in_share_13: 13,
    every_promise_holds_in_share_14: 14,
    every_promise_holds_in_share_15: 15,
    every_promise_holds_in_share_16: 16,
    every_promise_holds_in_share_17: 17,
    every_promise_holds_in_share_18: 18,
    every_promise_holds_in_share_19: 19,
}

#[test]
fn stored_histories_keep_every_promise() {
    assert!(!sim::CORPUS.is_empty());
    for stored in sim::CORPUS {
        let actions = stored.actions().unwrap();
        let report = sim::play(stored.seed, stored.nodes, &actions);
        assert_eq!(report, sim::play(stored.seed, stored.nodes, &actions));
    }
}
