//! Small parts together; and a rogue who has the secret but keeps no rule.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use matryoshka_pubsub::PubSub;
use matryoshka_pubsub::cluster::MemberEvent;
use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::config::Builder;
use crate::log::Log;
use crate::proto::frame::{Heartbeat, Hello, PROTOCOL};
use crate::tls::{ANY_NODE, Credentials, Identity};
use crate::{QuicAdapter, Secret};

const DEADLINE: Duration = Duration::from_secs(20);

fn entry(head: usize, payload: usize) -> Entry {
    Entry {
        head: vec![1; head].into(),
        payload: vec![2; payload].into(),
    }
}

#[test]
fn small_parts_are_written_together_and_large_ones_are_not_copied() {
    let large = entry(10, COPY_PAYLOAD_BYTES + 1);
    let at = large.payload.as_ptr();
    let mut batch = vec![entry(10, 20), entry(10, 0), large, entry(5, 5)];
    let chunks = chunks(&mut batch);
    let sizes: Vec<usize> = chunks.iter().map(Bytes::len).collect();
    assert_eq!(sizes, [50, COPY_PAYLOAD_BYTES + 1, 10]);
    assert_eq!(chunks[1].as_ptr(), at);
    assert!(batch.is_empty());
}

#[test]
fn what_is_copied_together_is_limited_and_complete() {
    let mut batch: Vec<Entry> = (0..500).map(|_| entry(30, 500)).collect();
    let chunks = chunks(&mut batch);
    let total: usize = chunks.iter().map(Bytes::len).sum();
    assert_eq!(total, 500 * 530);
    let longest = chunks.iter().map(Bytes::len).max().unwrap();
    assert!(longest <= COPY_CHUNK_BYTES + COPY_PAYLOAD_BYTES);
}

/// Somebody who has the secret but follows no rule.
struct Rogue {
    connection: Connection,
    send: SendStream,
    _receive: RecvStream,
    _endpoint: quinn::Endpoint,
}

impl Rogue {
    async fn connect(secret: &Secret, name: &str, to: SocketAddr) -> Self {
        let credentials = Credentials::derive(secret, name, SystemTime::now()).unwrap();
        let identity = Identity::new(name.to_owned(), Clock::system(), credentials);
        let handshake = Handshake::new(Arc::new(identity));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = handshake.client_config().unwrap();
        let connecting = endpoint.connect_with(config, to, ANY_NODE).unwrap();
        let connection = connecting.await.unwrap();
        let (send, _receive) = connection.open_bi().await.unwrap();
        Self {
            connection,
            send,
            _receive,
            _endpoint: endpoint,
        }
    }

    async fn say(&mut self, frame: &Frame) {
        self.send.write_chunk(frame.encode()).await.unwrap();
    }

    /// What the other side closes the connection with.
    async fn closed(&self) -> Close {
        let closed = timeout(DEADLINE, self.connection.closed()).await;
        match closed.expect("it is closed in time") {
            ConnectionError::ApplicationClosed(close) => {
                Close::read(close.error_code.into_inner(), &close.reason)
            }
            other => panic!("unexpected {other}"),
        }
    }
}

fn hello(name: &str) -> Frame {
    Frame::Hello(Hello {
        protocol: PROTOCOL,
        oldest: PROTOCOL,
        capabilities: vec!["telepathy".into()],
        cluster: "matryoshka".into(),
        name: name.into(),
        incarnation: 1,
        instance: 1,
        advertise: None,
        lanes: 1,
    })
}

fn node(name: &str, secret: &Secret) -> Builder {
    QuicAdapter::builder(name).secret(secret.clone())
}

/// Two nodes that are up for each other, to see that they stay so.
async fn pair(secret: &Secret) -> ((QuicAdapter, PubSub), PubSub) {
    let one = node("one", secret).start().await.unwrap();
    let two = node("two", secret).join(one.local_addr());
    let two = PubSub::with(two.start().await.unwrap());
    let pubsub = PubSub::with(one.clone());
    let up = timeout(DEADLINE, pubsub.members().next()).await.unwrap();
    assert!(matches!(up, MemberEvent::Up(_)));
    ((one, pubsub), two)
}

fn assert_undisturbed(one: &QuicAdapter) {
    let peers = one.peers();
    let two = peers.iter().find(|peer| peer.name == "two").unwrap();
    assert_eq!((two.links, two.state.is_linked()), (1, true));
    assert!(
        !peers
            .iter()
            .any(|peer| peer.name == "rogue" && peer.state.is_linked())
    );
}

#[tokio::test]
async fn who_talks_nonsense_is_closed_and_nobody_else_notices() {
    let secret = Secret::generate();
    let ((one, _pubsub), _two) = pair(&secret).await;
    let oversized = [0, 1, 0xff, 0xff, 0xff, 0xff];
    let malformed = [0, 1, 0, 0, 0, 1, 0xc1];
    for nonsense in [&oversized[..], &malformed[..]] {
        let mut rogue = Rogue::connect(&secret, "rogue", one.local_addr()).await;
        rogue.send.write_all(nonsense).await.unwrap();
        assert!(matches!(rogue.closed().await, Close::Protocol { .. }));
    }
    let mut rogue = Rogue::connect(&secret, "rogue", one.local_addr()).await;
    rogue.say(&hello("rogue")).await;
    rogue.say(&hello("rogue")).await;
    assert!(matches!(rogue.closed().await, Close::Protocol { .. }));
    assert_undisturbed(&one);
}

#[tokio::test]
async fn nothing_of_a_connection_that_is_not_settled_is_handed_on() {
    let secret = Secret::generate();
    let ((one, pubsub), _two) = pair(&secret).await;
    let mut news = pubsub.subscribe("news").unwrap();
    let mut rogue = Rogue::connect(&secret, "rogue", one.local_addr()).await;
    let mut lane = rogue.connection.open_uni().await.unwrap();
    let message = Frame::Message(MessageFrame {
        kind: 0,
        topic: "news".into(),
        payload: "early".into(),
    });
    let first = Frame::Lane(Lane { lane: 0 });
    lane.write_chunk(first.encode()).await.unwrap();
    lane.write_chunk(message.encode()).await.unwrap();
    rogue.say(&hello("rogue")).await;
    // It never says welcome, so after its time it has to go.
    assert_eq!(rogue.closed().await, Close::TooSlow);
    pubsub.local_broadcast("news", "last").unwrap();
    let message = timeout(DEADLINE, news.next()).await.unwrap();
    assert_eq!(message.unwrap().unwrap().payload(), "last");
    assert_undisturbed(&one);
}

#[tokio::test]
async fn who_says_nothing_has_to_go() {
    let secret = Secret::generate();
    let ((one, _pubsub), _two) = pair(&secret).await;
    let mut rogue = Rogue::connect(&secret, "rogue", one.local_addr()).await;
    // So that the stream is seen at all.
    rogue.say(&Frame::Heartbeat(Heartbeat {})).await;
    assert_eq!(rogue.closed().await, Close::TooSlow);
    assert_undisturbed(&one);
}

#[tokio::test]
async fn a_wrong_name_is_told_on_both_sides_with_both_fingerprints() {
    let log = Log::collect();
    let secret = Secret::generate();
    let one = node("one", &secret).start().await.unwrap();
    let _one = PubSub::with(one.clone());
    let liar = node("three", &secret).certified_name("four");
    let liar = liar.join(one.local_addr()).start().await.unwrap();
    let _liar = PubSub::with(liar.clone());
    let both_told = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while log.lines().len() < 2 || liar.stats().dials < 3 {
            look.tick().await;
        }
    };
    timeout(DEADLINE, both_told).await.unwrap();
    let shown = [&one, &liar].map(|node| node.identity().fingerprint.to_string());
    for (node, word) in [
        ("one", "it says it is \"three\""),
        ("three", "refuses this node"),
    ] {
        let lines = log.with(&format!("node={node}"));
        let [line] = lines.as_slice() else {
            panic!("not one line of {node}: {lines:#?}");
        };
        for part in [word, "certificate", &shown[0], &shown[1]] {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_not_the_certificates_is_refused() {
    let secret = Secret::generate();
    let ((one, pubsub), _two) = pair(&secret).await;
    let mut rogue = Rogue::connect(&secret, "rogue", one.local_addr()).await;
    rogue.say(&hello("two")).await;
    assert_eq!(rogue.closed().await, Close::NameNotCertified);
    assert_undisturbed(&one);
    // The same with a whole node: it is told, and never comes up.
    let liar = node("three", &secret).certified_name("four");
    let liar = liar.join(one.local_addr()).start().await.unwrap();
    let alone = PubSub::with(liar.clone());
    let tried = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while liar.stats().dials < 3 {
            look.tick().await;
        }
    };
    timeout(DEADLINE, tried).await.unwrap();
    assert!(liar.peers().is_empty());
    assert_eq!(pubsub.broadcast("x", "y").unwrap().peers, 1);
    assert_eq!(alone.broadcast("x", "y").unwrap().peers, 0);
}
