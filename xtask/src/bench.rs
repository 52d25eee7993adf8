//! `bench`: the measurements, in release mode, with their output on the terminal.

use std::ffi::{OsStr, OsString};

use crate::failure::{Outcome, fail};
use crate::flags::BenchFlags;
use crate::signals::StopRequests;
use crate::workspace::Workspace;

const PACKAGE: &str = "matryoshka-benches";

/// Measurements that are programs of their own, since their allocators count.
const PROGRAMS: [&str; 3] = ["mesh-memory", "pubsub-memory", "tracker-memory"];

pub(crate) fn run(flags: &BenchFlags) -> Outcome {
    let stop = StopRequests::listen()?;
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
        let command = Workspace::find()?
            .cargo()
            .args(["run", "--release", "--package", PACKAGE])
            .args(args);
        let status = command.start_visibly()?.wait(&stop)?;
        if !status.success() {
            fail!("the measurements failed ({status})");
        }
    }
    Ok(())
}

fn is_program(arg: &OsStr) -> bool {
    PROGRAMS.iter().any(|program| arg == *program)
}
