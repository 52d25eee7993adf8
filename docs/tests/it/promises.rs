//! The tests that a page names exist.

use crate::sources::sources;

const PAGE: &str = include_str!("../../src/link-promises.md");
const SCENARIOS: &str = include_str!("../../src/real-faults.md");

#[test]
fn every_test_and_scenario_that_the_page_names_is_one() {
    let all = sources(&["crates"]);
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
