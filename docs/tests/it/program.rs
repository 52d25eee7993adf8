//! A program of the guide, running.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a program may take to start, and to answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A compiled program that prints where it listens; it ends when this is dropped.
pub(crate) struct Program {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) address: String,
}

impl Program {
    pub(crate) async fn start(executable: &str) -> Self {
        Self::start_with(&mut Command::new(executable)).await
    }

    /// With arguments and an environment.
    pub(crate) async fn start_with(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut program = Self {
            process,
            lines,
            address: String::new(),
        };
        program.address = program.address_after("listening on ").await;
        program
    }

    /// What the next line says that begins so.
    pub(crate) async fn address_after(&mut self, beginning: &str) -> String {
        let line = self.line_with(beginning).await;
        line.strip_prefix(beginning).expect(&line).to_owned()
    }

    /// Tells it to stop, as a service manager does, and waits for its end. Whether it ended well.
    #[cfg(unix)]
    pub(crate) async fn stop(mut self) -> bool {
        let id = self.process.id().expect("it runs").to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(told.unwrap().success());
        let ended = timeout(DEADLINE, self.process.wait()).await;
        ended.expect("an end in time").unwrap().success()
    }

    /// The next line of its log that has this in it.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it runs");
                if line.contains(text) {
                    return line;
                }
            }
        };
        timeout(DEADLINE, found).await.expect("a line in time")
    }

    /// Posts a body and gives the answer's status and body.
    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let content = format!("content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}");
        self.ask("POST", path, &content).await
    }

    /// The status and body of what is answered to a `GET`.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "\r\n").await
    }

    async fn ask(&self, method: &str, path: &str, rest: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{rest}",
            self.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
        read.expect("an answer in time").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

/// What a program says that does not start, on standard error.
pub(crate) async fn refusal(command: &mut Command) -> String {
    let output = timeout(DEADLINE, command.kill_on_drop(true).output()).await;
    let output = output.expect("an end in time").unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

/// Checks that each Rust block of a chapter, at least so many, stands in one of these files.
pub(crate) fn assert_shows(chapter: &str, at_least: usize, files: &[&str]) {
    let blocks = rust_blocks(chapter);
    assert!(blocks.len() >= at_least);
    for block in blocks {
        let is_known = files.iter().any(|file| file.contains(block));
        assert!(is_known, "in no file that is tested:\n{block}");
    }
}

/// The Rust blocks of a chapter, in order.
pub(crate) fn rust_blocks(chapter: &str) -> Vec<&str> {
    let blocks = chapter.split("```rust\n").skip(1);
    blocks
        .map(|block| block.split_once("```").expect("a block ends").0)
        .collect()
}
