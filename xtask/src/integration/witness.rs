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

/// A node's counters at one moment. Of those with labels, the sum over all labels.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn of(node: &Node) -> Outcome<Self> {
        let asking = format!("asking {} for its metrics", node.name);
        let page = http::get(node.http, "/metrics").explain(&asking)?;
        let page = String::from_utf8(page).explain(&asking)?;
        Ok(Metrics::parse(&page))
    }

    /// A counter by its name, without what all names have in common.
    pub(crate) fn counter(&self, name: &str) -> Outcome<u64> {
        let full = format!("{PREFIX}{name}_total");
        match self.0.get(&full) {
            Some(value) => Ok(*value as u64),
            None => Err(Failure::new(format!("the node has no counter {full}"))),
        }
    }

    fn parse(page: &str) -> Self {
        let mut values = BTreeMap::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let name = name.split('{').next().unwrap_or(name);
            if let Ok(value) = value.parse::<f64>() {
                *values.entry(name.to_owned()).or_default() += value;
            }
        }
        Metrics(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counters_with_and_without_labels() {
        let page = "# HELP matryoshka_quic_lost Lost.\n# TYPE matryoshka_quic_lost counter\n\
                    matryoshka_quic_lost_total 3\n\
                    matryoshka_peer_sent_total{peer=\"n 2\"} 4\n\
                    matryoshka_peer_sent_total{peer=\"n3\"} 5\n# EOF\n";
        let metrics = Metrics::parse(page);
        assert_eq!(metrics.counter("quic_lost").unwrap(), 3);
        assert_eq!(metrics.counter("peer_sent").unwrap(), 9);
        assert!(metrics.counter("nothing").is_err());
    }
}
