//! Who is there: a user's sockets and a topic's clients, asked of every node of the cluster.
//!
//! A question is published on a topic where each node with sockets listens; each answers to a topic of the asker's own. A
//! node that does not answer in time is named in the result, so that nobody takes a part for the whole.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout_at};

use crate::pubsub::{Message, NodeName, PubSub, Subscription};

mod answer;

pub(crate) use answer::{ANSWER, answer_questions};
use answer::{Answer, Entry, QUESTIONS, Question, SocketEntry, SubscriberEntry, here};

/// How long the other nodes have for their answers: 2 seconds.
pub const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// How many entries one node lists at most: 1,000. It counts the others.
pub const LISTED_PER_NODE: usize = 1_000;

/// What was found on all nodes that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found<T> {
    /// What there is: this node's first, of each node the oldest first, and of each at most [`LISTED_PER_NODE`].
    pub entries: Vec<T>,
    /// How many more there are than are listed.
    pub unlisted: u64,
    /// The other nodes whose answer is missing: they are down, did not answer within [`ANSWER_WAIT`], or have no
    /// [`Sockets`](crate::Sockets). What they have is in neither figure.
    pub unreachable: Vec<NodeName>,
}

/// One connection that has an id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The node it is on.
    pub node: NodeName,
    /// Name of its carrier, such as `websocket`.
    pub transport: String,
    /// Where the client is, if the carrier hands it on; over HTTP it is for the mount to say
    /// ([`Reveal::with_peer_addr`](crate::transport::Reveal::with_peer_addr)).
    pub peer_addr: Option<SocketAddr>,
    /// When it was opened, to the millisecond, by its node's clock.
    pub connected_at: SystemTime,
}

/// One client that has joined a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberInfo {
    /// The node it is on.
    pub node: NodeName,
    /// The id of its connection, if that has one.
    pub socket_id: Option<String>,
    /// Name of its connection's carrier.
    pub transport: String,
}

/// Lists the connections with this id, on every node. Waits up to [`ANSWER_WAIT`], and only for nodes that do not answer.
///
/// # Cancel safety
/// May be dropped: later answers go nowhere.
pub async fn sockets_of(pubsub: &PubSub, socket_id: &str) -> Found<SocketInfo> {
    let question = Question::Sockets(socket_id.to_owned());
    ask(pubsub, question, |node, entry: SocketEntry| SocketInfo {
        node,
        transport: entry.transport,
        peer_addr: entry.peer_addr,
        connected_at: UNIX_EPOCH + Duration::from_millis(entry.connected_ms),
    })
    .await
}

/// Lists the clients that have joined a topic, on every node. Waits up to [`ANSWER_WAIT`], and only for nodes that do not
/// answer.
///
/// # Cancel safety
/// As [`sockets_of`].
pub async fn subscribers_of(pubsub: &PubSub, topic: &str) -> Found<SubscriberInfo> {
    let question = Question::Subscribers(topic.to_owned());
    ask(pubsub, question, |node, entry: SubscriberEntry| {
        SubscriberInfo {
            node,
            socket_id: entry.socket_id,
            transport: entry.transport,
        }
    })
    .await
}

async fn ask<E: Entry, T>(
    pubsub: &PubSub,
    question: Question,
    info: impl Fn(NodeName, E) -> T,
) -> Found<T> {
    let mut gathering = Gathering::new(info);
    let members = pubsub.members().now();
    gathering.add(pubsub.node(), here(pubsub, question.about()));
    let linked = members.iter().filter(|member| member.state.is_linked());
    let mut awaited: BTreeSet<NodeName> = linked.map(|member| member.node.clone()).collect();
    let deadline = Instant::now() + ANSWER_WAIT;
    if !awaited.is_empty()
        && let Some(mut answers) = publish(pubsub, question)
    {
        while !awaited.is_empty() {
            match timeout_at(deadline, answers.next()).await {
                Ok(Some(Ok(message))) => gathering.hear(&message, &mut awaited),
                // So many answers that some were lost: their nodes stay unheard.
                Ok(Some(Err(_lagged))) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
    let is_missing = |node: &NodeName| !gathering.heard.contains(node);
    let nodes = members.into_iter().map(|member| member.node);
    Found {
        unreachable: nodes.filter(is_missing).collect(),
        entries: gathering.entries,
        unlisted: gathering.unlisted,
    }
}

/// Asks all other nodes. `None` if they cannot be asked now, which they share with those that do not answer.
fn publish(pubsub: &PubSub, question: Question) -> Option<Subscription> {
    let publisher = pubsub.publisher();
    let (incarnation, number) = (pubsub.incarnation(), publisher.id().get());
    let answer_to = format!("matryoshka:sockets:answer:{incarnation}:{number}");
    let answers = pubsub.subscribe(answer_to.as_str()).ok()?;
    let asked = publisher.broadcast(QUESTIONS, question.to_envelope(answer_to));
    asked.is_ok().then_some(answers)
}

/// The answers so far.
struct Gathering<T, I> {
    info: I,
    heard: BTreeSet<NodeName>,
    entries: Vec<T>,
    unlisted: u64,
}

impl<T, I> Gathering<T, I> {
    fn new(info: I) -> Self {
        Self {
            info,
            heard: BTreeSet::new(),
            entries: Vec::new(),
            unlisted: 0,
        }
    }

    /// One answer of each node counts. What is no answer leaves its node unheard.
    fn hear<E: Entry>(&mut self, message: &Message, awaited: &mut BTreeSet<NodeName>)
    where
        I: Fn(NodeName, E) -> T,
    {
        let node = message.origin().map(|origin| origin.node.clone());
        let answer = Answer::from_message(message);
        if let (Some(node), Some(answer)) = (node, answer)
            && awaited.remove(&node)
        {
            self.add(node, answer);
        }
    }

    fn add<E: Entry>(&mut self, node: NodeName, answer: Answer<E>)
    where
        I: Fn(NodeName, E) -> T,
    {
        let infos = answer.entries.into_iter();
        self.entries
            .extend(infos.map(|entry| (self.info)(node.clone(), entry)));
        self.unlisted = self.unlisted.saturating_add(answer.unlisted);
        self.heard.insert(node);
    }
}
