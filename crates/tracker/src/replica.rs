//! What this node knows of another node's entries: a copy of that node's log at one sequence number.
//!
//! A copy moves only forward and only as a whole: by operations that follow without a gap, or by a complete state of a
//! higher number. Everything else leaves it as it is.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use matryoshka_pubsub::NodeName;

use crate::entry::Entry;
use crate::life::Life;
use crate::message::{Op, Ops, Part, Position, Stored, Value};
use crate::reference::{PresenceRef, Writer};
use crate::visible::SharedNames;

/// A copy of one life of another node's entries.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    node: NodeName,
    shard: u32,
    life: Life,
    writer: Writer,
    seq: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
}

/// An entry that came into a copy or went out of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Joined(Arc<Entry>),
    Left(Arc<Entry>),
}

/// What operations did to a copy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Applied {
    /// Nothing: the copy is at least as far.
    Old,
    /// Nothing: operations before them are missing.
    Gap,
    /// It moved on.
    Changed(Vec<Change>),
}

impl Replica {
    pub(crate) fn new(node: NodeName, shard: u32, life: Life) -> Self {
        Self {
            writer: Writer::new(node.as_str(), shard, life),
            node,
            shard,
            life,
            seq: 0,
            entries: BTreeMap::new(),
        }
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn at(&self) -> Position {
        Position {
            life: self.life,
            seq: self.seq,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The node took a higher number and went on: the copy is of the new life now, and as far as it was.
    pub(crate) fn renumber(&mut self, life: Life) {
        self.life = life;
        self.writer = Writer::new(self.node.as_str(), self.shard, life);
    }

    /// Applies those operations that this copy lacks, if none before them is missing.
    pub(crate) fn apply_ops(&mut self, ops: &Ops, names: &mut SharedNames<'_>) -> Applied {
        if ops.life != self.life || ops.to() <= self.seq {
            return Applied::Old;
        }
        if ops.from > self.seq {
            return Applied::Gap;
        }
        let known = usize::try_from(self.seq - ops.from).expect("fewer than there are operations");
        let mut changes = Vec::new();
        for op in &ops.ops[known..] {
            self.seq += 1;
            self.apply(op, names, &mut changes);
        }
        Applied::Changed(changes)
    }

    fn apply(&mut self, op: &Op, names: &mut SharedNames<'_>, changes: &mut Vec<Change>) {
        match (op.kind, &op.value, op.gone) {
            (Op::PUT, Some(value), gone) => {
                changes.extend(gone.and_then(|gone| self.take(gone)));
                let entry = self.entry(self.seq, value, names);
                self.entries.insert(self.seq, Arc::clone(&entry));
                changes.push(Change::Joined(entry));
            }
            (Op::DELETE, _, Some(gone)) => changes.extend(self.take(gone)),
            // A later version's kind of operation: it has its number, and means nothing here.
            _ => {}
        }
    }

    fn take(&mut self, put_seq: u64) -> Option<Change> {
        self.entries.remove(&put_seq).map(Change::Left)
    }

    /// Replaces everything by a complete state, if that is newer. Nothing else changes the copy's past: an entry that
    /// is in both stays the very same.
    pub(crate) fn apply_state(&mut self, state: State) -> Option<Vec<Change>> {
        if state.at.life != self.life || state.at.seq <= self.seq {
            return None;
        }
        let State { at, mut entries } = state;
        // A number up to the own one that is not here was deleted here: whatever the state says, it stays so.
        let fresh = entries.split_off(&(self.seq + 1));
        let mut changes = Vec::new();
        self.entries.retain(|put_seq, entry| {
            let stays = entries.contains_key(put_seq);
            if !stays {
                changes.push(Change::Left(Arc::clone(entry)));
            }
            stays
        });
        changes.extend(fresh.values().cloned().map(Change::Joined));
        self.entries.extend(fresh);
        self.seq = at.seq;
        Some(changes)
    }

    /// An entry as it was sent by this copy's node.
    pub(crate) fn entry(
        &self,
        put_seq: u64,
        value: &Value,
        names: &mut SharedNames<'_>,
    ) -> Arc<Entry> {
        let previous = |put_seq| PresenceRef::new(self.writer_in(value.previous_born), put_seq);
        Arc::new(Entry {
            topic: names.share(&value.topic),
            key: Arc::clone(&value.key),
            meta: value.meta.clone(),
            reference: PresenceRef::new(self.writer_in(value.born), put_seq),
            previous: value.previous.map(previous),
            node: self.node.clone(),
            owner: value.owner,
        })
    }

    /// Always of this copy's node: nobody can make references of others.
    fn writer_in(&self, born: Option<Life>) -> Writer {
        born.map_or(self.writer, |life| {
            Writer::new(self.node.as_str(), self.shard, life)
        })
    }
}

/// A complete state of a node's entries.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) at: Position,
    pub(crate) entries: BTreeMap<u64, Arc<Entry>>,
}

/// A state of which not all parts are here yet. Nobody sees it before the last one.
#[derive(Debug)]
pub(crate) struct Assembly {
    state: State,
    next: u32,
    parts: u32,
}

/// What a part did to an assembly.
#[derive(Debug)]
pub(crate) enum Assembled {
    /// More parts are to come.
    Waiting,
    /// That was the last one.
    Complete(State),
    /// A part is missing, or it is of another state: all is dropped.
    Broken,
}

impl Assembly {
    /// An assembly that waits for the first part of that state.
    pub(crate) fn new(first: &Part) -> Self {
        Self {
            state: State {
                at: first.at,
                entries: BTreeMap::new(),
            },
            next: 0,
            parts: first.parts,
        }
    }

    /// Adds the next part.
    pub(crate) fn add(
        mut self,
        part: &Part,
        replica: &Replica,
        names: &mut SharedNames<'_>,
    ) -> (Assembled, Option<Self>) {
        if (part.at, part.parts, part.part) != (self.state.at, self.parts, self.next) {
            return (Assembled::Broken, None);
        }
        for Stored { put_seq, value } in &part.entries {
            let entry = replica.entry(*put_seq, value, names);
            self.state.entries.insert(*put_seq, entry);
        }
        self.next += 1;
        if self.next == self.parts {
            (Assembled::Complete(self.state), None)
        } else {
            (Assembled::Waiting, Some(self))
        }
    }
}

#[cfg(test)]
mod tests;
