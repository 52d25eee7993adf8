//! `GET /api/cluster`: this node's name and how it sees the others.

use axum::extract::State;
use matryoshka_presence::channel::pubsub::NodeName;
use matryoshka_presence::channel::pubsub::cluster::MemberState;
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
}

/// All peers that this node knows of; none when it stands alone.
pub(crate) async fn cluster(State(server): State<Server>) -> Json<Cluster> {
    let peers = server.mesh.iter().flat_map(|mesh| mesh.peers());
    Json(Cluster {
        name: server.name.clone(),
        peers: peers
            .map(|peer| Peer {
                name: peer.name,
                addr: peer.addr,
                state: peer.state,
            })
            .collect(),
    })
}
