//! Who this node is in its cluster: where its secret or its certificates are read from, at the start and again on SIGHUP,
//! and the subcommand that prints a fresh secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use matryoshka_pubsub_quic::{Builder, Pki, PkiError, PkiPart, QuicAdapter, RotateError};
use matryoshka_pubsub_quic::{Secret, SecretError};

use crate::flags::{IdentityFlags, SECRET_VARIABLE};

/// The node's identity cannot be had. The message never shows any of a secret or key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// `--quic` without a secret.
    #[error(
        "--quic needs the cluster's secret: put the output of `matryoshka-node secret` into a file \
         and pass --cluster-secret-file FILE, or set {SECRET_VARIABLE}; every node gets the same one. \
         Or give certificates of your own: --tls-ca, --tls-cert and --tls-key"
    )]
    Missing,
    /// Two identities, of which one is in the environment.
    #[error(
        "--tls-ca, --tls-cert and --tls-key are not allowed together with {SECRET_VARIABLE}: a node has either \
         certificates of your own or the cluster's secret; leave one of them out"
    )]
    Two,
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
    /// The certificates cannot be used.
    #[error("{} {:?} is not allowed: {} {}", flag(.0.part), .0.path.clone().unwrap_or_default(), .0.part, .0.fault)]
    BadPki(PkiError),
}

/// A fresh secret, as every node of a new cluster gets it.
pub(crate) fn fresh_secret() -> String {
    Secret::generate().to_hex()
}

/// Where the identity is read from.
#[derive(Clone)]
pub(crate) enum IdentitySource {
    /// `--cluster-secret-file`.
    SecretFile(PathBuf),
    /// The value of the environment variable, which stays as it is for as long as the process runs.
    SecretVariable(String),
    /// `--tls-ca`, `--tls-cert` and `--tls-key`.
    Pki(PkiFiles),
}

/// The three files of certificates of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PkiFiles {
    /// `--tls-ca`.
    pub(crate) ca: PathBuf,
    /// `--tls-cert`.
    pub(crate) certificate: PathBuf,
    /// `--tls-key`.
    pub(crate) key: PathBuf,
}

/// What was read.
pub(crate) enum Identity {
    /// One or more secrets.
    Secret(Secret),
    /// Certificates of one's own.
    Pki(Pki),
}

impl IdentitySource {
    /// What the flags and the value of the environment variable say. A file goes before the variable.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] if there is none, or more than one.
    pub(crate) fn of(flags: &IdentityFlags, variable: Option<&str>) -> Result<Self, IdentityError> {
        let variable = variable.filter(|value| !value.is_empty());
        match (flags.tls(), &flags.cluster_secret_file, variable) {
            (Some(_), _, Some(_)) => Err(IdentityError::Two),
            (Some(files), _, None) => Ok(Self::Pki(files)),
            (None, Some(path), _) => Ok(Self::SecretFile(path.clone())),
            (None, None, Some(value)) => Ok(Self::SecretVariable(value.to_owned())),
            (None, None, None) => Err(IdentityError::Missing),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] if what is read is no identity.
    pub(crate) fn read(&self) -> Result<Identity, IdentityError> {
        match self {
            Self::SecretFile(path) => secret_from_file(path.clone()).map(Identity::Secret),
            Self::SecretVariable(value) => Secret::parse(value)
                .map(Identity::Secret)
                .map_err(IdentityError::BadVariable),
            Self::Pki(files) => Pki::from_files(&files.ca, &files.certificate, &files.key)
                .map(Identity::Pki)
                .map_err(IdentityError::BadPki),
        }
    }

    /// What it accepts, so many of them.
    pub(crate) fn counted(&self, authorities: usize) -> String {
        match (self, authorities) {
            (Self::Pki(_), 1) => "1 authority".to_owned(),
            (Self::Pki(_), many) => format!("{many} authorities"),
            (_, 1) => "1 secret".to_owned(),
            (_, many) => format!("{many} secrets"),
        }
    }

    /// Whether reading it again may give something else.
    pub(crate) fn may_change(&self) -> bool {
        !matches!(self, Self::SecretVariable(_))
    }
}

impl fmt::Display for IdentitySource {
    /// Its flags; never what they lead to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretFile(path) => write!(f, "--cluster-secret-file {path:?}"),
            Self::SecretVariable(_) => f.write_str(SECRET_VARIABLE),
            Self::Pki(files) => write!(
                f,
                "--tls-ca {:?}, --tls-cert {:?} and --tls-key {:?}",
                files.ca, files.certificate, files.key
            ),
        }
    }
}

impl Identity {
    /// Starts a node with it.
    pub(crate) fn start_with(self, builder: Builder) -> Builder {
        match self {
            Self::Secret(secret) => builder.secret(secret),
            Self::Pki(pki) => builder.tls(pki),
        }
    }

    /// Gives it to a node that runs.
    ///
    /// # Errors
    ///
    /// [`RotateError`] if it cannot be used; the node keeps what it has.
    pub(crate) fn give_to(self, mesh: &QuicAdapter) -> Result<(), RotateError> {
        match self {
            Self::Secret(secret) => mesh.set_secret(&secret),
            Self::Pki(pki) => mesh.set_tls(pki),
        }
    }
}

fn secret_from_file(path: PathBuf) -> Result<Secret, IdentityError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Secret::parse(&text).map_err(|source| IdentityError::BadFile { path, source }),
        Err(source) => Err(IdentityError::Unreadable { path, source }),
    }
}

fn flag(part: PkiPart) -> &'static str {
    match part {
        PkiPart::Ca => "--tls-ca",
        PkiPart::Key => "--tls-key",
        _ => "--tls-cert",
    }
}
