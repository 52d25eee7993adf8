//! The task that steps the mesh: feeds it what happens and does what it says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use matryoshka_pubsub::cluster::{MemberEvent, interest};
use matryoshka_pubsub::{Goodbye, Inbound, LinkId, NodeName, Origin};
use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::adapter::{LinkView, MemberView, QuicAdapter, Shared, Wish};
use crate::connect::Connector;
use crate::link::{Established, LinkTask, Outgoing, Raise};
use crate::losses::Losses;
use crate::proto::address::is_host_name;
use crate::proto::admission::{Admission, MAX_HANDSHAKES_PER_ADDRESS, Verdict};
use crate::proto::close::Close;
use crate::proto::frame::{Frame, Hello};
use crate::proto::liveness::TICK;
use crate::proto::mesh::{Effect, Ended, Mesh, MeshConfig};
use crate::proto::notice::{Level, Notice};
use crate::proto::outbox::Bounds;
use crate::proto::peer::ConnectionId;
use crate::proto::traffic::Traffic;
use crate::proto::trouble::Trouble;
use crate::runtime::Gone;
use crate::stats::PeerCounters;
use crate::tls::Identity;

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
    /// How often a seed's host name is looked up again though somebody was met there.
    pub(crate) look_again: Duration,
    pub(crate) interest: interest::Config,
    pub(crate) bounds: Bounds,
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
        setup.mesh.offer,
        setup.interest.clone(),
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
        look_again,
        bounds,
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
        let own = mesh.own.iter().filter_map(|own| own.parse().ok());
        let own_addresses = own.collect();
        let mut mesh = Mesh::new(mesh, Instant::now());
        mesh.look_again_every(look_again);
        let driver = Driver {
            mesh,
            own_addresses,
            endpoint: endpoint.clone(),
            connector: Arc::new(connector),
            identity,
            shared,
            inbound,
            left,
            links: HashMap::new(),
            dials: HashMap::new(),
            admission: Admission::default(),
            tasks: JoinSet::new(),
            task_ids: HashMap::new(),
            frames,
            incoming_frames,
            counters: HashMap::new(),
            members_changed: false,
            bounds,
            losses: Losses::new(Instant::now()),
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
    own_addresses: Vec<SocketAddr>,
    endpoint: Endpoint,
    connector: Arc<Connector>,
    identity: Arc<Identity>,
    shared: Arc<Shared>,
    inbound: Inbound,
    left: watch::Sender<Option<String>>,
    links: HashMap<ConnectionId, LinkHandle>,
    dials: HashMap<ConnectionId, AbortHandle>,
    admission: Admission,
    tasks: JoinSet<Done>,
    task_ids: HashMap<tokio::task::Id, TaskOf>,
    frames: mpsc::Sender<(ConnectionId, Frame)>,
    incoming_frames: mpsc::Receiver<(ConnectionId, Frame)>,
    counters: HashMap<NodeName, Arc<PeerCounters>>,
    members_changed: bool,
    bounds: Bounds,
    losses: Losses,
    flush_until: Option<tokio::time::Instant>,
}

/// The driver's end of a connection.
struct LinkHandle {
    outgoing: Arc<Outgoing>,
    activity: Arc<AtomicU64>,
    activity_seen: u64,
    raise: watch::Sender<Option<Arc<Raise>>>,
    /// Once it is up.
    link: Option<LinkId>,
    certificate_end: Option<SystemTime>,
}

/// What a task of the driver's is for.
enum TaskOf {
    /// A dial, or a connection.
    Connection(ConnectionId),
    /// The handshake of somebody who connects from there.
    Handshake(SocketAddr),
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
    /// The router's time has come, or edges wait, or the time is another than it was.
    Router,
    FlushOver,
}

impl Driver {
    async fn run(mut self, mut wishes: watch::Receiver<Wish>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wishes_end = false;
        loop {
            let flush_until = self.flush_until;
            let alarm = self.shared.with_traffic(Traffic::set_alarm);
            let alarm = alarm.map(tokio::time::Instant::from_std);
            let event = tokio::select! {
                _ = tick.tick() => Event::Tick,
                Some((id, frame)) = self.incoming_frames.recv() => Event::Frame(id, frame),
                Some(incoming) = self.endpoint.accept(), if self.admission.has_room() => {
                    Event::Incoming(Box::new(incoming))
                }
                Some(done) = self.tasks.join_next_with_id() => Event::Done(done),
                changed = wishes.changed(), if !wishes_end => {
                    wishes_end = changed.is_err();
                    Event::Wish(changed.ok().map(|()| *wishes.borrow_and_update()))
                }
                () = self.shared.attention.notified() => Event::Router,
                () = wait_until(alarm), if alarm.is_some() => Event::Router,
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
            Event::Frame(id, frame) => self.handle_frame(id, frame),
            Event::Incoming(incoming) => self.handle_incoming(*incoming),
            Event::Done(done) => self.handle_done(done),
            Event::Wish(Some(wish)) => self.handle_wish(wish),
            Event::Router => self.handle_router(),
            // No handle is left, so nobody waits for anything either.
            Event::Wish(None) | Event::FlushOver => self.close_all(),
        }
    }

    fn handle_frame(&mut self, id: ConnectionId, frame: Frame) {
        if let Frame::Hello(Hello {
            clock_ms: Some(theirs),
            ..
        }) = &frame
            && let Some(trouble) = self.identity.clock().compare(*theirs)
        {
            self.mesh.handle_trouble(id, &trouble);
        }
        self.mesh.handle_frame(Instant::now(), id, frame);
    }

    fn handle_tick(&mut self) {
        for (id, link) in &mut self.links {
            let activity = link.activity.load(Ordering::Relaxed);
            if std::mem::replace(&mut link.activity_seen, activity) != activity {
                self.mesh.handle_heard(*id);
            }
        }
        let now = Instant::now();
        self.mesh.handle_tick(now);
        self.losses.tell(now, &self.shared, &self.counters);
        // By the wall clock, at each tick: a timer would not notice that the machine slept.
        if let Some(notice) = self.identity.tend() {
            self.log(notice);
        }
    }

    /// Edges are taken under the router's lock: a frame written in between would say that it had heard of a time without telling
    /// what was subscribed by then.
    fn handle_router(&mut self) {
        let (inbound, now) = (&self.inbound, Instant::now());
        self.shared.with_traffic(|traffic| {
            traffic.handle_edges(inbound.take_edges(), now);
            traffic.handle_timeout(now);
        });
    }

    fn handle_incoming(&mut self, incoming: Incoming) {
        let remote = incoming.remote_address();
        let is_proven = incoming.remote_address_validated() || !incoming.may_retry();
        match self.admission.enter(remote.ip(), is_proven) {
            Verdict::Enter => self.accept(remote, incoming),
            Verdict::Prove => {
                // It may fail only for one that has proven its address.
                let _ = incoming.retry();
            }
            Verdict::Refuse => {
                incoming.refuse();
                self.shared.counters.refused.add(1);
                let trouble = too_many_handshakes();
                self.mesh.handle_intruder(Instant::now(), remote, &trouble);
            }
        }
    }

    fn accept(&mut self, remote: SocketAddr, incoming: Incoming) {
        let connector = self.connector.clone();
        let handle = self
            .tasks
            .spawn(async move { Done::Accepted(remote, connector.accept(incoming).await) });
        self.task_ids.insert(handle.id(), TaskOf::Handshake(remote));
    }

    fn handle_done(&mut self, done: Result<(tokio::task::Id, Done), JoinError>) {
        let now = Instant::now();
        match done {
            Ok((task, Done::Dialled(id, dialled))) => {
                self.task_ids.remove(&task);
                self.handle_dialled(now, id, dialled);
            }
            Ok((task, Done::Accepted(remote, accepted))) => {
                self.task_ids.remove(&task);
                self.admission.leave(remote.ip());
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
        let id = match self.task_ids.remove(&error.id()) {
            Some(TaskOf::Connection(id)) => id,
            Some(TaskOf::Handshake(remote)) => return self.admission.leave(remote.ip()),
            None => return,
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
            self.lower(&link);
        }
        self.mesh.handle_ended(now, id, ended);
    }

    fn add_link(&mut self, id: ConnectionId, established: Established) {
        let outgoing = Arc::new(Outgoing::of(established.connection, self.bounds));
        let activity = Arc::new(AtomicU64::new(0));
        let (raise, raised) = watch::channel(None);
        let task = LinkTask {
            id,
            outgoing: outgoing.clone(),
            shared: self.shared.clone(),
            activity: activity.clone(),
            frames: self.frames.clone(),
            raised,
            handshake: established.handshake,
        };
        let run = task.run(established.send, established.receive);
        let handle = self.tasks.spawn(async move { Done::Ended(id, run.await) });
        self.task_ids.insert(handle.id(), TaskOf::Connection(id));
        let link = LinkHandle {
            outgoing,
            activity,
            activity_seen: 0,
            raise,
            link: None,
            certificate_end: established.certified.until,
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
        self.shared.with_traffic(Traffic::handle_closing);
        for link in self.links.values() {
            link.outgoing.finish();
        }
        self.flush_until
            .get_or_insert_with(|| tokio::time::Instant::now() + FLUSH_LIMIT);
    }

    fn close_all(&mut self) {
        self.mesh.leave(Goodbye::Leaving);
        self.apply_effects();
        for link in self.links.values() {
            self.lower(link);
            link.outgoing.close(&Close::Leaving);
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
            Effect::Send { connection, frame } => self.send(connection, frame),
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
        // A host name may stand for nodes that are not met yet: those go first.
        let known = if is_host_name(&address) {
            self.known_addresses()
        } else {
            Vec::new()
        };
        let dialled = self.connector.clone().dial(address, attempt, known);
        let handle = self
            .tasks
            .spawn(async move { Done::Dialled(id, dialled.await) });
        self.task_ids.insert(handle.id(), TaskOf::Connection(id));
        self.dials.insert(id, handle);
    }

    /// Where this node is, and where those are that it has a link with.
    fn known_addresses(&self) -> Vec<SocketAddr> {
        let linked = self.links.values().filter(|link| link.link.is_some());
        let known = linked.map(|link| link.outgoing.connection().remote_address());
        known.chain(self.own_addresses.iter().copied()).collect()
    }

    fn send(&mut self, id: ConnectionId, mut frame: Frame) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if let Frame::Hello(hello) = &mut frame {
            hello.clock_ms = self.identity.clock().to_millis();
        }
        let is_heartbeat = frame == Frame::Heartbeat;
        link.outgoing.send(self.mesh.codec(id), &frame);
        if let Some(link) = link.link.filter(|_| is_heartbeat) {
            self.shared
                .with_traffic(|traffic| traffic.handle_heartbeat(link));
        }
    }

    /// In this order: every publish goes to it, `Up` is told, what it brings is handed on.
    fn raise(&mut self, id: ConnectionId, origin: Origin, event: MemberEvent) {
        let (Some(link), Some(terms)) = (self.links.get_mut(&id), self.mesh.terms(id)) else {
            return;
        };
        link.link = Some(origin.link);
        let counters = self.counters.entry(origin.node.clone()).or_default();
        counters.links.add(1);
        let (name, outgoing) = (origin.node.clone(), Arc::clone(&link.outgoing));
        self.shared.with_traffic(|traffic| {
            traffic.link_up(origin.link, name, terms.clone(), outgoing);
        });
        let raise = Arc::new(Raise {
            origin: Arc::new(origin),
            terms: terms.clone(),
            inbound: self.inbound.clone(),
            counters: Arc::clone(counters),
        });
        self.tell(event);
        if let Some(link) = self.links.get(&id) {
            link.raise.send_replace(Some(raise));
            link.outgoing.wake_control();
        }
    }

    /// No publish goes there any more.
    fn lower(&self, link: &LinkHandle) {
        if let Some(link) = link.link {
            self.shared.with_traffic(|traffic| traffic.link_down(link));
        }
    }

    fn close(&mut self, id: ConnectionId, close: &Close) {
        if let Some(dial) = self.dials.remove(&id) {
            dial.abort();
        }
        if let Some(link) = self.links.get(&id) {
            self.lower(link);
            link.outgoing.close(close);
        }
    }

    fn tell(&mut self, event: MemberEvent) {
        self.members_changed = true;
        if let MemberEvent::Forgotten(name) = &event {
            self.counters.remove(name);
            self.losses.forget(name);
            self.shared.with_traffic(|traffic| traffic.forget(name));
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
            let link = peer.link.and_then(|id| self.links.get(&id));
            let link = link.map(|link| LinkView {
                terms: peer.guest.terms.clone(),
                outgoing: Arc::clone(&link.outgoing),
                certificate_end: link.certificate_end,
            });
            let view = MemberView {
                address: peer.guest.address.clone(),
                state: peer.state,
                incarnation: peer.guest.incarnation,
                counters: counters.clone(),
                link,
            };
            members.insert(peer.guest.name.clone(), view);
        }
    }
}

fn too_many_handshakes() -> Trouble {
    let text = format!(
        "{MAX_HANDSHAKES_PER_ADDRESS} handshakes from its address are under way; further ones are refused until some are over"
    );
    Trouble::new("too many", text)
}

async fn wait_until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
