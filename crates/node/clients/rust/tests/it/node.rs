//! One real node process: started on a free port, read by its ready line, ended with its standard input.

use std::process::Stdio;
use std::time::Duration;

use phoenix_chan::tungstenite::http::Uri;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long anything that a test waits for may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A node of `MATRYOSHKA_NODE`; killed when dropped.
pub(crate) struct Node {
    _process: Child,
    http: String,
}

impl Node {
    pub(crate) async fn start() -> Self {
        let program = std::env::var_os("MATRYOSHKA_NODE")
            .expect("MATRYOSHKA_NODE is not set: the path of the node's program");
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.to_string_lossy().starts_with("MATRYOSHKA_") {
                command.env_remove(name);
            }
        }
        let mut process = command
            .args(["--http", "127.0.0.1:0", "--exit-with-stdin"])
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = timeout(DEADLINE, lines.next_line()).await;
        let ready = ready.expect("a ready line in time").unwrap().unwrap();
        let http = ready
            .split(' ')
            .find_map(|word| word.strip_prefix("http="))
            .unwrap_or_else(|| panic!("no ready line: {ready}"));
        Self {
            _process: process,
            http: http.to_owned(),
        }
    }

    /// Where `user` connects.
    pub(crate) fn uri(&self, user: &str) -> Uri {
        let uri = format!("ws://{}/socket/websocket?user={user}", self.http);
        uri.parse().unwrap()
    }
}
