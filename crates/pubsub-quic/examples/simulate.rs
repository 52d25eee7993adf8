//! Plays histories of the whole link, each from a seed, until one breaks a promise or somebody stops it: what `cargo xtask sim --link`
//! runs. Told to stop (Ctrl-C, SIGTERM) it ends the histories that it has begun and says what was seen.
//!
//! `simulate [--seed S] [--seeds N] [--nodes K]`; with `--show`, the one history of seed S is told line by line. Without
//! `--nodes`, each history has 3 to 5 as its seed says.

use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use matryoshka_pubsub_quic::testing::sim::{Outcome, Tally, play};

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut seed, mut seeds, mut nodes, mut show) = (1, u64::MAX, None, false);
    while let Some(argument) = arguments.next() {
        if argument == "--show" {
            show = true;
            continue;
        }
        let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (argument.as_str(), number) {
            ("--seed", Some(number)) => seed = number,
            ("--seeds", Some(number)) => seeds = number,
            ("--nodes", Some(number)) => nodes = usize::try_from(number).ok(),
            _ => {
                eprintln!(
                    "{argument:?}: use --seed S, --seeds N, --nodes K with a whole number, or --show"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    if show {
        tell(seed, nodes)
    } else {
        search(seed, seeds, nodes)
    }
}

fn tell(seed: u64, nodes: Option<usize>) -> ExitCode {
    let outcome = play(seed, nodes, true);
    let mut out = io::stdout().lock();
    for line in &outcome.lines {
        // Whoever reads may have seen enough.
        if writeln!(out, "{line}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    println!(
        "seed {seed}: hash {:016x}: {}",
        outcome.hash,
        verdict(&outcome)
    );
    code(outcome.broken.is_none())
}

fn verdict(outcome: &Outcome) -> &str {
    outcome
        .broken
        .as_deref()
        .unwrap_or("every promise was kept")
}

fn search(first: u64, seeds: u64, nodes: Option<usize>) -> ExitCode {
    let (next, played) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = match stop_requests() {
        Ok(stop) => stop,
        Err(error) => {
            eprintln!("cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let tally = Mutex::new(Tally::default());
    let broken: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let began = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Tally::default();
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= seeds {
                            break;
                        }
                        let seed = first.wrapping_add(number);
                        match examine(seed, nodes, &mut seen) {
                            Ok(()) => {}
                            Err(text) => {
                                stop.store(true, Ordering::Relaxed);
                                let mut broken = broken.lock().expect("no worker panics with it");
                                broken.get_or_insert((seed, text));
                            }
                        }
                        played.fetch_add(1, Ordering::Relaxed);
                    }
                    tally.lock().expect("no worker panics with it").merge(&seen);
                })
            })
            .collect();
        let mut said = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::park_timeout(Duration::from_millis(100));
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                let (played, seconds) = (played.load(Ordering::Relaxed), began.elapsed().as_secs());
                eprintln!("{played} histories in {seconds} s");
            }
        }
    });
    let (played, seconds) = (
        played.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
    );
    print!(
        "{}",
        tally.into_inner().expect("no worker panicked with it")
    );
    println!("{played} histories in {seconds:.1} s");
    let broken = broken.into_inner().expect("no worker panicked with it");
    if let Some((seed, text)) = &broken {
        println!("seed {seed} FAILED: {text}");
        let nodes = nodes.map(|nodes| format!(" --nodes {nodes}"));
        let nodes = nodes.unwrap_or_default();
        println!("replay it: cargo xtask sim --link --seed {seed}{nodes} --show");
    }
    code(broken.is_none())
}

/// True once somebody asked for an end.
fn stop_requests() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Plays it twice: the second time must be like the first.
fn examine(seed: u64, nodes: Option<usize>, seen: &mut Tally) -> Result<(), String> {
    let run = || std::panic::catch_unwind(|| play(seed, nodes, false));
    let Ok(first) = run() else {
        return Err("it panicked, as said above".to_owned());
    };
    seen.merge(&first.tally);
    if let Some(broken) = first.broken {
        return Err(broken);
    }
    match run() {
        Ok(second) if second.hash == first.hash => Ok(()),
        _ => Err("its second run was not like its first".to_owned()),
    }
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
