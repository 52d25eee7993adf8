//! Every rule catches what it is there for, and lets pass what is fine.

use crate::tidy::files::{self, TextFile};
use crate::tidy::{Complaint, check, check_file};
use crate::workspace::root;

#[test]
fn this_repository_is_tidy() {
    let complaints = check(&root()).expect("the repository can be read");
    let lines: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

fn file(path: &str, text: &str) -> TextFile {
    TextFile {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

/// The lines that are complained about.
fn lines(path: &str, text: &str) -> Vec<usize> {
    let complaints = check_file(&file(path, text));
    complaints.iter().map(|complaint| complaint.line).collect()
}

fn source(text: &str) -> Vec<usize> {
    lines("crates/tracker/src/state.rs", text)
}

const FINE: [usize; 0] = [];

#[test]
fn arrows_point_to_a_lower_tier() {
    let edge = |to: &str| {
        format!("[dependencies]\nserde.workspace = true\nmatryoshka-{to}.workspace = true\n")
    };
    let of =
        |crate_name: &str, to: &str| lines(&format!("crates/{crate_name}/Cargo.toml"), &edge(to));
    assert_eq!(of("channel", "pubsub"), FINE);
    assert_eq!(of("presence", "tracker"), FINE);
    assert_eq!(
        of("node", "presence"),
        FINE,
        "what stands outside sees everything"
    );
    assert_eq!(of("pubsub", "channel"), [3], "upward");
    assert_eq!(of("tracker", "transport"), [3], "sideways");
    assert_eq!(of("presence", "node"), [3], "outward");
    assert_eq!(
        of("presence", "presence"),
        FINE,
        "to itself, with a feature for its own tests: cargo forbids any other loop"
    );
    assert_eq!(of("newcomer", "pubsub"), [0], "a crate without a tier");
}

#[test]
fn arrows_of_every_kind_of_dependency_count() {
    for section in [
        "dev-dependencies",
        "build-dependencies",
        "target.'cfg(unix)'.dependencies",
    ] {
        let text = format!("[{section}]\nmatryoshka-channel = {{ workspace = true }}\n");
        assert_eq!(lines("crates/pubsub/Cargo.toml", &text), [2], "{section}");
    }
    let features = "[features]\nmatryoshka-channel = []\n";
    assert_eq!(lines("crates/pubsub/Cargo.toml", features), FINE);
}

#[test]
fn versions_stand_in_the_root_manifest_only() {
    let with = |line: &str| lines("xtask/Cargo.toml", &format!("[dependencies]\n{line}\n"));
    assert_eq!(with("serde.workspace = true"), FINE);
    assert_eq!(
        with("tokio = { workspace = true, features = [\"net\"] } # for the listener"),
        FINE
    );
    assert_eq!(with("serde = \"1\""), [2]);
    assert_eq!(with("serde = { version = \"1\" }"), [2]);
    assert_eq!(with("serde = { path = \"../serde\" }"), [2]);
    assert_eq!(
        lines(
            "xtask/Cargo.toml",
            "[dependencies.serde]\nversion = \"1\"\n"
        ),
        [1]
    );
    assert_eq!(
        lines("Cargo.toml", "[workspace.dependencies]\nserde = \"1\"\n"),
        FINE
    );
}

#[test]
fn modules_open_with_their_doc() {
    assert_eq!(source("//! What this is.\nfn f() {}\n"), FINE);
    assert_eq!(source("fn f() {}\n"), [1]);
    assert_eq!(source("\n//! Too late.\n"), [1]);
    assert_eq!(source(""), [1]);
    let library = "#![doc = include_str!(\"../README.md\")]\n";
    assert_eq!(lines("crates/tracker/src/lib.rs", library), FINE);
    assert_eq!(source(library), [1], "only a crate opens like that");
}

#[test]
fn crates_have_a_readme_that_is_their_doc() {
    let manifest = || file("crates/tracker/Cargo.toml", "");
    let readme = || file("crates/tracker/README.md", "# tracker");
    let library = |text| file("crates/tracker/src/lib.rs", text);
    let complaints = |files: &[TextFile]| files::crates_have_readmes(files).len();
    let included = "#![doc = include_str!(\"../README.md\")]";
    assert_eq!(complaints(&[manifest(), readme(), library(included)]), 0);
    assert_eq!(complaints(&[manifest(), library(included)]), 1);
    assert_eq!(
        complaints(&[manifest(), readme(), library("//! Something else.")]),
        1
    );
    assert_eq!(complaints(&[file("xtask/Cargo.toml", "")]), 0);
}

#[test]
fn long_files_say_why() {
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(900));
    assert_eq!(source(&long), [0]);
    assert_eq!(
        source(&format!("{long}// tidy: long because it is a table\n")),
        FINE
    );
    assert_eq!(
        source(&format!("{long}// tidy: long because \n")),
        [0],
        "a reason is asked for"
    );
}

#[test]
fn nothing_is_left_over() {
    for leftover in ["todo!()", "unimplemented!()", "dbg!(1)"] {
        assert_eq!(
            source(&format!("//! Doc.\nfn f() {{ {leftover} }}\n")),
            [2],
            "{leftover}"
        );
    }
    assert_eq!(
        source("//! Doc.\n#[ignore]\nfn t() {}\n#[ignore = \"slow\"]\nfn u() {}\n"),
        [2, 4]
    );
    assert_eq!(
        source("//! No todo!() here.\nconst WORD: &str = \"dbg!\";\n"),
        FINE
    );
}

#[test]
fn tests_do_not_sleep() {
    let tests =
        |line: &str| format!("//! Doc.\n#[cfg(test)]\nmod tests {{\n    fn t() {{ {line} }}\n}}\n");
    assert_eq!(source(&tests("std::thread::sleep(d)")), [4]);
    assert_eq!(source(&tests("tokio::time::sleep(d).await")), [4]);
    assert_eq!(
        source("//! Doc.\nfn f() { std::thread::sleep(d) }\n"),
        FINE,
        "a driver may"
    );
    let file = "//! Doc.\nfn t() { std::thread::sleep(d) }\n";
    assert_eq!(lines("crates/tracker/tests/it/main.rs", file), [2]);
    assert_eq!(lines("crates/tracker/src/log/tests.rs", file), [2]);
    let excused = "//! Doc.\n// tidy: sleep because this handler is the slow one\nfn t() { time::sleep(d) }\n";
    assert_eq!(lines("crates/tracker/tests/it/main.rs", excused), FINE);
}

#[test]
fn pure_files_keep_their_promise() {
    let pure = |line: &str| {
        source(&format!(
            "//! A machine.\n//!\n//! Pure: no clock, no I/O, no tasks.\n{line}\n"
        ))
    };
    for impure in [
        "let now = Instant::now();",
        "let now = std::time::SystemTime::now();",
        "use tokio::sync::mpsc;",
        "use std::net::UdpSocket;",
        "use std::net::*;",
        "std::fs::read(path);",
        "use std::thread;",
        "let mut rng = rand::rng();",
        "let mut rng = thread_rng();",
        "runtime.spawn(task);",
        "use std::{fmt, net::TcpStream};",
        "use std::{fmt, fs};",
    ] {
        assert_eq!(pure(impure), [4], "{impure}");
    }
    for fine in [
        "fn handle(now: Instant) {} // never Instant::now()",
        "const WORD: &str = r#\"tokio::spawn\"#;",
        "/* std::fs */ fn respawned(spawner: u8) {}",
        "#[cfg(test)]\nmod tests {\n    fn t() { let brace = '}'; Instant::now(); }\n}",
        "#[cfg(test)]\nuse std::fs;",
        "use std::{fmt, net::SocketAddr};",
    ] {
        assert_eq!(pure(fine), FINE, "{fine}");
    }
    assert_eq!(
        pure("#[cfg(test)]\nmod tests;\nuse tokio::time;"),
        [6],
        "only the test item is left out"
    );
    assert_eq!(
        source("//! A driver.\nuse tokio::sync::mpsc;\n"),
        FINE,
        "nothing promised"
    );
}

#[test]
fn paths_of_one_machine_are_caught_in_any_file() {
    let folder = concat!("/ho", "me/");
    assert_eq!(
        lines("README.md", &format!("fine\nrun {folder}me/x\n")),
        [2]
    );
    assert_eq!(
        lines("a.mjs", &format!("const at = \"{folder}me\";\n")),
        [1]
    );
    assert_eq!(
        lines("README.md", &format!("https://example.com{folder}page\n")),
        FINE
    );
    assert_eq!(
        lines("README.md", &format!("crates/node{folder}page\n")),
        FINE
    );
}

#[test]
fn lock_files_name_no_host() {
    let index = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
    assert_eq!(lines("Cargo.lock", index), FINE);
    assert_eq!(
        lines(
            "Cargo.lock",
            "source = \"registry+https://mirror.example/index\"\n"
        ),
        [1]
    );
    assert_eq!(
        lines(
            "crates/node/clients/package-lock.json",
            "{\"version\": \"1.0.0\"}\n"
        ),
        FINE
    );
    let resolved = "{\n\"resolved\": \"https://mirror.example/ws.tgz\"\n}\n";
    assert_eq!(
        lines("crates/node/clients/package-lock.json", resolved),
        [2]
    );
}

#[test]
fn what_may_grow_says_so_and_settings_can_be_set() {
    let shown = |text: &str| source(&format!("//! Said.\n{text}"));
    for fine in [
        "#[derive(Debug, Error)]\n#[non_exhaustive]\npub enum TrackError {\n}\n",
        "#[derive(Debug, Error)]\npub(crate) enum TrackError {\n}\n",
        "#[derive(Debug)]\npub enum Frame {\n}\n",
        "#[derive(Debug, Error)]\n// tidy: closed because each case is the reader's\npub enum TrackError {\n}\n",
        "#[derive(Debug, Error)]\npub struct Gone {\n    pub at: u64,\n}\n",
        "pub struct Limits {\n    most: usize,\n}\n",
        "#[non_exhaustive]\npub struct Stats {\n    pub sent: u64,\n}\n",
        "#[non_exhaustive]\npub struct Config {\n    pub most: usize,\n}\nimpl Config {\n    pub fn with_most(self) {}\n}\n",
        "#[non_exhaustive]\npub struct Config {\n    pub key: u8,\n}\nimpl Config {\n    pub fn new(key: u8) {}\n}\n",
        "#[derive(Debug, Error)]\npub struct Gone;\n\npub enum Frame {\n}\n",
    ] {
        assert_eq!(shown(fine), FINE, "{fine}");
    }
    for (text, complaints) in [
        (
            "#[derive(Debug, Error)]\npub enum TrackError {\n}\n",
            &[3][..],
        ),
        (
            "#[derive(Debug, thiserror::Error)]\npub enum TrackError {\n}\n",
            &[3],
        ),
        ("pub struct Stats {\n    pub sent: u64,\n}\n", &[2]),
        (
            "pub struct TrackerConfig {\n    pub most: usize,\n}\n",
            &[2, 2],
        ),
        (
            "#[non_exhaustive]\npub struct Config {\n    pub a: u8,\n    pub b: u8,\n}\nfn with_b() {}\n",
            &[3],
        ),
        (
            "#[non_exhaustive]\npub struct Stats {\n    pub a: u8,\n}\npub struct Limits {\n    pub a: u8,\n}\nfn with_a() {}\n",
            &[6],
        ),
    ] {
        assert_eq!(shown(text), complaints, "{text}");
    }
    let outside = "//! Said.\npub struct Config {\n    pub most: usize,\n}\n";
    assert_eq!(lines("xtask/src/bench.rs", outside), FINE, "nobody else's");
}
