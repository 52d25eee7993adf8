//! The QUIC beneath a node without the node, and the bytes that a link puts around what is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use matryoshka_pubsub::{Envelope, Kind, TopicName, TrafficClass};

use crate::adapter::QuicAdapter;
use crate::clock::Clock;
use crate::config::transport;
use crate::proto::codec::{Codec, HEADER_BYTES};
use crate::proto::frame::Frame;
use crate::proto::lane::Encoded;
use crate::proto::liveness::HEARTBEAT;
use crate::secret::Secret;
use crate::tls::{ANY_NODE, Credentials, Handshake, Identity, TlsError};

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
        let clock = Clock::system();
        let credentials = Credentials::derive(secret, name, clock.now())?;
        let identity = Arc::new(Identity::new(name.to_owned(), clock, credentials));
        let handshake = Handshake::new(identity);
        let mut server = quinn::ServerConfig::with_crypto(handshake.server_crypto()?);
        let mut client = handshake.client_config()?;
        server.transport_config(transport());
        client.transport_config(transport());
        Ok(Self { server, client })
    }
}

/// What stands before the payload of a message in its lane, in the newest version of the protocol; of one short enough to go in
/// one piece.
pub fn head_of_message(kind: Kind, topic: &TopicName, payload_bytes: usize) -> Bytes {
    let empty = Envelope {
        topic: topic.clone(),
        kind,
        class: TrafficClass::User,
        lane: 0,
        payload: Bytes::new(),
    };
    let mut encoded = Encoded::default();
    Codec::NEWEST.put_message(1, &empty, &mut encoded);
    let mut head = BytesMut::from(&encoded.concat()[..]);
    let body_bytes = head.len() - HEADER_BYTES + payload_bytes;
    head[2..HEADER_BYTES].copy_from_slice(&(body_bytes as u32).to_be_bytes());
    head.freeze()
}

/// What a link sends when it has nothing else to send.
pub fn heartbeat() -> Bytes {
    let heartbeat = Codec::NEWEST.encode(&Frame::Heartbeat);
    heartbeat.expect("every version has it")
}

/// How often it sends that.
pub const HEARTBEAT_EVERY: Duration = HEARTBEAT;

/// Bytes of UDP payload that a node has sent over the links it has now.
pub fn udp_bytes_sent(adapter: &QuicAdapter) -> u64 {
    adapter.udp_bytes_sent()
}
