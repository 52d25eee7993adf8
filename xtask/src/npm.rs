//! The packages that pages and suites need from npm, exactly as their lock files say.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::child::Program;
use crate::failure::{Explain, Outcome, fail};

/// A lock file is copied here once its packages are in place; the same text means nothing to do.
const STAMP: &str = "node_modules/.installed-lock.json";
const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";

/// Fails, with what to do, if there is no npm.
pub(crate) fn check() -> Outcome {
    let found = Command::new(program())
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => fail!(
            "npm is missing: install Node.js 20 or newer, which brings it, and run this again"
        ),
    }
}

/// The command that installs the packages of `folder`, or nothing if they are in place.
pub(crate) fn install(folder: &Path) -> Outcome<Option<Program>> {
    let lock = read(&folder.join(LOCK))?;
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|installed| installed == lock) {
        return Ok(None);
    }
    let flags = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    Ok(Some(Program::new(program(), folder).args(flags)))
}

/// Notes that the packages of `folder` are in place.
pub(crate) fn installed(folder: &Path) -> Outcome {
    fs::copy(folder.join(LOCK), folder.join(STAMP))
        .map(drop)
        .explain(format!("noting that {} is installed", folder.display()))
}

/// Copies a package's manifest and lock file, so that its packages are installed outside the repository.
pub(crate) fn copy_package(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to).explain(format!("making {}", to.display()))?;
    for file in [MANIFEST, LOCK] {
        fs::copy(from.join(file), to.join(file))
            .explain(format!("copying {}", from.join(file).display()))?;
    }
    Ok(())
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).explain(format!("reading {}", path.display()))
}

fn program() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}
