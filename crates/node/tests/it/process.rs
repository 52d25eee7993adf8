//! One node as a child process: start it, read its ready line and logs, signal it, see it end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long anything that a test waits for may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A secret that is long enough, as hex.
pub(crate) const SECRET: &str = "5e1f00d5e1f00d5e1f00d5e1f00d5e1f00d5e1f00d5e1f00d5e1f00d5e1f00d5";

/// A running node; killed when dropped.
pub(crate) struct Node {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Lines,
    log: Lines,
    /// The name in the ready line.
    pub(crate) name: String,
    /// Where it serves HTTP.
    pub(crate) http: SocketAddr,
    /// Where peers reach it.
    pub(crate) quic: Option<SocketAddr>,
}

impl Node {
    /// Starts a node on a free HTTP port and waits for its ready line.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Starting::spawn(flags).ready().await
    }

    /// Starts a node of a cluster, on a free QUIC port too, with the secret in its environment.
    pub(crate) async fn start_member(name: &str, flags: &[&str]) -> Self {
        let mut command = command();
        command
            .env("MATRYOSHKA_CLUSTER_SECRET", SECRET)
            .args(["--name", name, "--quic", "127.0.0.1:0"])
            .args(flags);
        Starting::from(command).ready().await
    }

    /// Where its websocket is, for `user`.
    pub(crate) fn socket_url(&self, user: &str, vsn: &str) -> String {
        format!("ws://{}/socket/websocket?user={user}&vsn={vsn}", self.http)
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Closes its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// How it ended.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        exited(&mut self.child).await
    }

    /// The first log line with `part` in it, once there is one.
    pub(crate) async fn logged(&mut self, part: &str) -> String {
        self.log.having(part).await
    }

    /// All log lines so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.now()
    }

    /// Every line that standard output got until the node ended.
    pub(crate) async fn whole_output(&mut self) -> Vec<String> {
        self.out.ended().await
    }
}

/// A node that may not be ready yet.
pub(crate) struct Starting {
    child: Child,
    out: Lines,
    log: Lines,
}

impl Starting {
    /// Starts a node on a free HTTP port.
    pub(crate) fn spawn(flags: &[&str]) -> Self {
        let mut command = command();
        command.args(flags);
        Self::from(command)
    }

    fn from(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let log = Lines::of(child.stderr.take().unwrap());
        Self { child, out, log }
    }

    /// The first log line with `part` in it, once there is one.
    pub(crate) async fn logged(&mut self, part: &str) -> String {
        self.log.having(part).await
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// How it ended.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        exited(&mut self.child).await
    }

    /// Waits for the ready line.
    pub(crate) async fn ready(mut self) -> Node {
        let line = self.out.having("ready ").await;
        let field = |key: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or_else(|| panic!("no {key}= in {line:?}"))
        };
        let quic = match field("quic") {
            "none" => None,
            address => Some(address.parse().unwrap()),
        };
        Node {
            name: field("name").to_owned(),
            http: field("http").parse().unwrap(),
            quic,
            stdin: self.child.stdin.take(),
            child: self.child,
            out: self.out,
            log: self.log,
        }
    }
}

/// Runs the program with exactly these arguments and variables until it ends by itself.
pub(crate) async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = bare_command();
    command.args(arguments).envs(variables.iter().copied());
    timeout(DEADLINE, command.output())
        .await
        .expect("the program did not end by itself")
        .unwrap()
}

/// An empty folder of the test's own, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes it; `purpose` tells tests of one process apart.
    pub(crate) fn new(purpose: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{purpose}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file into it and gives its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Its path.
    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it lies in the build folder and hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().expect("the node still runs");
    let status = std::process::Command::new("kill")
        .args([format!("-{name}"), id.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {id}: {status}");
}

async fn exited(child: &mut Child) -> ExitStatus {
    timeout(DEADLINE, child.wait())
        .await
        .expect("the node did not end in time")
        .unwrap()
}

fn command() -> Command {
    let mut command = bare_command();
    command.args(["--http", "127.0.0.1:0"]);
    command
}

/// The program, free of what the surroundings may say about it.
fn bare_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_matryoshka-node"));
    for (name, _) in std::env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("MATRYOSHKA_") {
            command.env_remove(name);
        }
    }
    command
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The lines of an output, kept as they come.
struct Lines(watch::Receiver<Vec<String>>);

impl Lines {
    fn of(output: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (lines, seen) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut reader = BufReader::new(output).lines();
            while let Ok(Some(line)) = reader.next_line().await {
                lines.send_modify(|all| all.push(line));
            }
        });
        Self(seen)
    }

    async fn having(&mut self, part: &str) -> String {
        let found = |lines: &Vec<String>| lines.iter().find(|line| line.contains(part)).cloned();
        let arrived = self.0.wait_for(|lines| found(lines).is_some());
        let line = match timeout(DEADLINE, arrived).await {
            Ok(Ok(lines)) => found(&lines),
            Ok(Err(_)) | Err(_) => None,
        };
        line.unwrap_or_else(|| panic!("no line with {part:?} in {:#?}", self.now()))
    }

    fn now(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    async fn ended(&mut self) -> Vec<String> {
        timeout(DEADLINE, async { while self.0.changed().await.is_ok() {} })
            .await
            .expect("the output did not end");
        self.now()
    }
}
