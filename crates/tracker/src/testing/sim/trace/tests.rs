//! The hash differs wherever two runs do.

use std::sync::Arc;

use super::*;
use crate::entry::Verdict;
use crate::life::Life;
use crate::reference::{PresenceRef, Writer};
use bytes::Bytes;
use matryoshka_pubsub::NodeName;

const NOW: Duration = Duration::from_millis(5);

fn message(now: Duration, way: (Index, Index, u64), bytes: &[u8]) -> u64 {
    let mut trace = Trace::default();
    let (from, to, link) = way;
    trace.message(now, (from, to, LinkId(link)), bytes);
    trace.value()
}

fn entry(topic: &str, writer: &str, seq: u64) -> Arc<Entry> {
    Arc::new(Entry {
        topic: Arc::from(topic),
        key: Arc::from("key"),
        meta: Bytes::new(),
        reference: PresenceRef::new(Writer::new(writer, 0, Life::first_of(1)), seq),
        previous: None,
        node: NodeName::new(writer).expect("a good name"),
        owner: 1,
        verdict: Verdict::default(),
    })
}

fn diff(now: Duration, node: Index, joins: &[Arc<Entry>], leaves: &[Arc<Entry>]) -> u64 {
    let mut trace = Trace::default();
    let diff = Diff {
        topic: Arc::from("topic"),
        joins: joins.to_vec(),
        leaves: leaves.to_vec(),
    };
    trace.diff(now, node, &diff);
    trace.value()
}

fn assert_all_differ(traces: &[u64]) {
    for (place, trace) in traces.iter().enumerate() {
        assert!(!traces[..place].contains(trace), "{place} of {traces:x?}");
    }
}

#[test]
fn every_part_of_a_message_counts() {
    assert_all_differ(&[
        message(NOW, (0, 1, 7), b"bytes"),
        message(2 * NOW, (0, 1, 7), b"bytes"),
        message(NOW, (2, 1, 7), b"bytes"),
        message(NOW, (0, 2, 7), b"bytes"),
        message(NOW, (0, 1, 8), b"bytes"),
        message(NOW, (0, 1, 7), b"byte"),
    ]);
}

#[test]
fn every_part_of_a_change_counts() {
    let base = entry("topic", "n1", 1);
    assert_all_differ(&[
        diff(NOW, 0, std::slice::from_ref(&base), &[]),
        diff(NOW, 0, &[], std::slice::from_ref(&base)),
        diff(2 * NOW, 0, std::slice::from_ref(&base), &[]),
        diff(NOW, 1, std::slice::from_ref(&base), &[]),
        diff(NOW, 0, &[entry("other", "n1", 1)], &[]),
        diff(NOW, 0, &[entry("topic", "n2", 1)], &[]),
        diff(NOW, 0, &[entry("topic", "n1", 2)], &[]),
    ]);
}
