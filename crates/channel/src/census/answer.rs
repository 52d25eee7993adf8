//! Questions and answers between nodes, and whoever answers on this one.
//!
//! Both are one JSON object; what a newer node adds to it is skipped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LISTED_PER_NODE;
use crate::by_id::ById;
use crate::fastlane::Lane;
use crate::pubsub::{
    Delivery, Dispatcher, Kind, Message, Payload as Envelope, PubSub, Sink, SinkSubscription,
    Subscribers,
};

/// The kinds of questions and of answers.
const QUESTION: Kind = Kind(9);
pub(crate) const ANSWER: Kind = Kind(10);

/// Where questions are published.
pub(super) const QUESTIONS: &str = "matryoshka:sockets:questions";

/// What is asked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    /// Which connections have this id?
    Sockets(String),
    /// Which clients have joined this topic?
    Subscribers(String),
}

#[derive(Serialize, Deserialize)]
struct Asked {
    question: Question,
    /// The topic where the answer is awaited.
    answer_to: String,
}

impl Question {
    /// The topic whose subscribers are meant: an id is one too.
    pub(super) fn about(&self) -> &str {
        match self {
            Self::Sockets(topic) | Self::Subscribers(topic) => topic,
        }
    }

    pub(super) fn to_envelope(&self, answer_to: String) -> Envelope {
        let question = self.clone();
        let asked = Asked {
            question,
            answer_to,
        };
        envelope(QUESTION, &asked)
    }
}

/// What one node has.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer<E> {
    pub(super) entries: Vec<E>,
    pub(super) unlisted: u64,
}

impl<E: Entry> Answer<E> {
    pub(super) fn from_message(message: &Message) -> Option<Self> {
        (message.kind() == ANSWER).then(|| serde_json::from_slice(message.payload()).ok())?
    }
}

/// What is listed of one subscriber.
pub(super) trait Entry: Serialize + DeserializeOwned {
    /// The subscribers that are listed: what they subscribe with.
    type Sink: Sink;

    fn of(sink: &Self::Sink) -> Self;
}

/// A connection, by its id.
#[derive(Serialize, Deserialize)]
pub(super) struct SocketEntry {
    pub(super) transport: String,
    pub(super) peer_addr: Option<SocketAddr>,
    /// Since 1970.
    pub(super) connected_ms: u64,
}

impl Entry for SocketEntry {
    type Sink = ById;

    fn of(socket: &ById) -> Self {
        let since = socket.connected_at.duration_since(UNIX_EPOCH);
        let connected_ms = since.unwrap_or_default().as_millis();
        Self {
            transport: socket.link.transport.to_owned(),
            peer_addr: socket.peer_addr,
            connected_ms: connected_ms.try_into().unwrap_or(u64::MAX),
        }
    }
}

/// A client, by a topic it has joined.
#[derive(Serialize, Deserialize)]
pub(super) struct SubscriberEntry {
    pub(super) socket_id: Option<String>,
    pub(super) transport: String,
}

impl Entry for SubscriberEntry {
    type Sink = Lane;

    fn of(lane: &Lane) -> Self {
        let link = lane.link();
        Self {
            socket_id: link.id.as_ref().map(ToString::to_string),
            transport: link.transport.to_owned(),
        }
    }
}

/// What this node has.
pub(super) fn here<E: Entry>(pubsub: &PubSub, topic: &str) -> Answer<E> {
    let mut answer = Answer {
        entries: Vec::new(),
        unlisted: 0,
    };
    pubsub.visit(topic, |subscribers| {
        for sink in subscribers.iter().filter_map(|it| it.sink_as::<E::Sink>()) {
            match answer.entries.len() < LISTED_PER_NODE {
                true => answer.entries.push(E::of(sink)),
                false => answer.unlisted += 1,
            }
        }
    });
    answer
}

/// Answers the questions of other nodes, as long as the guard lives. `None` on a pubsub whose topics are too short for it: then this
/// node is unreachable to those who ask.
pub(crate) fn answer_questions(pubsub: &PubSub) -> Option<SinkSubscription> {
    pubsub
        .register(QUESTION, Arc::new(ToOne))
        .expect("kinds below 256 are left to Matryoshka's own crates");
    let respondent = Arc::new(Respondent {
        pubsub: pubsub.clone(),
    });
    let listening = pubsub.subscribe_sink(QUESTIONS, respondent);
    listening
        .inspect_err(
            |error| tracing::warn!(%error, "questions about this node's sockets are not answered"),
        )
        .ok()
}

/// Several mounts may listen on one node; one of them answers for all. Whoever else is on the topic, such as a client that a route lets join
/// any, is no mount and cannot keep the question from them.
struct ToOne;

impl Dispatcher for ToOne {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        let mut mounts = subscribers
            .iter()
            .filter(|it| it.sink_as::<Respondent>().is_some());
        mounts.next().map_or(0, |mount| {
            usize::from(mount.deliver(message) == Delivery::Delivered)
        })
    }
}

struct Respondent {
    pubsub: PubSub,
}

impl Sink for Respondent {
    fn deliver(&self, message: &Message) -> Delivery {
        // This node's own questions are answered where they are asked.
        let Some(origin) = message.origin() else {
            return Delivery::Delivered;
        };
        let Ok(asked) = serde_json::from_slice::<Asked>(message.payload()) else {
            tracing::warn!(node = %origin.node, "a question about sockets was not understood");
            return Delivery::Dropped;
        };
        let answer = self.answer(&asked.question);
        let sent = self
            .pubsub
            .direct_broadcast(&origin.node, asked.answer_to, answer);
        if let Err(error) = sent {
            tracing::warn!(node = %origin.node, %error, "an answer about sockets was not sent");
        }
        Delivery::Delivered
    }
}

impl Respondent {
    fn answer(&self, question: &Question) -> Envelope {
        let topic = question.about();
        match question {
            Question::Sockets(_) => envelope(ANSWER, &here::<SocketEntry>(&self.pubsub, topic)),
            Question::Subscribers(_) => {
                envelope(ANSWER, &here::<SubscriberEntry>(&self.pubsub, topic))
            }
        }
    }
}

fn envelope<T: Serialize>(kind: Kind, value: &T) -> Envelope {
    let json = serde_json::to_vec(value).expect("strings and numbers have a JSON form");
    Envelope::new(kind, json)
}
