//! One node of a mesh, as the adapter of its pubsub.

use std::fmt;
use std::sync::Arc;

use super::Mesh;
use super::link::Taken;
use super::nodes::{Links, Opening};
use crate::cluster::MemberEvent;
use crate::{
    Adapter, AdapterError, DirectError, Envelope, Goodbye, Inbound, Incarnation, NodeName, Reached,
};

/// One node of a [`MemoryMesh`](super::MemoryMesh).
pub struct MemoryNode {
    mesh: Arc<Mesh>,
    name: NodeName,
    incarnation: Incarnation,
}

impl MemoryNode {
    pub(super) fn new(mesh: &Arc<Mesh>, name: NodeName, incarnation: Incarnation) -> Self {
        Self {
            mesh: Arc::clone(mesh),
            name,
            incarnation,
        }
    }

    /// Its links now; none once it was killed or has a later life.
    fn links(&self) -> Arc<Links> {
        self.mesh
            .nodes()
            .links_of_life(&self.name, self.incarnation)
    }
}

impl Adapter for MemoryNode {
    fn node(&self) -> NodeName {
        self.name.clone()
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn attach(&self, inbound: Inbound) {
        self.mesh.change(|| {
            let mut nodes = self.mesh.nodes();
            let openings = nodes.attach(&self.name, self.incarnation, inbound);
            drop(nodes);
            openings.into_iter().for_each(Opening::open);
        });
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        let mut reached = Reached::default();
        for (peer, link) in &*self.links() {
            match link.send(envelope) {
                Taken::Yes => reached.peers += 1,
                Taken::Full => reached.dropped.push(peer.clone()),
                Taken::Closed => {}
            }
        }
        Ok(reached)
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        match self.links().get(to).map(|link| link.send(envelope)) {
            Some(Taken::Yes) => Ok(()),
            Some(Taken::Full) => Err(DirectError::QueueFull(to.clone())),
            Some(Taken::Closed) => Err(DirectError::NotUp(to.clone())),
            None if self.mesh.nodes().knows(to) => Err(DirectError::NotUp(to.clone())),
            None => Err(DirectError::NoSuchNode(to.clone())),
        }
    }

    fn leave(&self, goodbye: Goodbye) {
        self.mesh.change(|| {
            for link in self.links().values() {
                link.tell(match goodbye {
                    Goodbye::Leaving => MemberEvent::Leaving(link.sender()),
                    Goodbye::Restarting { grace } => MemberEvent::Restarting(link.sender(), grace),
                });
            }
        });
    }
}

impl Drop for MemoryNode {
    fn drop(&mut self) {
        self.mesh.depart(&self.name, self.incarnation);
    }
}

impl fmt::Debug for MemoryNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryNode").field(&self.name).finish()
    }
}
