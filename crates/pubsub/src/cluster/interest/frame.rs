//! What two routers say to each other, as values. How they look on a wire is the adapter's matter.
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use crate::{Envelope, TopicName};

/// On a lane.
#[derive(Clone, Debug)]
pub enum LaneFrame {
    /// A published message.
    Message {
        /// The how-manieth that its node published. **Not sorted on a lane**: a replayed message is older than what went before.
        pos: u64,
        /// What was published.
        envelope: Arc<Envelope>,
    },
    /// So many messages of this lane were dropped here, for this peer.
    Gap(u64),
}

/// On the control stream: one ordered stream for all of them, never a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlFrame {
    /// What the sender wants and has heard.
    Interest(Interest),
    /// "I have published up to here": to be answered by an [`Interest`] that says what was heard.
    Position(u64),
    /// "I lost track of what you want: tell me all of it anew."
    Resync,
    /// The number of the last [`Interest`] written before.
    Last(u64),
}

/// What a node wants, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// 1 for the first of a link, then one more each.
    pub seq: u64,
    /// All is told anew from here: forget what I wanted.
    pub begin: bool,
    /// All has been told: from now on send only that.
    pub end: bool,
    /// Not wanted any more.
    pub gone: Vec<TopicName>,
    /// Wanted. A topic is in one of the two lists only.
    pub wanted: Vec<TopicName>,
    /// You had published so many when I last heard of you, and this and earlier frames mention every topic subscribed by then.
    pub heard: Option<u64>,
    /// Of a wrong variant: these topics are part of a sync, not edges.
    #[cfg(test)]
    pub(super) chunk: Vec<TopicName>,
    /// Of a wrong variant: what had been heard, by topic.
    #[cfg(test)]
    pub(super) heard_at: std::collections::BTreeMap<TopicName, u64>,
}
