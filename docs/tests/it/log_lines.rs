//! The lines of the log that a page explains are lines that a node writes.

use std::path::Path;

const PAGE: &str = include_str!("../../src/identity-and-rotation.md");

/// All sources of the mesh, with the parts of each text in one line.
fn sources() -> String {
    let mut all = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/pubsub-quic/src");
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                all += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut joined = String::new();
    for line in all.lines() {
        match line.trim_start().strip_suffix('\\') {
            Some(begun) => joined += begun,
            None => joined += line.trim_start(),
        }
    }
    joined
}

#[test]
fn every_line_that_the_page_explains_is_one_that_a_node_writes() {
    let sources = sources();
    let (_, table) = PAGE.split_once("| the line says |").unwrap();
    let rows = table.lines().skip(2).filter(|line| line.starts_with('|'));
    let mut checked = 0;
    for row in rows {
        let said = row.split('|').nth(1).unwrap();
        for phrase in said.split('`').skip(1).step_by(2) {
            // What stands in quotes differs from line to line.
            for part in phrase.split(['"']).step_by(2) {
                assert!(sources.contains(part), "nobody writes {part:?}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 15, "only {checked} phrases");
}
