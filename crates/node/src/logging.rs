//! Logs: one line per event on standard error, panics of channels among them.

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Whether `filter` can be given to [`start`].
pub(crate) fn is_filter(filter: &str) -> bool {
    parse(filter).is_ok()
}

/// Sends events that pass `filter` to standard error, and turns each panic into one of them.
///
/// # Panics
///
/// If `filter` is not one, or logging was started before: both are decided before this is called.
pub(crate) fn start(filter: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(parse(filter).expect("the filter was checked with the flags"))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at = at.unwrap_or_default(), "panic: {}", text_of(panic));
    }));
}

fn text_of<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(filter)
}
