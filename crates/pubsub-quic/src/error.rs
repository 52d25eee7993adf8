//! What can go wrong when a node starts, or takes another identity.

use std::io;

use matryoshka_pubsub::{InvalidNodeName, Payload};

use crate::config::MIN_MESSAGE_BYTES;
use crate::proto::codec::{NEWEST_PROTOCOL, OLDEST_PROTOCOL};
use crate::secret::SecretError;
use crate::tls::{PkiError, TlsError};

/// Why a [`QuicAdapter`](crate::QuicAdapter) did not start. Nothing is left open; correct what it names and start
/// again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node's name is not one.
    #[error(transparent)]
    InvalidName(#[from] InvalidNodeName),
    /// The cluster's name is empty or too long.
    #[error("{cluster:?} is no cluster name: take 1 to 64 bytes of text")]
    InvalidCluster {
        /// What was given.
        cluster: String,
    },
    /// There is neither a secret nor a certificate.
    #[error(
        "no cluster secret: give every node of the cluster the same one (there is no default), or certificates of your own"
    )]
    NoSecret,
    /// There are both.
    #[error(
        "both a cluster secret and certificates of your own: give one of the two, the same on every node"
    )]
    TwoIdentities,
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address to listen on is not one.
    #[error(
        "cannot listen on {address:?}: write an IP address of this machine and a port, such as 127.0.0.1:5000"
    )]
    InvalidListen {
        /// What was given.
        address: String,
    },
    /// Others cannot dial the advertised address.
    #[error(
        "cannot advertise {address:?}: write a host or IP address that the other nodes can reach (no wildcard), and a port"
    )]
    InvalidAdvertise {
        /// What was given.
        address: String,
    },
    /// An address to join at cannot be dialled.
    #[error(
        "cannot join at {address:?}: write a host or IP address and a port, such as n1.internal:5000"
    )]
    InvalidJoin {
        /// What was given.
        address: String,
    },
    /// The version of the protocol is not one that this code speaks.
    #[error(
        "cannot speak protocol version {protocol}: take one of {OLDEST_PROTOCOL} to {NEWEST_PROTOCOL}"
    )]
    InvalidProtocol {
        /// What was given.
        protocol: u16,
    },
    /// The limit of a message's payload is too small or too large.
    #[error(
        "{bytes} bytes cannot be the largest payload: take {MIN_MESSAGE_BYTES} to {max}",
        max = Payload::MAX_BYTES
    )]
    InvalidMessageLimit {
        /// What was given.
        bytes: usize,
    },
    /// Another program has the port.
    #[error(
        "UDP port {address} is taken: stop the program that has it, or listen on another port (0 picks one)"
    )]
    PortTaken {
        /// The address asked for.
        address: String,
    },
    /// The socket could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The certificates of your own cannot be used for this node.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Certificates or TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a running node did not take another identity. It keeps the one it has; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// A secret for a node with certificates of one's own, or the other way round.
    #[error(
        "this node was started with {}: start it again to change that, as no node accepts both",
        if *.has_secret { "a cluster secret" } else { "certificates of your own" }
    )]
    OtherKind {
        /// Whether it has a secret now.
        has_secret: bool,
    },
    /// The certificates cannot be used for this node.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No certificate could be issued.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
