//! The cluster's secret: where it is read from, and the subcommand that prints a fresh one.

use std::io;
use std::path::{Path, PathBuf};

use matryoshka_pubsub_quic::{Secret, SecretError};

use crate::flags::SECRET_VARIABLE;

/// The cluster's secret cannot be had. The message never shows any of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretSourceError {
    /// `--quic` without a secret.
    #[error(
        "--quic needs the cluster's secret: put the output of `matryoshka-node secret` into a file \
         and pass --cluster-secret-file FILE, or set {SECRET_VARIABLE}; every node gets the same one"
    )]
    Missing,
    /// The file cannot be read.
    #[error(
        "--cluster-secret-file {path:?} is not allowed: it takes a readable file with one secret a line, \
         but {source}"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "--cluster-secret-file {path:?} is not allowed: {source}; `matryoshka-node secret` prints a fresh \
         secret"
    )]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretError,
    },
    /// The variable holds something else.
    #[error(
        "{SECRET_VARIABLE} is not allowed: {0}; `matryoshka-node secret` prints a fresh secret"
    )]
    BadVariable(SecretError),
}

/// A fresh secret, as every node of a new cluster gets it.
pub(crate) fn fresh() -> String {
    Secret::generate().to_hex()
}

/// The secret from `file`, else from the value of the environment variable.
///
/// # Errors
///
/// [`SecretSourceError`] if there is none, or it is none.
pub(crate) fn load(
    file: Option<&Path>,
    variable: Option<&str>,
) -> Result<Secret, SecretSourceError> {
    match (file, variable.filter(|value| !value.is_empty())) {
        (Some(path), _) => from_file(path),
        // One secret a line in a file, a comma between in a variable.
        (None, Some(value)) => {
            Secret::parse(&value.replace(',', "\n")).map_err(SecretSourceError::BadVariable)
        }
        (None, None) => Err(SecretSourceError::Missing),
    }
}

fn from_file(path: &Path) -> Result<Secret, SecretSourceError> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretSourceError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Secret::parse(&text).map_err(|source| SecretSourceError::BadFile {
        path: path.to_owned(),
        source,
    })
}
