//! Requests for sessions of other nodes: asked for there, by the node that the client came to.
//!
//! Direct messages between two nodes arrive in order or their link breaks, so a request is answered, or its node goes down,
//! or (where a queue between the nodes is full) sending fails. Only a node that stands still needs the time limit.

mod asking;
mod serving;
mod unread;
mod wire;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use bytestring::ByteString;
use matryoshka_pubsub::{
    Delivery, DirectError, Dispatcher, Kind, Message, NodeName, Payload, PubSub, Sink, Subscribers,
    TrafficClass, cluster::MemberEvent,
};
use tokio::time::timeout;

use super::{
    body::{BadLine, Layout},
    budget::{Budget, Charge, Holder},
    downstream::Polled,
    session::PostAnswer,
    sessions::Sessions,
};
use asking::{Answer, Asking, Question, Unheard};
use serving::{Serving, Work};
pub(super) use unread::Unread;
use unread::UnreadAnswers;
use wire::{Said, Word};

/// How long an answer may take beyond the window of its request, when a node does not even say that the session is gone: 2 s.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// What the messages are, and where they go.
pub(super) const KIND: Kind = Kind(7);
pub(super) const TOPIC: &str = "matryoshka:longpoll";

/// One node's part in it: asking others, and answering them.
pub(super) struct Relay {
    pubsub: PubSub,
    sessions: Arc<Sessions>,
    asking: Asking,
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

    /// Asks a node whether it has the session of a token. A word is all that a token can cost which anybody has made up.
    ///
    /// # Cancel safety
    /// As [`poll`](Self::poll).
    pub(super) async fn has_session(&self, node: &NodeName, token: &str) -> bool {
        if !self.linked().contains(node) {
            return false;
        }
        let token = ByteString::from(token);
        self.sessions.counters().forwarded.add_one();
        let (word, charge) = (Word::Knock { token }, self.answers.charge(None));
        match self.ask(node, word, Duration::ZERO, charge).await {
            Some(Answer {
                word: Word::Here, ..
            }) => true,
            _ => self.in_vain(false),
        }
    }

    /// Asks a node for messages of one of its sessions. They count as unread until the other thing that is returned is dropped. None if too
    /// much is that came from other nodes, to this holder or to all. A session that has as much of that as may wait for it gets nothing, as it
    /// would where it is.
    ///
    /// # Cancel safety
    /// Dropped, the other node is told that nobody waits any more.
    pub(super) async fn poll(
        &self,
        node: &NodeName,
        token: &str,
        window: Duration,
        holder: Holder,
    ) -> Option<(Polled, Option<Unread>)> {
        if self.unread.of(token) >= self.sessions.config().buffer_bytes {
            return Some((Polled::Nothing, None));
        }
        let charge = self.answers.charge(Some(holder));
        if !charge.could_grow(1) {
            return None;
        }
        let token = ByteString::from(token);
        self.sessions.counters().forwarded.add_one();
        let word = Word::Poll {
            token: token.clone(),
            window,
        };
        let Some(Answer { word, charge }) = self.ask(node, word, window, charge).await else {
            return Some((self.in_vain(Polled::Gone), None));
        };
        match word {
            Word::Messages(messages) => {
                let unread = Unread::new(&self.unread, token, charge);
                Some((Polled::Messages(messages), Some(unread)))
            }
            Word::Nothing => Some((Polled::Nothing, None)),
            Word::Lost { .. } => {
                // A node that cannot be told is down, or ends the session as nobody polls it.
                let _ = self.say(node, 0, Word::Lost { token });
                None
            }
            _ => Some((self.in_vain(Polled::Gone), None)),
        }
    }

    /// Brings a body to a session of another node that [has](Self::has_session) it. The charge is given back when that has answered.
    pub(super) async fn post(
        &self,
        node: &NodeName,
        token: &str,
        layout: Layout,
        body: Bytes,
        charge: Charge,
        window: Duration,
    ) -> PostAnswer {
        let token = ByteString::from(token);
        let word = Word::Post {
            token,
            window,
            layout,
            body,
        };
        let nothing = self.answers.charge(None);
        let answer = self.ask(node, word, window, nothing).await;
        drop(charge);
        match answer.map(|answer| answer.word) {
            Some(Word::Taken) => PostAnswer::Taken,
            Some(Word::Late) => PostAnswer::Late,
            Some(Word::BadLine(number)) => PostAnswer::BadLine(BadLine {
                number: number as usize,
            }),
            _ => self.in_vain(PostAnswer::Gone),
        }
    }

    async fn ask(
        &self,
        node: &NodeName,
        word: Word,
        window: Duration,
        charge: Charge,
    ) -> Option<Answer> {
        let polled = match &word {
            Word::Poll { token, .. } => Some(token.clone()),
            _ => None,
        };
        let question = self.asking.begin(node, polled, charge)?;
        let mut waiting = Waiting {
            relay: self,
            node,
            question,
            is_over: false,
        };
        let request = waiting.question.request();
        self.say(node, request, word).ok()?;
        let limit = window.saturating_add(LOOKUP_LIMIT);
        let answer = timeout(limit, waiting.question.answer()).await;
        waiting.is_over = answer.is_ok();
        answer.ok().flatten()
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

    /// Another node said something.
    fn hear(self: &Arc<Self>, node: &NodeName, said: Said) {
        let Said { request, word } = said;
        match word {
            Word::Poll { token, window } => {
                self.serve(node, request, &token, window, Work::Poll);
            }
            Word::Post {
                token,
                window,
                layout,
                body,
            } => self.serve_post(node, request, &token, window, layout, body),
            Word::Knock { token } => {
                let is_here = self.sessions.find_here(&token).is_some();
                let answer = if is_here { Word::Here } else { Word::Gone };
                // A node that cannot be told is down, or gives up.
                let _ = self.say(node, request, answer);
            }
            Word::Cancel => self.serving.cancel(node, request),
            Word::Lost { token } => {
                if let Some(session) = self.sessions.find_here(&token) {
                    self.lose(node, &session);
                }
            }
            answer => {
                if let Err(Unheard { token }) = self.asking.answer(node, request, answer) {
                    let _ = self.say(node, request, Word::Lost { token });
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

/// Waits for an answer; dropped before that, it tells the other node that nobody waits any more.
struct Waiting<'a> {
    relay: &'a Relay,
    node: &'a NodeName,
    question: Question<'a>,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let word = match self.question.give_up() {
            Ok(()) => Word::Cancel,
            Err(Unheard { token }) => Word::Lost { token },
        };
        // A node that cannot be told is down, and has forgotten it.
        let _ = self.relay.say(self.node, self.question.request(), word);
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
