//! Pairs of nodes whose relay is cut until both call the other down, and healed some time later: how long until both have a
//! link again.
//!
//! Target: at most 3 s, the worst of all pairs.

use std::future::Future;
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_relay::{Faults, Relay};
use tokio::task::JoinSet;

use super::meter::{Bar, Values, load_average};
use super::nodes::{Node, NodePair};

const PAIRS: u32 = 20;
/// Between the cut and the mending: each pair at another phase of its attempts to dial.
const LEAST_APART: Duration = Duration::from_secs(4);
const PHASES: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(20);

/// Prints the times.
pub(crate) fn run() {
    println!(
        "\na partition healed: until both nodes have their link again, {PAIRS} pairs at different phases"
    );
    let times: Values = super::runtime().block_on(async {
        let mut pairs = JoinSet::new();
        for n in 0..PAIRS {
            pairs.spawn(heal(LEAST_APART + PHASES * n / PAIRS));
        }
        pairs.join_all().await.into_iter().collect()
    });
    println!(
        "  seconds: {times}; the worst {:.2}  {}; {}",
        times.max(),
        Bar::AtMost(3.0).judge(times.max()),
        load_average()
    );
}

async fn heal(apart: Duration) -> f64 {
    let mut relay = Relay::start(0).expect("a thread can be started");
    let nodes = NodePair::start(Some(&mut relay)).await;
    let ends = [&nodes.publisher, &nodes.subscriber];
    let down = ends.map(|node| link_event(node, |event| matches!(event, MemberEvent::Down { .. })));
    relay.set_everywhere(Faults::CUT);
    let cut = Instant::now();
    for down in down {
        down.await;
    }
    tokio::time::sleep(apart.saturating_sub(cut.elapsed())).await;
    let up = ends.map(|node| link_event(node, |event| matches!(event, MemberEvent::Up(_))));
    relay.set_everywhere(Faults::NONE);
    let healed = Instant::now();
    for up in up {
        up.await;
    }
    healed.elapsed().as_secs_f64()
}

/// Watches from now on; gives the wait for such an event.
fn link_event(node: &Node, is_it: fn(&MemberEvent) -> bool) -> impl Future<Output = ()> + use<> {
    let mut members = node.pubsub.members();
    async move {
        let event = async { while !is_it(&members.next().await) {} };
        let event = tokio::time::timeout(LIMIT, event).await;
        event.expect("nodes notice and meet again");
    }
}
