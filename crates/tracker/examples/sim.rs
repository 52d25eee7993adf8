//! Runs many simulated histories and says what happened in them:
//! `cargo run -p matryoshka-tracker --features test-util --example sim -- FIRST_SEED NUMBER_OF_SEEDS`.

use std::process::ExitCode;

use matryoshka_tracker::testing::sim;

fn main() -> ExitCode {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let (first, count) = match numbers.as_deref() {
        Ok([first, count]) => (*first, *count),
        Ok([seed, nodes, actions @ ..]) if !actions.is_empty() => {
            sim::tell(*seed, *nodes as usize, actions);
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!(
                "usage: sim FIRST_SEED NUMBER_OF_SEEDS, or to see one history: sim SEED NODES STEP..."
            );
            return ExitCode::from(2);
        }
    };
    // A checker that fails panics, many times while its history is shortened; what it said last is printed at the end.
    std::panic::set_hook(Box::new(|_| ()));
    match sim::many(first, count) {
        Ok(report) => print(&report, count),
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn print(report: &sim::Report, count: u64) -> ExitCode {
    for (name, times) in &report.counts {
        println!("{times:>12}  {name}");
    }
    println!("{count} histories, trace {:016x}", report.trace);
    let missing = sim::never_happened(report);
    if missing.is_empty() || count < sim::ENOUGH {
        return ExitCode::SUCCESS;
    }
    println!("never happened: {}", missing.join(", "));
    ExitCode::FAILURE
}
