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
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) address: String,
}

impl Program {
    pub(crate) async fn start(executable: &str) -> Self {
        let mut process = Command::new(executable)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, lines.next_line()).await;
        let line = line
            .expect("a line in time")
            .unwrap()
            .expect("a line before the end");
        let address = line.strip_prefix("listening on ").expect(&line).to_owned();
        Self {
            _process: process,
            lines,
            address,
        }
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
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
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

/// The Rust blocks of a chapter, in order.
pub(crate) fn rust_blocks(chapter: &str) -> Vec<&str> {
    let blocks = chapter.split("```rust\n").skip(1);
    blocks
        .map(|block| block.split_once("```").expect("a block ends").0)
        .collect()
}
