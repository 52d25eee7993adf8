//! `tidy`: the rules of the house that no compiler knows. Each rule is a function from text to complaints;
//! a line that has to break one says why: `// tidy: <rule> because <reason>`, on the line or just above it.

mod files;
mod growth;
mod manifests;
mod purity;
mod source;
mod sources;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use crate::failure::{Outcome, fail};
use crate::progress::say;
use crate::tidy::files::TextFile;
use crate::workspace::root;

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    path: String,
    /// Counted from 1; 0 if it is about the whole file.
    line: usize,
    what: String,
}

pub(crate) fn run() -> Outcome {
    let complaints = check(&root())?;
    for complaint in &complaints {
        say(complaint);
    }
    match complaints.len() {
        0 => {
            say("tidy ok");
            Ok(())
        }
        count => fail!("tidy: {count} complaints"),
    }
}

/// Applies every rule to every file.
fn check(root: &Path) -> Outcome<Vec<Complaint>> {
    let files = files::read_all(root)?;
    let mut complaints = files::crates_have_readmes(&files);
    for file in &files {
        complaints.extend(check_file(file));
    }
    Ok(complaints)
}

fn check_file(file: &TextFile) -> Vec<Complaint> {
    let mut complaints = files::no_machine_paths(file);
    match file.name() {
        "Cargo.toml" => complaints.extend(manifests::check(file)),
        "Cargo.lock" | "package-lock.json" => complaints.extend(files::no_registry_hosts(file)),
        name if name.ends_with(".rs") => complaints.extend(sources::check(file)),
        _ => {}
    }
    complaints
}

impl Complaint {
    fn new(file: &TextFile, line: usize, what: impl Into<String>) -> Self {
        Complaint {
            path: file.path.clone(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}
