//! The rival: an adapter over TCP and TLS 1.3, one connection between each two nodes, as one would write it by hand. The frames are
//! those of the mesh's lanes; a broadcast is copied into a buffer for each peer, and a task writes out what has gathered there.
//!
//! It has what carries messages and no more: no membership, no heartbeat, no reconnecting, no interest.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use matryoshka_pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Inbound, Incarnation, Kind, LinkId, NodeName,
    Origin, PubSub, Reached, TopicName,
};
use matryoshka_pubsub_quic::testing::head_of_message;
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// What may wait for one peer, as in a user lane of the mesh.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// A header's kind and length, then the length of the head.
const HEADER_BYTES: usize = 10;
const NAME: &str = "rival.invalid";

type Stream = TlsStream<TcpStream>;

/// So many nodes with a connection between each two.
pub(super) async fn mesh(nodes: usize) -> Vec<PubSub> {
    let tls = Tls::new();
    let adapters: Vec<TcpAdapter> = (0..nodes).map(TcpAdapter::new).collect();
    let mut pubsubs = Vec::new();
    for adapter in &adapters {
        pubsubs.push(PubSub::with(adapter.clone()));
    }
    for (n, one) in adapters.iter().enumerate() {
        for other in &adapters[..n] {
            let (here, there) = tls.connect().await;
            one.add(other, here);
            other.add(one, there);
        }
    }
    pubsubs
}

/// Certificates of one authority, for both sides of a connection.
struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]);
        let CertifiedKey { cert, signing_key } = made.expect("a good name");
        let chain = vec![cert.der().clone()];
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect("it was just made");
        let roots = Arc::new(roots);
        Self {
            acceptor: Arc::new(server(&roots, chain.clone(), &signing_key)).into(),
            connector: Arc::new(client(&roots, chain, &signing_key)).into(),
        }
    }

    async fn connect(&self) -> (Stream, Stream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let dial = async {
            let stream = TcpStream::connect(address).await.expect("it listens");
            stream.set_nodelay(true).expect("it is open");
            let name = ServerName::try_from(NAME).expect("a good name");
            let stream = self.connector.connect(name, stream).await;
            TlsStream::from(stream.expect("both have the certificate"))
        };
        let accept = async {
            let (stream, _) = listener.accept().await.expect("it is dialled");
            stream.set_nodelay(true).expect("it is open");
            let stream = self.acceptor.accept(stream).await;
            TlsStream::from(stream.expect("both have the certificate"))
        };
        tokio::join!(dial, accept)
    }
}

fn server(
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
            .build();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has it")
        .with_client_cert_verifier(verifier.expect("there is a root"))
        .with_single_cert(chain, private(key))
        .expect("they belong together")
}

fn client(
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has it")
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, private(key))
        .expect("they belong together")
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

#[derive(Clone)]
struct TcpAdapter(Arc<Shared>);

struct Shared {
    name: NodeName,
    peers: Mutex<Vec<Arc<Peer>>>,
    inbound: OnceLock<Inbound>,
}

/// The sending side of a connection.
struct Peer {
    name: NodeName,
    waiting: Mutex<BytesMut>,
    filled: Notify,
}

impl TcpAdapter {
    fn new(number: usize) -> Self {
        let name = NodeName::new(format!("rival-{number}"));
        Self(Arc::new(Shared {
            name: name.expect("a good name"),
            peers: Mutex::default(),
            inbound: OnceLock::new(),
        }))
    }

    fn add(&self, other: &Self, stream: Stream) {
        let peer = Arc::new(Peer {
            name: other.0.name.clone(),
            waiting: Mutex::default(),
            filled: Notify::new(),
        });
        lock(&self.0.peers).push(Arc::clone(&peer));
        let origin = Origin {
            node: peer.name.clone(),
            incarnation: Incarnation(1),
            link: LinkId(1),
        };
        let inbound = self.0.inbound.get().expect("it is attached").clone();
        let (read_half, write_half) = tokio::io::split(stream);
        tokio::spawn(read(read_half, Arc::new(origin), inbound));
        tokio::spawn(write(write_half, peer));
    }
}

impl Adapter for TcpAdapter {
    fn node(&self) -> NodeName {
        self.0.name.clone()
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(1)
    }

    fn attach(&self, inbound: Inbound) {
        assert!(self.0.inbound.set(inbound).is_ok(), "it is attached once");
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        let mut reached = Reached::default();
        let payload = &envelope.payload;
        let head = head_of_message(envelope.kind, &envelope.topic, payload.len());
        for peer in lock(&self.0.peers).iter() {
            if peer.hand(&head, payload) {
                reached.peers += 1;
            } else {
                reached.dropped.push(peer.name.clone());
            }
        }
        Ok(reached)
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        let peers = lock(&self.0.peers);
        let Some(peer) = peers.iter().find(|peer| peer.name == *to) else {
            return Err(DirectError::NoSuchNode(to.clone()));
        };
        let payload = &envelope.payload;
        let head = head_of_message(envelope.kind, &envelope.topic, payload.len());
        if peer.hand(&head, payload) {
            Ok(())
        } else {
            Err(DirectError::QueueFull(to.clone()))
        }
    }
}

impl Peer {
    fn hand(&self, head: &Bytes, payload: &Bytes) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.len() + head.len() + payload.len() > QUEUE_BYTES {
            return false;
        }
        let was_empty = waiting.is_empty();
        waiting.extend_from_slice(head);
        waiting.extend_from_slice(payload);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
        true
    }
}

async fn write(mut stream: WriteHalf<Stream>, peer: Arc<Peer>) {
    let mut batch = BytesMut::new();
    loop {
        peer.filled.notified().await;
        std::mem::swap(&mut *lock(&peer.waiting), &mut batch);
        let written = stream.write_all(&batch).await;
        if written.is_err() || stream.flush().await.is_err() {
            return;
        }
        batch.clear();
    }
}

async fn read(mut stream: ReadHalf<Stream>, origin: Arc<Origin>, inbound: Inbound) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
        while let Some((topic, kind, payload)) = next_message(&mut buffer) {
            inbound.deliver(&origin, topic, kind, payload);
            tokio::task::coop::consume_budget().await;
        }
    }
}

fn next_message(buffer: &mut BytesMut) -> Option<(TopicName, Kind, Bytes)> {
    let mut header = buffer.get(2..HEADER_BYTES)?;
    let body_bytes = header.get_u32() as usize;
    let head_bytes = header.get_u32() as usize;
    if buffer.len() < HEADER_BYTES - 4 + body_bytes {
        return None;
    }
    buffer.advance(HEADER_BYTES);
    let mut head = &buffer[..head_bytes];
    let kind = Kind(head.get_u16());
    let topic_bytes = head.get_u16() as usize;
    let topic = std::str::from_utf8(&head[..topic_bytes]).expect("it comes from here");
    let topic = TopicName::from(topic);
    let payload = Bytes::copy_from_slice(&buffer[head_bytes..body_bytes - 4]);
    buffer.advance(body_bytes - 4);
    Some((topic, kind, payload))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
