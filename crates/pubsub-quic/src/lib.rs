#![doc = include_str!("../README.md")]

pub use matryoshka_pubsub as pubsub;

mod adapter;
#[cfg(test)]
#[path = "../tests/it/ca.rs"]
mod ca;
mod clock;
mod config;
mod congestion;
mod connect;
mod driver;
mod error;
mod link;
#[cfg(test)]
#[path = "../tests/it/log.rs"]
mod log;
mod losses;
mod proto;
mod rotation;
mod runtime;
mod secret;
mod stats;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
mod tls;

pub use adapter::QuicAdapter;
pub use config::{Builder, DEFAULT_CLUSTER, DEFAULT_LISTEN, MIN_MESSAGE_BYTES};
pub use error::{RotateError, StartError};
pub use proto::codec::{NEWEST_PROTOCOL, OLDEST_PROTOCOL};
pub use rotation::IdentityInfo;
pub use secret::{MAX_SECRETS, MIN_SECRET_BYTES, Secret, SecretError};
pub use stats::{LinkInfo, PeerInfo, QueuedBytes, Stats};
pub use tls::{Fingerprint, Pki, PkiError, PkiFault, PkiPart, TlsError};
