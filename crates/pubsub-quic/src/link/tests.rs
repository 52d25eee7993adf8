//! A rogue who has the secret but keeps no rule.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::{Envelope, Kind, PubSub, TrafficClass};
use tokio::time::timeout;

use super::*;
use crate::config::Builder;
use crate::proto::frame::Hello;
use crate::proto::lane::Encoded;
use crate::proto::terms::Offer;
use crate::tls::{ANY_NODE, Credentials};
use crate::{QuicAdapter, Secret};

const DEADLINE: Duration = Duration::from_secs(20);

/// Somebody who has the secret but follows no rule.
struct Rogue {
    connection: Connection,
    send: SendStream,
    _receive: RecvStream,
    _endpoint: quinn::Endpoint,
}

impl Rogue {
    async fn connect(secret: &Secret, name: &str, to: SocketAddr) -> Self {
        let credentials = Credentials::new(secret, name, SystemTime::now()).unwrap();
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = credentials.client_config().unwrap();
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
        let bytes = Codec::NEWEST.encode(frame).unwrap();
        self.send.write_chunk(bytes).await.unwrap();
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
        capabilities: vec!["telepathy".into()],
        cluster: "matryoshka".into(),
        name: name.into(),
        incarnation: 1,
        instance: 1,
        ..Offer::default().hello()
    })
}

/// The beginning of a lane, with a message.
fn lane(topic: &str, payload: &'static str) -> Bytes {
    let mut lane = Encoded::default();
    Codec::NEWEST.put_lane(2, &mut lane);
    let envelope = Envelope {
        topic: topic.into(),
        kind: Kind::RAW,
        class: TrafficClass::User,
        lane: 0,
        payload: payload.into(),
    };
    Codec::NEWEST.put_message(1, &envelope, &mut lane);
    lane.concat()
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
    lane.write_chunk(self::lane("news", "early")).await.unwrap();
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
    rogue.say(&Frame::Heartbeat).await;
    assert_eq!(rogue.closed().await, Close::TooSlow);
    assert_undisturbed(&one);
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
