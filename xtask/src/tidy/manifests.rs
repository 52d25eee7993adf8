//! Rules about manifests: arrows only downward, versions only at the root.

use crate::tidy::Complaint;
use crate::tidy::files::TextFile;

/// Every library crate and how far out it lies. An edge goes to a strictly lower tier.
const TIERS: [(&str, u8); 7] = [
    ("registry", 0),
    ("pubsub", 1),
    ("pubsub-quic", 2),
    ("transport", 2),
    ("tracker", 2),
    ("channel", 3),
    ("presence", 4),
];
/// What stands outside the nest: it may see everything, and nothing of the nest sees it.
const OUTSIDE: [&str; 5] = ["crates/node", "xtask", "xtask/relay", "benches", "docs"];
/// Fuzz targets, and clients of other people, are workspaces of their own, which ordinary builds never see.
const APART: [&str; 2] = ["/fuzz", "/clients/rust"];
const PREFIX: &str = "matryoshka-";

/// One dependency as a manifest states it.
struct Edge<'a> {
    line: usize,
    name: &'a str,
    /// What stands behind the name.
    how: &'a str,
}

pub(super) fn check(file: &TextFile) -> Vec<Complaint> {
    let Some(folder) = file.path.strip_suffix("/Cargo.toml") else {
        return vec![]; // the root manifest is where versions belong
    };
    if APART.iter().any(|apart| folder.ends_with(apart)) {
        return vec![];
    }
    let edges = edges(&file.text);
    let mut complaints = versions_stand_at_the_root(file, &edges);
    if OUTSIDE.contains(&folder) {
        return complaints;
    }
    match tier(folder.strip_prefix("crates/").unwrap_or(folder)) {
        Some(own) => complaints.extend(arrows_point_down(file, own, &edges)),
        None => complaints.push(Complaint::new(
            file,
            0,
            "a crate without a tier: give it one in xtask's tidy",
        )),
    }
    complaints
}

fn tier(crate_name: &str) -> Option<u8> {
    TIERS
        .iter()
        .find(|(name, _)| *name == crate_name)
        .map(|(_, tier)| *tier)
}

fn arrows_point_down(file: &TextFile, own: u8, edges: &[Edge]) -> Vec<Complaint> {
    let ours = edges.iter().filter(|edge| is_ours(edge.name));
    let upward = ours.filter(|edge| {
        let name = edge.name.strip_prefix(PREFIX).unwrap_or(edge.name);
        let is_itself = file.path == format!("crates/{name}/Cargo.toml");
        !is_itself && tier(name).is_none_or(|tier| tier >= own)
    });
    upward
        .map(|edge| {
            let what = format!(
                "an arrow to {} does not point to a lower tier than {own}",
                edge.name
            );
            Complaint::new(file, edge.line, what)
        })
        .collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || OUTSIDE.contains(&name)
}

fn versions_stand_at_the_root(file: &TextFile, edges: &[Edge]) -> Vec<Complaint> {
    let own = edges.iter().filter(|edge| !takes_from_workspace(edge));
    own.map(|edge| {
        let what = format!(
            "{} must take its version from the root: `{}.workspace = true`",
            edge.name, edge.name
        );
        Complaint::new(file, edge.line, what)
    })
    .collect()
}

fn takes_from_workspace(edge: &Edge) -> bool {
    let how: String = edge.how.split_whitespace().collect();
    how == ".workspace=true" || (how.starts_with("={") && how.contains("workspace=true"))
}

/// All lines of `[dependencies]`, `[dev-dependencies]`, `[build-dependencies]` and their kind for one target.
fn edges(text: &str) -> Vec<Edge<'_>> {
    let mut edges = Vec::new();
    let mut within = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(section) = line.strip_prefix('[') {
            within = section.trim_end_matches(']').ends_with("dependencies");
            // A table of its own is taken as one edge that names no workspace: it is not our form.
            if let Some((_, name)) = section.trim_end_matches(']').split_once("dependencies.") {
                edges.push(Edge {
                    line: index + 1,
                    name,
                    how: "",
                });
            }
        } else if within && let Some(end) = line.find(['=', '.', ' ']) {
            let (name, how) = line.split_at(end);
            edges.push(Edge {
                line: index + 1,
                name,
                how: how.trim(),
            });
        }
    }
    edges
}
