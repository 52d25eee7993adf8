//! Measurements of the hot paths, each as a ratio to a bare baseline in the same run: digits differ between machines, ratios
//! hardly do.
//!
//! `cargo run -p matryoshka-benches --release`

mod dispatch;
mod harness;

fn main() {
    println!("medians; one thread; the baseline is measured in turn with each subject");
    dispatch::run();
}
