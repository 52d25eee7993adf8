//! Requests for sessions of other nodes: asked for there, by the node that the client came to.
//!
//! Direct messages between two nodes arrive in order or their link breaks, so a request is answered, or its node goes down. What finds the queue
//! between the nodes full is said again until its request is given up. Only that, and a node that stands still, need the time limit.

mod asking;
mod serving;
mod unread;
mod wire;

use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use bytestring::ByteString;
use matryoshka_pubsub::{
    Delivery, DirectError, Dispatcher, Kind, Message, NodeName, Payload, PubSub, Sink, Subscribers,
    TrafficClass, cluster::MemberEvent,
};
use tokio::{
    runtime::Handle,
    time::{Instant, error::Elapsed, sleep, sleep_until, timeout, timeout_at},
};

use super::{
    RETRY,
    body::{BadLine, Layout},
    budget::{Budget, Charge, Holder},
    downstream::Polled,
    session::{Asker, PostAnswer},
    sessions::Sessions,
};
use crate::later::later;
use asking::{Answer, Asking, Question, Room, Unheard};
use serving::Serving;
pub(super) use unread::Unread;
use unread::UnreadAnswers;
use wire::{Said, Word};

/// How long an answer may take beyond the window of its request, when a node does not even say that the session is gone: 2 s.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// How long polls wait for other nodes once this one is drained, and how long after that for what may be on its way: in all less than
/// the second that requests get before a node of ours ends.
const LAST_WINDOW: Duration = Duration::from_millis(500);
const LAST_ANSWER: Duration = Duration::from_millis(250);

/// For a poll that has waited in vain.
const NOTHING: Option<(Polled, Option<Unread>)> = Some((Polled::Nothing, None));

/// What the messages are, and where they go.
pub(super) const KIND: Kind = Kind(7);
pub(super) const TOPIC: &str = "matryoshka:longpoll";

/// One node's part in it: asking others, and answering them.
pub(super) struct Relay {
    pubsub: PubSub,
    sessions: Arc<Sessions>,
    asking: Asking,
    /// Polls for which there is no room to be asked, by whose they are.
    waiting: Arc<Budget>,
    serving: Serving,
    /// Those that can be asked. A token may name any node, and one that does not exist.
    linked: Mutex<BTreeSet<NodeName>>,
    /// Of posts to others.
    asked: Arc<Budget>,
    /// Of what others answered polls.
    answers: Arc<Budget>,
    /// The same of each session.
    unread: Arc<UnreadAnswers>,
    /// Of posts from others.
    served: Arc<Budget>,
}

impl Relay {
    pub(super) fn new(pubsub: &PubSub, sessions: &Arc<Sessions>) -> Arc<Self> {
        let config = sessions.config();
        Arc::new(Self {
            pubsub: pubsub.clone(),
            sessions: Arc::clone(sessions),
            asking: Asking::new(config.max_forwarded),
            waiting: Budget::new(config.max_forwarded),
            serving: Serving::new(config.max_forwarded),
            linked: Mutex::default(),
            asked: Budget::new(config.max_forwarded_bytes),
            answers: Budget::new(config.max_answer_bytes),
            unread: Arc::default(),
            served: Budget::new(config.max_forwarded_bytes),
        })
    }

    /// What posts to other nodes may take.
    pub(super) fn asked(&self) -> &Arc<Budget> {
        &self.asked
    }

    fn linked(&self) -> MutexGuard<'_, BTreeSet<NodeName>> {
        // Nothing panics while the lock is held, and each step leaves the set whole.
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a node whether it has the session of a token; what to answer to a post, if not. A word is all that a token can cost which anybody
    /// has made up.
    ///
    /// # Cancel safety
    /// As [`poll`](Self::poll).
    pub(super) async fn find(
        self: &Arc<Self>,
        node: &NodeName,
        token: &str,
        holder: &Holder,
    ) -> Result<(), PostAnswer> {
        if !self.linked().contains(node) {
            return Err(PostAnswer::Gone);
        }
        let room = self.room_for_post(holder)?;
        let token = ByteString::from(token);
        self.sessions.counters().forwarded.add_one();
        let knock = |_| Word::Knock {
            token: token.clone(),
        };
        match self.answer(node, Duration::ZERO, room, knock).await {
            Some(Word::Here) => Ok(()),
            _ => Err(self.in_vain(PostAnswer::Gone)),
        }
    }

    /// Asks a node for messages of one of its sessions. They count as unread until the other thing that is returned is dropped. None if too
    /// much is that came from other nodes, to this holder or to all. While the session has as much of that as may wait for it, or the holder as
    /// many requests under way as it may have, the poll waits here, as it would where the session is. Soon after `drained` it waits no longer.
    ///
    /// # Cancel safety
    /// Dropped, the other node is told that nobody waits any more.
    pub(super) async fn poll(
        self: &Arc<Self>,
        node: &NodeName,
        token: &str,
        window: Duration,
        holder: Holder,
        drained: impl Future<Output = ()>,
    ) -> Option<(Polled, Option<Unread>)> {
        let end = after(window);
        let mut last_window = pin!(async {
            drained.await;
            sleep(LAST_WINDOW).await;
        });
        let slot = tokio::select! {
            biased;
            slot = self.slot_for_poll(token, &holder) => slot,
            () = sleep_until(end) => None,
            () = &mut last_window => None,
        };
        let Some(slot) = slot else {
            return NOTHING;
        };
        let answer = self.answers.charge(Some(holder));
        if !answer.could_grow(1) {
            return None;
        }
        let token = ByteString::from(token);
        self.sessions.counters().forwarded.add_one();
        let poll = |window| Word::Poll {
            token: token.clone(),
            window,
        };
        let (polled, room) = (Some(token.clone()), Room { slot, answer });
        let window = end.saturating_duration_since(Instant::now());
        let asked = tokio::select! {
            biased;
            asked = self.ask(node, polled, window, room, poll) => asked,
            () = &mut last_window => return NOTHING,
        };
        let Some(mut waiting) = asked else {
            return Some((self.in_vain(Polled::Gone), None));
        };
        let answer = tokio::select! {
            biased;
            answer = waiting.answer() => answer,
            () = &mut last_window => match waiting.last_answer().await {
                Ok(answer) => answer,
                Err(_elapsed) => return NOTHING,
            },
        };
        let Some(Answer { word, room }) = answer else {
            return Some((self.in_vain(Polled::Gone), None));
        };
        match word {
            Word::Messages(messages) => {
                let unread = Unread::new(&self.unread, token, room.answer);
                Some((Polled::Messages(messages), Some(unread)))
            }
            Word::Nothing => NOTHING,
            Word::Lost { .. } => {
                let slot = room.slot;
                self.tell_lost(node, Unheard { token, slot });
                None
            }
            _ => Some((self.in_vain(Polled::Gone), None)),
        }
    }

    /// Waits until a client may have one more poll under way, and has read what it was answered. None if too many wait like this.
    ///
    /// # Cancel safety
    /// Nothing is taken unless it is returned.
    async fn slot_for_poll(&self, token: &str, holder: &Holder) -> Option<Charge> {
        let mut waiting = self.waiting.charge(Some(holder.clone()));
        let mut waits = false;
        loop {
            let has_read = self.unread.of(token) < self.sessions.config().buffer_bytes;
            if has_read && let Some(slot) = self.asking.slot(holder) {
                return Some(slot);
            }
            waits = waits || waiting.grow(1);
            if !waits {
                return None;
            }
            sleep(RETRY).await;
        }
    }

    /// Brings a body to a session of another node that is [there](Self::find). The charge is given back when that has answered.
    pub(super) async fn post(
        self: &Arc<Self>,
        node: &NodeName,
        token: &str,
        layout: Layout,
        body: Bytes,
        charge: Charge,
        holder: &Holder,
    ) -> PostAnswer {
        let room = match self.room_for_post(holder) {
            Ok(room) => room,
            Err(late) => return late,
        };
        let token = ByteString::from(token);
        let post = |window| Word::Post {
            token: token.clone(),
            window,
            layout,
            body: body.clone(),
        };
        let window = self.sessions.config().window;
        let answer = self.answer(node, window, room, post).await;
        drop(charge);
        match answer {
            Some(Word::Taken) => PostAnswer::Taken,
            Some(Word::Late) => PostAnswer::Late,
            Some(Word::BadLine(number)) => PostAnswer::BadLine(BadLine {
                number: number as usize,
            }),
            _ => self.in_vain(PostAnswer::Gone),
        }
    }

    /// Its answer takes none. A post does not wait for other requests of its client: one that comes after it would not.
    fn room_for_post(&self, holder: &Holder) -> Result<Room, PostAnswer> {
        let Some(slot) = self.asking.slot(holder) else {
            self.sessions.refuse_post("LongPollConfig::max_forwarded");
            return Err(PostAnswer::Late);
        };
        let answer = self.answers.charge(None);
        Ok(Room { slot, answer })
    }

    /// Asks, as soon as there is room on the way, what is made of what is left of the window then. None if the node is down, or there is none
    /// in time.
    ///
    /// # Cancel safety
    /// Dropped, nothing was asked.
    async fn ask<'a>(
        self: &'a Arc<Self>,
        node: &'a NodeName,
        polled: Option<ByteString>,
        window: Duration,
        room: Room,
        word: impl Fn(Duration) -> Word,
    ) -> Option<Waiting<'a>> {
        // A post that waits for a client which is slowed has twice the window.
        let longest = window.saturating_mul(if polled.is_none() { 2 } else { 1 });
        let (end, limit) = (after(window), after(longest.saturating_add(LOOKUP_LIMIT)));
        let mut waiting = Waiting {
            relay: self,
            node,
            question: self.asking.begin(node, polled, room),
            limit,
            is_asked: false,
            is_over: false,
        };
        let request = waiting.question.request();
        let asked = async {
            loop {
                let left = end.saturating_duration_since(Instant::now());
                match self.say(node, request, word(left)) {
                    Err(DirectError::QueueFull(_)) => sleep(RETRY).await,
                    asked => return asked,
                }
            }
        };
        timeout_at(limit, asked).await.ok()?.ok()?;
        waiting.is_asked = true;
        Some(waiting)
    }

    /// As [`ask`](Self::ask), for something that is no poll, and what is answered.
    async fn answer(
        self: &Arc<Self>,
        node: &NodeName,
        window: Duration,
        room: Room,
        word: impl Fn(Duration) -> Word,
    ) -> Option<Word> {
        let mut waiting = self.ask(node, None, window, room, word).await?;
        waiting.answer().await.map(|answer| answer.word)
    }

    fn in_vain<T>(&self, answer: T) -> T {
        self.sessions.counters().forwarded_in_vain.add_one();
        answer
    }

    fn say(&self, node: &NodeName, request: u64, word: Word) -> Result<(), DirectError> {
        self.tell(node, &Said { request, word })
    }

    fn tell(&self, node: &NodeName, said: &Said) -> Result<(), DirectError> {
        self.pubsub.direct_broadcast(node, TOPIC, payload(said))
    }

    /// Tells as soon as there is room in the queue to that node.
    ///
    /// # Cancel safety
    /// Dropped, it was not told.
    async fn tell_at_last(&self, node: &NodeName, said: &Said) -> Result<(), DirectError> {
        loop {
            match self.tell(node, said) {
                Err(DirectError::QueueFull(_)) => sleep(RETRY).await,
                told => return told,
            }
        }
    }

    /// Ends a session of another node, whose messages reach nobody. It must not go on with its client on another way, so it is told at last.
    fn tell_lost(self: &Arc<Self>, node: &NodeName, unheard: Unheard) {
        let Unheard { token, slot } = unheard;
        let said = Said {
            request: 0,
            word: Word::Lost { token },
        };
        // A node that cannot be told for another reason is down.
        if let Err(DirectError::QueueFull(_)) = self.tell(node, &said)
            && let Ok(runtime) = Handle::try_current()
        {
            let (relay, node) = (Arc::clone(self), node.clone());
            runtime.spawn(async move {
                let _ = relay.tell_at_last(&node, &said).await;
                drop(slot);
            });
        }
    }

    /// Another node said something.
    fn hear(self: &Arc<Self>, node: &NodeName, said: Said) {
        let Said { request, word } = said;
        let asker = Asker {
            node: node.clone(),
            request,
        };
        match word {
            Word::Poll { token, window } => self.serve_poll(asker, &token, window),
            Word::Post {
                token,
                window,
                layout,
                body,
            } => self.serve_post(asker, &token, window, layout, body),
            Word::Knock { token } => self.serve_knock(asker, &token),
            Word::Cancel => self.serving.cancel(&asker),
            Word::Left { token } => self.leave(&asker, &token),
            Word::Lost { token } => {
                if let Some(session) = self.sessions.find_here(&token) {
                    self.lose(node, &session);
                }
            }
            answer => {
                if let Err(unheard) = self.asking.answer(node, request, answer) {
                    self.tell_lost(node, unheard);
                }
            }
        }
    }

    /// What happens to other nodes.
    pub(super) fn note(&self, event: &MemberEvent) {
        match event {
            MemberEvent::Up(member) => {
                self.linked().insert(member.node.clone());
            }
            MemberEvent::Down(member) => {
                self.linked().remove(&member.node);
                self.asking.lose(&member.node);
                self.serving.lose(&member.node);
            }
            _ => {}
        }
    }
}

/// It goes behind all that users publish, in a queue of its own: anybody can make up tokens that name a node, and what comes with them must
/// never take the place of others' broadcasts.
fn payload(said: &Said) -> Payload {
    Payload::new(KIND, said.encode()).with_class(TrafficClass::Bulk)
}

/// The moment so long after now.
fn after(time: Duration) -> Instant {
    later(Instant::now().into_std(), time).into()
}

/// Waits for an answer; dropped before that, it tells the other node that nobody waits any more.
struct Waiting<'a> {
    relay: &'a Arc<Relay>,
    node: &'a NodeName,
    question: Question<'a>,
    limit: Instant,
    is_asked: bool,
    is_over: bool,
}

impl Waiting<'_> {
    /// None if the node went down, or has not answered in time.
    ///
    /// # Cancel safety
    /// The answer is there the next time.
    async fn answer(&mut self) -> Option<Answer> {
        let answer = timeout_at(self.limit, self.question.answer()).await;
        self.is_over = answer.is_ok();
        answer.ok().flatten()
    }

    /// The answer to a poll that is to wait no longer: what was on its way before the other node heard of that, or that nothing was.
    async fn last_answer(&mut self) -> Result<Option<Answer>, Elapsed> {
        self.cancel();
        timeout(LAST_ANSWER, self.answer()).await
    }

    fn cancel(&self) {
        let request = self.question.request();
        // A node that cannot be told is down, or runs out the window, or has answered.
        let _ = self.relay.say(self.node, request, Word::Cancel);
    }

    /// Messages may be on their way: their session ends now, not once they are here, or its client could be given what comes after them.
    fn leave(&self) {
        if let Some(token) = self.question.polled() {
            let request = self.question.request();
            let left = Word::Left { token };
            // A node that cannot be told is down, or told by the next word: that they are lost.
            let _ = self.relay.say(self.node, request, left);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if !self.is_asked {
            return self.question.withdraw();
        }
        match self.question.give_up() {
            Ok(()) => {
                self.cancel();
                self.leave();
            }
            Err(unheard) => self.relay.tell_lost(self.node, unheard),
        }
    }
}

/// Where messages of other nodes arrive.
pub(super) struct Ear(pub(super) Weak<Relay>);

impl Sink for Ear {
    fn deliver(&self, message: &Message) -> Delivery {
        let Some(origin) = message.origin().filter(|_| message.kind() == KIND) else {
            return Delivery::Dropped;
        };
        let Some(relay) = self.0.upgrade() else {
            return Delivery::Closed;
        };
        let Some(said) = Said::decode(message.payload().clone()) else {
            tracing::debug!(node = %origin.node, "a word about long polling is not known here");
            return Delivery::Dropped;
        };
        relay.hear(&origin.node, said);
        Delivery::Delivered
    }
}

/// The kind is known, and needs nothing special.
pub(super) struct Plain;

impl Dispatcher for Plain {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        subscribers.deliver(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_said_goes_among_what_users_publish() {
        let token = ByteString::from_static("token");
        let window = Duration::from_secs(10);
        let post = Word::Post {
            token: token.clone(),
            window,
            layout: Layout::One,
            body: Bytes::from_static(b"body"),
        };
        for word in [post, Word::Poll { token, window }, Word::Cancel] {
            let said = Said { request: 1, word };
            assert_eq!(payload(&said).class(), TrafficClass::Bulk, "{said:?}");
        }
    }
}
