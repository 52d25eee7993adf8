//! Programs that xtask runs to their end: under a guard, so that none outlives us, and cut short by a stop request.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Explain, Failure, Outcome, fail};
use crate::signals::StopRequests;

/// How often a running program is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The guard needs its own grace and a little more to end what it guards.
const GUARD_ENDS_WITHIN: Duration = Duration::from_secs(8);

/// What `cargo run` adds to our environment. Handed on, it would look to build scripts like a changed
/// package and rebuild their crates.
const FROM_CARGO_RUN: [&str; 5] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
];

/// A program to run: what, where, with which environment.
pub(crate) struct Program {
    name: OsString,
    args: Vec<OsString>,
    folder: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Program {
    pub(crate) fn new(name: impl Into<OsString>, folder: &Path) -> Self {
        Program {
            name: name.into(),
            args: Vec::new(),
            folder: folder.to_owned(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// The command line as a person would type it.
    pub(crate) fn line(&self) -> String {
        let name = Path::new(&self.name).file_name().unwrap_or(&self.name);
        let words = std::iter::once(name).chain(self.args.iter().map(OsString::as_os_str));
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Starts it with its output on our terminal.
    pub(crate) fn start_visibly(&self) -> Outcome<Guarded> {
        self.start(Stdio::inherit(), Stdio::inherit())
    }

    /// Starts it with all its output on our standard error, where a command's own standard output means something.
    pub(crate) fn start_aside(&self) -> Outcome<Guarded> {
        self.start(io::stderr().into(), Stdio::inherit())
    }

    /// Starts it with all its output in a file.
    pub(crate) fn start_logged(&self, log: &File) -> Outcome<Guarded> {
        let copy = || log.try_clone().explain("sharing a log file");
        self.start(copy()?.into(), copy()?.into())
    }

    fn start(&self, output: Stdio, errors: Stdio) -> Outcome<Guarded> {
        let xtask = env::current_exe().explain("finding xtask's own program file")?;
        let mut command = Command::new(xtask);
        command
            .arg("guard")
            .arg(&self.name)
            .args(&self.args)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors);
        for (key, _) in env::vars_os().filter(|(key, _)| is_from_cargo_run(key)) {
            command.env_remove(key);
        }
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        own_group(&mut command);
        let mut child = command
            .spawn()
            .explain(format!("starting {}", self.line()))?;
        Ok(Guarded {
            lifeline: child.stdin.take(),
            child,
        })
    }
}

/// Puts the child into a process group of its own, which our terminal's Ctrl-C does not reach.
#[cfg(unix)]
pub(crate) fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

/// Elsewhere children end by their standard input alone.
#[cfg(not(unix))]
pub(crate) fn own_group(_command: &mut Command) {}

/// A running program. Dropped, it is ended.
pub(crate) struct Guarded {
    child: Child,
    /// The guard's standard input; closing it ends the program.
    lifeline: Option<ChildStdin>,
}

impl Guarded {
    /// Waits for the end. A stop request ends the program and fails.
    pub(crate) fn wait(&mut self, stop: &StopRequests) -> Outcome<ExitStatus> {
        self.wait_within(Duration::MAX, stop, || {})
    }

    /// The same, calling `look` now and then; a program that takes longer than `limit` is ended and fails.
    pub(crate) fn wait_within(
        &mut self,
        limit: Duration,
        stop: &StopRequests,
        mut look: impl FnMut(),
    ) -> Outcome<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().explain("waiting for a program")? {
                return Ok(status);
            }
            if began.elapsed() > limit {
                self.end();
                fail!(
                    "it was ended after {} s without an end of its own",
                    limit.as_secs()
                );
            }
            if let Some(request) = stop.wait(LOOK_EVERY) {
                self.end();
                return Err(Failure::stopped(request));
            }
            look();
        }
    }

    fn end(&mut self) {
        self.lifeline = None;
        let asked = Instant::now();
        while asked.elapsed() < GUARD_ENDS_WITHIN {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(LOOK_EVERY),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.end();
        }
    }
}

fn is_from_cargo_run(key: &OsStr) -> bool {
    key.to_str()
        .is_some_and(|key| FROM_CARGO_RUN.iter().any(|prefix| key.starts_with(prefix)))
}
