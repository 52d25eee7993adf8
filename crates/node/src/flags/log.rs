//! The flag of what is logged, and the second environment variable for it.

use clap::Args;

use super::refusal::FlagError;
use crate::logging;

/// For those used to it.
const RUST_LOG: &str = "RUST_LOG";

/// What is logged.
#[derive(Debug, Args)]
pub(crate) struct LogFlags {
    /// `tracing` filter; RUST_LOG counts when neither this nor MATRYOSHKA_LOG is given
    #[arg(long, env = "MATRYOSHKA_LOG", value_name = "FILTER", default_value = "info", value_parser = log_filter)]
    log: String,
}

impl LogFlags {
    /// What is logged.
    pub(crate) fn filter(&self) -> &str {
        &self.log
    }

    /// The flag was not given: the other variable counts, if it is set.
    pub(super) fn take_rust_log(&mut self) -> Result<(), FlagError> {
        let Some(value) = std::env::var_os(RUST_LOG).filter(|value| !value.is_empty()) else {
            return Ok(());
        };
        let value = value.to_string_lossy();
        self.log = log_filter(&value)
            .map_err(|allowed| FlagError::not_allowed(RUST_LOG, &value, &allowed))?;
        Ok(())
    }
}

fn log_filter(value: &str) -> Result<String, String> {
    if logging::is_filter(value) {
        return Ok(value.to_owned());
    }
    Err(
        "it takes a level (error, warn, info, debug, trace, off) or a list such as \
         info,matryoshka_channel=debug"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_is_a_level_or_a_list() {
        for good in ["info", "warn,matryoshka_channel=debug", "off"] {
            assert!(log_filter(good).is_ok(), "{good}");
        }
        assert!(log_filter("info==").is_err());
    }
}
