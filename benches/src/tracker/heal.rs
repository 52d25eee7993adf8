//! Pairs of nodes with 10,000 entries each, cut off from each other for 30 s. Meanwhile a quarter of the entries ends, a quarter changes
//! and a quarter is new; or, in every other pair, one entry in a hundred.
//!
//! Targets: both lists whole within 1 s of the link, the worst of all; what was not touched has the reference that it had.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::MemberEvent;
use matryoshka_pubsub::registry::Owner;
use matryoshka_relay::{Faults, Relay};
use matryoshka_tracker::{PresenceRef, Tracker};

use super::cluster::{Cluster, Meta, Site};
use crate::mesh::meter::{Bar, Values, load_average};

const PAIRS: usize = 6;
const ENTRIES_A_SIDE: usize = 10_000;
const CUT_FOR: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(1);
const TOPIC: &str = "room:lobby";

/// Prints the times.
pub(crate) fn run() {
    println!(
        "\n{PAIRS} pairs of nodes with {ENTRIES_A_SIDE} entries a side, cut for {} s; {}",
        CUT_FOR.as_secs(),
        load_average()
    );
    let (mut much, mut little) = (Values::default(), Values::default());
    crate::mesh::runtime().block_on(async {
        let mut pairs = Vec::new();
        for n in 0..PAIRS {
            let one_in = if n % 2 == 0 { 4 } else { 100 };
            pairs.push(Pair::start(one_in).await);
        }
        let cut = Instant::now();
        for pair in &mut pairs {
            pair.cut().await;
        }
        for pair in &mut pairs {
            pair.change().await;
        }
        tokio::time::sleep(CUT_FOR.saturating_sub(cut.elapsed())).await;
        for pair in &mut pairs {
            let took = pair.heal().await;
            let times = if pair.one_in == 4 {
                &mut much
            } else {
                &mut little
            };
            times.push(took);
        }
    });
    for (what, times) in [("three in four", much), ("three in a hundred", little)] {
        println!(
            "  seconds from the link to both lists whole, {what} touched: {times}  {}",
            Bar::AtMost(1.0).judge(times.max())
        );
    }
    println!("  all that was not touched kept its reference, on both sides of every pair");
}

struct Pair {
    relay: Relay,
    cluster: Cluster,
    /// Of each side, by the number of its entry.
    owners: [BTreeMap<usize, Owner>; 2],
    /// One in so many entries ends, as many change and as many are new.
    one_in: usize,
    /// What neither side touches while they are apart.
    untouched: BTreeMap<String, PresenceRef>,
}

impl Pair {
    async fn start(one_in: usize) -> Self {
        let mut relay = Relay::start(0).expect("a thread can be started");
        let cluster = Cluster::start(2, Some(&mut relay)).await;
        let mut owners = [BTreeMap::new(), BTreeMap::new()];
        for (side, owners) in owners.iter_mut().enumerate() {
            for number in 0..ENTRIES_A_SIDE {
                let owner = Owner::new();
                enter(&cluster.sites[side], &owner, side, number).await;
                owners.insert(number, owner);
            }
        }
        let mut pair = Self {
            relay,
            cluster,
            owners,
            one_in,
            untouched: BTreeMap::new(),
        };
        pair.list(2 * ENTRIES_A_SIDE).await;
        let mut all = references(&pair.cluster.sites[0].tracker);
        let untouched = 2 * ENTRIES_A_SIDE / one_in..ENTRIES_A_SIDE;
        for number in untouched {
            for key in [key(0, number), key(1, number)] {
                pair.untouched.extend(all.remove_entry(&key));
            }
        }
        pair
    }

    async fn cut(&mut self) {
        let down = self.link_events(|event| matches!(event, MemberEvent::Down { .. }));
        self.relay.set_everywhere(Faults::CUT);
        for down in down {
            down.await;
        }
        self.list(ENTRIES_A_SIDE).await;
    }

    /// On both sides.
    async fn change(&mut self) {
        let touched = ENTRIES_A_SIDE / self.one_in;
        for (side, owners) in self.owners.iter_mut().enumerate() {
            let site = &self.cluster.sites[side];
            for number in 0..touched {
                owners.remove(&number);
                let owner = &owners[&(touched + number)];
                let key = key(side, touched + number);
                let (tracker, meta) = (&site.tracker, Meta::online());
                let replaced = tracker.replace(owner.id(), TOPIC, &key, &meta).await;
                replaced.expect("it is tracked");
                let owner = Owner::new();
                enter(site, &owner, side, ENTRIES_A_SIDE + number).await;
                owners.insert(ENTRIES_A_SIDE + number, owner);
            }
            while site.tracker.count(TOPIC) != ENTRIES_A_SIDE {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Seconds from the link of the side that has it first to the whole list of the side that has it last.
    async fn heal(&mut self) -> f64 {
        let up = self.link_events(|event| matches!(event, MemberEvent::Up(_)));
        self.relay.set_everywhere(Faults::NONE);
        let [one, other] = up;
        let up = tokio::join!(one, other);
        let up = up.0.min(up.1);
        self.list(2 * ENTRIES_A_SIDE).await;
        let took = up.elapsed().as_secs_f64();
        let [one, other] = self.sites().map(|site| references(&site.tracker));
        assert_eq!(one, other, "both list the same");
        for (key, reference) in &self.untouched {
            assert_eq!(one.get(key), Some(reference), "{key} was not touched");
        }
        took
    }

    /// Waits until both list so many.
    async fn list(&self, entries: usize) {
        let began = Instant::now();
        for site in self.sites() {
            while site.tracker.count(TOPIC) != entries {
                assert!(began.elapsed() < LIMIT, "it takes too long");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    fn sites(&self) -> [&Site; 2] {
        [&self.cluster.sites[0], &self.cluster.sites[1]]
    }

    /// Watches from now on; gives the wait for such an event at each side, and when it was.
    fn link_events(
        &self,
        is_it: fn(&MemberEvent) -> bool,
    ) -> [impl Future<Output = Instant> + use<>; 2] {
        self.sites().map(|site| {
            let mut members = site.node.pubsub.members();
            async move {
                let event = async { while !is_it(&members.next().await) {} };
                let event = tokio::time::timeout(LIMIT, event).await;
                event.expect("nodes notice and meet again");
                Instant::now()
            }
        })
    }
}

fn key(side: usize, number: usize) -> String {
    format!("user-{side}-{number:05}")
}

async fn enter(site: &Site, owner: &Owner, side: usize, number: usize) {
    let (key, meta) = (key(side, number), Meta::online());
    let tracked = site.tracker.track(owner, TOPIC, &key, &meta).await;
    tracked.expect("the tracker runs").leave_to_owner();
}

fn references(tracker: &Tracker) -> BTreeMap<String, PresenceRef> {
    let entries = tracker.entries(TOPIC);
    let of = |entry: &std::sync::Arc<matryoshka_tracker::Entry>| {
        (entry.key.to_string(), entry.reference)
    };
    entries.iter().map(of).collect()
}
