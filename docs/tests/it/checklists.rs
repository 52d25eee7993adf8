//! The page of checklists: every id is there, and every test it names exists.

use std::fs;

use crate::sources::{files, tests};

/// Where tests are.
const BELOW: [&str; 2] = ["crates", "docs/tests"];
const PAGE: &str = include_str!("../../src/checklists.md");

/// Every checklist by the letters of its ids, and how many rows it has.
const LISTS: [(&str, usize); 21] = [
    ("row ", 11),
    ("V", 8),
    ("S", 12),
    ("R", 6),
    ("J", 12),
    ("D", 7),
    ("L", 9),
    ("M", 7),
    ("P", 12),
    ("X", 11),
    ("O", 6),
    ("N", 5),
    ("G", 7),
    ("Q", 10),
    ("WS", 21),
    ("RS", 8),
    ("LP", 17),
    ("LR", 5),
    ("U", 21),
    ("duty ", 13),
    ("JS", 13),
];

/// The page's rows: id, and the cell that names tests.
fn rows() -> Vec<(&'static str, &'static str)> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{line}");
        (cells[0].trim(), cells[2].trim())
    });
    cells
        .filter(|(id, _)| !matches!(*id, "id" | "---"))
        .collect()
}

#[test]
fn every_id_of_every_list_has_its_row() {
    let ids: Vec<&str> = rows().into_iter().map(|(id, _)| id).collect();
    let all: Vec<String> = LISTS
        .iter()
        .flat_map(|(letters, count)| (1..=*count).map(move |n| format!("{letters}{n}")))
        .collect();
    assert_eq!(ids, all);
}

#[test]
fn every_test_that_the_page_names_exists() {
    let tests = tests(&BELOW);
    let suites = files(&BELOW, ".test.mjs");
    for (id, held_by) in rows() {
        let mut named = 0;
        for name in held_by.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "{id}: no test {name}");
            named += 1;
        }
        let mut quoted = held_by.split('"');
        while let (Some(before), Some(title)) = (quoted.next(), quoted.next()) {
            let file = before.trim().rsplit(' ').next().unwrap();
            let path = suites.iter().find(|path| path.ends_with(file));
            let suite = fs::read_to_string(path.unwrap_or_else(|| panic!("{id}: no {file}")));
            assert!(
                suite.unwrap().contains(title),
                "{id}: no {title:?} in {file}"
            );
            named += 1;
        }
        assert!(named > 0, "{id} is held by nothing");
    }
}
