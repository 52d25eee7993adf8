//! Every row of Phoenix's Presence and Tracker is on the page, and every test that the page names exists.

use crate::sources::sources;

const PAGE: &str = include_str!("../../src/presence-ids.md");
const SUITE: &str = include_str!("../../../crates/node/clients/official-presence.test.mjs");

#[test]
fn every_id_has_its_row() {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let ids: Vec<&str> = rows
        .filter_map(|row| row.trim_start_matches("| ").split(" | ").next())
        .flat_map(|ids| ids.split(", "))
        .collect();
    for (letter, count) in [
        ("N", 22),
        ("J", 13),
        ("S", 15),
        ("K", 3),
        ("T", 14),
        ("X", 8),
    ] {
        for number in 1..=count {
            let id = format!("{letter}{number}");
            let rows = ids.iter().filter(|other| **other == id).count();
            assert_eq!(rows, 1, "{id}");
        }
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let all = sources(&["crates/presence", "crates/tracker"]);
    let mut tests = 0;
    for name in PAGE.split('`').skip(1).step_by(2) {
        if name.contains('_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            if name == "PRESENCE_SEED" {
                continue;
            }
            assert!(
                all.contains(&format!("fn {name}(")),
                "no test is called {name}"
            );
            tests += 1;
        }
    }
    assert!(tests >= 60, "{tests}");
    for title in PAGE.split('"').skip(1).step_by(2) {
        assert!(
            SUITE.contains(&format!("test(\"{title} ")),
            "no test begins with {title}"
        );
    }
}
