//! Pure files: they take `now` and randomness as arguments and do nothing themselves.

use crate::tidy::source::is_word;

/// The line of a module's doc that makes this promise.
pub(super) const PROMISE: &str = "//! Pure: no clock, no I/O, no tasks.";

/// What a pure file must not name. Addresses are values and may be named, sockets may not.
const IMPURE: [&str; 13] = [
    "Instant::now",
    "SystemTime::now",
    "tokio::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::net::*",
    "std::fs",
    "std::thread",
    "rand::rng",
    "thread_rng",
    "spawn",
];
/// The same modules, taken from a list behind `std::`.
const IMPURE_OF_STD: [&str; 2] = ["fs", "thread"];

pub(super) fn promised(text: &str) -> bool {
    let doc = text.lines().take_while(|line| line.starts_with("//!"));
    doc.into_iter().any(|line| line.trim_end() == PROMISE)
}

/// Impure names in code without comments, strings and tests: line (from 1) and name.
pub(super) fn impurities(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for name in IMPURE.iter().filter(|name| names(line, name)) {
            found.push((index + 1, (*name).to_owned()));
        }
    }
    found.extend(from_std_lists(code));
    found
}

/// `use std::{fs, thread::JoinHandle}`.
fn from_std_lists(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, list) in code.match_indices("std::{") {
        let body = &code[start + list.len()..];
        let body = &body[..body.find(';').unwrap_or(body.len())];
        let line = code[..start].matches('\n').count() + 1;
        for module in IMPURE_OF_STD.iter().filter(|module| names(body, module)) {
            found.push((line, format!("std::{module}")));
        }
    }
    found
}

/// Whether the name stands in the text as a whole word.
pub(super) fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = at.checked_sub(1).map(|index| text.as_bytes()[index]);
        let after = text.as_bytes().get(at + name.len()).copied();
        let ends_in_word = name.as_bytes().last().copied().is_some_and(is_word);
        before.is_none_or(|byte| !is_word(byte)) && !(ends_in_word && after.is_some_and(is_word))
    })
}
