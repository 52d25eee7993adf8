//! `bench`: the measurements, in release mode, with their output on the terminal.

use std::ffi::{OsStr, OsString};

use crate::failure::{Outcome, fail};
use crate::flags::BenchFlags;
use crate::signals::StopRequests;
use crate::workspace::{Profile, Workspace};

const PACKAGE: &str = "matryoshka-benches";

/// Measurements that are programs of their own, since their allocators count.
const PROGRAMS: [&str; 3] = ["mesh-memory", "pubsub-memory", "tracker-memory"];

/// How the names of those begin that need a node, unless the environment names a server that runs already.
const NEED_A_NODE: &str = "sockets";
const SERVER: &str = "MATRYOSHKA_LAB";
const NODE: &str = "MATRYOSHKA_NODE";

pub(crate) fn run(flags: &BenchFlags) -> Outcome {
    let stop = StopRequests::listen()?;
    let workspace = Workspace::find()?;
    if need_a_node(&flags.args) && std::env::var_os(SERVER).is_none() {
        let build = workspace.build_node(Profile::Release);
        let status = build.start_visibly()?.wait(&stop)?;
        if !status.success() {
            fail!("the node was not built ({status})");
        }
    }
    let (programs, others): (Vec<_>, Vec<_>) = flags.args.iter().partition(|arg| is_program(arg));
    let mut runs: Vec<Vec<&OsStr>> = programs
        .into_iter()
        .map(|name| vec![OsStr::new("--bin"), name])
        .collect();
    if runs.is_empty() || !others.is_empty() {
        let names = others.into_iter().map(OsString::as_os_str);
        runs.push(std::iter::once(OsStr::new("--")).chain(names).collect());
    }
    for args in runs {
        let command = workspace
            .cargo()
            .args(["run", "--release", "--package", PACKAGE])
            .args(args)
            .env(NODE, workspace.node(Profile::Release));
        let status = command.start_visibly()?.wait(&stop)?;
        if !status.success() {
            fail!("the measurements failed ({status})");
        }
    }
    Ok(())
}

/// Names are given by their beginnings, and none means all.
fn need_a_node(args: &[OsString]) -> bool {
    let names = args.iter().filter_map(|arg| arg.to_str());
    args.is_empty()
        || names
            .into_iter()
            .any(|name| name.starts_with(NEED_A_NODE) || NEED_A_NODE.starts_with(name))
}

fn is_program(arg: &OsStr) -> bool {
    PROGRAMS.iter().any(|program| arg == *program)
}
