//! One node process: start, read its ready line, stop, kill.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::child::own_group;
use crate::failure::{Explain, Outcome, fail};

/// How long a node may take to its ready line: a join may wait 5 s for a first snapshot.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a node may take to end after it was asked to.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(15);

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A node prints one line; more are a fault that its reader need not keep.
const LINES_KEPT: usize = 4;

/// What a node is started with.
#[derive(Clone)]
pub(crate) struct NodeFlags {
    pub(crate) name: String,
    /// Listening addresses; port 0 lets the node pick.
    pub(crate) http: SocketAddr,
    pub(crate) quic: Option<SocketAddr>,
    pub(crate) join: Vec<SocketAddr>,
    /// Everything else, as it stands on the command line.
    pub(crate) more: Vec<String>,
    /// Handed over by environment: an argument would be readable by every user of the machine.
    pub(crate) secret: Option<String>,
}

/// A running node. Dropped, it is killed.
pub(crate) struct Node {
    pub(crate) name: String,
    /// Where it answers, once it is ready.
    pub(crate) http: SocketAddr,
    pub(crate) quic: Option<SocketAddr>,
    pub(crate) log: PathBuf,
    is_ready: bool,
    child: Child,
    /// Its standard input: the node drains when this closes, so it cannot outlive us.
    lifeline: Option<ChildStdin>,
    printed: Receiver<String>,
}

impl Node {
    /// Starts the program; its log goes to a new file.
    pub(crate) fn start(program: &Path, flags: &NodeFlags, log: &Path) -> Outcome<Self> {
        let file = File::create(log).explain(format!("making the log {}", log.display()))?;
        let mut command = command(program, flags);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file);
        let mut child = command
            .spawn()
            .explain(format!("starting {}", program.display()))?;
        let Some(output) = child.stdout.take() else {
            fail!("{} has no standard output", flags.name);
        };
        Ok(Node {
            name: flags.name.clone(),
            http: flags.http,
            quic: flags.quic,
            log: log.to_owned(),
            is_ready: false,
            lifeline: child.stdin.take(),
            child,
            printed: read_lines(output),
        })
    }

    /// Takes the ready line if it has come within this time; true from then on.
    pub(crate) fn poll_ready(&mut self, at_most: Duration) -> Outcome<bool> {
        if self.is_ready {
            return Ok(true);
        }
        match self.printed.recv_timeout(at_most) {
            Ok(line) => {
                let Some(ready) = parse_ready(&line) else {
                    fail!(
                        "{} printed something else than a ready line: {line}",
                        self.name
                    );
                };
                (self.http, self.quic) = ready;
                self.is_ready = true;
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait(STOP_WITHIN)?;
                Err(self.died(status))
            }
        }
    }

    /// Waits for the ready line.
    pub(crate) fn ready(&mut self) -> Outcome {
        if self.poll_ready(READY_WITHIN)? {
            return Ok(());
        }
        fail!(
            "{} is not ready after {} s; its log is {}",
            self.name,
            READY_WITHIN.as_secs(),
            self.log.display()
        )
    }

    /// The exit status, if the node has ended.
    pub(crate) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        self.child
            .try_wait()
            .explain(format!("looking at {}", self.name))
    }

    /// The line that tells of a node which ended without being asked to.
    pub(crate) fn died(&self, status: ExitStatus) -> crate::failure::Failure {
        let last = self.last_log_line();
        let log = self.log.display();
        crate::failure::Failure::new(format!(
            "{} died ({status}): {last} (log: {log})",
            self.name
        ))
    }

    /// Asks the node to drain and end.
    pub(crate) fn ask_to_end(&mut self) {
        platform::terminate(&mut self.child, &mut self.lifeline);
    }

    /// SIGKILL: the node can say nothing to anyone.
    pub(crate) fn kill(&mut self) -> Outcome {
        self.child
            .kill()
            .explain(format!("killing {}", self.name))?;
        self.wait(STOP_WITHIN).map(drop)
    }

    /// SIGSTOP: the node stands still, and cannot know it, until it is told to go on.
    pub(crate) fn stop(&mut self) -> Outcome {
        platform::stop(&mut self.child).explain(format!("stopping {}", self.name))
    }

    /// SIGCONT.
    pub(crate) fn go_on(&mut self) -> Outcome {
        platform::go_on(&mut self.child).explain(format!("letting {} go on", self.name))
    }

    /// How much memory it has in use, where the system tells.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        platform::resident_bytes(self.child.id())
    }

    /// Waits for the end, at most this long.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Outcome<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if began.elapsed() > at_most {
                fail!("{} has not ended within {} s", self.name, at_most.as_secs());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// All that the node has logged so far.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_log_line(&self) -> String {
        let text = self.log_text();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        last.unwrap_or("it logged nothing").trim().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn command(program: &Path, flags: &NodeFlags) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--name", &flags.name])
        .args(["--http", &flags.http.to_string()])
        .arg("--exit-with-stdin")
        .args(&flags.more);
    if let Some(quic) = flags.quic {
        command.args(["--quic", &quic.to_string()]);
    }
    for address in &flags.join {
        command.args(["--join", &address.to_string()]);
    }
    // Every flag has a variable too: only what is said here may reach the node.
    for (key, _) in env::vars_os() {
        if key.to_string_lossy().starts_with("MATRYOSHKA_") {
            command.env_remove(key);
        }
    }
    if let Some(secret) = &flags.secret {
        command.env("MATRYOSHKA_CLUSTER_SECRET", secret);
    }
    own_group(&mut command);
    command
}

fn read_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_KEPT);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    receiver
}

/// Reads `ready name=n1 http=127.0.0.1:4000 quic=127.0.0.1:5000`.
fn parse_ready(line: &str) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let mut words = line.strip_prefix("ready name=")?.split(' ').skip(1);
    let http = words.next()?.strip_prefix("http=")?.parse().ok()?;
    let quic = match words.next()?.strip_prefix("quic=")? {
        "none" => None,
        address => Some(address.parse().ok()?),
    };
    Some((http, quic))
}

#[cfg(unix)]
mod platform {
    //! Signals, and what the system tells of a process.

    use std::io::{self, ErrorKind};
    use std::process::{Child, ChildStdin};

    use rustix::process::{Pid, Signal, kill_process};

    pub(super) fn terminate(child: &mut Child, _lifeline: &mut Option<ChildStdin>) {
        let _ = signal(child, Signal::TERM);
    }

    pub(super) fn stop(child: &mut Child) -> io::Result<()> {
        signal(child, Signal::STOP)
    }

    pub(super) fn go_on(child: &mut Child) -> io::Result<()> {
        signal(child, Signal::CONT)
    }

    fn signal(child: &mut Child, signal: Signal) -> io::Result<()> {
        // Only a child that was not waited for: its id cannot have become another process's.
        match child.try_wait()? {
            None => Ok(kill_process(Pid::from_child(child), signal)?),
            Some(status) => Err(io::Error::new(
                ErrorKind::NotFound,
                format!("it has ended ({status})"),
            )),
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn resident_bytes(process: u32) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn resident_bytes(_process: u32) -> Option<u64> {
        None
    }
}

#[cfg(not(unix))]
mod platform {
    //! Without signals the end of its standard input says the same.

    use std::io::{self, ErrorKind};
    use std::process::{Child, ChildStdin};

    pub(super) fn terminate(_child: &mut Child, lifeline: &mut Option<ChildStdin>) {
        *lifeline = None;
    }

    pub(super) fn stop(_child: &mut Child) -> io::Result<()> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "there are no signals here",
        ))
    }

    pub(super) fn go_on(_child: &mut Child) -> io::Result<()> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "there are no signals here",
        ))
    }

    pub(super) fn resident_bytes(_process: u32) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_ready_line() {
        let alone = parse_ready("ready name=n1 http=127.0.0.1:4000 quic=none");
        assert_eq!(alone, Some(("127.0.0.1:4000".parse().unwrap(), None)));
        let met = parse_ready("ready name=n-2 http=127.0.0.1:4001 quic=127.0.0.1:5001");
        let quic = Some("127.0.0.1:5001".parse().unwrap());
        assert_eq!(met, Some(("127.0.0.1:4001".parse().unwrap(), quic)));
    }

    #[test]
    fn refuses_any_other_line() {
        for line in [
            "",
            "ready",
            "ready name=n1",
            "ready name=n1 http=x quic=none",
            "hello",
        ] {
            assert_eq!(parse_ready(line), None, "{line}");
        }
    }
}
