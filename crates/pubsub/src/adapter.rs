//! The seam to other nodes.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    AdapterError, DirectError, Inbound, Incarnation, Kind, NodeName, TopicName, TrafficClass,
};

/// Carries messages between this node and the others, and says who they are.
///
/// What is asked of every adapter; the module `testing::contract` (feature `test-util`) checks it:
/// * One copy of each broadcast to every other node that is up; a slow or dead peer costs itself only, never the publisher.
/// * In order per lane and peer as long as the link lives; never twice.
/// * Before [`attach`](Adapter::attach) nothing received is handed on. [`Inbound::member`] says `Up` of a peer once every
///   publish is routed to it, and nothing of a link is handed on before its `Up` or after its `Down`.
/// * A new link of a peer says `Down` with the old link before `Up` with the new one. An older incarnation never replaces a newer.
/// * What a full queue lost is told to the receiving side by a [`Gap`](crate::cluster::MemberEvent::Gap).
pub trait Adapter: Send + Sync + 'static {
    /// This node's name.
    fn node(&self) -> NodeName;

    /// This node's life. It may grow while running: [`Renumbered`](crate::cluster::MemberEvent::Renumbered) tells so.
    fn incarnation(&self) -> Incarnation;

    /// Called once, by [`PubSub::with`](crate::PubSub::with): from now on what is received goes to `inbound`.
    fn attach(&self, inbound: Inbound);

    /// Hands a message to the links of all other nodes that are up. Never blocks.
    ///
    /// # Errors
    ///
    /// Only when the message went to nobody and can go to nobody; then it is not delivered on this node either.
    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError>;

    /// Hands a message to the link of one other node. Never blocks.
    ///
    /// # Errors
    ///
    /// When the message was not queued for that node.
    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError>;

    /// Whether this adapter sends user messages only to nodes with subscribers. Asked once, before
    /// [`attach`](Adapter::attach). If so, edges are kept for [`Inbound::take_edges`].
    fn routes_by_interest(&self) -> bool {
        false
    }

    /// Edges are waiting in [`Inbound::take_edges`]. Called under no lock, from whatever thread subscribed or
    /// unsubscribed, once until they are taken. Must neither block nor panic.
    fn interest_changed(&self) {}

    /// Tells the other nodes that this one is about to go, and how.
    fn leave(&self, goodbye: Goodbye) {
        let _ = goodbye;
    }
}

/// How a node goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// For good.
    Leaving,
    /// It means to be back.
    Restarting {
        /// For how long the others shall wait for it.
        grace: Duration,
    },
}

/// A message on its way to other nodes.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The topic it is published on.
    pub topic: TopicName,
    /// What the payload is.
    pub kind: Kind,
    /// How it travels.
    pub class: TrafficClass,
    /// Messages with the same lane stay in order.
    pub lane: u64,
    /// The published bytes.
    pub payload: Bytes,
}

/// How far a broadcast got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Links that took it.
    pub peers: usize,
    /// Nodes whose queue was full, and which will not get it.
    pub dropped: Vec<NodeName>,
}
