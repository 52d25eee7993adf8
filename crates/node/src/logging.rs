//! Logs: one line per event on standard error, panics of channels among them.

use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

use crate::flags::flag_of;

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
        .fmt_fields(WithFlag)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at = at.unwrap_or_default(), "panic: {}", text_of(panic));
    }));
}

/// A line that names a limit, as the library calls it, also names the flag that sets it.
struct WithFlag;

impl<'w> FormatFields<'w> for WithFlag {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        DefaultFields::new().format_fields(writer.by_ref(), &fields)?;
        let mut flag = FlagOfLimit(None);
        fields.record(&mut flag);
        match flag.0 {
            Some(flag) => write!(writer, " flag={flag:?}"),
            None => Ok(()),
        }
    }
}

struct FlagOfLimit(Option<&'static str>);

impl Visit for FlagOfLimit {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "limit" {
            self.0 = flag_of(value);
        }
    }

    /// No limit is named so.
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
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
