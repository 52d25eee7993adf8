//! Histories, in so many tests that all cores have something to do: 10,000 of 3 to 5 nodes, 20 of 50, each played twice.
//!
//! Each rule of the mesh below was broken by hand, one at a time. These tests noticed, of [`crate::proto`]:
//!
//! | What was broken | The test that noticed |
//! |---|---|
//! | a hello ends the connections of later lives, not of earlier ones | `mesh::tests::a_node_restarted_at_once_replaces_its_earlier_life_at_once` |
//! | a later life is refused, not an earlier one | `mesh::tests::a_killed_node_is_down_within_three_seconds_and_comes_back` |
//! | of two nodes with one name the later one has to go | `mesh::tests::twins_that_meet_only_each_other_settle_it_as_well` |
//! | a second connection to one peer is kept | `mesh::tests::nodes_that_all_dial_each_other_settle_on_one_link_without_a_gap` |
//! | a gap is not written to the lane | `traffic::tests::a_full_lane_of_users_drops_for_that_peer_and_tells_it` |
//! | a name is not compared with the certificate | `peer::tests::a_wrong_hello_is_refused_with_the_reason` |
//! | down is told twice | `mesh::tests::one_that_says_goodbye_is_leaving_then_down_then_forgotten` |
//! | up is told twice | `mesh::tests::silence_is_suspicious_first_and_may_end` |
//! | a link comes up while an earlier one to that peer has not ended | `mesh::tests::of_two_nodes_with_one_name_the_older_leaves_and_stays_out` |
//! | the router does not hear that a link is down | `traffic::tests::what_was_sent_outlives_the_link_and_in_the_sum_the_member_too` |
//! | who is silent for 2 s is down, so that two lost heartbeats kill | `mesh::tests::two_heartbeats_lost_in_a_row_are_no_alarm_and_three_are`, and the histories |
//! | a connection that does not get on is not ended | `mesh::tests::handshakes_that_never_go_on_are_ended_in_time_and_disturb_nobody`, and the histories |
//! | who is forgotten keeps its addresses | `mesh::tests::one_that_says_goodbye_is_leaving_then_down_then_forgotten` |
//! | what was heard is not answered | the histories |
//! | a position is told 50 ms too late | the histories |
//! | an alarm is not brought nearer by what is held | `traffic::tests::what_is_held_brings_an_alarm_nearer_that_is_a_little_later` |
//!
//! What a link hands on was broken likewise, see the tests of `link`: so were gaps on the side that is told.
//!
//! The rules of the router of interest, its ring and the order of what was heard and the edges among them, are broken
//! by a test of their own: `every_wrong_variant_is_caught` of `matryoshka-pubsub`.

use std::panic::catch_unwind;

use super::seeds::FOUND;
use super::{Seen, Tally, play};

/// How many histories of few nodes one test plays.
const FEW: u64 = 500;
/// How many of many nodes.
const MANY: u64 = 1;
const MANY_NODES: usize = 50;

/// Plays each seed twice: the second time must be like the first.
fn histories(seeds: impl IntoIterator<Item = u64>, nodes: Option<usize>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let of = nodes.map(|nodes| format!(" --nodes {nodes}"));
        let of = of.unwrap_or_default();
        let replay = format!("cargo xtask sim --link --seed {seed}{of} --show");
        let run = || catch_unwind(|| play(seed, nodes, false));
        let first = run().unwrap_or_else(|_| panic!("seed {seed} panicked; replay it: {replay}"));
        if let Some(broken) = first.broken {
            panic!("seed {seed}: {broken}; replay it: {replay}");
        }
        let second = play(seed, nodes, false);
        assert_eq!(first.hash, second.hash, "not the same twice: {replay}");
        tally.merge(&first.tally);
    }
    tally
}

/// One share of them; every fault and every path must have come up.
fn few(share: u64) {
    let tally = histories(share * FEW..(share + 1) * FEW, None);
    println!("{tally}");
    assert!(tally.of(Seen::Step) >= 200 * FEW);
    assert_eq!(tally.missing(), [], "never came up");
}

fn many(share: u64) {
    let seeds = share * MANY..(share + 1) * MANY;
    println!("{}", histories(seeds, Some(MANY_NODES)));
}

macro_rules! shares {
    ($play:ident: $($name:ident = $share:literal),*) => {
        $(
            #[test]
            fn $name() {
                $play($share);
            }
        )*
    };
}

mod every_promise_is_kept_by_few_nodes {
    use super::few;

    shares!(few: share_0 = 0, share_1 = 1, share_2 = 2, share_3 = 3, share_4 = 4, share_5 = 5, share_6 = 6, share_7 = 7, share_8 = 8, share_9 = 9, share_10 = 10, share_11 = 11, share_12 = 12, share_13 = 13, share_14 = 14, share_15 = 15, share_16 = 16, share_17 = 17, share_18 = 18, share_19 = 19);
}

mod every_promise_is_kept_by_many_nodes {
    use super::many;

    shares!(many: share_0 = 0, share_1 = 1, share_2 = 2, share_3 = 3, share_4 = 4, share_5 = 5, share_6 = 6, share_7 = 7, share_8 = 8, share_9 = 9, share_10 = 10, share_11 = 11, share_12 = 12, share_13 = 13, share_14 = 14, share_15 = 15, share_16 = 16, share_17 = 17, share_18 = 18, share_19 = 19);
}

#[test]
fn seeds_that_found_something_find_nothing_more() {
    histories(FOUND.iter().copied(), None);
}

#[test]
fn a_history_depends_on_its_seed_alone_and_another_seed_is_another_history() {
    let hash = |seed| play(seed, None, false).hash;
    assert_eq!(hash(11), hash(11));
    assert_ne!(hash(11), hash(12));
    let told = play(11, None, true);
    assert_eq!(told.hash, hash(11), "being told changes nothing");
    assert!(!told.lines.is_empty());
}
