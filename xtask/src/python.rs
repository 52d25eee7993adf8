//! The Python clients that suites drive nodes with: in an environment of their own below the target folder, in the versions that their
//! list pins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::Program;
use crate::failure::{Explain, Outcome, fail};

/// The clients and all they need, each in one version.
const LIST: &str = "requirements.txt";
/// The list is copied here once all of it is in place; the same text means nothing to do.
const STAMP: &str = "installed-requirements.txt";
/// The oldest that the clients run on.
const OLDEST: (u32, u32) = (3, 11);

/// Said where an installation failed, since its own words seldom say it.
pub(crate) const NEEDS_THE_NETWORK: &str = "the Python clients come from PyPI, once: this needs the network (or PIP_INDEX_URL), and on Debian \
     the package python3-venv";

/// An environment for the suites of one folder.
pub(crate) struct Environment {
    folder: PathBuf,
    suites: PathBuf,
}

impl Environment {
    pub(crate) fn new(target: &Path, suites: &Path) -> Self {
        Environment {
            folder: target.join("python-clients"),
            suites: suites.to_owned(),
        }
    }

    /// The commands that make it and install the clients, or none if they are in place. Fails, with what to do, if there is no Python.
    pub(crate) fn install(&self) -> Outcome<Vec<Program>> {
        let list = self.list()?;
        if fs::read_to_string(self.folder.join(STAMP)).is_ok_and(|installed| installed == list) {
            return Ok(vec![]);
        }
        let make = Program::new(python()?, &self.suites)
            .args(["-m", "venv", "--clear"])
            .arg(&self.folder);
        let flags = ["--disable-pip-version-check", "--no-input", "--quiet"];
        let install = self.python().args(["-m", "pip", "install"]).args(flags);
        Ok(vec![make, install.args(["--requirement", LIST])])
    }

    /// Notes that the clients are in place.
    pub(crate) fn installed(&self) -> Outcome {
        let stamp = self.folder.join(STAMP);
        fs::write(&stamp, self.list()?).explain(format!("writing {}", stamp.display()))
    }

    /// Its Python, in the folder of the suites; it leaves nothing compiled there.
    pub(crate) fn python(&self) -> Program {
        let program = match cfg!(windows) {
            true => "Scripts/python.exe",
            false => "bin/python",
        };
        Program::new(self.folder.join(program), &self.suites).arg("-B")
    }

    fn list(&self) -> Outcome<String> {
        let list = self.suites.join(LIST);
        fs::read_to_string(&list).explain(format!("reading {}", list.display()))
    }
}

/// The name of a Python that is new enough.
fn python() -> Outcome<&'static str> {
    let names = ["python3", "python"];
    let versions = names.map(|name| (name, version(name)));
    let newest = versions
        .iter()
        .find(|(_, version)| version.is_some_and(|version| version >= OLDEST));
    let (major, minor) = OLDEST;
    match (newest, versions[0].1) {
        (Some((name, _)), _) => Ok(name),
        (None, Some((own_major, own_minor))) => fail!(
            "Python {own_major}.{own_minor} is too old for the Python clients: install {major}.{minor} or newer as python3, and run this again"
        ),
        (None, None) => fail!(
            "Python is missing: install Python {major}.{minor} or newer (Debian: `sudo apt-get install python3 python3-venv`, macOS: `brew \
             install python`), and run this again"
        ),
    }
}

fn version(name: &str) -> Option<(u32, u32)> {
    let asked = Command::new(name)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    parsed(&String::from_utf8_lossy(&asked.ok()?.stdout))
}

/// `Python 3.11.7`.
fn parsed(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("Python ")?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        assert_eq!(parsed("Python 3.11.7\n"), Some((3, 11)));
        assert_eq!(parsed("Python 3.14.0rc1"), Some((3, 14)));
        assert!(parsed("Python 3.9.2") < Some(OLDEST));
        for nonsense in ["", "python: not found", "Python three", "Python 3"] {
            assert_eq!(parsed(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn the_list_pins_every_version() {
        let list = include_str!("../../crates/node/clients/python/requirements.txt");
        let lines = list.lines().map(str::trim);
        let names: Vec<&str> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert!(names.len() >= 2);
        for name in names {
            assert!(name.contains("=="), "{name}");
        }
    }
}
