//! All automation of this repository: `cargo xtask <command>`. This file only parses and dispatches.

mod bench;
mod child;
mod chromium;
mod cluster;
mod demo;
mod failure;
mod flags;
mod fuzz;
mod guard;
mod http;
mod integration;
mod node;
mod npm;
mod progress;
mod python;
mod signals;
mod sim;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::failure::Outcome;
use crate::flags::{Command, Flags};

fn main() -> ExitCode {
    match run(Flags::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            progress::say(format_args!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome<ExitCode> {
    let done = match command {
        Command::Demo(flags) => demo::run(&flags),
        Command::Test(flags) => return test::run(&flags),
        Command::Tidy => tidy::run(),
        Command::Integration(flags) => integration::run(&flags),
        Command::Bench(flags) => bench::run(&flags),
        Command::Fuzz(flags) => fuzz::run(&flags),
        Command::Sim(flags) => sim::run(&flags),
        Command::Guard(flags) => return guard::run(&flags),
    };
    done.map(|()| ExitCode::SUCCESS)
}
