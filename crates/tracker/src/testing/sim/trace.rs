//! The hash of a history: of every message that is sent and every diff, by whom, to whom and when.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::LinkId;

use super::network::Index;
use crate::diff::Diff;
use crate::entry::Entry;
use crate::reference::fnv1a;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace(u64);

impl Trace {
    /// A node sends a message on one of its links.
    pub(super) fn message(
        &mut self,
        now: Duration,
        (from, to, link): (Index, Index, LinkId),
        bytes: &[u8],
    ) {
        self.number(MESSAGE);
        self.time(now);
        self.number(from as u64);
        self.number(to as u64);
        self.number(link.0);
        self.text(bytes);
    }

    /// A node's list changes.
    pub(super) fn diff(&mut self, now: Duration, node: Index, diff: &Diff) {
        for (kind, entries) in [(JOIN, &diff.joins), (LEAVE, &diff.leaves)] {
            for entry in entries {
                self.change(kind, (now, node), entry);
            }
        }
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }

    fn change(&mut self, kind: u64, (now, node): (Duration, Index), entry: &Entry) {
        self.number(kind);
        self.time(now);
        self.number(node as u64);
        self.text(entry.topic.as_bytes());
        self.text(entry.reference.to_string().as_bytes());
    }

    fn time(&mut self, now: Duration) {
        self.0 = fnv1a(self.0, &now.as_nanos().to_be_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0 = fnv1a(self.0, &number.to_be_bytes());
    }

    /// With its length, so that no two texts run into each other.
    fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0 = fnv1a(self.0, bytes);
    }
}

const MESSAGE: u64 = 1;
const JOIN: u64 = 2;
const LEAVE: u64 = 3;

#[cfg(test)]
mod tests;
