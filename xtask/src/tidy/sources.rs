//! Rules about Rust files: how they open, how long they are, what must not stay in them.

use crate::tidy::Complaint;
use crate::tidy::files::{README_IS_THE_DOC, TextFile};
use crate::tidy::growth;
use crate::tidy::purity::{self, names};
use crate::tidy::source::{code_of, tests_only, without_tests};

/// A file beyond this is two nouns, or says why it is one.
const MAX_LINES: usize = 900;
/// What is written while a thing is not done.
const LEFTOVERS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
/// A test that waits for time to pass instead of for what it tests.
const SLEEPS: [&str; 2] = ["thread::sleep", "time::sleep"];

pub(super) fn check(file: &TextFile) -> Vec<Complaint> {
    let code = code_of(&file.text);
    let mut complaints = Vec::new();
    complaints.extend(opens_with_its_doc(file));
    complaints.extend(is_not_too_long(file));
    complaints.extend(keeps_its_promise(file, &code));
    complaints.extend(nothing_left_over(file, &code));
    complaints.extend(tests_do_not_sleep(file, &code));
    complaints.extend(what_may_grow_says_so(file, &code));
    complaints
}

fn what_may_grow_says_so(file: &TextFile, code: &str) -> Vec<Complaint> {
    let mut complaints = growth::check(file, code);
    complaints.retain(|complaint| !is_excused(file, complaint.line, "closed"));
    complaints
}

fn opens_with_its_doc(file: &TextFile) -> Option<Complaint> {
    let first = file.text.lines().next().unwrap_or_default();
    let is_crate = matches!(file.name(), "lib.rs" | "main.rs") && first == README_IS_THE_DOC;
    let opens = first.starts_with("//! ") || is_crate;
    (!opens).then(|| Complaint::new(file, 1, "a module opens with `//!` and says what it is"))
}

fn is_not_too_long(file: &TextFile) -> Option<Complaint> {
    let lines = file.text.lines().count();
    let explained = file.text.lines().any(|line| is_excuse(line, "long"));
    let what = format!("{lines} lines: more than {MAX_LINES} need `// tidy: long because ...`");
    (lines > MAX_LINES && !explained).then(|| Complaint::new(file, 0, what))
}

fn keeps_its_promise(file: &TextFile, code: &str) -> Vec<Complaint> {
    if !purity::promised(&file.text) {
        return vec![];
    }
    let impurities = purity::impurities(&without_tests(code));
    let inexcusable = impurities
        .into_iter()
        .filter(|(line, _)| !is_excused(file, *line, "impure"));
    inexcusable
        .map(|(line, name)| {
            Complaint::new(
                file,
                line,
                format!("`{name}` in a file that promises to be pure"),
            )
        })
        .collect()
}

fn nothing_left_over(file: &TextFile, code: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for leftover in LEFTOVERS.iter().filter(|leftover| names(line, leftover)) {
            complaints.push(Complaint::new(
                file,
                index + 1,
                format!("`{leftover}` is not done yet"),
            ));
        }
        if line.contains("#[ignore") {
            complaints.push(Complaint::new(
                file,
                index + 1,
                "a test that is ignored tests nothing",
            ));
        }
    }
    complaints
}

fn tests_do_not_sleep(file: &TextFile, code: &str) -> Vec<Complaint> {
    let tests = if is_test_file(&file.path) {
        code.to_owned()
    } else {
        tests_only(code)
    };
    let sleeping = |line: &str| SLEEPS.iter().any(|sleep| names(line, sleep));
    let lines = tests.lines().enumerate().filter(|(_, line)| sleeping(line));
    lines
        .filter(|(index, _)| !is_excused(file, index + 1, "sleep"))
        .map(|(index, _)| {
            Complaint::new(
                file,
                index + 1,
                "a test waits for what it tests, with a deadline; it never sleeps",
            )
        })
        .collect()
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Whether this line, or the one above it, says why the rule is broken.
fn is_excused(file: &TextFile, line: usize, rule: &str) -> bool {
    let from = line.saturating_sub(2);
    file.text
        .lines()
        .skip(from)
        .take(line - from)
        .any(|line| is_excuse(line, rule))
}

fn is_excuse(line: &str, rule: &str) -> bool {
    line.split_once(&format!("// tidy: {rule} because "))
        .is_some_and(|(_, reason)| !reason.trim().is_empty())
}
