#![doc = include_str!("../README.md")]

pub use matryoshka_pubsub as pubsub;

mod adapter;
#[cfg(test)]
#[path = "../tests/it/ca.rs"]
mod ca;
mod clock;
mod config;
mod connect;
mod driver;
mod error;
mod link;
#[cfg(test)]
#[path = "../tests/it/log.rs"]
mod log;
mod proto;
mod rotation;
mod runtime;
mod secret;
mod stats;
mod tls;

pub use adapter::QuicAdapter;
pub use config::{Builder, DEFAULT_CLUSTER, DEFAULT_LISTEN};
pub use error::{RotateError, StartError};
pub use rotation::IdentityInfo;
pub use secret::{MAX_SECRETS, MIN_SECRET_BYTES, Secret, SecretError};
pub use stats::{PeerInfo, Stats};
pub use tls::{Fingerprint, Pki, PkiError, PkiFault, PkiPart, TlsError};
