//! The repository's text files, and the rules about files of any kind.

use std::fs;
use std::path::Path;

use crate::failure::{Explain, Outcome};
use crate::tidy::Complaint;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 4] = [".git", "node_modules", "target", "proptest-regressions"];
const TEXT: [&str; 11] = [
    "rs", "toml", "lock", "md", "json", "js", "mjs", "html", "css", "yml", "sh",
];
/// Where one person's or one machine's files live. In halves, since this file is checked too.
const MACHINE_FOLDERS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/"),
];
/// The one name that cargo gives to the public registry, whatever a machine really asks.
const PUBLIC_INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A file by its path from the root, with `/` between folders.
pub(super) struct TextFile {
    pub(super) path: String,
    pub(super) text: String,
}

impl TextFile {
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// All text files below `root`, in the order of their paths.
pub(super) fn read_all(root: &Path) -> Outcome<Vec<TextFile>> {
    let mut files = Vec::new();
    read_folder(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) -> Outcome {
    let reading = format!("reading {}", folder.display());
    for entry in fs::read_dir(folder).explain(&reading)? {
        let entry = entry.explain(&reading)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().explain(&reading)?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            read_folder(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && is_text(&name) {
            let text = fs::read_to_string(entry.path()).explain(format!("reading {path}"))?;
            files.push(TextFile { path, text });
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| TEXT.iter().any(|text| extension == *text))
}

/// A path into one machine's folders works nowhere else.
pub(super) fn no_machine_paths(file: &TextFile) -> Vec<Complaint> {
    let lines = file.text.lines().enumerate();
    lines
        .filter(|(_, line)| {
            MACHINE_FOLDERS
                .iter()
                .any(|folder| names_folder(line, folder))
        })
        .map(|(index, _)| {
            Complaint::new(
                file,
                index + 1,
                "a path of one machine: name it relative to something",
            )
        })
        .collect()
}

/// Whether the folder stands at the root of a path here, and not inside a URL or a longer path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before
            .is_none_or(|character| !(character.is_alphanumeric() || "./_-}~".contains(character)))
    })
}

/// A lock file names versions and checksums, never the host that they came from here.
pub(super) fn no_registry_hosts(file: &TextFile) -> Vec<Complaint> {
    let names_host = |line: &str| match file.name() {
        "Cargo.lock" => line.starts_with("source = ") && !line.contains(PUBLIC_INDEX),
        _ => line.contains("\"resolved\""),
    };
    let lines = file
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| names_host(line));
    lines
        .map(|(index, _)| {
            Complaint::new(file, index + 1, "a lock file that names a registry's host")
        })
        .collect()
}

/// Every crate says in its README what it is, and that page is its crate doc.
pub(super) fn crates_have_readmes(files: &[TextFile]) -> Vec<Complaint> {
    let find = |path: String| files.iter().find(|file| file.path == path);
    let mut complaints = Vec::new();
    for manifest in files.iter().filter(|file| file.name() == "Cargo.toml") {
        let Some(folder) = manifest.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        if !folder.starts_with("crates/") {
            continue;
        }
        if find(format!("{folder}/README.md")).is_none() {
            complaints.push(Complaint::new(manifest, 0, "this crate has no README.md"));
        }
        if let Some(library) = find(format!("{folder}/src/lib.rs"))
            && !library.text.contains(README_IS_THE_DOC)
        {
            complaints.push(Complaint::new(
                library,
                0,
                format!("lib.rs has no `{README_IS_THE_DOC}`"),
            ));
        }
    }
    complaints
}

/// How a `lib.rs` opens.
pub(super) const README_IS_THE_DOC: &str = "#![doc = include_str!(\"../README.md\")]";
