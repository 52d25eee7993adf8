//! What a node is started with, and the limits it keeps.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::cluster::interest::{self, HashKey};
use matryoshka_pubsub::{Incarnation, NodeName, Payload};
use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use crate::adapter::QuicAdapter;
use crate::clock::Clock;
use crate::congestion::Openable;
use crate::connect::{Connector, LookUp, system_look_up};
use crate::driver::{self, Setup};
use crate::error::StartError;
use crate::proto::address::{LOOK_AGAIN, is_dialable};
use crate::proto::codec::{Codec, MAX_INTEREST_BYTES, NEWEST_PROTOCOL};
use crate::proto::lane::LANES;
use crate::proto::mesh::MeshConfig;
use crate::proto::outbox::{Bounds, USER_LANE_BYTES};
use crate::proto::terms::Offer;
use crate::runtime::TrackedRuntime;
use crate::secret::Secret;
use crate::tls::{Credentials, Handshake, Identity, Pki};

/// The cluster's name unless another is given.
pub const DEFAULT_CLUSTER: &str = "matryoshka";
/// Where a node listens unless told otherwise: on loopback, at a port that the system picks.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:0";

/// The smallest limit of a payload that a node may set: 1 MiB, well above what trackers say to each other, which must arrive.
pub const MIN_MESSAGE_BYTES: usize = 1024 * 1024;

/// One-way streams that a peer may have open towards this node: its lanes, and a few of a later version's. It cannot open more.
const MAX_PEER_STREAMS: u32 = 16;
/// How much of one stream may have been sent and not read; a slow lane stops its sender there. So a lane carries seven eighths of
/// it in a round trip at least, which is 20,000 messages of 1 KiB a second over 300 ms.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// The same for all streams of a connection together: the sum, so that whoever reads nothing of all lanes still reads the control
/// stream. It bounds what a node holds unread of one peer.
const CONNECTION_WINDOW_BYTES: u32 = (MAX_PEER_STREAMS + 1) * STREAM_WINDOW_BYTES;
/// What one connection holds until it is known to have arrived: the sum for all streams again, so that lanes which are full
/// leave room for the control stream. Holds against a peer whose streams have no larger window than this code's.
const SEND_WINDOW_BYTES: u64 = (LANES as u64 + 1) * STREAM_WINDOW_BYTES as u64;
/// A connection of which QUIC itself heard nothing for so long is dropped; heartbeats notice far earlier.
const IDLE_TIMEOUT_MS: u32 = 10_000;
/// The guess at a round trip before one was measured; decides when a lost first packet is sent again.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Handshakes that may wait to be looked at; further ones are refused by QUIC.
const MAX_WAITING_HANDSHAKES: usize = 256;
/// What one of them may send meanwhile; a hello of TLS takes one or two packets.
const WAITING_HANDSHAKE_BYTES: u64 = 16 * 1024;
const MAX_CLUSTER_BYTES: usize = 64;

/// Collects what a [`QuicAdapter`] is started with; made by [`QuicAdapter::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    name: String,
    listen: String,
    advertise: Option<String>,
    join: Vec<String>,
    cluster: String,
    secret: Option<Secret>,
    pki: Option<Pki>,
    incarnation: Option<Incarnation>,
    clock: Clock,
    look_up: LookUp,
    look_again: Duration,
    protocol: u16,
    offers_interest: bool,
    interest: interest::Config,
    max_message_bytes: usize,
    certified_name: Option<String>,
}

impl Builder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            listen: DEFAULT_LISTEN.to_owned(),
            advertise: None,
            join: Vec::new(),
            cluster: DEFAULT_CLUSTER.to_owned(),
            secret: None,
            pki: None,
            incarnation: None,
            clock: Clock::system(),
            look_up: system_look_up(),
            look_again: LOOK_AGAIN,
            protocol: NEWEST_PROTOCOL,
            offers_interest: true,
            // Each node takes a key of its own when it starts.
            interest: interest::Config::new(HashKey([0; 16])),
            max_message_bytes: Payload::MAX_BYTES,
            certified_name: None,
        }
    }

    /// The UDP address to listen on. Port 0 picks one. Default: [`DEFAULT_LISTEN`].
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = address.to_string();
        self
    }

    /// Where other nodes reach this one: a host name or an address, never a wildcard. Default: where its packets
    /// come from.
    pub fn advertise(mut self, address: impl ToString) -> Self {
        self.advertise = Some(address.to_string());
        self
    }

    /// The address or host name of any node of the cluster; repeatable. It is tried, with back-off, for as long as no
    /// node is met there, and host names are looked up anew each time. A host name may stand for several nodes, and for others later: it
    /// is looked up every 30 s as well while the node that was met there is linked. The rest of the cluster is found by itself.
    pub fn join(mut self, address: impl ToString) -> Self {
        self.join.push(address.to_string());
        self
    }

    /// The cluster's name: nodes of differently named clusters never meet. Default: [`DEFAULT_CLUSTER`].
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = name.into();
        self
    }

    /// The secret that all nodes of the cluster share. Required, unless there are certificates ([`tls`](Self::tls)).
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Certificates of your own authority, instead of a secret.
    pub fn tls(mut self, pki: Pki) -> Self {
        self.pki = Some(pki);
        self
    }

    /// Which life of this node it is; every start needs a higher number. Default: the clock's microseconds.
    pub fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// The newest version of the protocol between nodes that this one speaks, [`OLDEST_PROTOCOL`](crate::OLDEST_PROTOCOL) to
    /// [`NEWEST_PROTOCOL`]. Default: the newest.
    ///
    /// Nodes of neighbouring versions work together as they are. Held back, a node behaves like one of the release before
    /// towards everybody: for a rolling upgrade that is to be completed, or undone, on all nodes before any of them uses what is new.
    pub fn protocol(mut self, newest: u16) -> Self {
        self.protocol = newest;
        self
    }

    /// Whether user messages go only to the nodes that have subscribers of their topic. Default: they do.
    ///
    /// Both ends of a link have to want it; if one does not, each sends the other everything.
    pub fn interest(mut self, on: bool) -> Self {
        self.offers_interest = on;
        self
    }

    /// Changes the bounds of interest routing, such as the size of the ring
    /// ([`ring_bytes`](interest::Config::ring_bytes)). The queue of a user lane grows with the ring, to twice its size; the key is the
    /// node's own in any case.
    pub fn tune_interest(mut self, tune: impl FnOnce(&mut interest::Config)) -> Self {
        tune(&mut self.interest);
        self
    }

    /// The largest payload that this node takes from others, [`MIN_MESSAGE_BYTES`] to [`Payload::MAX_BYTES`]. Default:
    /// [`Payload::MAX_BYTES`].
    ///
    /// The others are told. A larger message is dropped for this node, and counted, and this node is told of the gap.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Lets the certificate carry another name than the hello.
    #[cfg(test)]
    pub(crate) fn certified_name(mut self, name: &str) -> Self {
        self.certified_name = Some(name.to_owned());
        self
    }

    /// Lets the node believe another time of day.
    #[cfg(test)]
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Lets host names mean what `look_up` says.
    #[cfg(test)]
    pub(crate) fn look_up(mut self, look_up: LookUp) -> Self {
        self.look_up = look_up;
        self
    }

    /// Lets names be looked up again more often.
    #[cfg(test)]
    pub(crate) fn look_again_every(mut self, time: Duration) -> Self {
        self.look_again = time;
        self
    }

    /// Opens the socket and starts the tasks, on the current tokio runtime.
    ///
    /// Nobody is dialled or let in until the adapter is given to [`PubSub::with`](crate::pubsub::PubSub::with).
    ///
    /// # Errors
    ///
    /// [`StartError`] names what to correct.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing stays open.
    pub async fn start(self) -> Result<QuicAdapter, StartError> {
        let name = NodeName::new(&self.name)?;
        let offer = self.offer()?;
        self.check()?;
        let identity = self.identity()?;
        let listen = resolve(&self.listen).await?;
        let socket = bind(listen)?;
        let transport = transport();
        let server = listening(&identity, &transport)?;
        let failed = |source| bind_error(listen, source);
        let (runtime, gone) = TrackedRuntime::new();
        let endpoint = quinn::Endpoint::new(
            EndpointConfig::default(),
            Some(server.clone()),
            socket,
            Arc::new(runtime),
        )
        .map_err(failed)?;
        let local_addr = endpoint.local_addr().map_err(failed)?;
        let incarnation = self
            .incarnation
            .unwrap_or_else(|| Incarnation::at(self.clock.now()));
        let connector = Connector::new(
            endpoint.clone(),
            identity.clone(),
            server,
            transport,
            self.look_up.clone(),
        );
        Ok(driver::start(Setup {
            mesh: self.mesh_config(name, incarnation, local_addr, offer),
            look_again: self.look_again,
            bounds: self.bounds(),
            interest: self.interest_config(),
            endpoint,
            gone,
            connector,
            identity,
            local_addr,
        }))
    }

    /// From the secret, or from certificates of the user's: from exactly one.
    fn identity(&self) -> Result<Arc<Identity>, StartError> {
        let (name, now) = (self.certified_name.as_ref(), self.clock.now());
        let name = name.unwrap_or(&self.name).clone();
        let credentials = match (&self.secret, &self.pki) {
            (Some(secret), None) => Credentials::derive(secret, &name, now)?,
            (None, Some(pki)) => Credentials::own(pki.clone(), &name, now)?,
            (None, None) => return Err(StartError::NoSecret),
            (Some(_), Some(_)) => return Err(StartError::TwoIdentities),
        };
        let identity = Identity::new(name, self.clock.clone(), credentials);
        Ok(Arc::new(identity))
    }

    fn offer(&self) -> Result<Offer, StartError> {
        let protocol = self.protocol;
        let newest = Codec::of(protocol).ok_or(StartError::InvalidProtocol { protocol })?;
        let bytes = self.max_message_bytes;
        if !(MIN_MESSAGE_BYTES..=Payload::MAX_BYTES).contains(&bytes) {
            return Err(StartError::InvalidMessageLimit { bytes });
        }
        Ok(Offer {
            newest,
            interest: self.offers_interest,
            max_message_bytes: bytes,
        })
    }

    /// So that neither a flush nor a replay of the whole ring overflows a lane.
    fn bounds(&self) -> Bounds {
        Bounds {
            user_lane_bytes: USER_LANE_BYTES.max(2 * self.interest.ring_bytes),
            ..Bounds::default()
        }
    }

    fn interest_config(&self) -> interest::Config {
        let mut config = self.interest.clone();
        config.hash_key = HashKey(rand::random());
        config.frame_bytes = config.frame_bytes.min(MAX_INTEREST_BYTES);
        config
    }

    fn check(&self) -> Result<(), StartError> {
        if self.cluster.is_empty() || self.cluster.len() > MAX_CLUSTER_BYTES {
            let cluster = self.cluster.clone();
            return Err(StartError::InvalidCluster { cluster });
        }
        if let Some(address) = self.advertise.clone().filter(|at| !is_dialable(at)) {
            return Err(StartError::InvalidAdvertise { address });
        }
        if let Some(address) = self.join.iter().find(|at| !is_dialable(at)) {
            let address = address.clone();
            return Err(StartError::InvalidJoin { address });
        }
        Ok(())
    }

    fn mesh_config(
        &self,
        name: NodeName,
        incarnation: Incarnation,
        local_addr: SocketAddr,
        offer: Offer,
    ) -> MeshConfig {
        let listening = (!local_addr.ip().is_unspecified()).then(|| local_addr.to_string());
        let own = self.advertise.iter().cloned().chain(listening).collect();
        MeshConfig {
            name,
            incarnation,
            instance: rand::random(),
            cluster: self.cluster.clone(),
            advertise: self.advertise.clone(),
            own,
            seeds: self.join.clone(),
            offer,
            rng_seed: rand::random(),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .field("advertise", &self.advertise)
            .field("join", &self.join)
            .field("cluster", &self.cluster)
            .field("secret", &self.secret)
            .field("pki", &self.pki)
            .finish_non_exhaustive()
    }
}

async fn resolve(listen: &str) -> Result<SocketAddr, StartError> {
    let invalid = || StartError::InvalidListen {
        address: listen.to_owned(),
    };
    let mut found = tokio::net::lookup_host(listen)
        .await
        .map_err(|_| invalid())?;
    found.next().ok_or_else(invalid)
}

fn bind(address: SocketAddr) -> Result<UdpSocket, StartError> {
    UdpSocket::bind(address).map_err(|source| bind_error(address, source))
}

fn bind_error(address: SocketAddr, source: io::Error) -> StartError {
    let address = address.to_string();
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken { address },
        io::ErrorKind::AddrNotAvailable => StartError::InvalidListen { address },
        _ => StartError::Bind { address, source },
    }
}

/// What everybody who connects is met with; each handshake puts its own TLS into a copy.
fn listening(
    identity: &Arc<Identity>,
    transport: &Arc<TransportConfig>,
) -> Result<ServerConfig, StartError> {
    let crypto = Handshake::new(identity.clone()).server_crypto()?;
    let mut server = ServerConfig::with_crypto(crypto);
    server
        .transport_config(transport.clone())
        .max_incoming(MAX_WAITING_HANDSHAKES)
        .incoming_buffer_size(WAITING_HANDSHAKE_BYTES)
        .incoming_buffer_size_total(WAITING_HANDSHAKE_BYTES * MAX_WAITING_HANDSHAKES as u64);
    Ok(server)
}

pub(crate) fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_PEER_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT)
        .congestion_controller_factory(Arc::new(Openable::default()));
    Arc::new(transport)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_of_users_takes_twice_the_ring_however_large_that_is() {
        for ring_bytes in [1, 1024, 8 * 1024 * 1024, 64 * 1024 * 1024] {
            let builder = Builder::new("n1".to_owned());
            let tuned = builder.tune_interest(|interest| interest.ring_bytes = ring_bytes);
            assert!(tuned.bounds().user_lane_bytes >= 2 * ring_bytes);
        }
        let untuned = Builder::new("n1".to_owned());
        let ring_bytes = untuned.interest_config().ring_bytes;
        assert!(untuned.bounds().user_lane_bytes >= 2 * ring_bytes);
    }
}
