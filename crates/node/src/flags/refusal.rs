//! The one line that a wrong command line earns.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Why the command line was refused: one line that names the flag, the value, and what is allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct FlagError(pub(super) String);

impl FlagError {
    /// A value that its flag does not take.
    pub(super) fn not_allowed(flag: &str, value: &str, allowed: &str) -> Self {
        Self(format!("{flag} {value:?} is not allowed: {allowed}"))
    }

    /// What clap has against the command line, reduced to one line.
    pub(super) fn of_clap(
        command: &clap::Command,
        arguments: &[OsString],
        error: &clap::Error,
    ) -> Self {
        let shown = text(error, ContextKind::InvalidArg);
        let flag = shown.split_whitespace().next().unwrap_or_default();
        let value = text(error, ContextKind::InvalidValue);
        let of_value = |allowed: &str| {
            Self::not_allowed(&with_variable(command, arguments, flag), &value, allowed)
        };
        match error.kind() {
            ErrorKind::ValueValidation => match std::error::Error::source(error) {
                Some(allowed) => of_value(&allowed.to_string()),
                None => of_value("see `matryoshka-node --help`"),
            },
            // clap reports a missing value as an invalid one that is empty.
            ErrorKind::InvalidValue if value.is_empty() => Self(format!(
                "{shown} needs a value; see `matryoshka-node --help`"
            )),
            ErrorKind::InvalidValue => {
                let valid = text(error, ContextKind::ValidValue);
                of_value(&format!("it takes one of {valid}"))
            }
            ErrorKind::ArgumentConflict if flag.is_empty() => {
                Self("`secret` takes no flags".to_owned())
            }
            ErrorKind::ArgumentConflict => {
                Self(format!("{flag} is not allowed twice: give it once"))
            }
            ErrorKind::InvalidUtf8 => Self(
                "a flag's value is not UTF-8; flags and variables take UTF-8 text only".to_owned(),
            ),
            ErrorKind::TooManyValues => Self(format!(
                "{flag} {value:?} is not allowed: it takes no value"
            )),
            _ => Self::unknown(error),
        }
    }

    fn unknown(error: &clap::Error) -> Self {
        let named = |kinds: [ContextKind; 2]| {
            let mut texts = kinds.into_iter().map(|kind| text(error, kind));
            texts.find(|text| !text.is_empty())
        };
        let given = named([ContextKind::InvalidArg, ContextKind::InvalidSubcommand]);
        let closest = named([ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand])
            .map(|suggestion| format!(" (did you mean {suggestion}?)"));
        Self(format!(
            "{} is not known{}; `matryoshka-node --help` lists what is allowed",
            given.unwrap_or_default(),
            closest.unwrap_or_default()
        ))
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

/// The flag, and its environment variable when the value came from there.
fn with_variable(command: &clap::Command, arguments: &[OsString], flag: &str) -> String {
    let on_command_line = arguments.iter().any(|argument| {
        argument.to_str().is_some_and(|argument| {
            argument
                .strip_prefix(flag)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    });
    let variable = command
        .get_arguments()
        .find(|argument| argument.get_long() == flag.strip_prefix("--"))
        .and_then(clap::Arg::get_env)
        .filter(|_| !on_command_line);
    match variable {
        Some(variable) => format!("{flag} (from {})", variable.to_string_lossy()),
        None => flag.to_owned(),
    }
}
