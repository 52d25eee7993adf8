//! The adapter: what a pubsub and its user see of the mesh.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use matryoshka_pubsub::cluster::MemberState;
use matryoshka_pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Goodbye, Inbound, Incarnation, NodeName, Reached,
};
use tokio::sync::{oneshot, watch};

use crate::config::Builder;
use crate::link::{Handed, Lanes};
use crate::proto::frame::message_head;
use crate::stats::{NodeCounters, PeerCounters, PeerInfo, Stats};
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
    attach: Mutex<Option<oneshot::Sender<Inbound>>>,
    routes: RwLock<Routes>,
    members: Mutex<BTreeMap<NodeName, MemberView>>,
    pub(crate) connections: AtomicU64,
    pub(crate) counters: NodeCounters,
}

/// The members with a link, by name. Replaced whole, so that publishers never wait for a change.
type Routes = Arc<Vec<Arc<Route>>>;

/// One member with a link.
pub(crate) struct Route {
    pub(crate) name: NodeName,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) counters: Arc<PeerCounters>,
}

/// One member, as [`QuicAdapter::peers`] tells of it.
pub(crate) struct MemberView {
    pub(crate) address: String,
    pub(crate) state: MemberState,
    pub(crate) incarnation: Incarnation,
    pub(crate) counters: Arc<PeerCounters>,
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
        let members = self.inner.shared.members();
        members
            .iter()
            .map(|(name, member)| member.info(name))
            .collect()
    }

    /// Counters, and what is there now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let mut stats = Stats {
            up: shared.routes().len() as u64,
            connections: shared.connections.load(Ordering::Relaxed),
            dials: shared.counters.dials.get(),
            accepted: shared.counters.accepted.get(),
            refused: shared.counters.refused.get(),
            skipped_frames: shared.counters.skipped_frames.get(),
            ..Stats::default()
        };
        for member in shared.members().values() {
            stats.sent += member.counters.sent.get();
            stats.dropped += member.counters.dropped.get();
            stats.received += member.counters.received.get();
            stats.lost += member.counters.lost.get();
        }
        stats
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
        let routes = self.inner.shared.routes();
        let mut reached = Reached::default();
        if routes.is_empty() {
            return Ok(reached);
        }
        let head = head(envelope);
        for route in routes.iter() {
            match route.hand(envelope, head.clone()) {
                Handed::Queued => reached.peers += 1,
                Handed::Dropped => reached.dropped.push(route.name.clone()),
                Handed::Closed => {}
            }
        }
        Ok(reached)
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        let shared = &self.inner.shared;
        let routes = shared.routes();
        let Some(route) = routes.iter().find(|route| route.name == *to) else {
            return Err(shared.unreachable(to));
        };
        match route.hand(envelope, head(envelope)) {
            Handed::Queued => Ok(()),
            Handed::Dropped => Err(DirectError::QueueFull(to.clone())),
            Handed::Closed => Err(DirectError::NotUp(to.clone())),
        }
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
        attach: oneshot::Sender<Inbound>,
    ) -> Self {
        Self {
            name,
            incarnation: AtomicU64::new(incarnation.0),
            local_addr,
            identity,
            attach: Mutex::new(Some(attach)),
            routes: RwLock::default(),
            members: Mutex::default(),
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

    /// From now on each broadcast goes there too.
    pub(crate) fn add_route(&self, route: Route) {
        self.change_routes(|routes| {
            let at = routes.partition_point(|other| other.name < route.name);
            routes.insert(at, Arc::new(route));
        });
    }

    /// From now on no broadcast goes there.
    pub(crate) fn remove_route(&self, lanes: &Arc<Lanes>) {
        self.change_routes(|routes| routes.retain(|route| !Arc::ptr_eq(&route.lanes, lanes)));
    }

    pub(crate) fn members(&self) -> MutexGuard<'_, BTreeMap<NodeName, MemberView>> {
        lock(&self.members)
    }

    fn routes(&self) -> Routes {
        let routes = self.routes.read();
        Arc::clone(&routes.unwrap_or_else(PoisonError::into_inner))
    }

    fn change_routes(&self, change: impl FnOnce(&mut Vec<Arc<Route>>)) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::clone(&routes);
        change(&mut changed);
        *routes = Arc::new(changed);
    }

    fn unreachable(&self, node: &NodeName) -> DirectError {
        if self.members().contains_key(node) {
            DirectError::NotUp(node.clone())
        } else {
            DirectError::NoSuchNode(node.clone())
        }
    }
}

impl Route {
    fn hand(&self, envelope: &Envelope, head: Bytes) -> Handed {
        let handed = self.lanes.hand(envelope, head);
        match handed {
            Handed::Queued => {
                self.counters.sent.add(1);
                self.counters.sent_bytes.add(envelope.payload.len() as u64);
            }
            Handed::Dropped => self.counters.dropped.add(1),
            Handed::Closed => {}
        }
        handed
    }
}

impl MemberView {
    fn info(&self, name: &NodeName) -> PeerInfo {
        PeerInfo {
            name: name.clone(),
            addr: self.address.clone(),
            state: self.state,
            incarnation: self.incarnation,
            sent: self.counters.sent.get(),
            sent_bytes: self.counters.sent_bytes.get(),
            dropped: self.counters.dropped.get(),
            received: self.counters.received.get(),
            received_bytes: self.counters.received_bytes.get(),
            lost: self.counters.lost.get(),
            links: self.counters.links.get(),
        }
    }
}

/// A message's bytes before its payload: encoded once, shared by all links.
fn head(envelope: &Envelope) -> Bytes {
    message_head(
        envelope.kind.0,
        envelope.topic.as_bytes(),
        envelope.payload.len(),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
