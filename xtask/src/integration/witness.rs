//! What a node tells of itself: its log, its counters.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::failure::{Explain, Failure, Outcome};
use crate::http;
use crate::node::Node;

/// What stands before every name in `/metrics`.
const PREFIX: &str = "matryoshka_";
/// How a log line names the part that it comes from.
const MESH: &str = "matryoshka::mesh: ";

/// How often a log says that the link to `peer` is over.
pub(crate) fn downs(log: &Path, peer: &str) -> Outcome<usize> {
    let text = fs::read_to_string(log).explain(format!("reading {}", log.display()))?;
    let words = format!("{MESH}{peer} is down");
    Ok(text.lines().filter(|line| line.contains(&words)).count())
}

/// A node's metrics at one moment, by name and labels as they stand on the page.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn of(node: &Node) -> Outcome<Self> {
        let asking = format!("asking {} for its metrics", node.name);
        let page = http::get(node.http, "/metrics").explain(&asking)?;
        let page = String::from_utf8(page).explain(&asking)?;
        Ok(Metrics::parse(&page))
    }

    /// A counter, by its name without what all names have in common.
    pub(crate) fn counter(&self, name: &str) -> Outcome<u64> {
        self.read(&format!("{name}_total"))
    }

    /// The same for one of those that there are for each other node. 0 if that node was never heard of.
    pub(crate) fn peer_counter(&self, name: &str, peer: &str) -> u64 {
        self.read(&format!("{name}_total{{peer=\"{peer}\"}}"))
            .unwrap_or_default()
    }

    /// A gauge that there is for each other node with a link.
    pub(crate) fn peer_gauge(&self, name: &str, peer: &str) -> Outcome<u64> {
        self.read(&format!("{name}{{peer=\"{peer}\"}}"))
    }

    fn read(&self, name: &str) -> Outcome<u64> {
        let full = format!("{PREFIX}{name}");
        match self.0.get(&full) {
            Some(value) => Ok(*value as u64),
            None => Err(Failure::new(format!("the node has no metric {full}"))),
        }
    }

    fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Metrics(values.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_counted_in_all_and_for_each_peer() {
        let page = "# HELP matryoshka_quic_lost Lost.\n# TYPE matryoshka_quic_lost counter\n\
                    matryoshka_quic_lost_total 3\n\
                    matryoshka_quic_peer_lost_total{peer=\"n2\"} 1\n\
                    matryoshka_quic_peer_lost_total{peer=\"n3\"} 2\n\
                    matryoshka_quic_peer_protocol{peer=\"n3\"} 2.0\n# EOF\n";
        let metrics = Metrics::parse(page);
        assert_eq!(metrics.counter("quic_lost").unwrap(), 3);
        assert_eq!(metrics.peer_counter("quic_peer_lost", "n3"), 2);
        assert_eq!(metrics.peer_counter("quic_peer_lost", "n4"), 0);
        assert_eq!(metrics.peer_gauge("quic_peer_protocol", "n3").unwrap(), 2);
        assert!(metrics.counter("nothing").is_err());
        assert!(metrics.peer_gauge("quic_peer_protocol", "n2").is_err());
    }
}
