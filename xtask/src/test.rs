//! `test`: everything that has to hold before a change goes in, with all set-up done here.

mod output;
mod steps;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::failure::{Explain, Failure, Outcome};
use crate::flags::TestFlags;
use crate::progress::{Steps, say, seconds};
use crate::signals::StopRequests;
use crate::test::output::StepOutput;
use crate::workspace::Workspace;

pub(crate) use crate::test::steps::StepName;

/// What every step has at hand.
struct Context {
    workspace: Workspace,
    stop: StopRequests,
    logs: PathBuf,
}

/// How one step ended.
enum Ending {
    Passed,
    Failed,
    /// A step that it needs did not pass.
    NotRun,
}

pub(crate) fn run(flags: &TestFlags) -> Outcome<ExitCode> {
    if flags.list {
        for step in StepName::ALL {
            println!("{:<12} {}", step.name(), step.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::find()?;
    let logs = workspace.target.join("xtask-logs");
    fs::create_dir_all(&logs).explain(format!("making {}", logs.display()))?;
    let context = Context {
        workspace,
        stop: StopRequests::listen()?,
        logs,
    };
    run_all(&context, &chosen(&flags.only))
}

/// The steps to run, in order: all, or those asked for with what they need.
fn chosen(only: &[StepName]) -> Vec<StepName> {
    let wanted = |step: &StepName| {
        only.is_empty()
            || only.contains(step)
            || only.iter().any(|asked| asked.needs().contains(step))
    };
    StepName::ALL.into_iter().filter(wanted).collect()
}

fn run_all(context: &Context, steps: &[StepName]) -> Outcome<ExitCode> {
    let began = Instant::now();
    let mut progress = Steps::new(steps.len());
    let mut bad: Vec<StepName> = Vec::new();
    for step in steps {
        match run_one(context, *step, &bad, &mut progress) {
            Ok(Ending::Passed) => {}
            Ok(Ending::Failed | Ending::NotRun) => bad.push(*step),
            Err(stop) => {
                say(format_args!("test FAILED: step {} was {stop}", step.name()));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let took = seconds(began.elapsed());
    if bad.is_empty() {
        say(format_args!(
            "test ok: {0} of {0} steps in {took}",
            steps.len()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<&str> = bad.iter().map(|step| step.name()).collect();
    let logs = context.logs.display();
    say(format_args!(
        "test FAILED: step {} (after {took}; logs in {logs})",
        names.join(", ")
    ));
    Ok(ExitCode::FAILURE)
}

fn run_one(
    context: &Context,
    step: StepName,
    bad: &[StepName],
    progress: &mut Steps,
) -> Outcome<Ending> {
    let mut shown = progress.begin(format!("{}: {}", step.name(), step.about()));
    if let Some(missing) = step.needs().iter().find(|needed| bad.contains(needed)) {
        shown.end(format!("not run, since {} did not pass,", missing.name()));
        return Ok(Ending::NotRun);
    }
    let mut output = StepOutput::new(context, step)?;
    match step.run(context, &mut output, &mut shown) {
        Ok(()) => {
            shown.end("ok");
            Ok(Ending::Passed)
        }
        Err(stop) if stop.is_stop() => Err(stop),
        Err(failure) => {
            shown.end("FAILED");
            report(&output, &failure);
            Ok(Ending::Failed)
        }
    }
}

/// Shows all that the failed program said, and then what failed.
fn report(output: &StepOutput, failure: &Failure) {
    say(output.of_last_program().trim_end());
    say(failure);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_step_brings_what_it_needs_in_order() {
        let steps = chosen(&[StepName::Browser]);
        let wanted = [
            StepName::Packages,
            StepName::Chromium,
            StepName::Node,
            StepName::Browser,
        ];
        assert_eq!(steps, wanted);
        assert_eq!(chosen(&[]), StepName::ALL);
    }

    #[test]
    fn what_a_step_needs_comes_before_it() {
        for (index, step) in StepName::ALL.iter().enumerate() {
            for needed in step.needs() {
                assert!(
                    StepName::ALL[..index].contains(needed),
                    "{} needs {}",
                    step.name(),
                    needed.name()
                );
            }
        }
    }
}
