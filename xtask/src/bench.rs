//! `bench`: the measurements, in release mode, with their output on the terminal.

use crate::failure::{Outcome, fail};
use crate::flags::BenchFlags;
use crate::signals::StopRequests;
use crate::workspace::Workspace;

const PACKAGE: &str = "matryoshka-benches";

pub(crate) fn run(flags: &BenchFlags) -> Outcome {
    let stop = StopRequests::listen()?;
    let command = Workspace::find()?
        .cargo()
        .args(["run", "--release", "--package", PACKAGE, "--"])
        .args(flags.args.iter().cloned());
    let status = command.start_visibly()?.wait(&stop)?;
    if !status.success() {
        fail!("the measurements failed ({status})");
    }
    Ok(())
}
