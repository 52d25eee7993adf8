//! What a node is started with, and the limits it keeps.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::{Incarnation, NodeName};
use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use crate::adapter::QuicAdapter;
use crate::clock::Clock;
use crate::connect::{Connector, LookUp, system_look_up};
use crate::driver::{self, Setup};
use crate::error::StartError;
use crate::proto::address::is_dialable;
use crate::proto::mesh::MeshConfig;
use crate::runtime::TrackedRuntime;
use crate::secret::Secret;
use crate::tls::{Credentials, Handshake, Identity, Pki};

/// The cluster's name unless another is given.
pub const DEFAULT_CLUSTER: &str = "matryoshka";
/// Where a node listens unless told otherwise: on loopback, at a port that the system picks.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:0";

/// How many one-way streams carry user messages to one peer.
pub(crate) const USER_LANES: usize = 8;
/// How many bytes may wait for one peer on one user lane. Full: the newest message is dropped for that peer, which
/// is told how many it lost.
pub(crate) const USER_LANE_BYTES: usize = 8 * 1024 * 1024;
/// As [`USER_LANE_BYTES`], for the bulk lane.
pub(crate) const BULK_LANE_BYTES: usize = 32 * 1024 * 1024;
/// How many bytes may wait for one peer on the tracker's or the control lane. Full: the link is closed.
pub(crate) const TRACKER_LANE_BYTES: usize = 64 * 1024 * 1024;
/// How many bytes may wait on the control stream. Full: the link is closed.
pub(crate) const CONTROL_STREAM_BYTES: usize = 256 * 1024;

/// One-way streams that a peer may have open towards this node; it cannot open more.
const MAX_PEER_STREAMS: u32 = 64;
/// How much one stream may be ahead of its reader; a slow lane stops its sender there.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for all streams of a connection: enough that slow lanes leave room for the others.
const CONNECTION_WINDOW_BYTES: u32 = 16 * STREAM_WINDOW_BYTES;
/// What one connection keeps for sending again.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
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
    /// node is met there, and host names are looked up anew each time. The rest of the cluster is found by itself.
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
            mesh: self.mesh_config(name, incarnation, local_addr),
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
            lanes: USER_LANES as u16,
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

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_PEER_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT);
    Arc::new(transport)
}
