//! The task that steps the mesh: feeds it what happens and does what it says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::{Goodbye, Inbound, NodeName, Origin};
use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::adapter::{MemberView, QuicAdapter, Route, Shared, Wish};
use crate::connect::Connector;
use crate::link::{Established, Lanes, LinkTask, Raise};
use crate::proto::close::Close;
use crate::proto::frame::Frame;
use crate::proto::liveness::TICK;
use crate::proto::mesh::{Effect, Ended, Mesh, MeshConfig};
use crate::proto::notice::{Level, Notice};
use crate::proto::peer::ConnectionId;
use crate::proto::trouble::Trouble;
use crate::runtime::Gone;
use crate::stats::PeerCounters;
use crate::tls::Identity;

/// Handshakes of others that may be under way at once. Further ones wait in the endpoint, which refuses what is too
/// much for it.
const MAX_HANDSHAKES: usize = 64;
/// From this many on, whoever connects has to prove first that its address is its own.
const MAX_UNPROVEN_HANDSHAKES: usize = 16;
/// Control frames that wait for the mesh. Full: the links' readers wait, and QUIC holds back the peers.
const MAX_WAITING_FRAMES: usize = 256;
/// How long a shutdown waits until what is queued has arrived.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How long a shutdown waits until QUIC has told everybody.
const IDLE_LIMIT: Duration = Duration::from_millis(500);

/// What a node's log lines about its mesh are filed under.
pub(crate) const LOG_TARGET: &str = "matryoshka::mesh";

/// What a driver is started with.
pub(crate) struct Setup {
    pub(crate) mesh: MeshConfig,
    pub(crate) endpoint: Endpoint,
    pub(crate) gone: Gone,
    pub(crate) connector: Connector,
    pub(crate) identity: Arc<Identity>,
    pub(crate) local_addr: SocketAddr,
}

/// Starts the driver's task; it waits for the adapter to be attached.
pub(crate) fn start(setup: Setup) -> QuicAdapter {
    let (attach, attached) = oneshot::channel();
    let (wish, wishes) = watch::channel(Wish::default());
    let (left, has_left) = watch::channel(None);
    let (done, is_done) = watch::channel(());
    let shared = Arc::new(Shared::new(
        setup.mesh.name.clone(),
        setup.mesh.incarnation,
        setup.local_addr,
        setup.identity.clone(),
        attach,
    ));
    let task = run(setup, shared.clone(), attached, wishes, left);
    tokio::spawn(async move {
        task.await;
        drop(done);
    });
    QuicAdapter::new(shared, wish, is_done, has_left)
}

async fn run(
    setup: Setup,
    shared: Arc<Shared>,
    attached: oneshot::Receiver<Inbound>,
    mut wishes: watch::Receiver<Wish>,
    left: watch::Sender<Option<String>>,
) {
    let Setup {
        mesh,
        endpoint,
        gone,
        connector,
        identity,
        ..
    } = setup;
    let inbound = tokio::select! {
        inbound = attached => inbound.ok(),
        _ = wishes.wait_for(|wish| wish.shutdown) => None,
    };
    if let Some(inbound) = inbound {
        let (frames, incoming_frames) = mpsc::channel(MAX_WAITING_FRAMES);
        let driver = Driver {
            mesh: Mesh::new(mesh, Instant::now()),
            endpoint: endpoint.clone(),
            connector: Arc::new(connector),
            identity,
            shared,
            inbound,
            left,
            links: HashMap::new(),
            dials: HashMap::new(),
            handshakes: 0,
            tasks: JoinSet::new(),
            task_ids: HashMap::new(),
            frames,
            incoming_frames,
            counters: HashMap::new(),
            members_changed: false,
            flush_until: None,
        };
        driver.run(wishes).await;
    }
    endpoint.close(VarInt::from_u32(Close::Leaving.code()), b"");
    // Only so that the last packets get out; whoever misses them notices the silence.
    let _ = tokio::time::timeout(IDLE_LIMIT, endpoint.wait_idle()).await;
    drop(endpoint);
    // A socket that is still open is the worst that can come of not waiting longer.
    let _ = tokio::time::timeout(IDLE_LIMIT, gone.wait()).await;
}

struct Driver {
    mesh: Mesh,
    endpoint: Endpoint,
    connector: Arc<Connector>,
    identity: Arc<Identity>,
    shared: Arc<Shared>,
    inbound: Inbound,
    left: watch::Sender<Option<String>>,
    links: HashMap<ConnectionId, LinkHandle>,
    dials: HashMap<ConnectionId, AbortHandle>,
    handshakes: usize,
    tasks: JoinSet<Done>,
    task_ids: HashMap<tokio::task::Id, ConnectionId>,
    frames: mpsc::Sender<(ConnectionId, Frame)>,
    incoming_frames: mpsc::Receiver<(ConnectionId, Frame)>,
    counters: HashMap<NodeName, Arc<PeerCounters>>,
    members_changed: bool,
    flush_until: Option<tokio::time::Instant>,
}

/// The driver's end of a connection.
struct LinkHandle {
    lanes: Arc<Lanes>,
    activity: Arc<AtomicU64>,
    activity_seen: u64,
    raise: Option<oneshot::Sender<Raise>>,
}

/// What a task of the driver's ends with.
enum Done {
    Dialled(ConnectionId, Result<Established, Trouble>),
    Accepted(SocketAddr, Result<Established, Trouble>),
    Ended(ConnectionId, Ended),
}

/// What the driver wakes up for.
enum Event {
    Tick,
    Frame(ConnectionId, Frame),
    Incoming(Box<Incoming>),
    Done(Result<(tokio::task::Id, Done), JoinError>),
    Wish(Option<Wish>),
    FlushOver,
}

impl Driver {
    async fn run(mut self, mut wishes: watch::Receiver<Wish>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wishes_end = false;
        loop {
            let flush_until = self.flush_until;
            let event = tokio::select! {
                _ = tick.tick() => Event::Tick,
                Some((id, frame)) = self.incoming_frames.recv() => Event::Frame(id, frame),
                Some(incoming) = self.endpoint.accept(), if self.handshakes < MAX_HANDSHAKES => {
                    Event::Incoming(Box::new(incoming))
                }
                Some(done) = self.tasks.join_next_with_id() => Event::Done(done),
                changed = wishes.changed(), if !wishes_end => {
                    wishes_end = changed.is_err();
                    Event::Wish(changed.ok().map(|()| *wishes.borrow_and_update()))
                }
                () = wait_until(flush_until), if flush_until.is_some() => Event::FlushOver,
            };
            self.handle(event);
            self.apply_effects();
            if self.flush_until.is_some() && self.links.is_empty() {
                return;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick => self.handle_tick(),
            Event::Frame(id, frame) => self.mesh.handle_frame(Instant::now(), id, frame),
            Event::Incoming(incoming) => self.handle_incoming(*incoming),
            Event::Done(done) => self.handle_done(done),
            Event::Wish(Some(wish)) => self.handle_wish(wish),
            // No handle is left, so nobody waits for anything either.
            Event::Wish(None) | Event::FlushOver => self.close_all(),
        }
    }

    fn handle_tick(&mut self) {
        for (id, link) in &mut self.links {
            let activity = link.activity.load(Ordering::Relaxed);
            if std::mem::replace(&mut link.activity_seen, activity) != activity {
                self.mesh.handle_heard(*id);
            }
        }
        self.mesh.handle_tick(Instant::now());
        // By the wall clock, at each tick: a timer would not notice that the machine slept.
        if let Some(notice) = self.identity.tend() {
            self.log(notice);
        }
    }

    fn handle_incoming(&mut self, incoming: Incoming) {
        if self.handshakes >= MAX_UNPROVEN_HANDSHAKES
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            // It may fail only if the two conditions above do not hold.
            let _ = incoming.retry();
            return;
        }
        self.handshakes += 1;
        let remote = incoming.remote_address();
        let connector = self.connector.clone();
        self.tasks
            .spawn(async move { Done::Accepted(remote, connector.accept(incoming).await) });
    }

    fn handle_done(&mut self, done: Result<(tokio::task::Id, Done), JoinError>) {
        let now = Instant::now();
        match done {
            Ok((task, Done::Dialled(id, dialled))) => {
                self.task_ids.remove(&task);
                self.handle_dialled(now, id, dialled);
            }
            Ok((_, Done::Accepted(remote, accepted))) => {
                self.handshakes -= 1;
                self.handle_accepted(now, remote, accepted);
            }
            Ok((task, Done::Ended(id, ended))) => {
                self.task_ids.remove(&task);
                self.handle_ended(now, id, ended);
            }
            Err(error) => self.handle_failed_task(now, &error),
        }
    }

    fn handle_dialled(
        &mut self,
        now: Instant,
        id: ConnectionId,
        dialled: Result<Established, Trouble>,
    ) {
        let wanted = self.dials.remove(&id).is_some();
        match dialled {
            Err(trouble) => self.mesh.handle_ended(now, id, Ended::Failed(trouble)),
            Ok(established) if wanted => {
                let remote = established.connection.remote_address();
                let certified = established.certified.clone();
                self.add_link(id, established);
                self.mesh.handle_connected(now, id, remote, certified);
            }
            // It was given up just before it came about; dropping the connection closes it.
            Ok(_) => self.mesh.handle_ended(now, id, Ended::ClosedHere),
        }
    }

    fn handle_accepted(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        accepted: Result<Established, Trouble>,
    ) {
        match accepted {
            Ok(established) => {
                self.shared.counters.accepted.add(1);
                let certified = established.certified.clone();
                let id = self.mesh.handle_accepted(now, remote, certified);
                self.add_link(id, established);
            }
            Err(trouble) => {
                self.shared.counters.refused.add(1);
                self.mesh.handle_intruder(now, remote, &trouble);
            }
        }
    }

    /// A task panicked, or was ended from outside. What it stood for has ended as well.
    fn handle_failed_task(&mut self, now: Instant, error: &JoinError) {
        let Some(id) = self.task_ids.remove(&error.id()) else {
            self.handshakes -= 1;
            return;
        };
        self.dials.remove(&id);
        let ended = if error.is_cancelled() {
            Ended::ClosedHere
        } else {
            let text = "its task failed, which is a bug".to_owned();
            Ended::Broken { text }
        };
        self.handle_ended(now, id, ended);
    }

    fn handle_ended(&mut self, now: Instant, id: ConnectionId, ended: Ended) {
        // What the connection still said counts before its end.
        while let Ok((id, frame)) = self.incoming_frames.try_recv() {
            self.mesh.handle_frame(now, id, frame);
            self.apply_effects();
        }
        if let Some(link) = self.links.remove(&id) {
            self.shared.remove_route(&link.lanes);
        }
        self.mesh.handle_ended(now, id, ended);
    }

    fn add_link(&mut self, id: ConnectionId, established: Established) {
        let lanes = Arc::new(Lanes::new(established.connection));
        let activity = Arc::new(AtomicU64::new(0));
        let (raise, raised) = oneshot::channel();
        let task = LinkTask {
            id,
            lanes: lanes.clone(),
            shared: self.shared.clone(),
            activity: activity.clone(),
            frames: self.frames.clone(),
            raise: raised,
            handshake: established.handshake,
        };
        let run = task.run(established.send, established.receive);
        let handle = self.tasks.spawn(async move { Done::Ended(id, run.await) });
        self.task_ids.insert(handle.id(), id);
        let link = LinkHandle {
            lanes,
            activity,
            activity_seen: 0,
            raise: Some(raise),
        };
        self.links.insert(id, link);
    }

    fn handle_wish(&mut self, wish: Wish) {
        if let Some(goodbye) = wish.goodbye {
            self.mesh.leave(goodbye);
        }
        if wish.shutdown {
            self.shut_down();
        }
    }

    fn shut_down(&mut self) {
        self.mesh.leave(Goodbye::Leaving);
        self.apply_effects();
        for link in self.links.values() {
            link.lanes.finish();
        }
        self.flush_until
            .get_or_insert_with(|| tokio::time::Instant::now() + FLUSH_LIMIT);
    }

    fn close_all(&mut self) {
        self.mesh.leave(Goodbye::Leaving);
        self.apply_effects();
        for link in self.links.values() {
            self.shared.remove_route(&link.lanes);
            link.lanes.close(&Close::Leaving);
        }
        // The links' tasks end at once now, and the run with the last of them.
        self.flush_until = Some(tokio::time::Instant::now() + FLUSH_LIMIT);
    }

    fn apply_effects(&mut self) {
        while let Some(effect) = self.mesh.poll_effect() {
            self.apply(effect);
        }
        if std::mem::take(&mut self.members_changed) {
            self.publish_members();
        }
        let connections = self.mesh.connections() as u64;
        self.shared
            .connections
            .store(connections, Ordering::Relaxed);
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Dial {
                connection,
                address,
                attempt,
            } => self.dial(connection, address, attempt),
            Effect::Send { connection, frame } => {
                if let Some(link) = self.links.get(&connection) {
                    link.lanes.send(&frame);
                }
            }
            Effect::Up {
                connection,
                origin,
                event,
            } => self.raise(connection, origin, event),
            Effect::Close { connection, close } => self.close(connection, &close),
            Effect::Member(event) => self.tell(event),
            Effect::Renumber(incarnation) => {
                self.shared.renumber(incarnation);
                self.tell(MemberEvent::Renumbered(incarnation));
            }
            Effect::Notice(notice) => self.log(notice),
            Effect::Left(reason) => {
                self.left.send_replace(Some(reason));
            }
        }
    }

    fn dial(&mut self, id: ConnectionId, address: String, attempt: u32) {
        self.shared.counters.dials.add(1);
        let dialled = self.connector.clone().dial(address, attempt);
        let handle = self
            .tasks
            .spawn(async move { Done::Dialled(id, dialled.await) });
        self.task_ids.insert(handle.id(), id);
        self.dials.insert(id, handle);
    }

    fn raise(&mut self, id: ConnectionId, origin: Origin, event: MemberEvent) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let counters = self.counters.entry(origin.node.clone()).or_default();
        counters.links.add(1);
        self.shared.add_route(Route {
            name: origin.node.clone(),
            lanes: link.lanes.clone(),
            counters: counters.clone(),
        });
        let raise = Raise {
            origin: Arc::new(origin),
            inbound: self.inbound.clone(),
            counters: counters.clone(),
        };
        let raising = link.raise.take();
        self.tell(event);
        if let Some(raising) = raising {
            // A task that has ended already reads nothing more.
            let _ = raising.send(raise);
        }
    }

    fn close(&mut self, id: ConnectionId, close: &Close) {
        if let Some(dial) = self.dials.remove(&id) {
            dial.abort();
        }
        if let Some(link) = self.links.get(&id) {
            self.shared.remove_route(&link.lanes);
            link.lanes.close(close);
        }
    }

    fn tell(&mut self, event: MemberEvent) {
        self.members_changed = true;
        if let MemberEvent::Forgotten(name) = &event {
            self.counters.remove(name);
        }
        self.inbound.member(event);
    }

    fn log(&self, notice: Notice) {
        let (node, text) = (self.shared.name(), notice.text);
        match notice.level {
            Level::Info => tracing::info!(target: LOG_TARGET, %node, "{text}"),
            Level::Warn => tracing::warn!(target: LOG_TARGET, %node, "{text}"),
            Level::Error => tracing::error!(target: LOG_TARGET, %node, "{text}"),
        }
    }

    fn publish_members(&mut self) {
        let mut members = self.shared.members();
        members.clear();
        for peer in self.mesh.peers() {
            let counters = self.counters.entry(peer.guest.name.clone()).or_default();
            let view = MemberView {
                address: peer.guest.address.clone(),
                state: peer.state,
                incarnation: peer.guest.incarnation,
                counters: counters.clone(),
            };
            members.insert(peer.guest.name.clone(), view);
        }
    }
}

async fn wait_until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
