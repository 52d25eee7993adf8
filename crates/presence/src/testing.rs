//! Random histories of a node's lists and of clients that follow them ([`History`]), and lists for the tests of this crate.

use std::str::FromStr;
use std::sync::Arc;

#[cfg(test)]
use matryoshka_tracker::Entries;
use matryoshka_tracker::pubsub::NodeName;
use matryoshka_tracker::{Entry, PresenceRef, Verdict};

pub use crate::teller::histories::{CORPUS, History, NoStep, Script, Step};

/// The topic of all lists here.
pub(crate) const TOPIC: &str = "t";

/// An entry with the meta `{"n":number}`, by an owner of its own.
pub(crate) fn entry(key: &str, number: u64) -> Arc<Entry> {
    entry_of(key, number, number, None)
}

/// An entry that an owner has in place of another, or first.
pub(crate) fn entry_of(
    key: &str,
    number: u64,
    owner: u64,
    previous: Option<PresenceRef>,
) -> Arc<Entry> {
    Arc::new(Entry {
        topic: TOPIC.into(),
        key: key.into(),
        meta: format!("{{\"n\":{number}}}").into(),
        reference: PresenceRef::from_str(&format!("{number:016}")).expect("16 digits"),
        previous,
        node: NodeName::new("n1").expect("a good name"),
        owner,
        verdict: Verdict::default(),
    })
}

/// A list of such entries.
#[cfg(test)]
pub(crate) fn list(entries: &[(&str, u64)]) -> Entries {
    entries
        .iter()
        .map(|(key, number)| entry(key, *number))
        .collect()
}
