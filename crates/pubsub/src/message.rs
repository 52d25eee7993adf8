//! What subscribers get.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Incarnation, Kind, LinkId, NodeName, TopicName};

/// A published message as its subscribers get it. A clone is one pointer: all subscribers share one message.
#[derive(Clone)]
pub struct Message(Arc<Parts>);

struct Parts {
    topic: TopicName,
    kind: Kind,
    payload: Bytes,
    origin: Option<Arc<Origin>>,
}

/// Where a message of another node came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The node that published it.
    pub node: NodeName,
    /// That node's life.
    pub incarnation: Incarnation,
    /// The link it came over. Not the current one of that node: it was under way when that link ended.
    pub link: LinkId,
}

impl Message {
    pub(crate) fn new(
        topic: TopicName,
        kind: Kind,
        payload: Bytes,
        origin: Option<Arc<Origin>>,
    ) -> Self {
        Self(Arc::new(Parts {
            topic,
            kind,
            payload,
            origin,
        }))
    }

    /// The topic it was published on.
    pub fn topic(&self) -> &TopicName {
        &self.0.topic
    }

    /// What its payload is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The published bytes.
    pub fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    /// The node it came from; `None` if it was published on this one.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.0.origin.as_ref()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", self.topic())
            .field("kind", &self.kind())
            .field("payload", self.payload())
            .field("origin", &self.origin())
            .finish()
    }
}
