//! Histories, in so many tests that all cores have something to do.

use super::{Tally, play};

/// Plays each seed twice.
fn histories(seeds: std::ops::Range<u64>, nodes: Option<usize>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let replay = format!("replay it: cargo xtask sim --link --seed {seed} --show");
        let first = std::panic::catch_unwind(|| play(seed, nodes, false));
        let first = first.unwrap_or_else(|_| panic!("seed {seed} panicked; {replay}"));
        assert_eq!(first.broken, None, "seed {seed}; {replay}");
        let second = play(seed, nodes, false);
        assert_eq!(
            first.hash, second.hash,
            "seed {seed} is not its own; {replay}"
        );
        tally.merge(&first.tally);
    }
    tally
}

#[test]
fn histories_of_few_nodes_keep_every_promise() {
    let tally = histories(0..300, None);
    print!("{tally}");
    assert_eq!(tally.missing(), []);
}
