//! The lines of the log that a page explains are lines that a node writes.

use crate::sources::sources;

const IDENTITY: &str = include_str!("../../src/identity-and-rotation.md");
const MISTAKES: &str = include_str!("../../src/first-mistakes.md");

/// All sources below these folders, with the parts of each text in one line.
fn texts(folders: &[&str]) -> String {
    let all = sources(folders);
    let mut joined = String::new();
    for line in all.lines() {
        match line.trim_start().strip_suffix('\\') {
            Some(begun) => joined += begun,
            None => joined += line.trim_start(),
        }
    }
    joined
}

/// Looks up what stands as code in this column of a table; gives how much of it there was.
fn look_up(table: &str, column: usize, sources: &str) -> usize {
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let mut checked = 0;
    for row in rows {
        let said = row.split('|').nth(column).unwrap();
        for phrase in said.split('`').skip(1).step_by(2) {
            // What stands in quotes differs from line to line.
            for part in phrase.split(['"']).step_by(2) {
                assert!(sources.contains(part), "nobody writes {part:?}");
                checked += 1;
            }
        }
    }
    checked
}

#[test]
fn every_line_that_the_page_of_identities_explains_is_one_that_a_node_writes() {
    let (_, table) = IDENTITY.split_once("| the line says |").unwrap();
    let (_, rows) = table.split_once("| --- |").unwrap();
    let (_, rows) = rows.split_once('\n').unwrap();
    let checked = look_up(rows, 1, &texts(&["crates/pubsub-quic/src"]));
    assert!(checked >= 15, "only {checked} phrases");
}

#[test]
fn every_line_that_cures_a_first_mistake_is_one_that_a_socket_writes() {
    let (_, table) = MISTAKES
        .split_once("| what you see | the line says |")
        .unwrap();
    let (_, rows) = table.split_once("| --- |").unwrap();
    let (_, rows) = rows.split_once('\n').unwrap();
    let checked = look_up(
        rows,
        2,
        &texts(&[
            "crates/transport/src",
            "crates/channel/src",
            "crates/node/src",
        ]),
    );
    assert!(checked >= 14, "only {checked} phrases");
}
