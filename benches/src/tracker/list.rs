//! Reading the list of a topic of 1,000 entries on a node that lists 100,000: one topic again and again, and all topics in turn, so that
//! the processor's caches have long forgotten each.
//!
//! Target: at most 100 us.

use std::time::Instant;

use matryoshka_tracker::Tracker;

use super::cluster::{Cluster, Meta, topic};
use super::{ENTRIES, NODES, TOPIC_ENTRIES};
use crate::mesh::meter::{Bar, Values, load_average};

const READS: usize = 2_000;

/// Prints the times.
pub(crate) fn run() {
    println!(
        "\nreading a topic of {TOPIC_ENTRIES} entries on a node that lists {ENTRIES}, us; {}",
        load_average()
    );
    crate::mesh::runtime().block_on(async {
        let cluster = Cluster::start(NODES, None).await;
        let _owners = cluster.fill(ENTRIES).await;
        let tracker = &cluster.sites[0].tracker;
        for (whose, topics) in [("one topic", 1), ("all in turn", ENTRIES / TOPIC_ENTRIES)] {
            print(
                &format!("`entries`, {whose}"),
                &times(topics, |topic| as_they_are(tracker, topic)),
            );
            print(
                &format!("`list`, each value decoded, {whose}"),
                &times(topics, |topic| tracker.list::<Meta>(topic).len()),
            );
        }
    });
}

fn print(what: &str, times: &Values) {
    let verdict = Bar::AtMost(100.0).judge(times.median());
    println!(
        "  {what}: median {:.1}, 99th percentile {:.1}  {verdict}",
        times.median(),
        times.percentile(99)
    );
}

/// Looks at each key, so that each entry is really read.
fn as_they_are(tracker: &Tracker, topic: &str) -> usize {
    let entries = tracker.entries(topic);
    entries
        .iter()
        .filter(|entry| entry.key.starts_with("user-"))
        .count()
}

fn times(topics: usize, read: impl Fn(&str) -> usize) -> Values {
    let time = |n: usize| {
        let topic = topic(n % topics);
        let began = Instant::now();
        let entries = read(&topic);
        let took = began.elapsed().as_secs_f64() * 1e6;
        assert_eq!(entries, TOPIC_ENTRIES);
        took
    };
    (0..READS).map(time).collect()
}
