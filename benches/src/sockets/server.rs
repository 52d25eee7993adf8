//! The servers that are measured: each a process, or several, at an address.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::sockets::bare::BARE_LOOP;
use crate::sockets::floor::FLOOR;
use crate::sockets::process::Processes;

const NODE: &str = "MATRYOSHKA_NODE";
const LAB: &str = "MATRYOSHKA_LAB";
const LAB_PIDS: &str = "MATRYOSHKA_LAB_PIDS";

/// A server; if it was started here it ends when this is dropped.
pub(super) struct Server {
    pub(super) http: SocketAddr,
    pub(super) processes: Processes,
    child: Option<Child>,
}

impl Server {
    /// One that serves the lab contract: the one that the environment names, or a fresh node.
    ///
    /// # Panics
    /// If the environment names neither, or names nonsense.
    pub(super) fn lab() -> Self {
        if let Ok(address) = env::var(LAB) {
            let pids = env::var(LAB_PIDS)
                .expect("MATRYOSHKA_LAB needs MATRYOSHKA_LAB_PIDS: whose CPU counts");
            let pids = pids
                .split(',')
                .map(|pid| pid.trim().parse().expect("a process id"));
            return Self {
                http: address
                    .parse()
                    .expect("MATRYOSHKA_LAB is an address and a port"),
                processes: Processes(pids.collect()),
                child: None,
            };
        }
        let node = env::var_os(NODE).expect(
            "MATRYOSHKA_NODE is not set: the node's program, in release mode; `cargo xtask bench` sets it",
        );
        let mut command = Command::new(node);
        command.args([
            "--http",
            "127.0.0.1:0",
            "--exit-with-stdin",
            "--log",
            "warn",
        ]);
        Self::start(command)
    }

    /// The bare loop, in a process of its own as well.
    pub(super) fn bare() -> Self {
        Self::of_this_program(BARE_LOOP)
    }

    /// The floor, as well.
    pub(super) fn floor() -> Self {
        Self::of_this_program(FLOOR)
    }

    fn of_this_program(argument: &str) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program has a file"));
        command.arg(argument);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("MATRYOSHKA_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server's program starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says when it is ready");
        let http = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http="));
        Self {
            http: http
                .and_then(|http| http.parse().ok())
                .expect("a ready line"),
            processes: Processes(vec![child.id()]),
            child: Some(child),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Whether it was gone already changes nothing.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
