//! The task of one shard: feeds it commands, messages, news of nodes and time, and does what it asks for.
//!
//! The only file that waits. Everything that is ready is taken in one go, up to a bound; then the lists are published, and
//! only then the callers are answered. So whoever was answered finds what it did in the list.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::registry::DeathHook;
use matryoshka_pubsub::{
    Kind, MemberSink, MemberWatch, Payload, PubSub, Publisher, SinkSubscription, TopicName,
    TrafficClass,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::entry::Entry;
use crate::error::TrackerError;
use crate::inbox::{Inbox, News};
use crate::message::Message;
use crate::owner_log::{Slot, Target, Ticket};
use crate::published::Published;
use crate::shard::{Effect, Refusal, Shard};
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
    Untrack {
        target: Target,
        reply: oneshot::Sender<Result<bool, Refusal>>,
    },
    UntrackOwner {
        owner: u64,
        reply: oneshot::Sender<usize>,
    },
    Restart {
        grace: Duration,
        reply: oneshot::Sender<()>,
    },
    Hold {
        owners: Arc<[u64]>,
        reply: oneshot::Sender<bool>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// What was tracked, or what is there already.
pub(crate) type TrackAnswer = Result<(Lease, Ticket), Arc<Entry>>;

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
}

/// One shard with everything it needs to run.
pub(crate) struct Driver {
    shard: Shard,
    index: usize,
    topic: TopicName,
    commands: mpsc::Receiver<Command>,
    inbox: Arc<Inbox>,
    stats: Arc<Mutex<Stats>>,
    published: Arc<Published>,
    caught_up: Option<watch::Sender<()>>,
    hooks: HashMap<u64, DeathHook>,
    pubsub: PubSub,
    publisher: Publisher,
    _members: MemberWatch,
    _subscription: SinkSubscription,
    started: Instant,
    answers: Vec<Answer>,
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
    pub(crate) inbox_bound: usize,
    pub(crate) published: Arc<Published>,
    pub(crate) caught_up: watch::Sender<()>,
}

impl Driver {
    /// Connects a shard to the pubsub. From now on nothing that other nodes say is missed.
    pub(crate) fn new(pubsub: &PubSub, parts: Parts) -> Result<(Self, ShardHandle), TrackerError> {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let inbox = Arc::new(Inbox::new(parts.inbox_bound));
        let stats = Arc::new(Mutex::new(Stats::default()));
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
            published: parts.published,
            caught_up: Some(parts.caught_up),
            hooks: HashMap::new(),
            pubsub: pubsub.clone(),
            publisher,
            _members: members,
            _subscription: subscription,
            started: Instant::now(),
            answers: Vec::new(),
            holds: VecDeque::new(),
        };
        let handle = ShardHandle {
            commands: sender,
            inbox,
            stats,
        };
        Ok((driver, handle))
    }

    /// Runs until the tracker is closed or its last handle is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let wake_at = self.started + self.shard.poll_timeout();
            let inbox = Arc::clone(&self.inbox);
            let first = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => Some(command),
                    None => break,
                },
                () = poll_fn(|cx| inbox.poll_ready(cx)) => None,
                () = tokio::time::sleep_until(wake_at) => None,
            };
            if let Some(closing) = self.step(first) {
                self.leave();
                // Only then are the lists empty and the streams over, as whoever closes may expect.
                drop(self);
                let _ = closing.send(());
                return;
            }
            // Other tasks get their turn, however much is waiting here.
            tokio::task::yield_now().await;
        }
        self.leave();
    }

    /// Takes in what is ready, publishes what came of it, answers. Gives the reply of a close, if there was one.
    fn step(&mut self, first: Option<Command>) -> Option<oneshot::Sender<()>> {
        let now = self.started.elapsed();
        let mut closing = None;
        let mut next = first;
        for _ in 0..BATCH {
            let Some(command) = next.or_else(|| self.commands.try_recv().ok()) else {
                break;
            };
            closing = self.command(command, now);
            if closing.is_some() {
                break;
            }
            next = None;
        }
        for news in self.inbox.take_news(BATCH) {
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
        // A guard that ended before this command was given must be seen to have ended.
        self.endings(now);
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
            Command::Untrack { target, reply } => {
                let result = match self.shard.slot_of(target) {
                    Some(slot) => self.untrack(&slot, now),
                    None => Ok(false),
                };
                self.answer(reply, result);
            }
            Command::UntrackOwner { owner, reply } => {
                let count = self.shard.untrack_owner(owner, now);
                self.unhook(owner);
                self.answer(reply, count);
            }
            Command::Restart { grace, reply } => {
                self.shard.restart(grace);
                self.answer(reply, ());
            }
            Command::Hold { owners, reply } => {
                self.shard.hold(&owners, now);
                self.holds.push_back(reply);
            }
            Command::Close { reply } => return Some(reply),
        }
        None
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
            return;
        }
        let result = self.shard.track(slot, meta, now);
        self.hooks.entry(slot.owner).or_insert(owner.hook);
        if let Ok((ticket, _)) = &result {
            self.shard.set_drop_grace(ticket, drop_grace);
        }
        let result = result.map(|(ticket, _)| (self.lease(ticket.clone()), ticket));
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

    fn endings(&mut self, now: Duration) {
        let endings = self.inbox.take_endings();
        for ticket in endings.tickets {
            if let Some(owner) = self.shard.release(&ticket, now) {
                self.unhook(owner);
            }
        }
        for owner in endings.owners {
            self.shard.owner_died(owner, now);
            self.unhook(owner);
        }
    }

    /// Stops waiting for the death of an owner without entries.
    fn unhook(&mut self, owner: u64) {
        if !self.shard.owner_has_entries(owner) {
            self.hooks.remove(&owner);
        }
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
                let members = self.pubsub.members().now();
                let own = self.pubsub.incarnation();
                self.shard.handle_reset(&members, own, now);
            }
        }
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
                        "a node asks for a tracker number that none of this node can have had: not taken, nor any more"
                    );
                }
                Effect::Held(confirmed) => {
                    if let Some(reply) = self.holds.pop_front() {
                        self.answer(reply, confirmed);
                    }
                }
            }
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
    fn leave(&mut self) {
        self.shard.leave(self.started.elapsed());
        self.finish();
    }
}

/// However the task ends, even by a panic: nobody is shown what nobody keeps true.
impl Drop for Driver {
    fn drop(&mut self) {
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
