//! What all handles of one pubsub share, and the way of a message through it: first to the other nodes, then to the
//! subscribers of this one.

use std::any::{Any, TypeId};
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use foldhash::fast::FixedState;
use matryoshka_registry::{DuplicateRegistry, Owner, OwnerId, UniqueRegistry};

use crate::dispatcher::SinkRef;
use crate::local::Local;
use crate::members::Membership;
use crate::stats::Counters;
use crate::{
    Adapter, BroadcastError, DirectError, Dispatcher, Envelope, Kind, KindTaken, Limits, Message,
    NodeName, Payload, Reached, Sent, TopicName,
};

pub(crate) struct Shared {
    pub(crate) adapter: Arc<dyn Adapter>,
    /// Nobody else can be reached: the adapter need not be asked.
    is_alone: bool,
    pub(crate) registry: DuplicateRegistry<TopicName, SinkRef>,
    pub(crate) membership: Arc<Membership>,
    pub(crate) counters: Counters,
    pub(crate) limits: Limits,
    /// Owns the subscriptions that no publisher owns, and the claims; each ends with its guard.
    pub(crate) nobody: Owner,
    pub(crate) claims: UniqueRegistry<String, ()>,
    dispatchers: RwLock<Vec<(Kind, Arc<dyn Dispatcher>)>>,
}

/// Who publishes.
#[derive(Clone, Copy)]
pub(crate) enum Author {
    /// Nobody in particular: each topic is a publisher of its own.
    Anybody,
    Publisher(OwnerId),
    /// A publisher whose own subscriptions are left out.
    AllBut(OwnerId),
}

impl Author {
    /// What has the same lane stays in order. Any fixed hash does: it only has to be the same within this process.
    fn lane(self, topic: &TopicName) -> u64 {
        match self {
            Self::Anybody => FixedState::with_seed(0).hash_one(topic.as_str()),
            Self::Publisher(id) | Self::AllBut(id) => id.get(),
        }
    }

    /// Whose subscriptions are left out.
    fn except(self) -> Option<OwnerId> {
        match self {
            Self::AllBut(id) => Some(id),
            Self::Anybody | Self::Publisher(_) => None,
        }
    }
}

impl Shared {
    pub(crate) fn new(adapter: Arc<dyn Adapter>, limits: Limits) -> Self {
        let registry = if adapter.routes_by_interest() {
            let adapter = Arc::clone(&adapter);
            DuplicateRegistry::with_edges(move || adapter.interest_changed())
        } else {
            DuplicateRegistry::new()
        };
        Self {
            adapter,
            is_alone: false,
            registry,
            membership: Arc::default(),
            counters: Counters::default(),
            limits,
            nobody: Owner::new(),
            claims: UniqueRegistry::new(),
            dispatchers: RwLock::default(),
        }
    }

    /// That of a node without others.
    pub(crate) fn alone(limits: Limits) -> Self {
        Self {
            is_alone: true,
            ..Self::new(Arc::new(Local::start()), limits)
        }
    }

    pub(crate) fn broadcast(
        &self,
        topic: TopicName,
        payload: Payload,
        author: Author,
    ) -> Result<Sent, BroadcastError> {
        let (message, sent) = self.send_to_peers(topic, payload, author)?;
        let local = self.dispatch(message, author.except());
        Ok(Sent { local, ..sent })
    }

    /// The same in parts.
    pub(crate) async fn broadcast_in_parts(
        &self,
        topic: TopicName,
        payload: Payload,
        author: Author,
    ) -> Result<Sent, BroadcastError> {
        let (message, sent) = self.send_to_peers(topic, payload, author)?;
        let local = self.dispatch_in_parts(&message, author.except()).await;
        Ok(Sent { local, ..sent })
    }

    /// Hands a message to the links; it is still to be delivered here.
    fn send_to_peers(
        &self,
        topic: TopicName,
        payload: Payload,
        author: Author,
    ) -> Result<(Message, Sent), BroadcastError> {
        self.limits.check(&topic, &payload)?;
        if self.is_alone {
            let message = self.published(topic, payload.kind, payload.bytes);
            return Ok((message, Sent::default()));
        }
        let lane = author.lane(&topic);
        let envelope = envelope(topic, payload, lane);
        let reached = self.adapter.broadcast(&envelope);
        let Reached { peers, dropped } = reached.map_err(BroadcastError::Adapter)?;
        if !dropped.is_empty() {
            self.counters.dropped_for_peers.add(dropped.len() as u64);
        }
        let Envelope {
            topic,
            kind,
            payload,
            ..
        } = envelope;
        let sent = Sent {
            local: 0,
            peers,
            dropped,
        };
        Ok((self.published(topic, kind, payload), sent))
    }

    pub(crate) fn local_broadcast(
        &self,
        topic: TopicName,
        payload: Payload,
        author: Author,
    ) -> Result<Sent, BroadcastError> {
        self.limits.check(&topic, &payload)?;
        let message = self.published(topic, payload.kind, payload.bytes);
        Ok(Sent {
            local: self.dispatch(message, author.except()),
            ..Sent::default()
        })
    }

    pub(crate) fn direct_broadcast(
        &self,
        node: &NodeName,
        topic: TopicName,
        payload: Payload,
        author: Author,
    ) -> Result<(), DirectError> {
        self.limits.check(&topic, &payload)?;
        if *node == self.adapter.node() {
            self.dispatch(self.published(topic, payload.kind, payload.bytes), None);
            return Ok(());
        }
        let lane = author.lane(&topic);
        let envelope = envelope(topic, payload, lane);
        self.adapter.send(node, &envelope)?;
        self.counters.published.add(1);
        Ok(())
    }

    /// A message of this node.
    fn published(&self, topic: TopicName, kind: Kind, payload: Bytes) -> Message {
        self.counters.published.add(1);
        Message::new(topic, kind, payload, None)
    }

    /// Says who delivers messages of `kind`.
    pub(crate) fn register(
        &self,
        kind: Kind,
        dispatcher: Arc<dyn Dispatcher>,
    ) -> Result<(), KindTaken> {
        if kind == Kind::RAW || kind == Kind::TYPED {
            return Err(KindTaken { kind });
        }
        let dispatchers = self.dispatchers.write();
        let mut dispatchers = dispatchers.unwrap_or_else(PoisonError::into_inner);
        match dispatchers.iter().find(|(taken, _)| *taken == kind) {
            Some((_, first)) if type_of(&**first) == type_of(&*dispatcher) => Ok(()),
            Some(_) => Err(KindTaken { kind }),
            None => {
                dispatchers.push((kind, dispatcher));
                Ok(())
            }
        }
    }

    /// Who delivers messages of `kind`, if somebody said so.
    pub(crate) fn dispatcher(&self, kind: Kind) -> Option<Arc<dyn Dispatcher>> {
        let dispatchers = self.dispatchers.read();
        let dispatchers = dispatchers.unwrap_or_else(PoisonError::into_inner);
        let (_, dispatcher) = dispatchers.iter().find(|(taken, _)| *taken == kind)?;
        Some(Arc::clone(dispatcher))
    }
}

fn type_of(dispatcher: &dyn Dispatcher) -> TypeId {
    let any: &dyn Any = dispatcher;
    any.type_id()
}

fn envelope(topic: TopicName, payload: Payload, lane: u64) -> Envelope {
    Envelope {
        topic,
        kind: payload.kind,
        class: payload.class,
        lane,
        payload: payload.bytes,
    }
}
