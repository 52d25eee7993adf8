//! Nodes with a tracker each, and the filling of their lists.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use matryoshka_pubsub::registry::Owner;
use matryoshka_pubsub_quic::{QuicAdapter, Secret};
use matryoshka_relay::Relay;
use matryoshka_tracker::{Tracker, TrackerConfig};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::TOPIC_ENTRIES;
use crate::mesh::nodes::Node;

/// Tasks that track at the same time, each one entry after the other.
pub(super) const CALLERS: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What a chat would track.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) online_at: u64,
    pub(super) status: String,
}

impl Meta {
    pub(super) fn online() -> Self {
        Self {
            online_at: 1_700_000_000,
            status: "online".to_owned(),
        }
    }
}

/// A node with a tracker.
pub(super) struct Site {
    pub(super) node: Node,
    pub(super) tracker: Tracker,
}

/// Some of them, with one secret.
pub(super) struct Cluster {
    secret: Secret,
    seed: Option<SocketAddr>,
    pub(super) sites: Vec<Site>,
}

impl Cluster {
    /// So many, with a link between each two; each reached by way of the relay, if there is one.
    pub(super) async fn start(count: usize, mut relay: Option<&mut Relay>) -> Self {
        let mut cluster = Self {
            secret: Secret::generate(),
            seed: None,
            sites: Vec::new(),
        };
        for n in 0..count {
            let name = format!("node-{n}");
            let site = cluster.add(&name, relay.as_deref_mut()).await;
            cluster.sites.push(site);
        }
        for site in &cluster.sites {
            site.node.has_links(count - 1).await;
        }
        cluster
    }

    /// One more node, which looks for the first one and may have no link yet.
    pub(super) async fn add(&mut self, name: &str, relay: Option<&mut Relay>) -> Site {
        let mut builder = QuicAdapter::builder(name).secret(self.secret.clone());
        if let Some(seed) = self.seed {
            builder = builder.join(seed);
        }
        let (node, address) = Node::start(builder, relay).await;
        self.seed.get_or_insert(address);
        let tracker = Tracker::new(&node.pubsub, TrackerConfig::default());
        let tracker = tracker.expect("the first of its name");
        Site { node, tracker }
    }

    /// Tracks so many entries, as many on each node, and waits until each node lists all. They stay as long as the owners.
    pub(super) async fn fill(&self, entries: usize) -> Vec<Owner> {
        let mut owners = Vec::new();
        for (n, site) in self.sites.iter().enumerate() {
            let (from, to) = share(n, self.sites.len(), entries);
            owners.extend(track(site, from, to).await.owners);
        }
        for site in &self.sites {
            site.lists(entries).await;
        }
        owners
    }
}

impl Site {
    /// How many entries this node lists in the topics that `track` fills.
    pub(super) fn listed(&self, most: usize) -> usize {
        let topics = most.div_ceil(TOPIC_ENTRIES);
        (0..topics).map(|n| self.tracker.count(&topic(n))).sum()
    }

    /// Waits until it lists so many.
    pub(super) async fn lists(&self, entries: usize) {
        let began = Instant::now();
        while self.listed(entries) != entries {
            assert!(
                began.elapsed() < LIMIT,
                "{} of {entries} entries are listed",
                self.listed(entries)
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Which of so many entries belong to one of some nodes.
pub(super) fn share(of: usize, nodes: usize, entries: usize) -> (usize, usize) {
    (entries * of / nodes, entries * (of + 1) / nodes)
}

/// The topic of that number.
pub(super) fn topic(number: usize) -> String {
    format!("room:{number:05}")
}

/// The key of the entry of that number.
pub(super) fn key(entry: usize) -> String {
    format!("user-{entry:06}")
}

/// What tracking some entries took.
pub(super) struct Tracking {
    pub(super) wall: Duration,
    /// Of each call, in seconds.
    pub(super) calls: Vec<f64>,
    pub(super) owners: Vec<Owner>,
}

/// Tracks the entries of these numbers, each for an owner of its own.
pub(super) async fn track(site: &Site, from: usize, to: usize) -> Tracking {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let tracker = site.tracker.clone();
        let (first, last) = share(caller, CALLERS, to - from);
        callers.spawn(async move {
            let (mut calls, mut owners) = (Vec::new(), Vec::new());
            for entry in from + first..from + last {
                let (owner, meta) = (Owner::new(), Meta::online());
                let (topic, key) = (topic(entry / TOPIC_ENTRIES), key(entry));
                let called = Instant::now();
                let tracked = tracker.track(&owner, &topic, &key, &meta).await;
                calls.push(called.elapsed().as_secs_f64());
                tracked.expect("the tracker runs").leave_to_owner();
                owners.push(owner);
            }
            (calls, owners)
        });
    }
    let (calls, owners): (Vec<_>, Vec<_>) = callers.join_all().await.into_iter().unzip();
    Tracking {
        wall: began.elapsed(),
        calls: calls.concat(),
        owners: owners.into_iter().flatten().collect(),
    }
}
