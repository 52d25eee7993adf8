//! Chromium for the browser suite: one that is there, or Debian's package.

use std::env;
use std::path::{Path, PathBuf};

use crate::child::Program;

const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
const MAC_PROGRAMS: [&str; 2] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/// What a person has to do where we cannot.
pub(crate) const HOW_TO_INSTALL: &str = "no Chromium: run `sudo apt-get install chromium` (macOS: `brew install --cask chromium`), then this again";

/// The program, if there is one.
pub(crate) fn find() -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    on_path
        .chain(MAC_PROGRAMS.map(PathBuf::from))
        .find(|program| program.is_file())
}

/// The commands that install it here, if we may: as root, where there is apt-get.
pub(crate) fn install(root: &Path) -> Option<[Program; 2]> {
    let apt = || {
        Program::new("apt-get", root)
            .args(["--quiet", "--yes"])
            .env("DEBIAN_FRONTEND", "noninteractive")
    };
    let packages = [
        "install",
        "--no-install-recommends",
        "chromium",
        "fonts-liberation",
    ];
    (platform::is_root() && has_apt()).then(|| [apt().arg("update"), apt().args(packages)])
}

fn has_apt() -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join("apt-get").is_file())
}

#[cfg(unix)]
mod platform {
    pub(super) fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }
}

#[cfg(not(unix))]
mod platform {
    pub(super) fn is_root() -> bool {
        false
    }
}
