//! `GET /api/cluster`: this node's name and how it sees the others.

use std::time::UNIX_EPOCH;

use axum::extract::State;
use matryoshka_presence::channel::pubsub::NodeName;
use matryoshka_presence::channel::pubsub::cluster::MemberState;
use matryoshka_pubsub_quic::{LinkInfo, PeerInfo};
use serde::Serialize;

use crate::answer::Json;
use crate::server::Server;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Cluster {
    name: NodeName,
    peers: Vec<Peer>,
}

#[derive(Debug, Serialize)]
struct Peer {
    name: NodeName,
    addr: String,
    state: MemberState,
    /// Links to it after the first.
    reconnects: u64,
    sent: u64,
    received: u64,
    dropped: u64,
    lost: u64,
    gaps: u64,
    flooded_start: u64,
    flooded_full: u64,
    flooded_old_peer: u64,
    replayed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
}

#[derive(Debug, Serialize)]
struct Link {
    protocol: u16,
    capabilities: Vec<String>,
    interest: bool,
    round_trip_us: u128,
    queued_bytes: usize,
    /// Seconds since 1970.
    certificate_end: Option<u64>,
}

/// All peers that this node knows of; none when it stands alone.
pub(crate) async fn cluster(State(server): State<Server>) -> Json<Cluster> {
    let peers = server.mesh.iter().flat_map(|mesh| mesh.peers());
    Json(Cluster {
        name: server.name.clone(),
        peers: peers.map(Peer::from).collect(),
    })
}

impl From<PeerInfo> for Peer {
    fn from(peer: PeerInfo) -> Self {
        Self {
            name: peer.name,
            addr: peer.addr,
            state: peer.state,
            reconnects: peer.links.saturating_sub(1),
            sent: peer.sent,
            received: peer.received,
            dropped: peer.dropped,
            lost: peer.lost,
            gaps: peer.gaps,
            flooded_start: peer.routing.flooded_start,
            flooded_full: peer.routing.flooded_full,
            flooded_old_peer: peer.routing.flooded_old_peer,
            replayed: peer.routing.replayed,
            link: peer.link.map(Link::from),
        }
    }
}

impl From<LinkInfo> for Link {
    fn from(link: LinkInfo) -> Self {
        let queued = link.queued;
        let end = link.certificate_end;
        let end = end.and_then(|end| end.duration_since(UNIX_EPOCH).ok());
        Self {
            protocol: link.protocol,
            capabilities: link.capabilities,
            interest: link.interest,
            round_trip_us: link.round_trip.as_micros(),
            queued_bytes: queued.control + queued.tracker + queued.user + queued.bulk,
            certificate_end: end.map(|end| end.as_secs()),
        }
    }
}
