//! How long until a change is in the lists of the other nodes, at the default period: in an idle cluster that lists 100,000 entries, and
//! beside changes on all nodes.
//!
//! Targets: half within 60 ms, 99 of 100 within 150 ms.

use std::time::{Duration, Instant};

use matryoshka_pubsub::registry::Owner;
use matryoshka_relay::Dice;
use matryoshka_tracker::{TopicDiffs, TopicEvent};
use tokio::task::JoinSet;

use super::cluster::{Cluster, Meta, Site};
use super::{ENTRIES, NODES};
use crate::mesh::meter::{Bar, Values, load_average};

const CHANGES: usize = 200;
/// Before each change, up to this long: it falls into any moment of a period.
const PAUSE: Duration = Duration::from_millis(60);
const PROBE: &str = "room:probe";
/// Between two changes of each node, where there are others beside.
const CHANGE_EVERY: Duration = Duration::from_millis(2);

/// Prints both.
pub(crate) fn run() {
    println!(
        "\na change is in the lists of the other nodes, of which each lists {ENTRIES} entries; {}",
        load_average()
    );
    crate::mesh::runtime().block_on(async {
        let cluster = Cluster::start(NODES, None).await;
        let _owners = cluster.fill(ENTRIES).await;
        print("nothing else changes", &sample(&cluster).await);
        let mut others = JoinSet::new();
        for site in &cluster.sites {
            others.spawn(change_on(site));
        }
        print(
            "500 other changes a second on each node",
            &sample(&cluster).await,
        );
        others.shutdown().await;
    });
}

fn print(what: &str, times: &Values) {
    let (half, most) = (times.median(), times.percentile(99));
    println!(
        "  {what}, ms: median {half:.1}  {}",
        Bar::AtMost(60.0).judge(half)
    );
    println!(
        "    99th percentile {most:.1}  {}; the slowest {:.1}",
        Bar::AtMost(150.0).judge(most),
        times.max()
    );
}

/// Entries come and go on each node in turn; both others tell when they list that.
async fn sample(cluster: &Cluster) -> Values {
    let (mut times, mut dice) = (Values::default(), Dice::new(7));
    for n in 0..CHANGES {
        let here = &cluster.sites[n % NODES];
        let others = [
            &cluster.sites[(n + 1) % NODES],
            &cluster.sites[(n + 2) % NODES],
        ];
        let mut watches = others.map(|site| site.tracker.subscribe(PROBE).1);
        let (owner, key) = (Owner::new(), format!("probe-{n}"));
        tokio::time::sleep(dice.duration_below(PAUSE)).await;
        let began = Instant::now();
        let tracked = here
            .tracker
            .track(&owner, PROBE, &key, &Meta::online())
            .await;
        let tracked = tracked.expect("the tracker runs");
        seen(&mut watches, began, &mut times).await;
        assert!(others.iter().all(|site| site.tracker.contains(PROBE, &key)));
        tokio::time::sleep(dice.duration_below(PAUSE)).await;
        let began = Instant::now();
        tracked.untrack().await.expect("the tracker runs");
        seen(&mut watches, began, &mut times).await;
        assert!(
            others
                .iter()
                .all(|site| !site.tracker.contains(PROBE, &key))
        );
    }
    times
}

async fn seen([one, other]: &mut [TopicDiffs; 2], began: Instant, times: &mut Values) {
    let see = async |diffs: &mut TopicDiffs| {
        let event = diffs.next().await;
        assert!(
            matches!(event, Some(TopicEvent::Diff(_))),
            "one change, one diff"
        );
        began.elapsed().as_secs_f64() * 1e3
    };
    let (one, other) = tokio::join!(see(one), see(other));
    times.push(one);
    times.push(other);
}

/// One entry that changes for ever.
fn change_on(site: &Site) -> impl Future<Output = ()> + Send + use<> {
    let tracker = site.tracker.clone();
    async move {
        let owner = Owner::new();
        let tracked = tracker
            .track(&owner, "room:busy", "busy", &Meta::online())
            .await;
        let tracked = tracked.expect("the tracker runs");
        let mut due = tokio::time::interval(CHANGE_EVERY);
        loop {
            due.tick().await;
            let replaced = tracked.replace(&Meta::online()).await;
            replaced.expect("it is tracked");
        }
    }
}
