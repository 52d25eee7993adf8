//! A rogue who has the secret but keeps no rule.
//!
//! What a link hands on, and in which order, was broken by hand, one rule at a time. These tests noticed, the first of them of this
//! module, the others where it is said:
//!
//! | What was broken | The test that noticed |
//! |---|---|
//! | a gap that came is not told, or told twice | `a_gap_is_told_once_of_its_link_with_its_count_before_what_comes_after_it` |
//! | it is told with a wrong count | the same, and `a_lane_is_read_as_written_however_it_is_cut` of the lane's reader |
//! | it is told of another node, or of another link | the same |
//! | it is told after what came behind it | the same, alone |
//! | it is not counted | the same, and `every_counter_of_a_link_says_what_happened_on_it` with real nodes |
//! | down is told while a message is being delivered | `down_is_told_only_when_nothing_is_being_delivered_any_more` with real nodes |
//! | who said goodbye is given up with its last messages unread | `a_shutdown_says_goodbye_and_lets_everything_arrive` with real nodes |

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::cluster::interest::{ControlFrame, Interest};
use matryoshka_pubsub::{
    Delivery, Envelope, Kind, MemberSink, Message, PubSub, Sink, TrafficClass,
};
use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::config::Builder;
use crate::log::Log;
use crate::proto::codec::{HEADER_BYTES, read_header};
use crate::proto::frame::Hello;
use crate::proto::lane::Encoded;
use crate::proto::terms::{INTEREST, Offer};
use crate::tls::{ANY_NODE, Credentials, Identity};
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

/// The frames that these bytes are.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((_, body)) = read_header(bytes) {
        let (frame, rest) = bytes.split_at(HEADER_BYTES + body);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// A rogue that is a member like any other, until it breaks a rule on its link. Its name has to be behind the other's.
async fn settled(secret: &Secret, name: &str, one: &QuicAdapter) -> Rogue {
    let mut rogue = Rogue::connect(secret, name, one.local_addr()).await;
    rogue.say(&hello(name)).await;
    rogue.say(&Frame::Welcome).await;
    rogue
}

#[tokio::test]
async fn who_breaks_a_rule_on_its_link_is_closed_and_nobody_else_notices() {
    let secret = Secret::generate();
    let ((one, pubsub), _two) = pair(&secret).await;
    let mut news = pubsub.subscribe("news").unwrap();
    let mut large = Encoded::default();
    Codec::NEWEST.put_lane(2, &mut large);
    let envelope = Envelope {
        topic: "news".into(),
        kind: Kind::RAW,
        class: TrafficClass::User,
        lane: 0,
        payload: vec![0; 200_000].into(),
    };
    Codec::NEWEST.put_message(1, &envelope, &mut large);
    let large = large.concat();
    let parts = frames(&large);
    assert_eq!(parts.len(), 5, "the lane's first frame and four parts");
    let skipped_a_part = [parts[0], parts[1], parts[3]].concat();
    let mut too_large = large.to_vec();
    let total = large
        .windows(4)
        .position(|four| four == 200_000_u32.to_be_bytes());
    let total = total.unwrap();
    too_large[total..total + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    let no_lane = lane("news", "x").slice(12..);
    for (name, bad) in [
        ("rogue-1", skipped_a_part),
        ("rogue-2", too_large),
        ("rogue-3", no_lane.to_vec()),
        ("rogue-4", vec![0xff; 64]),
    ] {
        let rogue = settled(&secret, name, &one).await;
        let mut lane = rogue.connection.open_uni().await.unwrap();
        lane.write_all(&bad).await.unwrap();
        let closed = rogue.closed().await;
        assert!(matches!(closed, Close::Protocol { .. }), "{name}: {closed}");
    }
    pubsub.local_broadcast("news", "last").unwrap();
    let message = timeout(DEADLINE, news.next()).await.unwrap();
    assert_eq!(message.unwrap().unwrap().payload(), "last");
    assert_undisturbed(&one);
}

#[tokio::test]
async fn who_talks_nonsense_about_its_interest_gets_everything_and_disturbs_nobody() {
    let secret = Secret::generate();
    let ((one, pubsub), _two) = pair(&secret).await;
    let mut capable = match hello("rogue") {
        Frame::Hello(hello) => hello,
        other => panic!("unexpected {other:?}"),
    };
    capable.capabilities = vec![INTEREST.to_owned()];
    let mut rogue = Rogue::connect(&secret, "rogue", one.local_addr()).await;
    rogue.say(&Frame::Hello(capable)).await;
    rogue.say(&Frame::Welcome).await;
    let all = Interest {
        seq: 1,
        begin: true,
        end: true,
        ..Interest::default()
    };
    let from_nowhere = Interest {
        seq: 77,
        end: true,
        gone: vec!["news".into()],
        heard: Some(u64::MAX),
        ..Interest::default()
    };
    for said in [
        ControlFrame::Position(u64::MAX),
        ControlFrame::Resync,
        ControlFrame::Last(9),
        ControlFrame::Interest(all),
        ControlFrame::Interest(from_nowhere),
        ControlFrame::Last(u64::MAX),
    ] {
        rogue.say(&Frame::Routing(said)).await;
    }
    let flooded = async {
        let mut look = tokio::time::interval(Duration::from_millis(1));
        loop {
            look.tick().await;
            pubsub.broadcast("news", "to whom it may concern").unwrap();
            let peers = one.peers();
            let rogue = peers.iter().find(|peer| peer.name == "rogue");
            let routing = rogue.map(|rogue| rogue.routing).unwrap_or_default();
            // It was asked to tell all anew, and until it does so nothing is kept from it.
            if routing.resyncs > 0 && routing.flooded_start > 0 {
                return;
            }
        }
    };
    timeout(DEADLINE, flooded).await.unwrap();
    let peers = one.peers();
    let two = peers.iter().find(|peer| peer.name == "two").unwrap();
    assert_eq!((two.links, two.state.is_linked()), (1, true));
}

/// What a node was told and given, in this order.
#[derive(Default)]
struct Course(Mutex<Vec<String>>);

impl Course {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Sink for Course {
    fn deliver(&self, message: &Message) -> Delivery {
        self.note(String::from_utf8_lossy(message.payload()).into_owned());
        Delivery::Delivered
    }
}

impl MemberSink for Course {
    fn member_event(&self, event: &MemberEvent) {
        match event {
            MemberEvent::Up(member) if member.node == "rogue" => {
                self.note(format!("up: {}", member.link));
            }
            MemberEvent::Gap { node, link, lost } => {
                self.note(format!("gap of {lost} from {node} on {link}"));
            }
            MemberEvent::Down(member) => self.note(format!("down: {}", member.link)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_gap_is_told_once_of_its_link_with_its_count_before_what_comes_after_it() {
    let secret = Secret::generate();
    let ((one, pubsub), _two) = pair(&secret).await;
    let course = Arc::new(Course::default());
    let _watch = pubsub.watch_members(course.clone());
    let _news = pubsub.subscribe_sink("news", course.clone()).unwrap();
    let rogue = settled(&secret, "rogue", &one).await;
    let mut stream = rogue.connection.open_uni().await.unwrap();
    let message = |text: &'static str| frames(&lane("news", text))[1].to_vec();
    let gap = |lost| {
        let mut gap = Encoded::default();
        Codec::NEWEST.put_gap(lost, &mut gap);
        gap.concat().to_vec()
    };
    let written = [
        lane("news", "first").to_vec(),
        gap(7),
        message("second"),
        message("third"),
        gap(2),
        gap(1),
        message("last"),
    ];
    stream.write_all(&written.concat()).await.unwrap();
    let has = |what: &'static str| {
        let course = course.clone();
        async move {
            let mut look = tokio::time::interval(Duration::from_millis(1));
            while !course.so_far().iter().any(|line| line.starts_with(what)) {
                look.tick().await;
            }
        }
    };
    timeout(DEADLINE, has("last")).await.unwrap();
    rogue.connection.close(0_u32.into(), b"");
    timeout(DEADLINE, has("down")).await.unwrap();
    let all = course.so_far();
    let link = all[0].strip_prefix("up: ").unwrap();
    assert_eq!(
        all,
        [
            format!("up: {link}"),
            "first".to_owned(),
            format!("gap of 7 from rogue on {link}"),
            "second".to_owned(),
            "third".to_owned(),
            format!("gap of 2 from rogue on {link}"),
            format!("gap of 1 from rogue on {link}"),
            "last".to_owned(),
            format!("down: {link}"),
        ]
    );
    let peers = one.peers();
    let rogue = peers.iter().find(|peer| peer.name == "rogue").unwrap();
    assert_eq!((rogue.lost, one.stats().lost), (10, 10));
    assert_undisturbed(&one);
}
