//! The handle: put somebody on a topic's list, change what is said about them, take them off, read the list.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::pubsub::registry::Owner;
use matryoshka_channel::{Flow, LeaveHook, Router, Socket};
use matryoshka_tracker::{Closed, PresenceRef, Tracker};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::broadcaster::{ASKED, Broadcaster, Waiter, Wanted};
use crate::config::PresenceConfig;
use crate::error::{PresenceError, PresenceUpdateError, PushStateError, StartError};
use crate::events::Events;
use crate::extras::Extras;
use crate::fetch::Fetcher;
use crate::fetching::Fetching;
use crate::greeting::Greeting;
use crate::handling::HandlerQueue;
use crate::list::PresenceState;
use crate::meta::{self, Meta};
use crate::of_owner::OfOwner;
use crate::stats::{Counters, Stats};
use crate::teller::{Settings, Teller};
use crate::topic_config::{TopicConfig, of_topic};
use crate::writing::Writing;

/// Who is here, by topic and key, on all nodes of the cluster. A clone is the same presence.
///
/// The methods that take a [`Socket`] speak of that channel: its topic, and as long as the channel lives. [`of`](Self::of) has the same
/// for any [`Owner`] and topic.
///
/// It ends soon after its last clone is dropped, and the last channel that tracks by it has ended: its tasks end when the runtime next runs them, and until then
/// its name is taken. What it tracked then leaves the lists of the other nodes.
#[derive(Clone)]
pub struct Presence {
    shared: Arc<Shared>,
}

struct Shared {
    tracker: Tracker,
    rules: Router<TopicConfig>,
    /// The longest name of a topic that anybody can subscribe to.
    topic_bytes: usize,
    events: Arc<Events>,
    fetcher: Option<Fetcher>,
    broadcaster: mpsc::Sender<Wanted>,
    counters: Arc<Counters>,
    tasks: Vec<AbortHandle>,
}

impl Presence {
    /// Starts a presence with default settings on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// If a presence of the default name runs on this pubsub already (use that one, or [`start`](Self::start) a second
    /// one under another name), or if this is called outside a tokio runtime.
    pub fn new(pubsub: &PubSub) -> Self {
        match Self::start(pubsub, PresenceConfig::default()) {
            Ok(presence) => presence,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a presence on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] if one of its name runs on this pubsub already, the settings make no sense, or this is called outside a tokio
    /// runtime.
    pub fn start(pubsub: &PubSub, config: PresenceConfig) -> Result<Self, StartError> {
        let rules = config.checked()?;
        let tracker = Tracker::new(pubsub, config.tracker)?;
        let (counters, events) = (Arc::<Counters>::default(), Arc::new(config.events));
        let fetcher = config
            .fetch
            .map(|fetch| Fetcher::new(fetch, config.fetch_limit, Arc::clone(&counters)));
        let mut tasks = Vec::new();
        let handler = config.handler.map(|handler| {
            let queue = Arc::<HandlerQueue>::default();
            let calls = handler.run(Arc::clone(&queue), Arc::clone(&counters));
            tasks.push(tokio::spawn(calls).abort_handle());
            queue
        });
        let (sender, asked) = mpsc::channel(ASKED);
        let (arrivals, arrived) = mpsc::unbounded_channel();
        let broadcaster = Broadcaster {
            pubsub: pubsub.clone(),
            tracker: tracker.clone(),
            diffs: tracker.diffs(),
            asked,
            arrived,
            arrivals,
            teller: Teller::new(Settings {
                period: config.period,
                rules: rules.clone(),
                has_handler: handler.is_some(),
            }),
            fetching: fetcher
                .clone()
                .map(|fetcher| Fetching::new(fetcher, config.fetches_at_once)),
            writing: Writing::new(),
            handler,
            events: Arc::clone(&events),
            counters: Arc::clone(&counters),
            started: Instant::now(),
        };
        tasks.push(tokio::spawn(broadcaster.run()).abort_handle());
        let shared = Shared {
            tracker,
            rules,
            topic_bytes: pubsub.limits().topic_bytes(),
            events,
            fetcher,
            broadcaster: sender,
            counters,
            tasks,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// For a channel's `join`: once the client has its answer, puts it on the list of its topic until the channel ends,
    /// and pushes it the whole list, itself included, as `presence_state`. Changes that are told meanwhile, its own among
    /// them, [follow the list](Self::push_state_after_join).
    ///
    /// `meta` is what the list says about it: anything that serializes as a JSON object, or `&()`. If tracking fails
    /// then, the channel ends with an error and the client joins again.
    ///
    /// # Errors
    ///
    /// [`PresenceError::Meta`], at once, if `meta` is no JSON object. It turns into a refusal of the join by `?`.
    pub fn track_after_join<M>(
        &self,
        socket: &mut Socket,
        key: &str,
        meta: &M,
    ) -> Result<(), PresenceError>
    where
        M: Serialize + ?Sized,
    {
        let meta = meta::encode(meta)?;
        let (presence, key) = (self.clone(), key.to_owned());
        let is_held_back = self.hold_diffs(socket);
        socket.after_join(move |socket| {
            Box::pin(async move { presence.enter(socket, &key, meta, is_held_back).await })
        });
        Ok(())
    }

    /// For the `join` of a channel that only watches: once the client has its answer, pushes it the list of its topic, as
    /// [`push_state`](Self::push_state) does.
    ///
    /// A `presence_diff` comes after that list, also one that is made before it: it waits
    /// ([`Socket::hold_until_after_join`]) until all that the channel puts off is done. The official client's class
    /// keeps what comes before, also over a lost connection, and might add it to a later list.
    ///
    /// ```
    /// # use matryoshka_presence::Presence;
    /// # use matryoshka_presence::channel::Socket;
    /// # fn join(presence: &Presence, socket: &mut Socket) {
    /// presence.push_state_after_join(socket);
    /// # }
    /// ```
    pub fn push_state_after_join(&self, socket: &mut Socket) {
        let presence = self.clone();
        let is_held_back = self.hold_diffs(socket);
        socket.after_join(move |socket| {
            Box::pin(async move { presence.push(socket, is_held_back).await.into() })
        });
    }

    /// Whether it does: called later than in `join`, differences come before the list, as they do by `push_state`.
    fn hold_diffs(&self, socket: &mut Socket) -> bool {
        socket.hold_until_after_join(self.shared.events.diff.as_str())
    }

    async fn enter(&self, socket: &Socket, key: &str, meta: Bytes, is_held_back: bool) -> Flow {
        self.mind_leaves(socket);
        match self
            .track_bytes(socket.owner(), socket.topic(), key, meta)
            .await
        {
            Ok(_) => self.push(socket, is_held_back).await.into(),
            Err(error) => Flow::Fail(error.to_string()),
        }
    }

    /// Puts this channel's client on the list of its topic, until the channel ends or [`untrack`](Self::untrack).
    ///
    /// One that ends on purpose ([`Terminated::is_on_purpose`]) is taken off at once; any other is
    /// [held](crate::TopicConfig::drop_grace) where that is set, or while its node [restarts](Tracker::restart).
    ///
    /// [`Terminated::is_on_purpose`]: matryoshka_channel::Terminated::is_on_purpose
    ///
    /// One channel may track several keys, but each only once. When this returns, [`list`](Self::list) shows it on this
    /// node; clients and other nodes are told soon after.
    ///
    /// # Errors
    ///
    /// [`PresenceError`] if `meta` is no JSON object, or this channel tracks this key already.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the client ends on the list as if its channel had lost the connection: at once, or when
    /// what [holds](crate::TopicConfig::drop_grace) it is over.
    pub async fn track<M>(
        &self,
        socket: &Socket,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceError>
    where
        M: Serialize + ?Sized,
    {
        self.mind_leaves(socket);
        let owned = self.of(socket.owner());
        owned.track(socket.topic(), key, meta).await
    }

    /// The same for an owner that is no channel, or on other topics than the channel's: a robot, or a user without a connection.
    pub fn of<'a>(&'a self, owner: &'a Owner) -> OfOwner<'a> {
        OfOwner::new(self, owner)
    }

    /// A channel that ends on purpose is held by no grace.
    fn mind_leaves(&self, socket: &Socket) {
        socket.add_leave_hook(Arc::<Shared>::clone(&self.shared));
    }

    pub(crate) async fn track_bytes(
        &self,
        owner: &Owner,
        topic: &str,
        key: &str,
        meta: Bytes,
    ) -> Result<PresenceRef, PresenceError> {
        let (bytes, max) = (topic.len(), self.shared.topic_bytes);
        if bytes > max {
            return Err(PresenceError::TopicTooLong { bytes, max });
        }
        let tracked = self
            .shared
            .tracker
            .track_with_grace(
                owner,
                topic,
                key,
                meta,
                of_topic(&self.shared.rules, topic).drop_grace,
            )
            .await?;
        let reference = tracked.reference();
        tracked.leave_to_owner();
        Ok(reference)
    }

    /// Replaces what the list says about this channel's client. Clients see it in one `presence_diff`: the old meta in
    /// `leaves`, the new one in `joins` with `phx_ref_prev`.
    ///
    /// # Errors
    ///
    /// [`PresenceUpdateError`] if `meta` is no JSON object, or this channel does not track this key.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the old meta stays or the new one is there; nothing in between.
    pub async fn update<M>(
        &self,
        socket: &Socket,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceUpdateError>
    where
        M: Serialize + ?Sized,
    {
        let owned = self.of(socket.owner());
        owned.update(socket.topic(), key, meta).await
    }

    /// As [`update`](Self::update), with a function that changes the meta that is there. It is called again if the meta was changed in
    /// between, so that of updates which run side by side none is lost.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); also if the meta does not have the shape of `M`.
    ///
    /// # Cancel safety
    ///
    /// As [`update`](Self::update).
    pub async fn update_with<M>(
        &self,
        socket: &Socket,
        key: &str,
        change: impl FnMut(&mut M),
    ) -> Result<PresenceRef, PresenceUpdateError>
    where
        M: Serialize + DeserializeOwned,
    {
        let owned = self.of(socket.owner());
        owned.update_with(socket.topic(), key, change).await
    }

    /// Takes this channel's client off the list. Tells whether it was there.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the client may be on the list or not, and leaves with the channel.
    pub async fn untrack(&self, socket: &Socket, key: &str) -> bool {
        self.of(socket.owner()).untrack(socket.topic(), key).await
    }

    /// Takes all that this channel tracks off the lists, at once: nothing of it is [held](crate::TopicConfig::drop_grace), nor is a node's
    /// [restart](Tracker::restart) waited out. Whoever ends on purpose is taken off so by itself; this is for a `terminate` that
    /// sees another end as final, or for a channel that lives on. Gives how many keys it was.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, all of them may be off the lists or none.
    pub async fn untrack_all(&self, socket: &Socket) -> usize {
        self.of(socket.owner()).untrack_all().await
    }

    /// Who is on a topic's list, as this node knows it. Asks no task and no other node, and waits for nobody
    /// ([`Tracker::entries`]).
    ///
    /// It is never older than a `presence_diff` that this node sent.
    pub fn list(&self, topic: &str) -> PresenceState {
        PresenceState::new(self.shared.tracker.entries(topic).iter().cloned())
    }

    /// The metas of one key of a topic's list; none if the key is not on it.
    pub fn get_by_key(&self, topic: &str, key: &str) -> Vec<Meta> {
        let entries = self.shared.tracker.entries(topic);
        entries
            .by_key(key)
            .map(|entry| Meta::new(Arc::clone(entry)))
            .collect()
    }

    /// As [`list`](Self::list), with what the application's [`Fetch`](crate::Fetch) adds, as clients get it. It is called here, and within
    /// its time limit; if it fails, this is the plain list.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing. The call of the application is dropped with it.
    pub async fn list_fetched(&self, topic: &str) -> PresenceState {
        let list = self.shared.tracker.entries(topic);
        let greeting = Greeting::new(Some(list.clone()), None);
        let extras = self.fetched(topic, &greeting.keys()).await;
        PresenceState::with_extras(list.iter().cloned(), extras)
    }

    /// As [`list_fetched`](Self::list_fetched), of one key: a list with that key, or an empty one.
    ///
    /// # Cancel safety
    ///
    /// As [`list_fetched`](Self::list_fetched).
    pub async fn get_by_key_fetched(&self, topic: &str, key: &str) -> PresenceState {
        let metas: Vec<_> = self
            .shared
            .tracker
            .entries(topic)
            .by_key(key)
            .cloned()
            .collect();
        let keys: Vec<Arc<str>> = metas
            .iter()
            .take(1)
            .map(|meta| Arc::clone(&meta.key))
            .collect();
        let extras = self.fetched(topic, &keys).await;
        PresenceState::with_extras(metas, extras)
    }

    async fn fetched(&self, topic: &str, keys: &[Arc<str>]) -> Extras {
        match &self.shared.fetcher {
            Some(fetcher) => fetcher.extras(topic, keys, fetcher.deadline()).await,
            None => Extras::default(),
        }
    }

    /// Pushes a client what the [mode](crate::Mode) of its topic gives those who join: the whole list as `presence_state`, if no other
    /// was set. It must get that after every join to be able to follow.
    /// [`track_after_join`](Self::track_after_join) has it included, and [`push_state_after_join`](Self::push_state_after_join) is for
    /// those who only watch. Prefer them: by this alone, from [`Socket::after_join`] or later, a `presence_diff` may come before the list,
    /// unless the channel holds that event back ([`Socket::hold_until_after_join`]). It may be called again, for a client that asks for
    /// the list anew: what is told while the list is on its way is told once more after it.
    ///
    /// Clients that join a topic within one [period](PresenceConfig::period) share one list, which is written once; so this may
    /// wait until the end of the period, and for the [fetch](crate::Fetch); for a client that reads slowly also until it has
    /// [room](Socket::room) for the list. Pushing a [`list`](Self::list) by hand is not quite the
    /// same: this one also has its place among the differences that clients are told.
    ///
    /// # Errors
    ///
    /// [`PushStateError`] if the list cannot be sent to this client, or there is none any more since the tracker was closed.
    ///
    /// # Panics
    ///
    /// In `join`, where nothing can be pushed yet ([`Socket::push`]): the join crashes.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was pushed.
    pub async fn push_state(&self, socket: &Socket) -> Result<(), PushStateError> {
        self.push(socket, false).await
    }

    /// Whether the client's differences are held back until it has the list.
    async fn push(&self, socket: &Socket, is_held_back: bool) -> Result<(), PushStateError> {
        let (events, counters) = (&self.shared.events, &self.shared.counters);
        loop {
            // A list that waits for its client takes memory, and of a topic only so many are under way: a client that reads slowly is to ask
            // for one only when it can have it.
            socket.room().await;
            let greeting = self.greeting(socket, is_held_back).await?;
            if greeting.push_list(socket, events, counters).await? {
                return Ok(());
            }
        }
    }

    async fn greeting(&self, socket: &Socket, is_held_back: bool) -> Result<Arc<Greeting>, Closed> {
        let (reply, greeting) = oneshot::channel();
        let pusher = socket.pusher();
        let wanted = Wanted {
            topic: Arc::from(socket.topic()),
            waiter: Waiter { pusher, reply },
            is_held_back,
            earlier_ended: socket.earlier_join_ended(),
        };
        let asked = self.shared.broadcaster.send(wanted);
        asked.await.map_err(|_| Closed)?;
        greeting.await.map_err(|_| Closed)
    }

    /// The tracker beneath. What it tracks are the JSON texts of metas.
    pub fn tracker(&self) -> &Tracker {
        &self.shared.tracker
    }

    /// What this node's presence has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot()
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl LeaveHook for Shared {
    fn left<'a>(&'a self, socket: &'a Socket) -> BoxFuture<'a, ()> {
        // A tracker that was closed tracks nothing.
        let untracked = self.tracker.untrack_owner(socket.owner().id());
        untracked.map(drop).boxed()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
