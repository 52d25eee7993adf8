//! The task of one shard: feeds it commands, messages, news of nodes and time, and does what it asks for.
//!
//! The only file that waits. Everything that is ready is taken in one go, up to a bound; then the lists are published, and
//! only then the callers are answered. So whoever was answered finds what it did in the list.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::{Member, MemberEvent};
use matryoshka_pubsub::registry::DeathHook;
use matryoshka_pubsub::{
    Kind, MemberSink, MemberWatch, Payload, PubSub, Publisher, SinkSubscription, TopicName,
    TrafficClass,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::entry::Entry;
use crate::error::TrackerError;
use crate::inbox::{Endings, Inbox, News, Room};
use crate::left_right::LeftRight;
use crate::life::Life;
use crate::message::Message;
use crate::published::Published;
use crate::reference::Writer;
use crate::shard::{Effect, HoldAt, Refusal, Shard};
use crate::slot::{Slot, Target, Ticket};
use crate::stats::Stats;
use crate::tracked::Lease;
use crate::visible::TopicStep;

/// What a caller wants of a shard.
pub(crate) enum Command {
    Track {
        slot: Slot,
        meta: Bytes,
        /// For how long it is held when its connection ends.
        drop_grace: Duration,
        owner: OwnerWatch,
        reply: oneshot::Sender<TrackAnswer>,
    },
    Update {
        target: Target,
        /// Only if this is what is tracked there; nothing: whatever is.
        expected: Option<Arc<Entry>>,
        meta: Bytes,
        reply: oneshot::Sender<Result<Arc<Entry>, Refusal>>,
    },
    /// What is tracked there, listed or not: what is held may have given way already.
    Find {
        target: Target,
        reply: oneshot::Sender<Option<Arc<Entry>>>,
    },
    Untrack {
        target: Target,
        reply: oneshot::Sender<Result<bool, Refusal>>,
    },
    UntrackOwner {
        owner: u64,
        /// How much of it has ended already, in earlier steps.
        ended: usize,
        reply: oneshot::Sender<usize>,
    },
    Restart {
        grace: Duration,
        reply: oneshot::Sender<()>,
    },
    Hold {
        owners: Arc<[u64]>,
        /// How far earlier steps have got.
        at: HoldAt,
        reply: oneshot::Sender<bool>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// What was tracked, or why not.
pub(crate) type TrackAnswer = Result<(Lease, Ticket), NotTracked>;

/// Why nothing was tracked.
pub(crate) enum NotTracked {
    /// That is there already.
    Taken(Arc<Entry>),
    OwnerDead,
}

/// Tells whether an owner has died, and tells the shard when it does.
pub(crate) struct OwnerWatch {
    pub(crate) dead: Arc<AtomicBool>,
    pub(crate) hook: DeathHook,
}

/// What the handles of a tracker share with one shard's task.
pub(crate) struct ShardHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stats: Arc<Mutex<Stats>>,
    pub(crate) writers: Arc<Writers>,
}

/// By whom references say that they were given which a shard gave.
type Writers = LeftRight<BTreeSet<Writer>>;

/// One shard with everything it needs to run.
pub(crate) struct Driver {
    shard: Shard,
    index: usize,
    topic: TopicName,
    commands: mpsc::Receiver<Command>,
    inbox: Arc<Inbox>,
    stats: Arc<Mutex<Stats>>,
    /// Those of that life.
    writers: (Life, Arc<Writers>),
    published: Arc<Published>,
    caught_up: Option<watch::Sender<()>>,
    hooks: HashMap<u64, DeathHook>,
    pubsub: PubSub,
    publisher: Publisher,
    _members: MemberWatch,
    _subscription: SinkSubscription,
    started: Instant,
    answers: Vec<Answer>,
    /// What has ended, and has still to go from the lists.
    ending: Endings,
    /// The command whose turn is next: it waits for what has ended, or was carried out in part.
    next: Option<Command>,
    /// How many entries may still end in this step, or be held.
    room: usize,
    /// Those who wait until others know what is held.
    holds: VecDeque<oneshot::Sender<bool>>,
}

/// An answer that waits until what it is about is published.
type Answer = Box<dyn FnOnce() + Send>;

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) shard: Shard,
    pub(crate) index: usize,
    pub(crate) topic: TopicName,
    pub(crate) inbox_room: Room,
    pub(crate) published: Arc<Published>,
    pub(crate) caught_up: watch::Sender<()>,
}

impl Driver {
    /// Connects a shard to the pubsub. From now on nothing that other nodes say is missed.
    pub(crate) fn new(pubsub: &PubSub, parts: Parts) -> Result<(Self, ShardHandle), TrackerError> {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let inbox = Arc::new(Inbox::new(parts.inbox_room));
        let stats = Arc::new(Mutex::new(Stats::default()));
        let writers = Arc::new(Writers::default());
        writers.write(|there| *there = parts.shard.writers());
        let life = parts.shard.life();
        let publisher = pubsub.publisher();
        let subscription = publisher.subscribe_sink(&parts.topic, Arc::clone(&inbox) as Arc<_>)?;
        let members = pubsub.watch_members(Arc::clone(&inbox) as Arc<dyn MemberSink>);
        let driver = Self {
            shard: parts.shard,
            index: parts.index,
            topic: parts.topic,
            commands,
            inbox: Arc::clone(&inbox),
            stats: Arc::clone(&stats),
            writers: (life, Arc::clone(&writers)),
            published: parts.published,
            caught_up: Some(parts.caught_up),
            hooks: HashMap::new(),
            pubsub: pubsub.clone(),
            publisher,
            _members: members,
            _subscription: subscription,
            started: Instant::now(),
            answers: Vec::new(),
            ending: Endings::default(),
            next: None,
            room: 0,
            holds: VecDeque::new(),
        };
        let handle = ShardHandle {
            commands: sender,
            inbox,
            stats,
            writers,
        };
        Ok((driver, handle))
    }

    /// Runs until the tracker is closed or its last handle is gone.
    pub(crate) async fn run(mut self) {
        loop {
            if !self.is_busy() {
                let wake_at = self.started + self.shard.poll_timeout();
                let inbox = Arc::clone(&self.inbox);
                tokio::select! {
                    command = self.commands.recv() => match command {
                        Some(command) => self.next = Some(command),
                        None => break,
                    },
                    () = poll_fn(|cx| inbox.poll_ready(cx)) => {}
                    () = tokio::time::sleep_until(wake_at) => {}
                }
            }
            if let Some(closing) = self.step() {
                self.leave().await;
                // Only then are the lists empty and the streams over, as whoever closes may expect.
                drop(self);
                let _ = closing.send(());
                return;
            }
            // Other tasks get their turn, however much is waiting here.
            tokio::task::yield_now().await;
        }
        self.leave().await;
    }

    /// Whether more is to be done than a step does.
    fn is_busy(&self) -> bool {
        self.next.is_some() || !self.ending.is_empty()
    }

    /// Takes in what is ready, publishes what came of it, answers. Gives the reply of a close, if there was one.
    fn step(&mut self) -> Option<oneshot::Sender<()>> {
        let now = self.started.elapsed();
        self.room = STEP_ENDINGS;
        let mut closing = None;
        for _ in 0..BATCH {
            let next = self.next.take();
            let Some(command) = next.or_else(|| self.commands.try_recv().ok()) else {
                break;
            };
            // A guard that ended before this command was given must be seen to have ended.
            if !self.endings(now) {
                self.next = Some(command);
                break;
            }
            closing = self.command(command, now);
            if closing.is_some() || self.next.is_some() {
                break;
            }
        }
        for news in self.inbox.take_news(BATCH, STEP_BYTES) {
            self.news(news, now);
        }
        self.endings(now);
        if self.shard.poll_timeout() <= now {
            self.shard.handle_tick(now);
        }
        self.finish();
        closing
    }

    fn command(&mut self, command: Command, now: Duration) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Track {
                slot,
                meta,
                drop_grace,
                owner,
                reply,
            } => self.track(&slot, (meta, drop_grace), owner, reply, now),
            Command::Update {
                target,
                expected,
                meta,
                reply,
            } => {
                let result = match self.shard.slot_of(target) {
                    Some(slot) => self.shard.update(&slot, expected.as_deref(), meta, now),
                    None => Err(Refusal::NoPresence),
                };
                self.answer(reply, result);
            }
            Command::Find { target, reply } => {
                let slot = self.shard.slot_of(target);
                let there = slot.and_then(|slot| self.shard.own_slot(&slot).cloned());
                self.answer(reply, there);
            }
            Command::Untrack { target, reply } => {
                let result = match self.shard.slot_of(target) {
                    Some(slot) => self.untrack(&slot, now),
                    None => Ok(false),
                };
                self.answer(reply, result);
            }
            Command::UntrackOwner {
                owner,
                ended,
                reply,
            } => self.untrack_owner(owner, ended, reply, now),
            Command::Restart { grace, reply } => {
                self.shard.restart(grace);
                self.answer(reply, ());
            }
            Command::Hold { owners, at, reply } => self.hold(owners, at, reply, now),
            Command::Close { reply } => return Some(reply),
        }
        None
    }

    /// So much of it as there is room for in this step, and the rest in the next one.
    fn untrack_owner(
        &mut self,
        owner: u64,
        ended: usize,
        reply: oneshot::Sender<usize>,
        now: Duration,
    ) {
        let ending = self.shard.untrack_some(owner, self.room, now);
        self.room -= ending;
        let ended = ended + ending;
        if self.unhook(owner) {
            self.answer(reply, ended);
        } else {
            self.next = Some(Command::UntrackOwner {
                owner,
                ended,
                reply,
            });
        }
    }

    /// The same. The answer comes when all who are linked know of it.
    fn hold(
        &mut self,
        owners: Arc<[u64]>,
        mut at: HoldAt,
        reply: oneshot::Sender<bool>,
        now: Duration,
    ) {
        self.room -= self.shard.hold_some(&owners, &mut at, self.room, now);
        if at.is_past(&owners) {
            self.shard.confirm_hold(&at, now);
            self.holds.push_back(reply);
        } else {
            self.next = Some(Command::Hold { owners, at, reply });
        }
    }

    fn track(
        &mut self,
        slot: &Slot,
        (meta, drop_grace): (Bytes, Duration),
        owner: OwnerWatch,
        reply: oneshot::Sender<TrackAnswer>,
        now: Duration,
    ) {
        // The flag is set before the death is reported: what is tracked in between ends with that report.
        if owner.dead.load(Ordering::Acquire) {
            return self.answer(reply, Err(NotTracked::OwnerDead));
        }
        let result = self.shard.track(slot, meta, now);
        self.hooks.entry(slot.owner).or_insert(owner.hook);
        if let Ok((ticket, _)) = &result {
            self.shard.set_drop_grace(ticket, drop_grace);
        }
        let result = result
            .map(|(ticket, _)| (self.lease(ticket.clone()), ticket))
            .map_err(NotTracked::Taken);
        self.answer(reply, result);
    }

    fn untrack(&mut self, slot: &Slot, now: Duration) -> Result<bool, Refusal> {
        let result = self.shard.untrack(slot, now);
        self.unhook(slot.owner);
        result
    }

    fn lease(&self, ticket: Ticket) -> Lease {
        Lease::new(Arc::clone(&self.inbox), ticket)
    }

    /// An answer that nobody waits for any more is dropped, and with it the lease in it.
    fn answer<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.answers
            .push(Box::new(move || drop(reply.send(answer))));
    }

    /// Ends what has lost its guard or its owner, as much of it as this step has room for. Whether that was all.
    fn endings(&mut self, now: Duration) -> bool {
        self.ending.append(self.inbox.take_endings());
        while self.room > 0
            && let Some(ticket) = self.ending.tickets.pop_front()
        {
            self.room -= 1;
            if let Some(owner) = self.shard.release(&ticket, now) {
                self.unhook(owner);
            }
        }
        while self.room > 0
            && let Some(owner) = self.ending.owners.pop_front()
        {
            self.room -= self.shard.disconnect_some(owner, self.room, now);
            if !self.unhook(owner) {
                self.ending.owners.push_front(owner);
            }
        }
        self.ending.is_empty()
    }

    /// Stops waiting for the death of an owner without entries. Whether it has none.
    fn unhook(&mut self, owner: u64) -> bool {
        let has_none = !self.shard.owner_has_entries(owner);
        if has_none {
            self.hooks.remove(&owner);
        }
        has_none
    }

    fn news(&mut self, news: News, now: Duration) {
        match news {
            News::Message(origin, payload) => match Message::decode(&payload) {
                Ok(Some(message)) => self.shard.handle_message(&origin, message, now),
                Ok(None) => {
                    tracing::debug!(node = %origin.node, "skipped a message of a later version")
                }
                Err(error) => {
                    tracing::warn!(node = %origin.node, %error, "dropped a malformed message");
                    self.shard.count_malformed();
                }
            },
            News::Member(event) => self.shard.handle_member(&event, now),
            News::Lost(node, link) => self.shard.handle_gap(&node, link, now),
            News::Reset => {
                let there = self.introduction();
                let own = self.pubsub.incarnation();
                self.shard.handle_reset(&there, own, now);
            }
        }
    }

    /// What leads to the other nodes as they are now.
    fn introduction(&self) -> Vec<MemberEvent> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&told);
        let tell = move |event: &MemberEvent| {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            to.push(event.clone());
        };
        drop(self.pubsub.watch_members(Arc::new(tell)));
        std::mem::take(&mut told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the step: sends, publishes, and answers, in this order.
    fn finish(&mut self) {
        self.shard.settle();
        let mut steps: Vec<TopicStep> = Vec::new();
        while let Some(effect) = self.shard.poll_effect() {
            match effect {
                Effect::Broadcast(message) => self.broadcast(&message),
                Effect::SendTo(node, message) => {
                    let payload = payload(&message);
                    let sent = self.publisher.direct_broadcast(&node, &self.topic, payload);
                    if let Err(error) = sent {
                        // Its link is ending, or what is missing will be asked for.
                        tracing::debug!(%node, %error, "a message to a node was not sent");
                    }
                }
                Effect::Step(step) => steps.push(step),
                Effect::Implausible(node) => {
                    tracing::warn!(
                        %node,
                        "a node asks for a tracker number, or says that it has one, that no clock can have given: not taken, nor any more"
                    );
                }
                Effect::Refused(Member {
                    node, incarnation, ..
                }) => {
                    tracing::warn!(
                        %node,
                        incarnation = incarnation.0,
                        "a link is not taken: this tracker knows a later process of that name, and waits until it is forgotten"
                    );
                }
                Effect::Held(confirmed) => {
                    if let Some(reply) = self.holds.pop_front() {
                        self.answer(reply, confirmed);
                    }
                }
            }
        }
        let (life, writers) = &mut self.writers;
        if *life != self.shard.life() {
            *life = self.shard.life();
            writers.write(|there| *there = self.shard.writers());
        }
        self.published.publish(self.index, steps);
        if self.shard.caught_up_once() {
            self.caught_up = None;
        }
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.shard.stats();
        self.answers.drain(..).for_each(|answer| answer());
    }

    fn broadcast(&self, message: &Message) {
        if let Err(error) = self.publisher.broadcast_from(&self.topic, payload(message)) {
            tracing::debug!(%error, "a message to all nodes was not sent");
        }
    }

    /// The tracker is over: everything leaves, here and elsewhere.
    async fn leave(&mut self) {
        self.shard.depart();
        while self.shard.clear(STEP_ENDINGS) > 0 {
            self.finish();
            tokio::task::yield_now().await;
        }
        self.finish();
    }
}

/// However the task ends, even by a panic: nobody is shown what nobody keeps true.
impl Drop for Driver {
    fn drop(&mut self) {
        // Nor elsewhere, where it would stay listed for as long as the link is up. What panicked once may do so again.
        let last_words = AssertUnwindSafe(|| {
            for word in self.shard.last_words() {
                self.broadcast(&word);
            }
        });
        if catch_unwind(last_words).is_err() {
            tracing::error!("a shard ended by a panic, and could not tell the other nodes");
        }
        self.inbox.close();
        self.published.close(self.index);
    }
}

fn payload(message: &Message) -> Payload {
    Payload::new(KIND, message.encode()).with_class(TrafficClass::Tracker)
}

/// What the payloads of a tracker's own messages are.
const KIND: Kind = Kind(3);

/// Commands that may wait for a shard. Beyond, callers wait.
const COMMANDS: usize = 1_024;

/// Commands and pieces of news taken in one step. Larger steps save publications, smaller ones answer sooner.
const BATCH: usize = 256;

/// Bytes of other nodes' messages taken in one step: to read them takes time, and whoever tracks here waits for it. What nodes push
/// under load fills messages of more, which are taken one a step.
const STEP_BYTES: usize = 64 * 1024;

/// Entries that end or are held in one step because of an owner, of guards or of a close: what is more waits for the next step, so that other tasks
/// get their turn.
const STEP_ENDINGS: usize = 4_096;
