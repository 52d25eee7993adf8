//! What a node counts and logs of its links, read as an operator does.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use matryoshka_pubsub_quic::pubsub::PubSub;
use matryoshka_pubsub_quic::pubsub::cluster::{MemberEvent, MemberState};
use matryoshka_pubsub_quic::{MIN_MESSAGE_BYTES, OLDEST_PROTOCOL, PeerInfo, Secret};
use tracing::Level;

use crate::cluster::{DEADLINE, Node, meet, until, until_within};
use crate::log::Log;

const README: &str = include_str!("../../README.md");
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A node with a small ring, one that takes small messages only, and one of the release before.
async fn three(secret: &Secret) -> [Node; 3] {
    let small_ring =
        Node::builder("n0", secret).tune_interest(|interest| interest.ring_entries = 4);
    let n0 = Node::start(small_ring).await;
    // Nothing is known of what the others want when they come up.
    greet_whoever_comes(&n0.pubsub);
    let at = n0.adapter.local_addr();
    let n1 = Node::start(takes_little(secret).join(at)).await;
    let old = Node::builder("n2", secret).protocol(OLDEST_PROTOCOL);
    let n2 = Node::start(old.join(at)).await;
    let mut nodes = [n0, n1, n2];
    meet(&mut nodes).await;
    nodes
}

fn takes_little(secret: &Secret) -> matryoshka_pubsub_quic::Builder {
    Node::builder("n1", secret).max_message_bytes(MIN_MESSAGE_BYTES)
}

/// Publishes the moment a member comes up.
fn greet_whoever_comes(pubsub: &PubSub) {
    let (mut members, pubsub) = (pubsub.members(), pubsub.clone());
    tokio::spawn(async move {
        loop {
            if let MemberEvent::Up(_) = members.next().await {
                pubsub.broadcast("greeting", "hello").unwrap();
            }
        }
    });
}

/// All copies that went to a peer, whatever the reason.
fn copies(peer: &PeerInfo) -> u64 {
    let routing = &peer.routing;
    routing.sent + routing.flooded() + routing.flushed + routing.replayed
}

#[tokio::test]
async fn every_counter_of_a_link_says_what_happened_on_it() {
    const MESSAGES: u64 = 100;
    let secret = Secret::generate();
    let [mut n0, n1, n2] = three(&secret).await;
    let (small, old) = (n0.peer("n1"), n0.peer("n2"));
    for peer in [&small, &old] {
        assert_eq!((peer.state, peer.links), (MemberState::Up, 1));
        let link = peer.link.as_ref().unwrap();
        assert!(link.round_trip > Duration::ZERO && link.round_trip < DEADLINE);
        let left = link
            .certificate_end
            .unwrap()
            .duration_since(SystemTime::now());
        let left = left.unwrap();
        assert!(left > 6 * DAY && left < 8 * DAY, "{left:?}");
    }
    assert!(small.link.unwrap().interest && !old.link.unwrap().interest);

    until("what nobody wants is held back", || {
        let before = n0.peer("n1").routing.held;
        n0.pubsub.broadcast("nobody's", "probe").unwrap();
        n0.peer("n1").routing.held > before
    })
    .await;
    let (small, old) = (n0.peer("n1"), n0.peer("n2"));
    for _ in 0..MESSAGES {
        n0.pubsub.broadcast("nobody's", "message").unwrap();
    }
    let (small_now, old_now) = (n0.peer("n1"), n0.peer("n2"));
    // As nothing else runs meanwhile, four are held and the others are pushed out of the ring.
    let flooded = small_now.routing.flooded_full - small.routing.flooded_full;
    assert!(flooded >= MESSAGES - 4, "{flooded}");
    let flooded = old_now.routing.flooded_old_peer - old.routing.flooded_old_peer;
    assert_eq!(flooded, MESSAGES);
    assert_eq!(old_now.sent - old.sent, MESSAGES);
    assert_eq!(old_now.sent_bytes - old.sent_bytes, 7 * MESSAGES);
    for peer in [&small_now, &old_now] {
        assert_eq!(peer.sent, copies(peer));
    }
    let stats = n0.adapter.stats();
    assert_eq!(stats.sent, small_now.sent + old_now.sent);
    let received = |node: &Node| (node.peer("n0").received, node.peer("n0").received_bytes);
    until("what was sent is received", || {
        received(&n1) == (n0.peer("n1").sent, n0.peer("n1").sent_bytes)
            && received(&n2) == (n0.peer("n2").sent, n0.peer("n2").sent_bytes)
    })
    .await;

    // More than one of them takes.
    let mut news = n1.pubsub.subscribe("news").unwrap();
    let large = vec![0; MIN_MESSAGE_BYTES + 1];
    n0.pubsub.broadcast("news", large).unwrap();
    n0.pubsub.broadcast("news", "small").unwrap();
    let message = tokio::time::timeout(DEADLINE, news.next()).await.unwrap();
    assert_eq!(message.unwrap().unwrap().payload(), "small");
    let small = n0.peer("n1");
    assert_eq!((small.dropped, small.dropped_too_large), (1, 1));
    assert_eq!((small.gaps, n1.peer("n0").lost), (1, 1));
    assert_eq!(n0.peer("n2").dropped, 0);

    n1.adapter.shutdown().await;
    n0.event(|event| matches!(event, MemberEvent::Forgotten(name) if name == "n1"))
        .await;
    let at = n0.adapter.local_addr();
    let n1 = Node::start(takes_little(&secret).join(at)).await;
    n0.up("n1").await;
    assert_eq!(n0.peer("n1").links, 1, "who is forgotten begins anew");
    drop(n1);
    n0.down("n1").await;
    let _n1 = Node::start(takes_little(&secret).join(at)).await;
    n0.up("n1").await;
    assert_eq!(n0.peer("n1").links, 2, "who was down comes back");
}

/// Targets that the README has a row for.
fn documented() -> BTreeSet<&'static str> {
    let (_, table) = README.split_once("| target | what |").unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    rows.map(|row| row.split('`').nth(1).unwrap()).collect()
}

#[tokio::test]
async fn lines_of_the_log_are_filed_under_the_targets_that_are_documented() {
    let log = Log::collect_from(Level::INFO);
    let secret = Secret::generate();
    let nodes = three(&secret).await;
    let _there = nodes[1].pubsub.subscribe("news").unwrap();
    let large = vec![0; MIN_MESSAGE_BYTES + 1];
    // Losses are told every ten seconds at most.
    until_within(2 * DEADLINE, "both sides tell of the loss", || {
        nodes[0].pubsub.broadcast("news", large.clone()).unwrap();
        let told = log.with("matryoshka::mesh::loss: ");
        ["dropped=", "lost="]
            .iter()
            .all(|word| told.iter().any(|line| line.contains(word)))
    })
    .await;
    let lines = log.with("matryoshka");
    assert!(lines.iter().any(|line| line.contains("n1 is up")));
    let target = |line: &String| {
        let words = line.split_whitespace();
        let found = words.filter(|word| word.starts_with("matryoshka"));
        let mut found = found.map(|word| word.trim_end_matches(':').to_owned());
        found.next().unwrap()
    };
    let seen: BTreeSet<String> = lines.iter().map(target).collect();
    assert_eq!(seen, documented().into_iter().map(str::to_owned).collect());
}
