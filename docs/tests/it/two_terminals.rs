//! The two examples of the mesh, as two processes: they find each other and exchange messages.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const README: &str = include_str!("../../../crates/pubsub-quic/README.md");
const ANSWER: &str = include_str!("../../../crates/pubsub-quic/examples/answer.rs");
const QUESTION: &str = include_str!("../../../crates/pubsub-quic/examples/question.rs");
const SECRET: &str = "5ecc0de05ecc0de05ecc0de05ecc0de05ecc0de05ecc0de05ecc0de05ecc0de0";

/// A program with its output; it ends when this is dropped.
struct Terminal {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    fn run(program: &str, address: &str) -> Self {
        let mut process = Command::new(program)
            .arg(address)
            .env("MATRYOSHKA_CLUSTER_SECRET", SECRET)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, output }
    }

    async fn line(&mut self) -> String {
        let line = timeout(Duration::from_secs(30), self.output.next_line()).await;
        line.expect("a line in time")
            .unwrap()
            .expect("a line before the end")
    }
}

#[tokio::test]
async fn two_terminals_find_each_other_and_exchange_messages() {
    let mut answer = Terminal::run(env!("CARGO_BIN_EXE_answer"), "127.0.0.1:0");
    let line = answer.line().await;
    let address = line.strip_prefix("listening on ").expect(&line);
    for _ in 0..2 {
        let mut question = Terminal::run(env!("CARGO_BIN_EXE_question"), address);
        assert_eq!(answer.line().await, "asked: are you there?");
        assert_eq!(question.line().await, "answered: yes, I am");
        let ended = timeout(Duration::from_secs(30), question.process.wait()).await;
        assert!(ended.expect("it ends by itself").unwrap().success());
    }
}

#[test]
fn the_readme_shows_the_two_programs_as_they_are() {
    for program in [ANSWER, QUESTION] {
        // The line that says which terminal it is for is the reader's heading there.
        let (_, code) = program.split_once("\n\n").unwrap();
        assert!(README.contains(code), "not in the README:\n{code}");
        let lines = code.lines().filter(|line| !line.is_empty());
        assert!(lines.count() <= 30);
    }
}
