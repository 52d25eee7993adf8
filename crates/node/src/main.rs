#![doc = include_str!("../README.md")]

mod answer;
mod broadcast_api;
mod cluster_api;
mod drain;
mod error;
mod flags;
mod heads;
mod health;
mod http;
mod identity;
mod lab;
mod listener;
mod logging;
mod membership;
mod metrics;
mod node;
mod open_files;
mod page;
mod page_link;
mod presence_api;
mod presence_events;
mod presence_topics;
mod readiness;
mod rereading;
mod room;
mod server;
mod shutdown;
mod taking;
mod user;

use std::io::Write;
use std::process::ExitCode;

use error::StartError;
use flags::Invocation;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("matryoshka-node: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn run() -> Result<ExitCode, StartError> {
    let text = match flags::parse(std::env::args_os())? {
        Invocation::Serve(flags) => return serve(&flags),
        Invocation::Secret => format!("{}\n", identity::fresh_secret()),
        Invocation::Print(text) => text,
    };
    // Whoever closed standard output does not want the text.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn serve(flags: &flags::Flags) -> Result<ExitCode, StartError> {
    logging::start(flags.log.filter());
    open_files::allow_all();
    matryoshka_presence::channel::log_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(node::run(flags));
    // Nothing may hold up the exit now, least of all a file being read.
    runtime.shutdown_background();
    ended.map(|ended| ended.exit_code())
}
