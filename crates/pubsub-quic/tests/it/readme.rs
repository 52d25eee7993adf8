//! What the README says to operators, done as it says.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use matryoshka_pubsub_quic::{Pki, QuicAdapter, Secret};

use crate::ca::Ca;
use crate::cluster::{DEADLINE, Node, meet};
use crate::log::Log;

const README: &str = include_str!("../../README.md");

/// The first block of commands under this heading.
fn commands(heading: &str) -> &'static str {
    let (_, section) = README.split_once(heading).expect("the heading is there");
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0
}

/// An empty folder, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(purpose: &str) -> Self {
        let name = format!("{purpose}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, commands: &str) {
        let run = Command::new("sh")
            .args(["-e", "-c", commands])
            .current_dir(&self.0)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{commands}\n{said}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it lies in the build folder and hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn has_openssl() -> bool {
    let asked = Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn the_commands_make_certificates_with_which_nodes_meet() {
    let folder = Folder::new("own-certificates");
    let path = |name: &str| folder.0.join(name);
    if has_openssl() {
        let commands = commands("### Bring your own certificates");
        folder.run(commands);
        let for_each_node = commands.find("# For each node").unwrap();
        folder.run(&commands[for_each_node..].replace("n1", "n2"));
    } else {
        // The same files by other means; that they are right is what counts.
        let ca = Ca::new("my cluster");
        std::fs::write(path("ca.pem"), &ca.roots).unwrap();
        for name in ["n1", "n2"] {
            let papers = ca.papers(name);
            std::fs::write(path(&format!("{name}.pem")), papers.certificate).unwrap();
            std::fs::write(path(&format!("{name}.key")), papers.key).unwrap();
        }
    }
    let node = |name: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let pki = Pki::from_files(path("ca.pem"), path(&certificate), path(&key)).unwrap();
        QuicAdapter::builder(name).tls(pki)
    };
    let one = Node::start(node("n1")).await;
    let two = Node::start(node("n2").join(one.adapter.local_addr())).await;
    meet(&mut [one, two]).await;
}

#[tokio::test]
async fn a_blocked_port_is_told_in_the_words_of_the_readme() {
    let log = Log::collect();
    // Takes packets and never answers, as a firewall does.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let node = Node::builder("one", &Secret::generate()).join(address);
    let node = Node::start(node).await;
    let (_, words) = README.split_once("`no answer from 192.0.2.7:5000").unwrap();
    let words = words.split_once('`').unwrap().0;
    let line = format!("no answer from {address}{words}");
    let told = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while log.with(&line).is_empty() || node.adapter.stats().dials < 2 {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, told).await;
    waited.unwrap_or_else(|_| panic!("no {line:?} in {:#?}", log.lines()));
    assert_eq!(log.lines().len(), 1, "{:#?}", log.lines());
    // It is a cluster of one meanwhile.
    let mut here = node.pubsub.subscribe("here").unwrap();
    node.pubsub.broadcast("here", "still").unwrap();
    assert!(here.next().await.is_some());
}
