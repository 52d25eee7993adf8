//! Plays histories of whole clusters of trackers, each from a seed, until one breaks a promise: what `cargo xtask sim` runs.
//!
//! `sim [--seed S] [--seeds N] [--nodes K]`; with `--show`, the one history of seed S is told line by line, or the shortest one
//! that still fails if it does. Without `--nodes`, each history has 2 to 5 as its seed says. Ctrl-C or SIGTERM ends it
//! with what it has seen so far.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use matryoshka_tracker::testing::sim::{self, Search, Searched};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut search = Search {
        first: 1,
        seeds: u64::MAX,
        nodes: None,
    };
    let mut show = false;
    while let Some(argument) = arguments.next() {
        if argument == "--show" {
            show = true;
            continue;
        }
        let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (argument.as_str(), number) {
            ("--seed", Some(number)) => search.first = number,
            ("--seeds", Some(number)) => search.seeds = number,
            ("--nodes", Some(number @ 2..=50)) => search.nodes = usize::try_from(number).ok(),
            _ => {
                eprintln!(
                    "{argument:?}: use --seed S, --seeds N, --nodes K (2 to 50) with a whole number, or --show"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    // A checker that fails panics, many times while its history is shortened; what it said last is printed at the end.
    std::panic::set_hook(Box::new(|_| ()));
    if show { tell(search) } else { play(search) }
}

fn tell(search: Search) -> ExitCode {
    let seed = search.first;
    let plan = search.plan(seed);
    match sim::examine(seed, plan) {
        Ok(report) => {
            sim::tell(seed, plan.nodes, &plan.actions(seed));
            println!(
                "seed {seed}: hash {:016x}: every promise was kept",
                report.trace
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let told = || sim::tell(seed, plan.nodes, &failure.actions);
            // It fails again, as it did when it was shortened.
            let _ = std::panic::catch_unwind(told);
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn play(search: Search) -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            eprintln!("no summary when it is interrupted: {error}");
        }
    }
    let began = Instant::now();
    let said = Mutex::new(began);
    let searched = search.run(|played| {
        let mut said = said.lock().expect("nothing panics with it");
        if said.elapsed() >= PROGRESS {
            *said = Instant::now();
            eprintln!("{played} histories in {} s", began.elapsed().as_secs());
        }
        !stop.load(Ordering::Relaxed)
    });
    summarise(&searched, search, began.elapsed())
}

fn summarise(searched: &Searched, search: Search, took: Duration) -> ExitCode {
    let Searched {
        histories,
        report,
        failure,
    } = searched;
    for (name, times) in &report.counts {
        println!("{times:>12}  {name}");
    }
    let seconds = took.as_secs_f64();
    println!(
        "{histories} histories, each twice, in {seconds:.1} s, hash {:016x}",
        report.trace
    );
    if let Some(failure) = failure {
        println!("{failure}");
        let nodes = search.nodes.map(|nodes| format!(" --nodes {nodes}"));
        let nodes = nodes.unwrap_or_default();
        println!(
            "replay it: cargo xtask sim --seed {}{nodes} --show",
            failure.seed
        );
        return ExitCode::FAILURE;
    }
    let missing = sim::never_happened(report);
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("never happened: {}", missing.join(", "));
    // Fewer need not reach everything.
    if *histories >= sim::ENOUGH {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
