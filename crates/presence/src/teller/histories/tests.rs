//! The histories of many seeds, and those that once failed.

use std::collections::BTreeMap;

use super::*;

/// Seeds of the random histories; the suite of the official client plays others.
const SEEDS: std::ops::Range<u64> = 0..700;

fn play(seed: u64) -> Vec<Script> {
    let history = History::of(seed);
    match history.play() {
        Ok(scripts) => scripts,
        Err(error) => panic!("seed {seed}: {error}\n{}", history.shortened()),
    }
}

#[test]
fn in_the_end_every_client_holds_what_its_mode_says_of_the_servers_list() {
    SEEDS.for_each(|seed| drop(play(seed)));
}

#[test]
fn what_once_failed_does_not_any_more() {
    for (shows, text) in CORPUS {
        let history: History = text.parse().unwrap();
        if let Err(error) = history.play() {
            panic!("{shows}: {error}");
        }
    }
}

#[test]
fn a_seed_is_one_history_and_its_text_is_the_same() {
    let history = History::of(7);
    assert_eq!(history, History::of(7));
    assert_eq!(history.to_string().parse(), Ok(history.clone()));
    assert_ne!(history, History::of(8));
    for text in ["", "1 true 2", "1 true 2 3\njoin", "1 true 2 3\ndance 4"] {
        assert_eq!(text.parse::<History>(), Err(NoStep), "{text:?}");
    }
}

/// Or they would say little.
#[test]
fn much_happens_in_them() {
    let mut happens = BTreeMap::<String, u32>::new();
    for script in (0..100).flat_map(play) {
        let script = script.to_json();
        for line in script["does"].as_array().unwrap() {
            let is_of_a_join = !line[2].is_null();
            let what = line[3].as_str().unwrap_or_default();
            let name = format!("{} {what} {is_of_a_join}", line[0].as_str().unwrap());
            *happens.entry(name).or_default() += 1;
        }
    }
    let least = [
        ("connect  false", 400),
        ("lose  false", 300),
        ("rejoin  false", 250),
        ("join  false", 1_000),
        ("leave  false", 250),
        ("giveUp  false", 50),
        ("frame phx_error true", 30),
        ("frame presence_state true", 700),
        // What was missed.
        ("frame presence_diff true", 80),
        ("frame presence_diff false", 700),
        ("frame presence_count false", 500),
    ];
    for (name, least) in least {
        let times = happens.get(name).copied().unwrap_or_default();
        assert!(times >= least, "{name}: {times} in {happens:?}");
    }
}
