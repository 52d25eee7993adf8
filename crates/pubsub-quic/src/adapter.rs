//! The adapter: what a pubsub and its user see of the mesh.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use matryoshka_pubsub::cluster::MemberState;
use matryoshka_pubsub::cluster::interest::{Config, To};
use matryoshka_pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Goodbye, Inbound, Incarnation, NodeName, Reached,
};
use tokio::sync::{Notify, oneshot, watch};

use crate::config::Builder;
use crate::link::{Outgoing, Signals};
use crate::proto::codec::Codec;
use crate::proto::terms::{Offer, Terms};
use crate::proto::traffic::{Sent, Traffic, Wake};
use crate::stats::{LinkInfo, NodeCounters, PeerCounters, PeerInfo, QueuedBytes, Stats};
use crate::tls::Identity;

/// Connects this process with the other nodes of a cluster, over QUIC with mutual TLS.
///
/// A cheap handle: clones mean the same node. Give one clone to [`PubSub::with`](crate::pubsub::PubSub::with) and keep
/// another to ask and to shut down. When the last clone is gone, the mesh ends without a goodbye.
#[derive(Clone)]
pub struct QuicAdapter {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    wish: watch::Sender<Wish>,
    done: watch::Receiver<()>,
    left: watch::Receiver<Option<String>>,
}

/// What the user wants of the driver; only ever moves forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Say this to the others, and let nobody new in.
    pub(crate) goodbye: Option<Goodbye>,
    /// Let what is queued go out, then end.
    pub(crate) shutdown: bool,
}

/// What handle and driver both touch.
pub(crate) struct Shared {
    name: NodeName,
    incarnation: AtomicU64,
    local_addr: SocketAddr,
    pub(crate) identity: Arc<Identity>,
    offer: Offer,
    attach: Mutex<Option<oneshot::Sender<Inbound>>>,
    /// Taken before any queue's lock and after that of `members`; nothing of users' runs under it.
    traffic: Mutex<Traffic<Signals>>,
    members: Mutex<BTreeMap<NodeName, MemberView>>,
    /// The driver has to look at edges and at the time.
    pub(crate) attention: Notify,
    pub(crate) connections: AtomicU64,
    pub(crate) counters: NodeCounters,
}

/// One member, as [`QuicAdapter::peers`] tells of it.
pub(crate) struct MemberView {
    pub(crate) address: String,
    pub(crate) state: MemberState,
    pub(crate) incarnation: Incarnation,
    pub(crate) counters: Arc<PeerCounters>,
    pub(crate) link: Option<LinkView>,
}

/// Its link.
pub(crate) struct LinkView {
    pub(crate) terms: Terms,
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) certificate_end: Option<SystemTime>,
}

impl QuicAdapter {
    /// Starts to build an adapter for the node called `name`: unique in the cluster, 1 to 64 of `a-z`, `0-9`, `.`,
    /// `_`, `-`.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    pub(crate) fn new(
        shared: Arc<Shared>,
        wish: watch::Sender<Wish>,
        done: watch::Receiver<()>,
        left: watch::Receiver<Option<String>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared,
                wish,
                done,
                left,
            }),
        }
    }

    /// The address this node listens on, with the port that was picked.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.shared.local_addr
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// All members known, up or not, by name.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        let shared = &self.inner.shared;
        let members = shared.members();
        members
            .iter()
            .map(|(name, member)| {
                let sent = shared.with_traffic(|traffic| traffic.sent_to(name));
                member.info(name, &sent)
            })
            .collect()
    }

    /// Counters, and what is there now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let (up, totals) = shared.with_traffic(|traffic| (traffic.len(), traffic.totals()));
        let (counters, sent) = (&shared.counters, totals.sent);
        Stats {
            up: up as u64,
            connections: shared.connections.load(Ordering::Relaxed),
            dials: counters.dials.get(),
            accepted: counters.accepted.get(),
            refused: counters.refused.get(),
            skipped_frames: counters.skipped_frames.get(),
            skipped_fields: counters.skipped_fields.get(),
            sent: sent.routing.taken(),
            sent_bytes: sent.bytes,
            dropped: sent.routing.dropped,
            dropped_too_large: sent.too_large,
            received: counters.received.get(),
            received_bytes: counters.received_bytes.get(),
            lost: counters.lost.get(),
            encoded: totals.encoded,
            routing: sent.routing,
            ring_entries: totals.ring_entries,
            ring_bytes: totals.ring_bytes,
            topics_wanted: totals.topics_wanted,
            topics_of_peers: totals.topics_of_peers,
        }
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn udp_bytes_sent(&self) -> u64 {
        let members = self.inner.shared.members();
        let links = members.values().filter_map(|member| member.link.as_ref());
        links
            .map(|link| link.outgoing.connection().stats().udp_tx.bytes)
            .sum()
    }

    /// Resolves with the reason when this node has left the cluster for good, since a newer node has its name. Else
    /// it never does.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and asked again.
    pub fn ended(&self) -> impl Future<Output = String> + Send + 'static {
        let mut left = self.inner.left.clone();
        async move {
            if let Ok(reason) = left.wait_for(Option::is_some).await
                && let Some(reason) = reason.clone()
            {
                return reason;
            }
            std::future::pending().await
        }
    }

    /// Says goodbye (if [`leave`](Adapter::leave) has not), lets what is queued go out, for one second at most, and closes
    /// all connections. Returns when the socket is closed.
    ///
    /// # Cancel safety
    ///
    /// Once polled it completes even if the future is dropped.
    pub async fn shutdown(&self) {
        self.inner.wish.send_modify(|wish| wish.shutdown = true);
        let mut done = self.inner.done.clone();
        // The driver never sends; it is done when its end of the channel is gone.
        while done.changed().await.is_ok() {}
    }
}

impl Adapter for QuicAdapter {
    fn node(&self) -> NodeName {
        self.inner.shared.name.clone()
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(self.inner.shared.incarnation.load(Ordering::Acquire))
    }

    fn attach(&self, inbound: Inbound) {
        let waiting = lock(&self.inner.shared.attach).take();
        if let Some(waiting) = waiting {
            // A driver that is gone already needs it no more.
            let _ = waiting.send(inbound);
        }
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        let now = Instant::now();
        Ok(self.inner.shared.with_traffic(|traffic| {
            if traffic.is_empty() {
                Reached::default()
            } else {
                traffic.publish(To::All, envelope, now)
            }
        }))
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        let (shared, now) = (&self.inner.shared, Instant::now());
        let sent = shared.with_traffic(|traffic| {
            let link = traffic.link_to(to)?;
            let limit = traffic.max_message_bytes(link);
            Some((traffic.publish(To::Link(link), envelope, now), limit))
        });
        let Some((reached, limit)) = sent else {
            return Err(shared.unreachable(to));
        };
        if reached.dropped.is_empty() {
            return Ok(());
        }
        let bytes = envelope.payload.len();
        if bytes > limit {
            let refused =
                format!("node {to} takes {limit} bytes in a message, and this has {bytes}");
            return Err(DirectError::Adapter(AdapterError::new(refused)));
        }
        Err(DirectError::QueueFull(to.clone()))
    }

    fn routes_by_interest(&self) -> bool {
        self.inner.shared.offer.routes_by_interest()
    }

    fn interest_changed(&self) {
        self.inner.shared.attention.notify_one();
    }

    fn leave(&self, goodbye: Goodbye) {
        let wish = &self.inner.wish;
        wish.send_modify(|wish| {
            wish.goodbye.get_or_insert(goodbye);
        });
    }
}

impl fmt::Debug for QuicAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicAdapter")
            .field("name", &self.inner.shared.name)
            .field("local_addr", &self.inner.shared.local_addr)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        name: NodeName,
        incarnation: Incarnation,
        local_addr: SocketAddr,
        identity: Arc<Identity>,
        offer: Offer,
        interest: Config,
        attach: oneshot::Sender<Inbound>,
    ) -> Self {
        Self {
            name,
            incarnation: AtomicU64::new(incarnation.0),
            local_addr,
            identity,
            offer,
            attach: Mutex::new(Some(attach)),
            traffic: Mutex::new(Traffic::new(interest)),
            members: Mutex::default(),
            attention: Notify::new(),
            connections: AtomicU64::new(0),
            counters: NodeCounters::default(),
        }
    }

    pub(crate) fn name(&self) -> &NodeName {
        &self.name
    }

    pub(crate) fn renumber(&self, incarnation: Incarnation) {
        self.incarnation.store(incarnation.0, Ordering::Release);
    }

    /// The newest version of the protocol that this node speaks.
    pub(crate) fn newest(&self) -> Codec {
        self.offer.newest
    }

    /// The largest payload that this node takes.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.offer.max_message_bytes
    }

    pub(crate) fn members(&self) -> MutexGuard<'_, BTreeMap<NodeName, MemberView>> {
        lock(&self.members)
    }

    /// Does something with the traffic, under its lock, and then wakes whoever has to write because of it.
    pub(crate) fn with_traffic<R>(&self, act: impl FnOnce(&mut Traffic<Signals>) -> R) -> R {
        let mut traffic = lock(&self.traffic);
        let result = act(&mut traffic);
        let wakes = traffic.take_wakes();
        drop(traffic);
        for wake in wakes {
            match wake {
                Wake::Lane(outgoing, lane) => outgoing.wake_lane(lane),
                Wake::Control(outgoing) => outgoing.wake_control(),
                Wake::Overflow(outgoing) => outgoing.overflow(),
                Wake::Alarm => self.attention.notify_one(),
            }
        }
        result
    }

    fn unreachable(&self, node: &NodeName) -> DirectError {
        if self.members().contains_key(node) {
            DirectError::NotUp(node.clone())
        } else {
            DirectError::NoSuchNode(node.clone())
        }
    }
}

impl MemberView {
    fn info(&self, name: &NodeName, sent: &Sent) -> PeerInfo {
        PeerInfo {
            name: name.clone(),
            addr: self.address.clone(),
            state: self.state,
            incarnation: self.incarnation,
            link: self.link.as_ref().map(LinkView::info),
            sent: sent.routing.taken(),
            sent_bytes: sent.bytes,
            dropped: sent.routing.dropped,
            dropped_too_large: sent.too_large,
            gaps: sent.routing.gaps,
            routing: sent.routing,
            received: self.counters.received.get(),
            received_bytes: self.counters.received_bytes.get(),
            lost: self.counters.lost.get(),
            links: self.counters.links.get(),
        }
    }
}

impl LinkView {
    fn info(&self) -> LinkInfo {
        let queued = self.outgoing.queued();
        LinkInfo {
            protocol: self.terms.codec.version(),
            capabilities: self.terms.capabilities.clone(),
            interest: self.terms.interest,
            max_message_bytes: self.terms.peer_max_message_bytes,
            round_trip: self.outgoing.connection().rtt(),
            certificate_end: self.certificate_end,
            queued: QueuedBytes {
                control: queued.control,
                tracker: queued.tracker,
                user: queued.user,
                bulk: queued.bulk,
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
