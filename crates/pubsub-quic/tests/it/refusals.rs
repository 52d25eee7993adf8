//! Who may not join is told why, in one line on each side that knows.

use std::net::UdpSocket;
use std::time::Duration;

use matryoshka_pubsub_quic::pubsub::{Incarnation, PubSub};
use matryoshka_pubsub_quic::{QuicAdapter, Secret, SecretError, StartError};

use crate::cluster::{DEADLINE, Node, meet};
use crate::log::Log;
use crate::stranger::{ALPN, Stranger};

/// Waits until `count` lines contain `needle`.
async fn logged(log: &Log, needle: &str, count: usize) -> Vec<String> {
    let waiting = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while log.with(needle).len() < count {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    waited.unwrap_or_else(|_| panic!("no {needle:?} in {:#?}", log.lines()));
    log.with(needle)
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_both_sides_say_so_once() {
    let log = Log::collect();
    let one = Node::start(Node::builder("one", &Secret::generate())).await;
    let stranger = Node::builder("two", &Secret::generate()).join(one.adapter.local_addr());
    let two = Node::start(stranger).await;
    logged(&log, "different cluster secrets", 2).await;
    // The stranger tries on; nobody repeats the line.
    let trying = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while two.adapter.stats().dials < 4 {
            look.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, trying).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("refused a connection"))
    );
    assert!(lines.iter().any(|line| line.contains("no connection with")));
    assert!(one.adapter.peers().is_empty() && two.adapter.peers().is_empty());
    assert!(one.adapter.stats().refused > 0);
}

/// As who dials a node that stands still.
#[tokio::test]
async fn one_that_gives_up_is_told_with_what_is_to_be_done() {
    let log = Log::collect();
    let node = Node::start(Node::builder("one", &Secret::generate())).await;
    let (stranger, at) = (Stranger::new(None, ALPN), node.adapter.local_addr());
    let line = "it gave up before the handshake was done";
    let trying = async {
        for attempt in 0.. {
            if !log.with(line).is_empty() {
                break;
            }
            stranger.give_up(at, attempt % 20).await;
        }
    };
    let tried = tokio::time::timeout(DEADLINE, trying).await;
    tried.unwrap_or_else(|_| panic!("no {line:?} in {:#?}", log.lines()));
    let line = &log.with(line)[0];
    assert!(line.contains("tries again by itself"), "{line}");
}

#[tokio::test]
async fn another_clusters_node_is_refused_and_told_the_names() {
    let log = Log::collect();
    let secret = Secret::generate();
    let one = Node::start(Node::builder("one", &secret).cluster("blue")).await;
    let other = Node::builder("two", &secret).cluster("green");
    let two = Node::start(other.join(one.adapter.local_addr())).await;
    for line in logged(&log, "give both the same cluster name", 1).await {
        assert!(line.contains("blue") && line.contains("green"), "{line}");
    }
    assert!(one.known().is_empty() && two.known().is_empty());
}

#[tokio::test]
async fn any_of_several_secrets_is_accepted() {
    let (old, new) = (Secret::generate(), Secret::generate());
    let both = format!("{}\n{}", new.to_hex(), old.to_hex());
    let both = Secret::parse(&both).unwrap();
    let other_way = format!("{},{}", old.to_hex(), new.to_hex());
    let other_way = Secret::parse(&other_way).unwrap();
    let one = Node::start(Node::builder("one", &both)).await;
    let two = Node::builder("two", &other_way).join(one.adapter.local_addr());
    let two = Node::start(two).await;
    meet(&mut [one, two]).await;
}

#[tokio::test]
async fn of_two_nodes_with_one_name_the_older_leaves_with_one_line() {
    let log = Log::collect();
    let secret = Secret::generate();
    let one = Node::start(Node::builder("one", &secret)).await;
    let seed = one.adapter.local_addr();
    let older = Node::start(Node::builder("twin", &secret).join(seed)).await;
    let mut nodes = [one, older];
    meet(&mut nodes).await;
    let newer = Node::start(Node::builder("twin", &secret).join(seed)).await;
    let ended = tokio::time::timeout(DEADLINE, nodes[1].adapter.ended()).await;
    let reason = ended.expect("the older node leaves");
    let address = newer.adapter.local_addr().to_string();
    assert!(reason.contains(&address), "{reason}");
    assert_eq!(log.with("this node leaves the cluster").len(), 1);
    assert_eq!(newer.known(), ["one"]);
    assert!(nodes[1].known().is_empty());
    // It is still a working pubsub, of itself.
    let alone = &nodes[1].pubsub;
    let mut here = alone.subscribe("here").unwrap();
    assert_eq!(alone.broadcast("here", "still").unwrap().local, 1);
    assert!(here.next().await.is_some());
}

#[tokio::test]
async fn a_clock_that_went_back_does_not_lock_a_node_out() {
    let secret = Secret::generate();
    let one = Node::start(Node::builder("one", &secret)).await;
    let seed = one.adapter.local_addr();
    let ahead = Incarnation(u64::MAX / 2);
    let early = Node::builder("two", &secret).join(seed).incarnation(ahead);
    let mut nodes = [one, Node::start(early).await];
    meet(&mut nodes).await;
    // Gone without a goodbye, so that the first node still knows its number.
    let [mut one, two] = nodes;
    drop(two);
    one.down("two").await;
    let again = Node::start(Node::builder("two", &secret).join(seed)).await;
    let back = one.up("two").await;
    assert_eq!(back.incarnation, ahead.next());
    assert_eq!(again.pubsub.incarnation(), ahead.next());
}

async fn refused(builder: matryoshka_pubsub_quic::Builder) -> StartError {
    builder.start().await.expect_err("it must not start")
}

#[tokio::test]
async fn a_node_that_cannot_start_says_what_to_correct() {
    let secret = Secret::generate();
    let node = |name: &str| QuicAdapter::builder(name).secret(secret.clone());
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let error = refused(node("n1").listen(taken.1)).await;
    assert!(matches!(error, StartError::PortTaken { .. }));
    assert!(error.to_string().contains(&taken.1.to_string()));
    let error = refused(node("n1").listen("nonsense")).await;
    assert!(matches!(error, StartError::InvalidListen { .. }));
    let error = refused(node("n1").listen("192.0.2.1:0")).await;
    assert!(matches!(error, StartError::InvalidListen { .. }), "{error}");
    let error = refused(node("N 1")).await;
    assert!(matches!(error, StartError::InvalidName(_)));
    let error = refused(QuicAdapter::builder("n1")).await;
    assert!(matches!(error, StartError::NoSecret));
    let error = refused(node("n1").advertise("0.0.0.0:5000")).await;
    assert!(matches!(error, StartError::InvalidAdvertise { .. }));
    let error = refused(node("n1").join("n2")).await;
    assert!(matches!(error, StartError::InvalidJoin { .. }));
    let error = refused(node("n1").cluster("")).await;
    assert!(matches!(error, StartError::InvalidCluster { .. }));
    let error = StartError::from(Secret::parse("c2hvcnQ=").unwrap_err());
    let short = SecretError::TooShort { index: 1, bytes: 5 };
    assert_eq!(error.to_string(), short.to_string());
}

#[tokio::test]
async fn a_lone_node_is_a_pubsub_like_any_other() {
    let adapter = Node::builder("n1", &Secret::generate()).start().await;
    let pubsub = PubSub::with(adapter.unwrap());
    let sent = pubsub.broadcast("nobody", "hello").unwrap();
    assert_eq!((sent.local, sent.peers), (0, 0));
}
