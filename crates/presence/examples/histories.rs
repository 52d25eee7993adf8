//! Plays random histories of presence, one for each seed, and prints each as a line of JSON, for the official client's class to follow:
//! `{"seed": 1, "clients": [..]}`, a client as [`Script::to_json`] has it.
//!
//! `histories [--seed S] [--seeds N]`; without, the histories of the seeds 0 to 99. One that breaks a promise ends it: it is printed as short as
//! it fails, as `CORPUS` keeps it.
//!
//! [`Script::to_json`]: matryoshka_presence::testing::Script::to_json

use std::io::Write;
use std::process::ExitCode;

use matryoshka_presence::testing::{History, Script};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let (mut first, mut seeds) = (0, 100);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (argument.as_str(), number) {
            ("--seed", Some(number)) => first = number,
            ("--seeds", Some(number)) => seeds = number,
            _ => {
                eprintln!("{argument:?}: use --seed S or --seeds N with a whole number");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut out = std::io::stdout().lock();
    for seed in (0..seeds).map(|number| first.wrapping_add(number)) {
        let history = History::of(seed);
        let scripts = match history.play() {
            Ok(scripts) => scripts,
            Err(error) => {
                eprintln!("seed {seed}: {error}\n{}", history.shortened());
                return ExitCode::FAILURE;
            }
        };
        let clients: Vec<Value> = scripts.iter().map(Script::to_json).collect();
        // Whoever reads no further has seen enough.
        if writeln!(out, "{}", json!({ "seed": seed, "clients": clients })).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}
