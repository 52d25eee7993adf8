//! What is misused is refused with an error that says what was wrong, what is allowed, and what to do; and nothing changed.

use std::error::Error;
use std::sync::Arc;

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::{
    Adapter, AdapterError, DirectError, Dispatcher, Envelope, Inbound, Incarnation, Kind, Limits,
    Message, NodeName, Payload, PubSub, Reached, Subscribers,
};

/// An adapter whose network is gone.
struct Failing;

#[derive(Debug, thiserror::Error)]
#[error("the broker is gone")]
struct Gone(#[source] std::io::Error);

fn gone() -> AdapterError {
    AdapterError::new(Gone(std::io::ErrorKind::TimedOut.into()))
}

impl Adapter for Failing {
    fn node(&self) -> NodeName {
        NodeName::new("n1").unwrap()
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(1)
    }

    fn attach(&self, _inbound: Inbound) {}

    fn broadcast(&self, _envelope: &Envelope) -> Result<Reached, AdapterError> {
        Err(gone())
    }

    fn send(&self, to: &NodeName, _envelope: &Envelope) -> Result<(), DirectError> {
        match to.as_str() {
            "down" => Err(DirectError::NotUp(to.clone())),
            "slow" => Err(DirectError::QueueFull(to.clone())),
            "n2" => Err(DirectError::Adapter(gone())),
            _ => Err(DirectError::NoSuchNode(to.clone())),
        }
    }
}

/// What an error says, with all its causes.
fn said(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said += &format!(" <- {error}");
        cause = error.source();
    }
    said
}

/// Asserts that it was refused, and with which words.
#[track_caller]
fn refused<T, E: Error>(outcome: Result<T, E>, words: &str) {
    match outcome {
        Ok(_) => panic!("this should be refused: {words}"),
        Err(error) => assert_eq!(said(&error), words),
    }
}

#[test]
fn what_is_too_long_or_too_large() {
    let pubsub = PubSub::local();
    let long = "x".repeat(256);
    let words = "the topic has 256 bytes, and at most 255 are allowed here: take a shorter name, or other `Limits`";
    refused(pubsub.subscribe(&long), words);
    refused(pubsub.broadcast(&long, "hello"), words);
    refused(pubsub.local_broadcast(&long, "hello"), words);
    let node = pubsub.node();
    refused(pubsub.direct_broadcast(&node, &long, "hello"), words);
    let words = "the payload has 16777217 bytes, and at most 16777216 are allowed: send it in parts, or send where it can be fetched";
    let large = vec![0; Payload::MAX_BYTES + 1];
    refused(pubsub.broadcast("a", large.clone()), words);
    refused(pubsub.direct_broadcast(&node, "a", large), words);
    let words = "0 bytes cannot be the longest name of a topic: take 1 to 65535";
    refused(Limits::default().with_topic_bytes(0), words);
    assert_eq!(
        (pubsub.stats().published, pubsub.stats().subscriptions),
        (0, 0)
    );
}

#[test]
fn bounds_of_nothing() {
    let pubsub = PubSub::local();
    let words = "a bound of 0 messages lets nothing through: take at least 1";
    refused(pubsub.subscribe_bounded("a", Bound::messages(0)), words);
    let words = "a bound of 0 bytes lets nothing through: take at least 1";
    refused(
        pubsub.subscribe_bounded("a", Bound::DEFAULT.with_bytes(0)),
        words,
    );
    assert_eq!(pubsub.stats().subscriptions, 0);
}

#[test]
fn an_owner_that_is_dead() {
    let pubsub = PubSub::local();
    let publisher = pubsub.publisher();
    publisher.owner().end();
    let id = publisher.id();
    let words =
        format!("owner {id} is dead, and can have nothing any more: register with another owner");
    refused(publisher.subscribe("a"), &words);
    assert_eq!(pubsub.stats().topics, 0);
}

#[test]
fn an_adapter_that_fails() {
    let pubsub = PubSub::with(Failing);
    let mut here = pubsub.subscribe("a").unwrap();
    let words = "the adapter refused the broadcast, and it reached nobody <- the broker is gone <- timed out";
    refused(pubsub.broadcast("a", "hello"), words);
    assert!(gone().inner().is::<Gone>(), "its own type is to be found");
    let direct = |to: &str| pubsub.direct_broadcast(&to.parse().unwrap(), "a", "hello");
    refused(
        direct("n2"),
        "the adapter refused the message, and it was not sent <- the broker is gone <- timed out",
    );
    refused(direct("down"), "node down is not up: wait until it is");
    refused(
        direct("slow"),
        "the queue to node slow is full and the message was dropped: send less, or later",
    );
    refused(
        direct("n3"),
        "there is no node n3: none of that name was seen, or it was forgotten",
    );
    assert!(here.try_next().is_none());
    assert_eq!(pubsub.stats().published, 0);
}

struct Mute;

impl Dispatcher for Mute {
    fn dispatch(&self, _subscribers: Subscribers<'_>, _message: &Message) -> usize {
        0
    }
}

struct Deaf;

impl Dispatcher for Deaf {
    fn dispatch(&self, _subscribers: Subscribers<'_>, _message: &Message) -> usize {
        0
    }
}

#[test]
fn what_somebody_else_has() {
    let pubsub = PubSub::local();
    let words = "kind 0 is built in or has a dispatcher of another type: take another kind";
    refused(pubsub.register(Kind::RAW, Arc::new(Mute)), words);
    pubsub.register(Kind(300), Arc::new(Mute)).unwrap();
    let words = "kind 300 is built in or has a dispatcher of another type: take another kind";
    refused(pubsub.register(Kind(300), Arc::new(Deaf)), words);
    let _claim = pubsub.claim("presence").unwrap();
    let words =
        "the name \"presence\" is in use on this pubsub: take another, or wait until it is free";
    refused(pubsub.claim("presence"), words);
}

#[test]
fn what_is_no_name_of_a_node() {
    let words = "\"Node 1\" is no node name: take 1 to 64 characters of a-z, 0-9, '.', '_' and '-'";
    refused(NodeName::new("Node 1"), words);
}
