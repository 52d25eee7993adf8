//! What waits for a shard, beside the commands of callers: messages and news of other nodes, in one order; ended guards;
//! dead owners.
//!
//! Filled from foreign threads that must not wait, so it is bounded, and what does not fit is made good:
//! * One link has half of the room at most, so that whoever sends too much costs the others nothing.
//! * An ordinary message beyond the bound is dropped, and the shard is told that the link lost something. It then asks
//!   the sender for what it missed.
//! * News of nodes, and messages whose loss nobody would notice, have more room. If even that is full, they are dropped
//!   and the shard is told to compare its links with the members as they are then, and asks each for what it missed.
//! * A guard that ends and an owner that dies are in it at most once for each entry, so they need no bound of their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::{
    Delivery, LinkId, MemberSink, Message as PubSubMessage, NodeName, Origin, Sink,
};

use crate::message::Message;
use crate::slot::Ticket;

/// The queue into one shard.
#[derive(Debug)]
pub(crate) struct Inbox {
    room: Room,
    state: Mutex<State>,
    waker: AtomicWaker,
}

/// What may wait for one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) messages: usize,
    /// The bytes of those messages together. One alone may have more.
    pub(crate) bytes: usize,
}

impl Room {
    /// What one link may have of it: whoever floods this node loses what it sends itself, and leaves the rest to the others.
    fn of_one_link(self) -> Self {
        Self {
            messages: self.messages.div_ceil(2),
            bytes: self.bytes.div_ceil(2),
        }
    }

    /// For things that everything else heals from, and for those that need more room.
    fn with_reserve(self) -> Self {
        let with_reserve = |bound: usize| bound + bound.div_ceil(RESERVE_SHARE);
        Self {
            messages: with_reserve(self.messages),
            bytes: with_reserve(self.bytes),
        }
    }
}

/// One thing that happened elsewhere.
#[derive(Debug)]
pub(crate) enum News {
    Message(Arc<Origin>, Bytes),
    Member(MemberEvent),
    /// That link lost messages here.
    Lost(NodeName, LinkId),
    /// News of nodes were lost here.
    Reset,
}

impl News {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(_, payload) => payload.len(),
            Self::Member(_) | Self::Lost(..) | Self::Reset => 0,
        }
    }
}

/// Something that ended on this node.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    pub(crate) tickets: VecDeque<Ticket>,
    pub(crate) owners: VecDeque<u64>,
}

impl Endings {
    /// Adds what ended later.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.tickets.append(&mut later.tickets);
        self.owners.append(&mut later.owners);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tickets.is_empty() && self.owners.is_empty()
    }
}

/// The messages of one link that wait, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    messages: usize,
    bytes: usize,
}

impl Waiting {
    /// Whether there is room for a message of that size. Who has none waiting may send one of any.
    fn fits(self, bytes: usize, room: Room) -> bool {
        let light = self.bytes == 0 || self.bytes + bytes <= room.bytes;
        light && self.messages < room.messages
    }
}

#[derive(Debug, Default)]
struct State {
    news: VecDeque<News>,
    /// Of the messages among them.
    bytes: usize,
    /// Of each link that has messages in the queue.
    links: BTreeMap<(NodeName, LinkId), Waiting>,
    /// Links with a `Lost` in the queue: one is enough.
    lost: BTreeSet<(NodeName, LinkId)>,
    reset: bool,
    endings: Endings,
    dropped: u64,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            state: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, origin: &Arc<Origin>, payload: &Bytes) -> Delivery {
        let mut state = self.state();
        if state.closed {
            return Delivery::Closed;
        }
        let must_arrive = Message::must_arrive(payload);
        let room = if must_arrive {
            self.room.with_reserve()
        } else {
            self.room
        };
        let delivery = if !state
            .of_link(origin)
            .fits(payload.len(), room.of_one_link())
        {
            // What must arrive is asked for, too: who lost a hello or a goodbye of a link asks, and the answer says the same.
            state.lose(&origin.node, origin.link);
            Delivery::Dropped
        } else if state.fits(payload.len(), room) {
            state.put(origin, payload);
            Delivery::Delivered
        } else if must_arrive {
            state.lose_everything();
            Delivery::Dropped
        } else {
            state.lose(&origin.node, origin.link);
            Delivery::Dropped
        };
        drop(state);
        self.waker.wake();
        delivery
    }

    fn member(&self, event: &MemberEvent) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        if state.fits(0, self.room.with_reserve()) {
            state.news.push_back(News::Member(event.clone()));
        } else {
            state.lose_everything();
        }
        drop(state);
        self.waker.wake();
    }

    /// The guard of that `track` ended.
    pub(crate) fn ended(&self, ticket: Ticket) {
        self.end(|endings| endings.tickets.push_back(ticket));
    }

    /// That owner died.
    pub(crate) fn died(&self, owner: u64) {
        self.end(|endings| endings.owners.push_back(owner));
    }

    fn end(&self, end: impl FnOnce(&mut Endings)) {
        let mut state = self.state();
        if !state.closed {
            end(&mut state.endings);
        }
        drop(state);
        self.waker.wake();
    }

    /// What ended since the last call.
    pub(crate) fn take_endings(&self) -> Endings {
        mem::take(&mut self.state().endings)
    }

    /// Up to `most` pieces of news, in their order, with messages of so many bytes together; at least one, if there is any.
    pub(crate) fn take_news(&self, most: usize, bytes: usize) -> Vec<News> {
        let mut state = self.state();
        let (count, taken) = state.first_news(most, bytes);
        state.bytes -= taken;
        let news: Vec<News> = state.news.drain(..count).collect();
        for item in &news {
            match item {
                News::Message(origin, payload) => state.taken(origin, payload.len()),
                News::Lost(node, link) => {
                    state.lost.remove(&(node.clone(), *link));
                }
                News::Reset => state.reset = false,
                News::Member(_) => {}
            }
        }
        if state.news.is_empty() {
            state.news.shrink_to(KEPT_CAPACITY);
        }
        news
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Ready when there is something to take.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        let state = self.state();
        if state.news.is_empty() && state.endings.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Nothing is taken in any more, and what waits is dropped.
    pub(crate) fn close(&self) {
        let waiting = mem::replace(
            &mut *self.state(),
            State {
                closed: true,
                ..State::default()
            },
        );
        drop(waiting);
    }
}

impl State {
    /// Whether there is room for a message of that size, or for other news. An empty queue takes any message.
    fn fits(&self, bytes: usize, room: Room) -> bool {
        let light = self.bytes == 0 || bytes == 0 || self.bytes + bytes <= room.bytes;
        light && self.news.len() < room.messages
    }

    fn of_link(&self, origin: &Origin) -> Waiting {
        let link = (origin.node.clone(), origin.link);
        self.links.get(&link).copied().unwrap_or_default()
    }

    fn put(&mut self, origin: &Arc<Origin>, payload: &Bytes) {
        let link = (origin.node.clone(), origin.link);
        let waiting = self.links.entry(link).or_default();
        waiting.messages += 1;
        waiting.bytes += payload.len();
        self.bytes += payload.len();
        let news = News::Message(Arc::clone(origin), payload.clone());
        self.news.push_back(news);
    }

    fn taken(&mut self, origin: &Origin, bytes: usize) {
        let link = (origin.node.clone(), origin.link);
        if let Some(waiting) = self.links.get_mut(&link) {
            waiting.messages -= 1;
            waiting.bytes -= bytes;
            if waiting.messages == 0 {
                self.links.remove(&link);
            }
        }
    }

    /// How many pieces of news come next, and the bytes of their messages.
    fn first_news(&self, most: usize, bytes: usize) -> (usize, usize) {
        let (mut count, mut taken) = (0, 0);
        for news in self.news.iter().take(most) {
            if count > 0 && taken + news.bytes() > bytes {
                break;
            }
            count += 1;
            taken += news.bytes();
        }
        (count, taken)
    }

    fn lose(&mut self, node: &NodeName, link: LinkId) {
        self.dropped += 1;
        // One mark for each link that lost something: there are never more of them than links.
        if self.lost.insert((node.clone(), link)) {
            self.news.push_back(News::Lost(node.clone(), link));
        }
    }

    fn lose_everything(&mut self) {
        self.dropped += 1;
        if !mem::replace(&mut self.reset, true) {
            self.news.push_back(News::Reset);
        }
    }
}

impl Sink for Inbox {
    fn deliver(&self, message: &PubSubMessage) -> Delivery {
        match message.origin() {
            Some(origin) => self.message(origin, message.payload()),
            None => Delivery::Dropped,
        }
    }
}

impl MemberSink for Inbox {
    fn member_event(&self, event: &MemberEvent) {
        self.member(event);
    }
}

/// The reserve is one part in so many of the bound.
const RESERVE_SHARE: usize = 4;

/// Capacity that an emptied queue may keep.
const KEPT_CAPACITY: usize = 64;

#[cfg(test)]
mod tests;
