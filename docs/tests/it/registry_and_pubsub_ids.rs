//! The page of the registry and pubsub: no id is left out, every test that it names exists, and its table of wrong variants is
//! what the simulation's test demands.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{sources, tests};

const PAGE: &str = include_str!("../../src/registry-and-pubsub-ids.md");
const VARIANTS: &str = include_str!("../../../crates/pubsub/src/cluster/interest/variant.rs");
const MUTANTS: &str = include_str!("../../../crates/pubsub/src/cluster/interest/tests/mutants.rs");
const CONTRACT: &str = include_str!("../../../crates/pubsub/src/testing/contract.rs");
const BROKEN: &str = include_str!("../../../crates/registry/tests/it/main.rs");

/// Every list by the letters of its ids, and how many it has.
const LISTS: [(&str, usize); 6] = [
    ("R", 33),
    ("race ", 10),
    ("P", 11),
    ("B", 14),
    ("C", 5),
    ("Q", 8),
];

/// The three cells of each row, those of variants behind the others.
fn rows() -> Vec<[&'static str; 3]> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        cells.try_into().unwrap_or_else(|_| panic!("{line}"))
    });
    let heads = ["id", "variant", "---"];
    cells
        .filter(|cells: &[&str; 3]| !heads.contains(&cells[0]))
        .collect()
}

fn is_variant(row: &[&str; 3]) -> bool {
    row[0].starts_with('`')
}

/// What stands in code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_id_of_every_list_has_its_row() {
    let rows = rows();
    let rows = rows.iter().filter(|row| !is_variant(row));
    let ids: Vec<&str> = rows.flat_map(|row| row[0].split(", ")).collect();
    let numbers = |&(letters, count)| (1..=count).map(move |n| format!("{letters}{n}"));
    let all: BTreeSet<String> = LISTS.iter().flat_map(numbers).collect();
    assert_eq!(ids.len(), all.len(), "each once");
    assert_eq!(
        ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>(),
        all
    );
}

#[test]
fn every_test_that_the_page_names_exists() {
    let tests = tests(&["crates/registry", "crates/pubsub", "crates/pubsub-quic"]);
    let text = PAGE.lines().filter(|line| !line.starts_with("| "));
    let cells = rows().into_iter().map(|row| row[2]);
    for name in text
        .chain(cells)
        .flat_map(code)
        .filter(|name| is_test_name(name))
    {
        let is_check = || CONTRACT.contains(&format!("pub async fn {name}("));
        let exists = match name.ends_with('_') {
            true => tests.iter().any(|test| test.starts_with(name)),
            false => tests.contains(name) || is_check(),
        };
        assert!(exists, "no test {name}");
    }
    for row in rows() {
        let is_held = code(row[2]).next().is_some() || row[2].starts_with("none to hold: ");
        assert!(is_held || is_variant(&row), "{row:?}");
    }
}

/// Whether it is one, and not a file, a type or a module.
fn is_test_name(name: &str) -> bool {
    let is_module = ["key_lock", "mailbox_model"].contains(&name);
    name.len() > 1 && name.contains('_') && !name.contains(['.', '/']) && !is_module
}

#[test]
fn every_test_that_failed_for_something_broken_exists() {
    let all = sources(&["crates/registry"]);
    let mut named = 0;
    for line in BROKEN.lines().filter(|line| line.starts_with("//! | ")) {
        for name in code(line).filter(|name| name.contains("::")) {
            let name = name.rsplit("::").next().unwrap().trim_end_matches("..");
            assert!(
                all.contains(&format!("fn {name}")),
                "no test {name}: {line}"
            );
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
}

/// The properties by which each variant must be caught: `or` between those of which one is enough.
fn demanded() -> BTreeMap<&'static str, BTreeSet<String>> {
    let lines = || MUTANTS.lines();
    let constants = lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("const ")?.split_once(": &str = ")?;
        Some((name, value.trim_matches([';', '"'])))
    });
    let constants: BTreeMap<&str, &str> = constants.collect();
    let mut demanded: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in lines().filter_map(|line| line.strip_prefix("    (Variant::")) {
        let (variant, properties) = line.split_once(", &[").unwrap();
        let properties = properties.trim_end_matches("]),").split(", ");
        let named = |name: &str| match constants.get(name) {
            Some(value) => (*value).to_owned(),
            None => name.trim_matches('"').to_owned(),
        };
        let properties: Vec<String> = properties.map(named).collect();
        let all = demanded.entry(variant).or_default();
        all.insert(properties.join(" or "));
    }
    demanded
}

#[test]
fn every_wrong_variant_is_on_the_page_with_the_property_that_catches_it() {
    let variants = VARIANTS.lines().map(str::trim);
    let variants = variants.filter_map(|line| line.strip_suffix(','));
    let variants: BTreeSet<&str> = variants.filter(|name| *name != "Right").collect();
    let rows = rows().into_iter().filter(is_variant);
    let rows: BTreeMap<&str, &str> = rows.map(|row| (row[0].trim_matches('`'), row[2])).collect();
    assert_eq!(rows.keys().copied().collect::<BTreeSet<_>>(), variants);
    let demanded = demanded();
    for (variant, caught_by) in rows {
        match demanded.get(variant) {
            Some(properties) => {
                let told: BTreeSet<String> = caught_by.split("; ").map(str::to_owned).collect();
                assert_eq!(told, *properties, "{variant}");
            }
            None => assert!(caught_by.starts_with('`'), "{variant} is caught by no test"),
        }
    }
}
