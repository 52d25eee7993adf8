//! `fuzz`: the decoders of bytes from outside, driven by libFuzzer from their stored corpus.
//!
//! What libFuzzer needs from the compiler is its coverage counters, which a stable compiler writes when asked by flags. So
//! nothing has to be installed, and the targets are a workspace of their own that ordinary builds never see.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Program;
use crate::failure::{Explain, Outcome, fail};
use crate::flags::FuzzFlags;
use crate::progress::{Step, Steps, say};
use crate::signals::StopRequests;
use crate::workspace::{self, Workspace};

/// Where the targets are, from the root.
const FOLDER: &str = "crates/pubsub-quic/fuzz";
/// Count every edge and compare, for libFuzzer; and check what is checked in debug builds.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions \
    -Coverflow-checks --cfg fuzzing";
/// An input that takes longer than so many seconds is a find.
const INPUT_SECONDS: u32 = 10;
/// So is one that makes the process grow beyond so many megabytes.
const MEMORY_MB: u32 = 1024;
/// The longest input that is tried, in bytes: several frames, with the largest control frame among them.
const INPUT_BYTES: u32 = 160 * 1024;

pub(crate) fn run(flags: &FuzzFlags) -> Outcome {
    let stop = StopRequests::listen()?;
    let workspace = Workspace::find()?;
    let folder = workspace.root.join(FOLDER);
    let targets = targets(&folder)?;
    if flags.list {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(());
    }
    let chosen = chosen(&targets, flags.target.as_deref())?;
    let programs = build(&workspace, &folder, &stop)?;
    let mut steps = Steps::new(chosen.len());
    for target in chosen {
        let run = Run::new(target, &workspace, &folder, &programs);
        let mut step = steps.begin(format_args!("{target}, for {} s", flags.seconds));
        run.fuzz(flags.seconds, &mut step, &stop)?;
        let how = run.latest();
        if flags.keep {
            run.keep(&mut step, &stop)?;
        }
        step.end(how);
    }
    Ok(())
}

/// One file a target.
fn targets(folder: &Path) -> Outcome<Vec<String>> {
    let reading = format!("reading the fuzz targets in {FOLDER}");
    let mut targets = Vec::new();
    for file in fs::read_dir(folder.join("targets")).explain(&reading)? {
        let path = file.explain(&reading)?.path();
        let stem = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        targets.extend(stem);
    }
    targets.sort();
    Ok(targets)
}

fn chosen<'a>(targets: &'a [String], only: Option<&str>) -> Outcome<Vec<&'a str>> {
    let chosen: Vec<&str> = targets
        .iter()
        .map(String::as_str)
        .filter(|target| only.is_none_or(|only| only == *target))
        .collect();
    match only {
        Some(only) if chosen.is_empty() => {
            fail!(
                "there is no fuzz target {only:?}: take one of {}",
                targets.join(", ")
            )
        }
        _ => Ok(chosen),
    }
}

/// Builds all targets; gives the folder with their programs.
fn build(workspace: &Workspace, folder: &Path, stop: &StopRequests) -> Outcome<PathBuf> {
    // With a target of its own, cargo keeps the flags away from build scripts and macros.
    let host = host()?;
    let target = workspace.target.join("fuzz");
    let build = Program::new(workspace::cargo(), folder)
        .args(["build", "--release", "--target", &host, "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", COVERAGE);
    say("building the fuzz targets");
    let status = build.start_visibly()?.wait(stop)?;
    if !status.success() {
        fail!(
            "the fuzz targets did not build: cargo's messages are above (a C++ compiler is needed)"
        );
    }
    Ok(target.join(host).join("release"))
}

fn host() -> Outcome<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .explain("asking rustc for this machine's target")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    match host {
        Some(host) => Ok(host.to_owned()),
        None => fail!("rustc -vV names no host"),
    }
}

struct Run<'a> {
    target: &'a str,
    program: PathBuf,
    /// The corpus of this repository.
    stored: PathBuf,
    /// What this machine found beyond it.
    found: PathBuf,
    /// What libFuzzer says.
    log: PathBuf,
}

impl<'a> Run<'a> {
    fn new(target: &'a str, workspace: &Workspace, folder: &Path, programs: &Path) -> Self {
        let output = workspace.target.join("fuzz-corpus");
        Run {
            target,
            program: programs.join(target),
            stored: folder.join("corpus").join(target),
            found: output.join(target),
            log: output.join(format!("{target}.log")),
        }
    }

    fn fuzz(&self, seconds: u32, step: &mut Step, stop: &StopRequests) -> Outcome {
        for folder in [&self.stored, &self.found] {
            fs::create_dir_all(folder).explain(format!("making {}", folder.display()))?;
        }
        let fuzz = self
            .libfuzzer()
            .args([&self.found, &self.stored])
            .arg(format!("-artifact_prefix={}/find-", self.found.display()))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"));
        if self.run(&fuzz, step, stop)? {
            return Ok(());
        }
        fail!(
            "{} FAILED: the input is a file find-* in {}, what went wrong is in {}; once it is mended put the file into {}, where the tests find it",
            self.target,
            self.found.display(),
            self.log.display(),
            self.stored.display()
        );
    }

    /// Makes the stored corpus the fewest inputs, of it and of what was found, that cover all that they cover together.
    fn keep(&self, step: &mut Step, stop: &StopRequests) -> Outcome {
        let fewest = self.found.with_extension("fewest");
        let _ = fs::remove_dir_all(&fewest); // there is one only if an earlier run was cut short
        fs::create_dir_all(&fewest).explain(format!("making {}", fewest.display()))?;
        let merge = self
            .libfuzzer()
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .args([&fewest, &self.stored, &self.found]);
        if !self.run(&merge, step, stop)? {
            fail!(
                "choosing the corpus of {} failed: see {}",
                self.target,
                self.log.display()
            );
        }
        let replacing = format!("replacing {}", self.stored.display());
        fs::remove_dir_all(&self.stored).explain(&replacing)?;
        fs::create_dir_all(&self.stored).explain(&replacing)?;
        for input in fs::read_dir(&fewest).explain(&replacing)? {
            let input = input.explain(&replacing)?;
            fs::copy(input.path(), self.stored.join(input.file_name())).explain(&replacing)?;
        }
        Ok(())
    }

    fn libfuzzer(&self) -> Program {
        Program::new(&self.program, &self.found).arg(format!("-max_len={INPUT_BYTES}"))
    }

    /// Whether it ended well.
    fn run(&self, program: &Program, step: &mut Step, stop: &StopRequests) -> Outcome<bool> {
        let log = File::create(&self.log).explain(format!("making {}", self.log.display()))?;
        let mut running = program.start_logged(&log)?;
        let status = running.wait_within(Duration::MAX, stop, || step.note(self.latest()))?;
        Ok(status.success())
    }

    /// The latest line of what libFuzzer says: inputs tried, places covered, inputs a second.
    fn latest(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines()
            .next_back()
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_named_with_those_that_exist() {
        let targets = ["control".to_owned(), "lane".to_owned()];
        assert_eq!(chosen(&targets, Some("lane")).ok(), Some(vec!["lane"]));
        assert_eq!(chosen(&targets, None).map(|all| all.len()).ok(), Some(2));
        let Err(failure) = chosen(&targets, Some("lanes")) else {
            panic!("it was taken");
        };
        assert!(failure.to_string().contains("control, lane"), "{failure}");
    }

    #[test]
    fn every_target_of_this_repository_is_declared_and_has_a_corpus() {
        let folder = workspace::root().join(FOLDER);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let targets = targets(&folder).expect("a folder of targets");
        assert!(!targets.is_empty());
        for target in targets {
            assert!(
                manifest.contains(&format!("targets/{target}.rs")),
                "{target}"
            );
            let corpus = fs::read_dir(folder.join("corpus").join(&target));
            assert!(corpus.expect("a corpus").count() > 0, "{target}");
        }
    }
}
