//! Certificates and mutual authentication.
//!
//! A cluster's certificates come from one of two places. **From a secret:** each secret gives, by HKDF-SHA256, the
//! Ed25519 key of a certificate authority, and a node issues itself a leaf that carries its name as a URI. **From the
//! user's own authority:** the node gets certificates and key as PEM. From there on all is one: both sides of a connection
//! verify the other's chain without a name, since an address does not say who is to be met; the name is compared
//! once the peer has said hello.
//!
//! [`Identity`] is what a node is at the moment, and may change while it runs; [`Handshake`] is one use of it.

mod authority;
mod certificate;
mod credentials;
mod diagnosis;
mod handshake;
mod identity;
mod own;
mod trust;
mod validity;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::certificate::Fingerprint;
pub use self::own::{Pki, PkiError, PkiFault, PkiPart};

pub(crate) use self::certificate::listed;
pub(crate) use self::credentials::{Credentials, Kind};
pub(crate) use self::diagnosis::{refused_here, refused_there};
pub(crate) use self::handshake::Handshake;
pub(crate) use self::identity::Identity;

/// The server name that a dialling node puts where TLS wants one. It is neither sent nor checked.
pub(crate) const ANY_NODE: &str = "matryoshka.invalid";

/// Why the TLS set-up of this node could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Deriving or issuing a certificate failed.
    #[error("cannot issue this node's certificate: {0}")]
    Issue(String),
    /// The TLS library refused keys or parameters.
    #[error("cannot configure TLS: {0}")]
    Configure(String),
}

impl From<rcgen::Error> for TlsError {
    fn from(error: rcgen::Error) -> Self {
        Self::Issue(error.to_string())
    }
}

/// Always named, never installed: with two providers in one program, rustls panics when it has to choose.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn configure(error: impl fmt::Display) -> TlsError {
    TlsError::Configure(error.to_string())
}

#[cfg(test)]
mod tests;
