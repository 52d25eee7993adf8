//! Who comes with bad intentions or broken papers is refused or bounded, and the members notice nothing.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use matryoshka_pubsub_quic::{QuicAdapter, Secret};
use quinn::ConnectionError;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rcgen::ExtendedKeyUsagePurpose;
use tokio::task::JoinHandle;

use crate::ca::{Ca, Papers};
use crate::cluster::{DEADLINE, Node, meet, pki, until};
use crate::log::Log;
use crate::stranger::{ALPN, Stranger, config, trap};

/// Two members, between which messages flow until this is told to stop.
struct Members {
    at: SocketAddr,
    target: QuicAdapter,
    flow: JoinHandle<()>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Members {
    async fn with_papers(ca: &Ca) -> Self {
        let node = |name: &str| QuicAdapter::builder(name).tls(pki(&ca.papers(name)));
        let one = Node::start(node("one")).await;
        let two = Node::start(node("two").join(one.adapter.local_addr())).await;
        Self::flowing(one, two).await
    }

    async fn with_secret() -> Self {
        let secret = Secret::generate();
        let one = Node::start(Node::builder("one", &secret)).await;
        let two = Node::builder("two", &secret).join(one.adapter.local_addr());
        Self::flowing(one, Node::start(two).await).await
    }

    async fn flowing(one: Node, two: Node) -> Self {
        let mut nodes = [one, two];
        meet(&mut nodes).await;
        let (at, target) = (nodes[0].adapter.local_addr(), nodes[0].adapter.clone());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let flow = tokio::spawn(async move {
            let [mut one, mut two] = nodes;
            let mut news = two.pubsub.subscribe("news").unwrap();
            let mut sent = 0_u64;
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            let mut is_last = false;
            while !is_last {
                is_last = *stopped.borrow();
                pace.tick().await;
                one.pubsub.broadcast("news", sent.to_string()).unwrap();
                let next = tokio::time::timeout(DEADLINE, news.next()).await;
                let message = next.expect("messages flow").unwrap().unwrap();
                assert_eq!(message.payload(), &sent.to_string());
                sent += 1;
            }
            for node in [&mut one, &mut two] {
                let event = tokio::time::timeout(Duration::ZERO, node.members.next()).await;
                assert!(event.is_err(), "{event:?}");
                assert_eq!(node.adapter.peers().len(), 1);
                assert_eq!(node.adapter.peers()[0].links, 1);
            }
        });
        Self {
            at,
            target,
            flow,
            stop,
        }
    }

    /// All went on as if nothing had been.
    async fn were_undisturbed(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(DEADLINE, self.flow)
            .await
            .unwrap()
            .unwrap();
    }
}

/// The first packets of ten thousand connections, none of which goes any further. A node that asks somebody to prove
/// its address first remembers nothing of him, so the same packet later is another attempt.
fn knock_and_run(at: SocketAddr) {
    const PACKETS: usize = 500;
    const TIMES: usize = 20;
    let mut endpoint = quinn_proto::Endpoint::new(Arc::default(), None, false, None);
    let (config, now) = (config(None, ALPN), Instant::now());
    let packets: Vec<Vec<u8>> = (0..PACKETS)
        .map(|_| {
            let connected = endpoint.connect(now, config.clone(), at, "anybody.invalid");
            let (_, mut connection) = connected.unwrap();
            let mut packet = Vec::new();
            assert!(connection.poll_transmit(now, 1, &mut packet).is_some());
            packet
        })
        .collect();
    for _ in 0..TIMES {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for packet in &packets {
            socket.send_to(packet, at).unwrap();
        }
    }
}

#[tokio::test]
async fn ten_thousand_attempts_disturb_nobody() {
    let log = Log::collect();
    let members = Members::with_secret().await;
    let at = members.at;
    tokio::task::spawn_blocking(move || knock_and_run(at))
        .await
        .unwrap();
    // And some that go on to the end of what they can do.
    let stranger = Stranger::new(None, ALPN);
    let attempts = futures::stream::iter(0..200).map(|_| stranger.knock(at));
    let ends: Vec<ConnectionError> = attempts.buffer_unordered(20).collect().await;
    assert_eq!(ends.len(), 200);
    // Of those that ran away, some were taken for guests at first; they are given up after their time.
    let given_up = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while members.target.stats().refused <= 200 || log.with("took too long").is_empty() {
            look.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, given_up).await.unwrap();
    assert_eq!(members.target.stats().connections, 1);
    members.were_undisturbed().await;
    let lines = log.lines();
    // A machine that is slow to end handshakes may find too many from the one address.
    let too_many = log.with("handshakes from its address").len();
    assert!(too_many <= 1, "{lines:#?}");
    assert_eq!(lines.len() - too_many, 2, "{lines:#?}");
    assert_eq!(log.with("has no certificate").len(), 1, "{lines:#?}");
}

/// Whoever has papers, and may therefore hold each handshake for its three seconds, cannot keep a member out.
#[cfg(target_os = "linux")] // which has all of 127.0.0.0/8
#[tokio::test]
async fn one_address_cannot_take_all_handshakes_for_itself() {
    let log = Log::collect();
    let ca = Ca::new("ours");
    let members = Members::with_papers(&ca).await;
    let at = members.at;
    let stranger = Arc::new(Stranger::new(Some(&ca.papers("stranger")), ALPN));
    let attempts: Vec<JoinHandle<ConnectionError>> = (0..64)
        .map(|_| {
            let stranger = stranger.clone();
            tokio::spawn(async move { stranger.knock(at).await })
        })
        .collect();
    until("one is refused", || members.target.stats().refused > 0).await;
    // Half of them are still under way.
    let late = QuicAdapter::builder("late").tls(pki(&ca.papers("late")));
    let mut late = Node::start(late.listen("127.0.0.2:0").join(at)).await;
    late.up("one").await;
    drop(late);
    let mut refused = 0;
    for attempt in attempts {
        let end = attempt.await.unwrap();
        refused += usize::from(end.to_string().contains("refused"));
    }
    assert!(refused > 0);
    let why = log.with("32 handshakes from its address are under way");
    assert_eq!(why.len(), 1, "{:#?}", log.lines());
    assert!(
        why[0].contains("refused a connection from 127.0.0.1: "),
        "{why:?}"
    );
    members.flow.abort();
}

#[tokio::test]
async fn junk_datagrams_disturb_nobody() {
    let log = Log::collect();
    let members = Members::with_secret().await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..10_000_u32 {
        let mut junk = vec![0; rng.random_range(1..1_400)];
        rng.fill_bytes(&mut junk);
        // Half of them look as if they began a connection: long header, the version, sensible lengths.
        if round % 2 == 0 && junk.len() > 40 {
            let start = [0xc0 | junk[0] & 0x0f, 0, 0, 0, 1, 8];
            junk[..6].copy_from_slice(&start);
            junk[14] = 8;
        }
        socket.send_to(&junk, members.at).unwrap();
        if round % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    members.were_undisturbed().await;
    let lines = log.lines();
    assert!(lines.len() <= 1, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.contains("is no proper QUIC")),
        "{lines:#?}"
    );
}

/// What a stranger gets for his papers, and what the node says of him, though he comes three times.
async fn turned_away(papers: Option<&Papers>, alpn: &[u8], ca: &Ca) -> (ConnectionError, String) {
    let log = Log::collect();
    let members = Members::with_papers(ca).await;
    let stranger = Stranger::new(papers, alpn);
    let ends = [
        stranger.knock(members.at).await,
        stranger.knock(members.at).await,
        stranger.knock(members.at).await,
    ];
    members.were_undisturbed().await;
    let lines = log.lines();
    let [line] = lines.as_slice() else {
        panic!("not one line: {lines:#?}");
    };
    assert!(
        line.contains("refused a connection from 127.0.0.1: "),
        "{line}"
    );
    let [end, ..] = ends;
    (end, line.clone())
}

#[track_caller]
fn is_alert(end: &ConnectionError, alert: u64) {
    match end {
        ConnectionError::ConnectionClosed(close) => {
            assert_eq!(u64::from(close.error_code), 0x100 + alert, "{end}");
        }
        other => panic!("unexpected {other}"),
    }
}

#[tokio::test]
async fn without_a_certificate_nobody_is_let_in() {
    let (end, line) = turned_away(None, ALPN, &Ca::new("ours")).await;
    is_alert(&end, 116);
    assert!(line.contains("has no certificate"), "{line}");
}

#[tokio::test]
async fn a_certificate_for_one_side_only_does_not_let_in() {
    let ca = Ca::new("ours");
    for purpose in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ] {
        let papers = ca.papers_with("three", |params| params.extended_key_usages = vec![purpose]);
        let (end, line) = turned_away(Some(&papers), ALPN, &ca).await;
        is_alert(&end, 43);
        assert!(line.contains("serverAuth and clientAuth"), "{line}");
        assert!(
            line.contains("its certificate for \"three\" has SHA-256"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn an_expired_certificate_does_not_let_in() {
    let ca = Ca::new("ours");
    let hour_ago = SystemTime::now() - Duration::from_secs(60 * 60);
    let papers = ca.papers_with("three", |params| params.not_after = hour_ago.into());
    let (end, line) = turned_away(Some(&papers), ALPN, &ca).await;
    is_alert(&end, 45);
    assert!(line.contains("its certificate is valid from"), "{line}");
    assert!(line.contains("but this node's clock says"), "{line}");
    assert!(line.contains("or renew the certificate"), "{line}");
}

#[tokio::test]
async fn another_authoritys_certificate_does_not_let_in() {
    let papers = Ca::new("theirs").papers("three");
    let (end, line) = turned_away(Some(&papers), ALPN, &Ca::new("ours")).await;
    is_alert(&end, 48);
    assert!(
        line.contains("no authority in this node's CA bundle"),
        "{line}"
    );
}

#[tokio::test]
async fn another_protocol_is_told_as_such() {
    let ca = Ca::new("ours");
    let papers = ca.papers("three");
    let (end, line) = turned_away(Some(&papers), b"h3", &ca).await;
    is_alert(&end, 120);
    assert!(line.contains("speaks another protocol"), "{line}");
}

#[tokio::test]
async fn who_shakes_hands_and_then_does_nothing_has_to_go() {
    let ca = Ca::new("ours");
    let papers = ca.papers("three");
    let (end, line) = turned_away(Some(&papers), ALPN, &ca).await;
    assert!(
        matches!(end, ConnectionError::ApplicationClosed(_)),
        "{end}"
    );
    assert!(line.contains("took too long"), "{line}");
}

#[tokio::test]
async fn whoever_is_dialled_needs_the_same_papers() {
    let ca = Ca::new("ours");
    let hour_ago = SystemTime::now() - Duration::from_secs(60 * 60);
    let only =
        |purpose| ca.papers_with("three", |params| params.extended_key_usages = vec![purpose]);
    for (papers, word) in [
        (
            only(ExtendedKeyUsagePurpose::ServerAuth),
            "serverAuth and clientAuth",
        ),
        (
            only(ExtendedKeyUsagePurpose::ClientAuth),
            "serverAuth and clientAuth",
        ),
        (
            ca.papers_with("three", |params| params.not_after = hour_ago.into()),
            "but this node's clock says",
        ),
        (
            Ca::new("theirs").papers("three"),
            "no authority in this node's CA bundle",
        ),
    ] {
        let log = Log::collect();
        let (_trap, at) = trap(&papers);
        let node = QuicAdapter::builder("one")
            .tls(pki(&ca.papers("one")))
            .join(at);
        let node = Node::start(node).await;
        let tries = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            while node.adapter.stats().dials < 3 {
                look.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, tries).await.unwrap();
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("no connection with"), "{lines:#?}");
        assert!(lines[0].contains(word), "{lines:#?}");
    }
}
