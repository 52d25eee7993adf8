//! Nodes that believe another time of day: renewal, and clocks that disagree.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::{Members, PubSub};
use tokio::time::{interval, timeout};

use super::*;
use crate::clock::{Clock, Utc};
use crate::config::Builder;
use crate::log::Log;

const DEADLINE: Duration = Duration::from_secs(20);
const DAY: u64 = 24 * 60 * 60;
/// What the clocks say before somebody turns them.
const START: u64 = 1_800_000_000;

/// A clock that stands still until it is turned.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    fn turn(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let hands = self.0.clone();
        let read =
            move || SystemTime::UNIX_EPOCH + Duration::from_secs(hands.load(Ordering::Relaxed));
        Clock::pretended(read)
    }
}

struct Node {
    adapter: QuicAdapter,
    members: Members,
    _pubsub: PubSub,
}

impl Node {
    async fn start(builder: Builder) -> Self {
        let adapter = builder.start().await.unwrap();
        let pubsub = PubSub::with(adapter.clone());
        let members = pubsub.members();
        Self {
            adapter,
            members,
            _pubsub: pubsub,
        }
    }

    fn at(&self) -> SocketAddr {
        self.adapter.local_addr()
    }

    /// Waits until `name` is up; nobody may be lost meanwhile.
    async fn up(&mut self, name: &str) {
        let waiting = async {
            loop {
                match self.members.next().await {
                    MemberEvent::Up(member) if member.node == name => return,
                    MemberEvent::Up(_) => {}
                    other => panic!("unexpected {other:?}"),
                }
            }
        };
        let waited = timeout(DEADLINE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{name} does not come up"));
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        let mut look = interval(Duration::from_millis(20));
        while !is_so() {
            look.tick().await;
        }
    };
    let waited = timeout(DEADLINE, waiting).await;
    waited.unwrap_or_else(|_| panic!("in vain: {what}"));
}

fn node(name: &str, secret: &Secret, hands: &Hands) -> Builder {
    QuicAdapter::builder(name)
        .secret(secret.clone())
        .clock(hands.clock())
}

/// Turns the clock by `days`, waits until all have renewed, and lets a new node meet all of them.
async fn renewed_after(days: f64, nodes: &mut [Node], hands: &Hands, secret: &Secret, guest: &str) {
    let before: Vec<Fingerprint> = fingerprints(nodes);
    hands.turn((days * DAY as f64) as u64);
    until("renewal", || {
        let now = fingerprints(nodes);
        now.iter().zip(&before).all(|(now, before)| now != before)
    })
    .await;
    let seeds: Vec<SocketAddr> = nodes.iter().map(Node::at).collect();
    let guest_node = seeds
        .iter()
        .fold(node(guest, secret, hands), |builder, seed| {
            builder.join(seed)
        });
    let _guest = Node::start(guest_node).await;
    for node in nodes.iter_mut() {
        node.up(guest).await;
        for peer in node.adapter.peers() {
            assert_eq!(peer.links, 1, "{peer:?}");
        }
    }
    // Its end is not what is looked at; it may be told in any way.
    _guest.adapter.shutdown().await;
    for node in nodes.iter_mut() {
        let gone =
            async { while !matches!(node.members.next().await, MemberEvent::Forgotten(_)) {} };
        timeout(DEADLINE, gone).await.unwrap();
    }
}

fn fingerprints(nodes: &[Node]) -> Vec<Fingerprint> {
    nodes
        .iter()
        .map(|node| node.adapter.identity().fingerprint)
        .collect()
}

#[tokio::test]
async fn leaves_are_renewed_at_half_their_life_while_links_stay() {
    let (secret, hands) = (Secret::generate(), Hands::at(START));
    let one = Node::start(node("n1", &secret, &hands)).await;
    let two = Node::start(node("n2", &secret, &hands).join(one.at())).await;
    let mut nodes = [one, two];
    nodes[0].up("n2").await;
    nodes[1].up("n1").await;
    let first = fingerprints(&nodes);
    hands.turn(3 * DAY);
    assert_eq!(nodes[0].adapter.shared().identity.tend(), None);
    assert_eq!(fingerprints(&nodes), first);
    renewed_after(0.5, &mut nodes, &hands, &secret, "after-half").await;
    renewed_after(3.5, &mut nodes, &hands, &secret, "after-two-halves").await;
    // The machine slept for a month: by every clock the leaves have ended, and are renewed at the next tick.
    renewed_after(30.0, &mut nodes, &hands, &secret, "after-a-month").await;
    let identity = nodes[0].adapter.identity();
    let now = hands.clock().now();
    assert!(identity.valid_from < now && identity.valid_until > now);
    for peer in nodes.iter().flat_map(|node| node.adapter.peers()) {
        assert_eq!(peer.links, 1, "{peer:?}");
    }
}

/// Starts `right` and `wrong`, of which `wrong`'s clock is off by `days`, lets one of them dial, and gives what each
/// says.
async fn words_of(days: i64, wrong_dials: bool) -> (String, String) {
    let log = Log::collect();
    let secret = Secret::generate();
    let right = Hands::at(START);
    let wrong = Hands::at(START.saturating_add_signed(days * DAY as i64));
    let (right, wrong) = (
        node("right", &secret, &right),
        node("wrong", &secret, &wrong),
    );
    let (_right, _wrong) = if wrong_dials {
        let right = Node::start(right).await;
        let wrong = Node::start(wrong.join(right.at())).await;
        (right, wrong)
    } else {
        let wrong = Node::start(wrong).await;
        let right = Node::start(right.join(wrong.at())).await;
        (right, wrong)
    };
    let told = |name: &str| log.with(&format!("node={name}"));
    until("both say something", || {
        !told("right").is_empty() && !told("wrong").is_empty()
    })
    .await;
    let dials = |node: &Node| node.adapter.stats().dials;
    until("further attempts", || dials(&_right) + dials(&_wrong) >= 4).await;
    let (right, wrong) = (told("right"), told("wrong"));
    assert_eq!((right.len(), wrong.len()), (1, 1), "{right:?} {wrong:?}");
    (right[0].clone(), wrong[0].clone())
}

fn reading(seconds: i64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(START.saturating_add_signed(seconds));
    Utc(time).to_string()
}

/// The refused side knows its own certificate and clock, and what to compare.
fn assert_is_refused(line: &str, own_clock: i64) {
    for part in [
        "by the other side's clock".to_owned(),
        "compare it with the clock there (`date -u`)".to_owned(),
        format!("this node's clock says {}", reading(own_clock)),
        format!(
            "valid from {} until {}",
            reading(own_clock - DAY as i64),
            reading(own_clock + 7 * DAY as i64)
        ),
    ] {
        assert!(line.contains(&part), "no {part:?} in {line}");
    }
}

/// The refusing side knows both clocks.
fn assert_refuses(line: &str, own_clock: i64, other_clock: i64) {
    for part in [
        format!("this node's clock says {}", reading(own_clock)),
        format!("its clock said {} when", reading(other_clock)),
        format!(
            "valid from {} until {}",
            reading(other_clock - DAY as i64),
            reading(other_clock + 7 * DAY as i64)
        ),
        "set the clock that is wrong".to_owned(),
    ] {
        assert!(line.contains(&part), "no {part:?} in {line}");
    }
}

#[tokio::test]
async fn a_clock_two_days_behind_is_told_on_both_sides_with_both_clocks() {
    let behind = -2 * DAY as i64;
    for wrong_dials in [true, false] {
        // Its own leaf is still good for others; theirs are not good for it yet.
        let (right, wrong) = words_of(-2, wrong_dials).await;
        assert_refuses(&wrong, behind, 0);
        assert_is_refused(&right, 0);
    }
}

#[tokio::test]
async fn a_clock_two_days_ahead_is_told_on_both_sides_with_both_clocks() {
    let ahead = 2 * DAY as i64;
    for wrong_dials in [true, false] {
        let (right, wrong) = words_of(2, wrong_dials).await;
        assert_refuses(&right, 0, ahead);
        assert_is_refused(&wrong, ahead);
    }
}

#[tokio::test]
async fn clocks_that_part_are_told_while_the_nodes_still_meet() {
    let hour = 60 * 60;
    for (ahead, lines) in [(hour, 0), (8 * hour, 1)] {
        let log = Log::collect();
        let secret = Secret::generate();
        let right = Hands::at(START);
        let wrong = Hands::at(START + ahead);
        let mut right = Node::start(node("right", &secret, &right)).await;
        let wrong = node("wrong", &secret, &wrong).join(right.at());
        let mut wrong = Node::start(wrong).await;
        right.up("wrong").await;
        wrong.up("right").await;
        for name in ["right", "wrong"] {
            let told = log.with(&format!("node={name}"));
            assert_eq!(told.len(), lines, "{told:?}");
            for line in told {
                assert!(line.contains(&reading(0)), "{line}");
                assert!(line.contains(&reading(ahead as i64)), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn both_sides_show_the_same_two_fingerprints() {
    let (right, wrong) = words_of(2, true).await;
    let fingerprints = |line: &str| {
        let words = line.split([' ', ',', '(', ')']);
        let found = words.filter(|word| word.matches(':').count() == 31);
        found.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (right, wrong) = (fingerprints(&right), fingerprints(&wrong));
    assert_eq!((right.len(), wrong.len()), (2, 2), "{right:?} {wrong:?}");
    assert_eq!(right, wrong);
}
