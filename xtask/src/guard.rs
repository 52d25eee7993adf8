//! A program that must not outlive us: `guard PROGRAM ARGS...` runs it and ends it, with all that it started,
//! as soon as the guard's own standard input ends. That pipe's other end is in the process that asked, and
//! the kernel closes it however that process ends, SIGKILL included.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Explain, Outcome, fail};
use crate::flags::GuardFlags;

/// How often the guard looks whether its program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the program may take to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// The exit code of a program that a signal ended, as shells count it.
const ENDED_BY_SIGNAL: i32 = 128;

pub(crate) fn run(flags: &GuardFlags) -> Outcome<ExitCode> {
    let Some((program, args)) = flags.command.split_first() else {
        fail!("guard: no program");
    };
    let input_ended = watch_standard_input();
    platform::survive_own_signal()?;
    let mut child = start(program, args)?;
    loop {
        if let Some(status) = child.try_wait().explain("waiting for the program")? {
            return Ok(exit_code(status));
        }
        match input_ended.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return end(&mut child),
        }
    }
}

fn start(program: &OsString, args: &[OsString]) -> Outcome<Child> {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .explain(format!("starting {}", program.to_string_lossy()))
}

fn watch_standard_input() -> Receiver<()> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut ignored = [0; 64];
        while matches!(io::stdin().read(&mut ignored), Ok(length) if length > 0) {}
        drop(sender);
    });
    receiver
}

/// Asks the whole group to end, waits, and then ends it.
fn end(child: &mut Child) -> Outcome<ExitCode> {
    platform::ask_group_to_end(child);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if let Some(status) = child.try_wait().explain("waiting for the program")? {
            platform::end_group(child);
            return Ok(exit_code(status));
        }
        thread::sleep(LOOK_EVERY);
    }
    platform::end_group(child);
    Ok(ExitCode::FAILURE)
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or(ENDED_BY_SIGNAL);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(unix)]
mod platform {
    //! The guard leads a process group of its own, in which its program and all that it starts live.

    use std::process::Child;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use rustix::process::{Signal, getpgrp, getpid, kill_process_group};

    use crate::failure::{Explain, Outcome};

    /// SIGTERM to the group reaches the guard too, which still has to wait for the others.
    pub(super) fn survive_own_signal() -> Outcome {
        let unread = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, unread)
            .explain("listening for signals")?;
        Ok(())
    }

    pub(super) fn ask_group_to_end(child: &mut Child) {
        if leads_its_group() {
            let _ = kill_process_group(getpgrp(), Signal::TERM);
        } else {
            let _ = child.kill();
        }
    }

    /// Ends what is left of the group, the guard itself included.
    pub(super) fn end_group(child: &mut Child) {
        let _ = child.kill();
        if leads_its_group() {
            let _ = kill_process_group(getpgrp(), Signal::KILL);
        }
    }

    /// A guard that someone started by hand shares its shell's group, which is not ours to end.
    fn leads_its_group() -> bool {
        getpgrp() == getpid()
    }
}

#[cfg(not(unix))]
mod platform {
    //! Without process groups only the program itself can be ended.

    use std::process::Child;

    use crate::failure::Outcome;

    pub(super) fn survive_own_signal() -> Outcome {
        Ok(())
    }

    pub(super) fn ask_group_to_end(child: &mut Child) {
        let _ = child.kill();
    }

    pub(super) fn end_group(child: &mut Child) {
        let _ = child.kill();
    }
}
