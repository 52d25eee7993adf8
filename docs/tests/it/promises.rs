//! The tests that a page names exist.

use std::path::Path;

const PAGE: &str = include_str!("../../src/link-promises.md");
const SCENARIOS: &str = include_str!("../../src/real-faults.md");

/// All sources of the crates.
fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_and_scenario_that_the_page_names_is_one() {
    let mut all = String::new();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    sources(&crates, &mut all);
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let shown_by = rows.filter_map(|row| row.split(" | ").nth(1));
    let (mut tests, mut scenarios) = (0, 0);
    for name in shown_by.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        if name.contains('_') {
            let is_there = all.contains(&format!("fn {name}("));
            assert!(is_there, "no test is called {name}");
            tests += 1;
        } else if !name.contains('/') {
            let row = format!("| `{name}` |");
            assert!(SCENARIOS.contains(&row), "no scenario is called {name}");
            scenarios += 1;
        }
    }
    assert!(tests > 90 && scenarios > 5, "{tests} and {scenarios}");
}
