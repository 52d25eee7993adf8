//! Why a node did not start: one line each, that names the cure.

use std::io;
use std::net::SocketAddr;

use matryoshka_pubsub_quic::StartError as QuicError;

use crate::flags::FlagError;
use crate::identity::IdentityError;
use crate::page::AssetsError;

/// The node did not start; nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The command line is wrong.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// The secret or the certificates are missing or wrong.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The folder for the page is wrong.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// The HTTP listener cannot be had.
    #[error("--http {address}: {}", cannot_listen(source))]
    Http {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The cluster listener cannot be had.
    #[error("--quic {address}: {source}")]
    Quic {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: QuicError,
    },
    /// The system refused a thread or a signal handler.
    #[error(
        "the system refused to start the server: {0}; look for limits on threads and open files"
    )]
    System(#[from] io::Error),
}

impl StartError {
    /// Why the listener at `address` was not started; certificates are spoken of by their flags.
    pub(crate) fn of_mesh(address: SocketAddr, source: QuicError) -> Self {
        match source {
            QuicError::Pki(error) => Self::Identity(IdentityError::BadPki(error)),
            source => Self::Quic { address, source },
        }
    }

    /// 2 when the command line or environment must change, 1 when the world must.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Flag(_) | Self::Assets(_) => 2,
            Self::Identity(IdentityError::Missing) => 1,
            Self::Identity(_) => 2,
            Self::Http { .. } | Self::Quic { .. } | Self::System(_) => 1,
        }
    }
}

/// What the system says about a listener that cannot be had, and what to do.
fn cannot_listen(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is taken: stop the program that listens there, or choose another port (port \
             0 picks a free one)"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one of its own, or 0.0.0.0 for all".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "the system forbids this port: choose one above 1023, or grant the right".to_owned()
        }
        _ => format!("cannot listen there: {error}"),
    }
}
