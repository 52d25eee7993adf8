//! The handle of a tracker.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::join_all;
use matryoshka_pubsub::registry::{Owner, OwnerDead, OwnerId};
use matryoshka_pubsub::{Claim, NodeName, PubSub, TopicName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::config::TrackerConfig;
use crate::diffs::{Diffs, Snapshot, TopicDiffs};
use crate::driver::{Command, Driver, NotTracked, OwnerWatch, Parts, ShardHandle};
use crate::entries::Entries;
use crate::entry::{Entry, Present};
use crate::error::{Closed, MetaError, TrackError, TrackerError, UntrackError, UpdateError};
use crate::inbox::Room;
use crate::life::Life;
use crate::peer::CHUNK_BYTES;
use crate::published::Published;
use crate::reference::{PresenceRef, shard_of};
use crate::shard::{HoldAt, Refusal, Settings, Shard};
use crate::slot::{Slot, Target};
use crate::stats::Stats;
use crate::tracked::Tracked;

/// Who is where: values tracked under topics and keys, listed alike on every node. A clone means the same tracker.
///
/// The tracker runs until [`close`](Self::close), or until its last handle and the last [`Tracked`] guard are gone; then
/// everything tracked through it leaves.
#[derive(Clone)]
pub struct Tracker {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeName,
    shards: Vec<ShardHandle>,
    published: Arc<Published>,
    caught_up: watch::Receiver<()>,
    undecodable: AtomicU64,
    /// The name is free again when the handles are gone.
    claim: Claim,
}

impl Tracker {
    /// The longest key, in bytes.
    pub const MAX_KEY_BYTES: usize = 4 * 1024;

    /// The largest value, in bytes as tracked.
    pub const MAX_META_BYTES: usize = 64 * 1024;

    /// Starts a tracker on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TrackerError`]; then nothing runs.
    pub fn new(pubsub: &PubSub, config: TrackerConfig) -> Result<Self, TrackerError> {
        config.check()?;
        config.check_topics(pubsub.limits())?;
        let runtime = Handle::try_current().map_err(|_| TrackerError::NoRuntime)?;
        let claim = pubsub
            .claim(format!("tracker:{}", config.name))
            .map_err(TrackerError::AlreadyRunning)?;
        let published = Arc::new(Published::new(config.pool_size, config.consumer_diffs));
        let (caught_up, waiting) = watch::channel(());
        let life = life_now(pubsub);
        let mut drivers = Vec::with_capacity(config.pool_size);
        let mut shards = Vec::with_capacity(config.pool_size);
        for index in 0..config.pool_size {
            let settings = settings(&config, index);
            let parts = Parts {
                shard: Shard::new(pubsub.node(), life, settings),
                index,
                topic: config.topic(index),
                inbox_room: Room {
                    messages: config.inbox_messages,
                    bytes: config.inbox_bytes,
                },
                published: Arc::clone(&published),
                caught_up: caught_up.clone(),
            };
            let (driver, handle) = Driver::new(pubsub, parts)?;
            drivers.push(driver);
            shards.push(handle);
        }
        for driver in drivers {
            runtime.spawn(driver.run());
        }
        let inner = Inner {
            node: pubsub.node(),
            shards,
            published,
            caught_up: waiting,
            undecodable: AtomicU64::new(0),
            claim,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The node that this tracker runs on.
    pub fn node(&self) -> &NodeName {
        &self.inner.node
    }

    /// The name that it shares with its peers on other nodes.
    pub fn name(&self) -> &str {
        let claimed = self.inner.claim.name();
        claimed.strip_prefix("tracker:").unwrap_or(claimed)
    }

    /// Tracks a value under a topic and a key, for as long as the guard lives and the owner is not dead.
    ///
    /// The value is written as MessagePack with field names. When this returns, this node lists it; the other nodes do
    /// within the broadcast period and the way there. While more than 1,024 commands wait for the shard, this waits too.
    ///
    /// # Errors
    ///
    /// [`TrackError`]; then nothing is tracked.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropped before it returns, it ends as if its guard were dropped. So nothing stays tracked, and others may have seen it come
    /// and go; only after an announced [`restart`](Self::restart) it may be held, as all that ends then.
    pub async fn track<M: Serialize + ?Sized>(
        &self,
        owner: &Owner,
        topic: &str,
        key: &str,
        meta: &M,
    ) -> Result<Tracked, TrackError> {
        let meta = encode(meta)?;
        self.track_bytes(owner, topic, key, meta).await
    }

    /// As [`track`](Self::track), with a value that is bytes already. [`list`](Self::list) may not be able to read it;
    /// [`entries`](Self::entries) gives it back as it is.
    ///
    /// # Errors
    ///
    /// As [`track`](Self::track).
    ///
    /// # Cancel safety
    ///
    /// As [`track`](Self::track).
    pub async fn track_bytes(
        &self,
        owner: &Owner,
        topic: &str,
        key: &str,
        meta: impl Into<Bytes>,
    ) -> Result<Tracked, TrackError> {
        self.track_with_grace(owner, topic, key, meta, Duration::ZERO)
            .await
    }

    /// As [`track_bytes`](Self::track_bytes), and when the guard is dropped or the owner dies, the entry stays listed for
    /// `drop_grace` (at most the permdown period), or until another entry with its topic and key comes, from any node: then one diff has that in `joins`
    /// and this in `leaves`. So somebody whose connection breaks for a moment is not seen to leave. What is untracked ends at once.
    ///
    /// # Errors
    ///
    /// As [`track`](Self::track).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it ends as if its guard were dropped: what was tracked by then is held for its grace, and nothing else
    /// stays.
    pub async fn track_with_grace(
        &self,
        owner: &Owner,
        topic: &str,
        key: &str,
        meta: impl Into<Bytes>,
        drop_grace: Duration,
    ) -> Result<Tracked, TrackError> {
        let meta = measured(meta.into())?;
        check_names(topic, key)?;
        let shard = self.shard(topic);
        let (reply, answer) = oneshot::channel();
        let command = Command::Track {
            slot: slot(owner.id(), topic, key),
            meta,
            drop_grace,
            owner: watch_owner(owner, shard),
            reply,
        };
        match shard.ask(command, answer).await? {
            Ok((lease, ticket)) => Ok(Tracked::new(self.clone(), ticket, lease)),
            Err(NotTracked::Taken(there)) => Err(TrackError::AlreadyTracked {
                reference: there.reference,
            }),
            Err(NotTracked::OwnerDead) => {
                let owner = owner.id();
                Err(TrackError::OwnerDead(OwnerDead { owner }))
            }
        }
    }

    /// Changes a value by a function, which is called again if another task changed the value in between.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]; then the value stays.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the change is either made or not.
    pub async fn update<M, F>(
        &self,
        owner: OwnerId,
        topic: &str,
        key: &str,
        mut change: F,
    ) -> Result<PresenceRef, UpdateError>
    where
        M: Serialize + DeserializeOwned,
        F: FnMut(&mut M),
    {
        let target = Target::Slot(slot(owner, topic, key));
        self.update_target(target, &mut change).await
    }

    /// As [`update`](Self::update), on the value's bytes.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    ///
    /// # Cancel safety
    ///
    /// As [`update`](Self::update).
    pub async fn update_bytes<F>(
        &self,
        owner: OwnerId,
        topic: &str,
        key: &str,
        mut change: F,
    ) -> Result<PresenceRef, UpdateError>
    where
        F: FnMut(&Bytes) -> Bytes,
    {
        let target = Target::Slot(slot(owner, topic, key));
        self.update_if(target, |entry| Ok(change(&entry.meta)))
            .await
    }

    /// As [`update_bytes`](Self::update_bytes), by a function that may refuse: then its error is the answer.
    ///
    /// # Errors
    ///
    /// What the function said, or an [`UpdateError`] made into that; then the value stays.
    ///
    /// # Cancel safety
    ///
    /// As [`update`](Self::update).
    pub async fn try_update_bytes<F, E>(
        &self,
        owner: OwnerId,
        topic: &str,
        key: &str,
        mut change: F,
    ) -> Result<PresenceRef, E>
    where
        F: FnMut(&Bytes) -> Result<Bytes, E>,
        E: From<UpdateError>,
    {
        let target = Target::Slot(slot(owner, topic, key));
        self.update_if(target, |entry| change(&entry.meta)).await
    }

    /// Replaces a value, whatever it is now.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]; then the value stays.
    ///
    /// # Cancel safety
    ///
    /// As [`update`](Self::update).
    pub async fn replace<M: Serialize + ?Sized>(
        &self,
        owner: OwnerId,
        topic: &str,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, UpdateError> {
        let target = Target::Slot(slot(owner, topic, key));
        self.replace_target(target, encode(meta)?).await
    }

    /// Replaces a value by bytes, whatever it is now.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace).
    ///
    /// # Cancel safety
    ///
    /// As [`update`](Self::update).
    pub async fn replace_bytes(
        &self,
        owner: OwnerId,
        topic: &str,
        key: &str,
        meta: impl Into<Bytes>,
    ) -> Result<PresenceRef, UpdateError> {
        let target = Target::Slot(slot(owner, topic, key));
        self.replace_target(target, meta.into()).await
    }

    /// Ends what an owner tracks under a topic and key. Whether it tracked something there.
    ///
    /// # Errors
    ///
    /// [`UntrackError`], if only other nodes track that key, or the tracker was closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it is either untracked or not.
    pub async fn untrack(
        &self,
        owner: OwnerId,
        topic: &str,
        key: &str,
    ) -> Result<bool, UntrackError> {
        let target = Target::Slot(slot(owner, topic, key));
        match self.untrack_target(target).await? {
            Ok(was_tracked) => Ok(was_tracked),
            Err(Refusal::NotOwner(node)) => Err(UntrackError::NotOwner { node }),
            Err(Refusal::NoPresence | Refusal::Changed(_)) => Ok(false),
        }
    }

    /// Ends everything that an owner tracks. How much it was. Of more than 4,096 entries in a shard each 4,096 leave in a diff of their
    /// own, so that nobody else's calls wait for all of them; so it is when the owner dies.
    ///
    /// # Errors
    ///
    /// If the tracker was closed: then nothing is tracked any more.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, some of it may have ended and the rest not: call it again.
    pub async fn untrack_owner(&self, owner: OwnerId) -> Result<usize, Closed> {
        let mut count = 0;
        for shard in &self.inner.shards {
            let (reply, answer) = oneshot::channel();
            let owner = owner.get();
            count += shard
                .ask(
                    Command::UntrackOwner {
                        owner,
                        ended: 0,
                        reply,
                    },
                    answer,
                )
                .await?;
        }
        Ok(count)
    }

    /// The entries of a topic on all nodes, with their values read. Lock-free, as [`entries`](Self::entries).
    ///
    /// Entries whose value is no `M` are left out, and counted in [`Stats::undecodable`].
    pub fn list<M: DeserializeOwned>(&self, topic: &str) -> Vec<Present<M>> {
        let entries = self.entries(topic);
        let mut present = Vec::with_capacity(entries.len());
        for piece in entries.read_ahead() {
            present.extend(piece.iter().filter_map(|entry| self.read(entry)));
        }
        present
    }

    /// The entries of a topic with that key, read as in [`list`](Self::list). Lock-free, as [`entries`](Self::entries).
    pub fn get_by_key<M: DeserializeOwned>(&self, topic: &str, key: &str) -> Vec<Present<M>> {
        let entries = self.entries(topic);
        entries
            .by_key(key)
            .filter_map(|entry| self.read(entry))
            .collect()
    }

    /// The entries of a topic on all nodes, as they are.
    ///
    /// Asks no task and no other node, and waits for nobody: reading is lock-free, however large a change is that is being put in place
    /// meanwhile, and whatever stops whoever does that.
    pub fn entries(&self, topic: &str) -> Entries {
        self.inner.published.entries(self.shard_index(topic), topic)
    }

    /// All topics that have entries, with their lists, at one moment. Changes are put in place before it or after it, so it may have to wait
    /// for one, and the next one for it.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.published.snapshot()
    }

    /// How many entries a topic has on all nodes. Lock-free, as [`entries`](Self::entries).
    pub fn count(&self, topic: &str) -> usize {
        self.entries(topic).len()
    }

    /// Whether anybody tracks that key in that topic. Lock-free, as [`entries`](Self::entries).
    pub fn contains(&self, topic: &str, key: &str) -> bool {
        self.entries(topic).by_key(key).next().is_some()
    }

    /// What is listed under a topic and key of an owner of this tracker: what it tracks, or what is held of it since its guard was dropped,
    /// which can be updated no more. Lock-free, as [`entries`](Self::entries).
    pub fn own_entry(&self, owner: OwnerId, topic: &str, key: &str) -> Option<Arc<Entry>> {
        self.own_in(owner.get(), topic, key)
    }

    /// The list of a topic and every change after it, in one step.
    pub fn subscribe(&self, topic: &str) -> (Entries, TopicDiffs) {
        let published = Arc::clone(&self.inner.published);
        TopicDiffs::new(published, self.shard_index(topic), topic)
    }

    /// Every change of any topic from now on.
    pub fn diffs(&self) -> Diffs {
        Diffs::new(Arc::clone(&self.inner.published))
    }

    /// Resolves once, in every shard, the whole state of at least one other node has been here, and that of all nodes that those hear,
    /// or the tracker is over. Never, if this node stays alone; and if it cannot reach one that a peer hears, not as long as that
    /// lasts: set a limit.
    ///
    /// # Cancel safety
    ///
    /// Safe: what has come so far stays, and whoever asks again waits for the rest only.
    pub fn first_snapshot(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut caught_up = self.inner.caught_up.clone();
        // Each shard holds a sender until then. It is never sent on, so an error is all that can come.
        async move { while caught_up.changed().await.is_ok() {} }
    }

    /// Counters of all shards.
    pub fn stats(&self) -> Stats {
        let undecodable = self.inner.undecodable.load(Ordering::Relaxed);
        let start = Stats {
            undecodable,
            ..Stats::default()
        };
        self.inner.shards.iter().fold(start, |sum, shard| {
            let stats = shard.stats.lock().unwrap_or_else(PoisonError::into_inner);
            let inbox_dropped = shard.inbox.dropped();
            sum + Stats {
                inbox_dropped,
                ..*stats
            }
        })
    }

    /// This node is about to restart. From now on entries are held when their connections end: this node lists them to its end, and
    /// the others for `grace` after that (at most the permdown period), the restarted node among them. A held entry leaves in the
    /// same diff as the next entry under its topic and key joins, whichever node that is on. So users who come back in
    /// time are not seen to leave. What is untracked still ends at once.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, some shards may have announced it and others not: call it again.
    pub async fn restart(&self, grace: Duration) {
        for shard in &self.inner.shards {
            let (reply, answer) = oneshot::channel();
            let _ = shard.ask(Command::Restart { grace, reply }, answer).await;
        }
    }

    /// Told before the connections of these owners are closed, for a [`restart`](Self::restart) that was announced: what they track is
    /// held from now on. When this returns, all linked nodes know that; so wherever their users are back, no node lists the new
    /// entry without dropping the old one in the same diff. A node that does not say so within 500 ms is not waited for: one that runs an
    /// earlier version never does. Nor is one whose tracker is over while its link is up, nor again one that left a hold unanswered and was never
    /// heard of as a tracker. Whether all others said so.
    ///
    /// Until they end, the owners still have their entries: what they update stays held, what they untrack ends at once, and what they
    /// track anew is held when they end. Without an announced restart this does nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, some shards may hold it and others not: call it again.
    pub async fn hold(&self, owners: &[OwnerId]) -> bool {
        let owners: Arc<[u64]> = owners.iter().map(|owner| owner.get()).collect();
        let shards = self.inner.shards.iter();
        let held = shards.map(|shard| {
            let (reply, answer) = oneshot::channel();
            let owners = Arc::clone(&owners);
            let at = HoldAt::default();
            shard.ask(Command::Hold { owners, at, reply }, answer)
        });
        // All shards at once: each waits for its peers.
        let held = join_all(held).await;
        held.into_iter().all(|held| held == Ok(true))
    }

    /// Ends the tracker: all its entries leave this node's lists and the other nodes', unless a [`restart`](Self::restart) was
    /// announced. Streams end, lists are empty, and
    /// calls answer [`Closed`]. Closing again does nothing.
    ///
    /// The name is free for another tracker when all handles and guards are gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, some shards may be closed and others not: call it again.
    pub async fn close(&self) {
        for shard in &self.inner.shards {
            let (reply, answer) = oneshot::channel();
            let _ = shard.ask(Command::Close { reply }, answer).await;
        }
    }

    /// What is listed now of a target.
    pub(crate) fn find(&self, target: &Target) -> Option<Arc<Entry>> {
        match target {
            Target::Slot(slot) => self.own_in(slot.owner, &slot.topic, &slot.key),
            Target::Ticket(ticket) => {
                let entries = self.entries(&ticket.first().topic);
                let mut there = entries.by_key(&ticket.first().key);
                there.find(|entry| ticket.made(entry)).cloned()
            }
        }
    }

    fn own_in(&self, owner: u64, topic: &str, key: &str) -> Option<Arc<Entry>> {
        let entries = self.entries(topic);
        let mut of_owner = entries.by_key(key).filter(|entry| entry.owner == owner);
        // What is held of an earlier process of this node is of that one's owners, whose numbers were the same.
        self.shard(topic).writers.read(|writers| {
            let own = |entry: &&Arc<Entry>| writers.contains(&entry.reference.writer());
            of_owner.find(own).cloned()
        })
    }

    pub(crate) async fn update_target<M, F>(
        &self,
        target: Target,
        change: &mut F,
    ) -> Result<PresenceRef, UpdateError>
    where
        M: Serialize + DeserializeOwned,
        F: FnMut(&mut M),
    {
        self.update_if(target, |entry| {
            let mut meta = entry.decode::<M>()?;
            change(&mut meta);
            Ok(encode(&meta)?)
        })
        .await
    }

    pub(crate) async fn replace_target(
        &self,
        target: Target,
        meta: Bytes,
    ) -> Result<PresenceRef, UpdateError> {
        match self.replace_if(target, None, measured(meta)?).await? {
            Ok(entry) => Ok(entry.reference),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    pub(crate) async fn untrack_target(
        &self,
        target: Target,
    ) -> Result<Result<bool, Refusal>, Closed> {
        let (reply, answer) = oneshot::channel();
        let shard = self.shard(target.topic());
        shard.ask(Command::Untrack { target, reply }, answer).await
    }

    async fn update_if<E: From<UpdateError>>(
        &self,
        target: Target,
        mut change: impl FnMut(&Entry) -> Result<Bytes, E>,
    ) -> Result<PresenceRef, E> {
        let there = match self.find(&target) {
            Some(there) => Some(there),
            None => self
                .find_unlisted(&target)
                .await
                .map_err(UpdateError::from)?,
        };
        let Some(mut there) = there else {
            return Err(self.missing(&target).into());
        };
        loop {
            let meta = measured(change(&there)?).map_err(UpdateError::from)?;
            let replaced = self.replace_if(target.clone(), Some(there), meta).await;
            match replaced.map_err(UpdateError::from)? {
                Ok(entry) => return Ok(entry.reference),
                Err(Refusal::Changed(now)) => there = now,
                Err(refusal) => return Err(refused(refusal).into()),
            }
        }
    }

    /// A place that is held, and whose user is back elsewhere, is not listed any more; until its connection ends it can be updated.
    async fn find_unlisted(&self, target: &Target) -> Result<Option<Arc<Entry>>, Closed> {
        let (reply, answer) = oneshot::channel();
        let target = target.clone();
        let shard = self.shard(target.topic());
        shard.ask(Command::Find { target, reply }, answer).await
    }

    async fn replace_if(
        &self,
        target: Target,
        expected: Option<Arc<Entry>>,
        meta: Bytes,
    ) -> Result<Result<Arc<Entry>, Refusal>, Closed> {
        let (reply, answer) = oneshot::channel();
        let shard = self.shard(target.topic());
        let command = Command::Update {
            target,
            expected,
            meta,
            reply,
        };
        shard.ask(command, answer).await
    }

    fn missing(&self, target: &Target) -> UpdateError {
        if self.shard(target.topic()).commands.is_closed() {
            return UpdateError::Closed(Closed);
        }
        match target {
            Target::Slot(Slot { topic, key, .. }) => {
                let there = self.entries(topic);
                refused(Refusal::of(&self.inner.node, there.by_key(key)))
            }
            Target::Ticket(_) => UpdateError::NoPresence,
        }
    }

    fn read<M: DeserializeOwned>(&self, entry: &Arc<Entry>) -> Option<Present<M>> {
        match entry.decode() {
            Ok(meta) => Some(Present {
                meta,
                entry: Arc::clone(entry),
            }),
            Err(_) => {
                self.inner.undecodable.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn shard_index(&self, topic: &str) -> usize {
        shard_of(topic, self.inner.shards.len())
    }

    fn shard(&self, topic: &str) -> &ShardHandle {
        &self.inner.shards[self.shard_index(topic)]
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker")
            .field("node", &self.inner.node)
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl ShardHandle {
    /// Gives a command and waits for the answer.
    async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Result<T, Closed> {
        self.commands.send(command).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}

/// The life of a tracker that starts now.
fn life_now(pubsub: &PubSub) -> Life {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    Life {
        incarnation: pubsub.incarnation().0,
        started: u64::try_from(micros).unwrap_or(0),
    }
}

pub(crate) fn settings(config: &TrackerConfig, index: usize) -> Settings {
    Settings {
        shard: u32::try_from(index).expect("the number of shards is checked"),
        broadcast_period: config.broadcast_period,
        vector_period: config.vector_period,
        permdown_period: config.permdown_period,
        log_bytes: config.log_bytes,
        chunk_bytes: CHUNK_BYTES,
    }
}

fn slot(owner: OwnerId, topic: &str, key: &str) -> Slot {
    Slot {
        owner: owner.get(),
        topic: Arc::from(topic),
        key: Arc::from(key),
    }
}

fn watch_owner(owner: &Owner, shard: &ShardHandle) -> OwnerWatch {
    let dead = Arc::new(AtomicBool::new(false));
    let inbox = Arc::clone(&shard.inbox);
    let id = owner.id().get();
    let flag = Arc::clone(&dead);
    let hook = owner.on_death(move || {
        flag.store(true, Ordering::Release);
        inbox.died(id);
    });
    OwnerWatch { dead, hook }
}

fn check_names(topic: &str, key: &str) -> Result<(), TrackError> {
    if topic.len() > TopicName::MAX_BYTES {
        let bytes = topic.len();
        return Err(TrackError::TopicTooLong { bytes });
    }
    if key.len() > Tracker::MAX_KEY_BYTES {
        let bytes = key.len();
        return Err(TrackError::KeyTooLong { bytes });
    }
    Ok(())
}

pub(crate) fn encode<M: Serialize + ?Sized>(meta: &M) -> Result<Bytes, MetaError> {
    let mut bytes = Vec::with_capacity(USUAL_META_BYTES);
    rmp_serde::encode::write_named(&mut bytes, meta).map_err(MetaError::encode)?;
    measured(bytes.into_boxed_slice().into())
}

/// Room in which most values are written, so that they grow in no steps.
const USUAL_META_BYTES: usize = 128;

fn measured(meta: Bytes) -> Result<Bytes, MetaError> {
    if meta.len() > Tracker::MAX_META_BYTES {
        return Err(MetaError::too_large(meta.len()));
    }
    Ok(meta)
}

fn refused(refusal: Refusal) -> UpdateError {
    match refusal {
        Refusal::NotOwner(node) => UpdateError::NotOwner { node },
        Refusal::NoPresence | Refusal::Changed(_) => UpdateError::NoPresence,
    }
}

#[cfg(test)]
mod tests;
