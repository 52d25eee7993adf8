//! For measurements: the QUIC beneath a node without the node, and the bytes that a link puts around what is sent.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use matryoshka_pubsub::Kind;

use crate::adapter::QuicAdapter;
use crate::config::transport;
use crate::proto::frame::{Frame, Heartbeat, message_head};
use crate::proto::liveness::HEARTBEAT;
use crate::secret::Secret;
use crate::tls::{ANY_NODE, Credentials, TlsError};

/// A node's QUIC configurations: its certificates, its streams and windows.
#[derive(Debug)]
pub struct BareQuic {
    /// For listening.
    pub server: quinn::ServerConfig,
    /// For dialling, with [`SERVER_NAME`](Self::SERVER_NAME).
    pub client: quinn::ClientConfig,
}

impl BareQuic {
    /// What to dial as; nobody compares it.
    pub const SERVER_NAME: &'static str = ANY_NODE;

    /// Those of the node called `name`.
    ///
    /// # Errors
    ///
    /// When its certificate cannot be issued.
    pub fn new(secret: &Secret, name: &str) -> Result<Self, TlsError> {
        let credentials = Credentials::new(secret, name, SystemTime::now())?;
        let mut server = credentials.server_config()?;
        let mut client = credentials.client_config()?;
        server.transport_config(transport());
        client.transport_config(transport());
        Ok(Self { server, client })
    }
}

/// What stands before the payload of a message in its lane.
pub fn head_of_message(kind: Kind, topic: &str, payload_bytes: usize) -> Bytes {
    message_head(kind.0, topic.as_bytes(), payload_bytes)
}

/// What a link sends when it has nothing else to send.
pub fn heartbeat() -> Bytes {
    Frame::Heartbeat(Heartbeat {}).encode()
}

/// How often it sends that.
pub const HEARTBEAT_EVERY: Duration = HEARTBEAT;

/// Bytes of UDP payload that a node has sent over the links it has now.
pub fn udp_bytes_sent(adapter: &QuicAdapter) -> u64 {
    adapter.udp_bytes_sent()
}
