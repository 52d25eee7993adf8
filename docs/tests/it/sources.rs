//! The files that pages speak of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files with this ending below these folders of the repository, but for what others wrote or a compiler.
pub(crate) fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
                folders.push(path);
            } else if path.to_str().is_some_and(|path| path.ends_with(ending)) {
                files.push(path);
            }
        }
    }
    files
}

/// All Rust below these folders of the repository, in one text.
pub(crate) fn sources(folders: &[&str]) -> String {
    let files = files(folders, ".rs").into_iter();
    files
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

/// The names of all functions below these folders that are tests.
pub(crate) fn tests(folders: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in sources(folders).lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            let end = name.find('(').unwrap_or(name.len());
            names.insert(name[..end].to_owned());
            is_test = false;
        }
    }
    names
}
