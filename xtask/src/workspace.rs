//! Where things are: the repository, cargo's target folder, the members, the node's program.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::child::Program;
use crate::failure::{Explain, Outcome, fail};

/// The package of the test server.
pub(crate) const NODE_PACKAGE: &str = "matryoshka-node";
const PRESENCE_PACKAGE: &str = "matryoshka-presence";
const HISTORIES: &str = "histories";

/// What cargo says about this workspace.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Names of all packages here.
    pub(crate) members: Vec<String>,
}

/// How the node is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Workspace {
    pub(crate) fn find() -> Outcome<Self> {
        let root = root();
        let output = Command::new(cargo())
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(&root)
            .output()
            .explain("asking cargo about the workspace")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            fail!("cargo metadata failed: {}", said.trim());
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).explain("reading cargo metadata")?;
        Self::from_metadata(root, &metadata)
    }

    fn from_metadata(root: PathBuf, metadata: &Value) -> Outcome<Self> {
        let Some(target) = metadata["target_directory"].as_str() else {
            fail!("cargo metadata names no target folder");
        };
        let packages = metadata["packages"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let mut members: Vec<String> = packages
            .iter()
            .filter_map(|package| Some(package["name"].as_str()?.to_owned()))
            .collect();
        members.sort();
        Ok(Workspace {
            root,
            target: PathBuf::from(target),
            members,
        })
    }

    /// A cargo command, to be run at the root.
    pub(crate) fn cargo(&self) -> Program {
        Program::new(cargo(), &self.root)
    }

    /// The command that builds the node.
    pub(crate) fn build_node(&self, profile: Profile) -> Program {
        let build = self.cargo().args(["build", "--package", NODE_PACKAGE]);
        match profile {
            Profile::Dev => build,
            Profile::Release => build.arg("--release"),
        }
    }

    /// Where that command puts it.
    pub(crate) fn node(&self, profile: Profile) -> PathBuf {
        let folder = match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        };
        let file = format!("{NODE_PACKAGE}{}", env::consts::EXE_SUFFIX);
        self.target.join(folder).join(file)
    }

    /// Builds the program that plays random histories of presence.
    pub(crate) fn build_histories(&self) -> Program {
        let build = self.cargo().args(["build", "--package", PRESENCE_PACKAGE]);
        build.args(["--features", "test-util", "--example", HISTORIES])
    }

    /// Where that command puts it.
    pub(crate) fn histories(&self) -> PathBuf {
        let file = format!("{HISTORIES}{}", env::consts::EXE_SUFFIX);
        self.target.join("debug/examples").join(file)
    }

    /// The folder with the official client's package, for the chat page.
    pub(crate) fn page_packages(&self) -> PathBuf {
        self.root.join("crates/node/assets")
    }

    /// The folder with the suites that drive nodes by the official client and by a browser.
    pub(crate) fn clients(&self) -> PathBuf {
        self.root.join("crates/node/clients")
    }

    /// The suites among them that are Python's.
    pub(crate) fn python_clients(&self) -> PathBuf {
        self.clients().join("python")
    }

    /// The package among them that is Rust's.
    pub(crate) fn rust_client(&self) -> PathBuf {
        self.clients().join("rust")
    }
}

/// The root of this repository: xtask is always one level below it.
pub(crate) fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or(xtask.clone(), Path::to_owned)
}

/// The cargo that runs this.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
