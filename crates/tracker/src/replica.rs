//! What this node knows of another node's entries: a copy of that node's log at one sequence number.
//!
//! A copy moves only forward and only as a whole: by operations that follow without a gap, or by a complete state of a
//! higher number. Everything else leaves it as it is.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::NodeName;

use crate::entry::{Entry, Verdict};
use crate::gone::Gone;
use crate::life::Life;
use crate::message::{Op, Ops, Part, PartTaken, Position, Value};
use crate::reference::{PresenceRef, Writer};
use crate::slot::Slot;
use crate::visible::SharedNames;

/// A copy of one life of another node's entries.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    node: NodeName,
    shard: u32,
    life: Life,
    writer: Writer,
    seq: u64,
    entries: BTreeMap<u64, Kept>,
    /// Held entries that another entry took the place of here: they stay in `entries`, which is what the owner has, and
    /// are not shown any more.
    gone: BTreeSet<u64>,
    /// Lives that the node had before it took this number, as far as it told.
    formerly: Vec<Life>,
}

/// An entry of a copy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) entry: Arc<Entry>,
    /// Its connection ended, and its user may come back.
    pub(crate) held: bool,
}

/// An entry that came into a copy, went out of it, or is only held from now on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Joined(Arc<Entry>),
    Left(Arc<Entry>),
    /// It is only held from now on, or came as a held one.
    Held(Arc<Entry>),
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
            gone: BTreeSet::new(),
            formerly: Vec::new(),
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

    /// What is tracked.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let live = self.entries.values().filter(|kept| !kept.held);
        live.map(|kept| &kept.entry)
    }

    /// The entry of that number, gone or not.
    pub(crate) fn entry_at(&self, put_seq: u64) -> Option<&Arc<Entry>> {
        self.entries.get(&put_seq).map(|kept| &kept.entry)
    }

    /// What is held, and not gone.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let held = self.entries.iter();
        held.filter(|(put_seq, kept)| kept.held && !self.gone.contains(put_seq))
            .map(|(_, kept)| &kept.entry)
    }

    /// What was held and is not shown any more.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let gone = self.gone.iter();
        gone.filter_map(|put_seq| self.entry_at(*put_seq))
    }

    /// Whether the owner holds the entry of that number, and it is gone here.
    fn is_gone(&self, put_seq: u64) -> bool {
        self.gone.contains(&put_seq)
    }

    /// Checks that only what is held is gone.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn assert_consistent(&self) {
        let held = |put_seq: &u64| self.entries.get(put_seq).is_some_and(|kept| kept.held);
        assert!(self.gone.iter().all(held), "what is gone is held");
    }

    /// A held entry is not shown any more, for good.
    pub(crate) fn mark_gone(&mut self, put_seq: u64) {
        if self.entries.contains_key(&put_seq) {
            self.gone.insert(put_seq);
        }
    }

    /// What is tracked is shown, in place of a set of which that is gone. What is tracked is not, whatever was thought of it.
    pub(crate) fn shown_after(&mut self, gone: &Gone) {
        let held = self.entries.iter().filter(|(_, kept)| kept.held);
        let is_gone =
            |put_seq: &u64, kept: &Kept| self.gone.contains(put_seq) || gone.has(&kept.entry);
        let gone = held.filter(|(put_seq, kept)| is_gone(put_seq, kept));
        self.gone = gone.map(|(put_seq, _)| *put_seq).collect();
    }

    /// All entries that are not gone, and which are.
    pub(crate) fn into_parts(self) -> (BTreeMap<u64, Arc<Entry>>, Gone) {
        let gone = Gone::of(self.gone());
        let entries = self.entries.into_iter();
        let entries = entries.filter(|(put_seq, _)| !self.gone.contains(put_seq));
        let entries = entries.map(|(put_seq, kept)| (put_seq, kept.entry));
        (entries.collect(), gone)
    }

    /// The lives that the node had before this one, in the same tracker.
    pub(crate) fn formerly(&self) -> &[Life] {
        &self.formerly
    }

    /// Whether the node wrote as that one before it took this number.
    pub(crate) fn wrote_as(&self, writer: Writer) -> bool {
        let of = |life: &Life| Writer::new(self.node.as_str(), self.shard, *life);
        self.formerly.iter().any(|life| of(life) == writer)
    }

    pub(crate) fn set_formerly(&mut self, formerly: &[Life]) {
        self.formerly = formerly.to_vec();
    }

    /// The node took a higher number and went on: the copy is of the new life now, and as far as it was.
    pub(crate) fn renumber(&mut self, life: Life, formerly: &[Life]) {
        self.set_formerly(formerly);
        self.life = life;
        self.writer = Writer::new(self.node.as_str(), self.shard, life);
    }

    /// Applies those operations that this copy lacks, if none before them is missing.
    pub(crate) fn apply_ops(&mut self, ops: Ops, names: &mut SharedNames<'_>) -> Applied {
        if ops.life != self.life || ops.to() <= self.seq {
            return Applied::Old;
        }
        if ops.from > self.seq {
            return Applied::Gap;
        }
        let known = usize::try_from(self.seq - ops.from).expect("fewer than there are operations");
        let mut changes = Vec::new();
        for op in ops.ops.into_iter().skip(known) {
            self.seq += 1;
            self.apply(op, names, &mut changes);
        }
        Applied::Changed(changes)
    }

    fn apply(&mut self, op: Op, names: &mut SharedNames<'_>, changes: &mut Vec<Change>) {
        match (op.kind, op.value, op.gone) {
            (Op::PUT, Some(value), gone) => {
                let was_gone = gone.is_some_and(|gone| self.is_gone(gone));
                changes.extend(gone.and_then(|gone| self.take(gone)));
                let entry = self.entry(self.seq, value, names);
                let kept = Kept {
                    entry: Arc::clone(&entry),
                    // As the next operation says. What is gone is not shown until then.
                    held: was_gone,
                };
                self.entries.insert(self.seq, kept);
                if was_gone {
                    self.gone.insert(self.seq);
                } else {
                    changes.push(Change::Joined(entry));
                }
            }
            (Op::DELETE, _, Some(gone)) => changes.extend(self.take(gone)),
            (Op::HOLD, _, Some(held)) => changes.extend(self.hold(held)),
            // A later version's kind of operation: it has its number, and means nothing here.
            _ => {}
        }
    }

    fn take(&mut self, put_seq: u64) -> Option<Change> {
        self.gone.remove(&put_seq);
        let kept = self.entries.remove(&put_seq)?;
        Some(Change::Left(kept.entry))
    }

    fn hold(&mut self, put_seq: u64) -> Option<Change> {
        let kept = self.entries.get_mut(&put_seq)?;
        let was_held = std::mem::replace(&mut kept.held, true);
        (!was_held).then(|| Change::Held(Arc::clone(&kept.entry)))
    }

    /// Replaces everything by a complete state, if that is newer. Nothing else changes the copy's past: an entry that
    /// is in both stays the very same.
    pub(crate) fn apply_state(&mut self, state: State) -> Option<Vec<Change>> {
        if state.at.life != self.life || state.at.seq <= self.seq {
            return None;
        }
        let State { at, mut entries } = state;
        // A number up to the own one that is not here was deleted here: whatever the state says, it stays so.
        let mut fresh = entries.split_off(&(self.seq + 1));
        let after_gone = self.after_gone(&entries, &fresh);
        let (mut left, mut held) = (Vec::new(), Vec::new());
        self.entries.retain(|put_seq, kept| {
            let entry = || Arc::clone(&kept.entry);
            let Some(now) = entries.get(put_seq) else {
                left.push(Change::Left(entry()));
                return false;
            };
            if now.held && !kept.held {
                held.push(Change::Held(entry()));
                kept.held = true;
            }
            true
        });
        self.gone.retain(|put_seq| entries.contains_key(put_seq));
        let mut changes = left;
        changes.extend(held);
        for (put_seq, Kept { entry, held }) in &mut fresh {
            if after_gone.contains(put_seq) {
                *held = true;
                continue;
            }
            let change = if *held { Change::Held } else { Change::Joined };
            changes.push(change(Arc::clone(entry)));
        }
        self.gone.extend(after_gone);
        self.entries.extend(fresh);
        self.seq = at.seq;
        Some(changes)
    }

    /// Those entries of a newer state that came by updates of what is held and gone here. Held they are then, too, but for a moment; and
    /// what they came of is in that state no more, or somebody tracks anew in the slot that a lost connection has left.
    fn after_gone(
        &self,
        known: &BTreeMap<u64, Kept>,
        fresh: &BTreeMap<u64, Kept>,
    ) -> BTreeSet<u64> {
        let gone = self.gone().filter(|entry| {
            let put_seq = entry.reference.put_seq();
            self.is_gone(put_seq) && !known.contains_key(&put_seq)
        });
        let slots: BTreeSet<Slot> = gone.map(Slot::of).collect();
        let is_after = |kept: &Kept| {
            let Some(was) = kept.entry.previous.map(PresenceRef::put_seq) else {
                return false;
            };
            let by_slot = || slots.contains(&Slot::of(&kept.entry));
            self.is_gone(was) || (kept.held && by_slot())
        };
        let after = fresh.iter().filter(|(_, kept)| is_after(kept));
        after.map(|(put_seq, _)| *put_seq).collect()
    }

    /// An entry as it was sent by this copy's node.
    pub(crate) fn entry(
        &self,
        put_seq: u64,
        value: Value,
        names: &mut SharedNames<'_>,
    ) -> Arc<Entry> {
        let previous = |put_seq| PresenceRef::new(self.writer_in(value.previous_born), put_seq);
        Arc::new(Entry {
            topic: names.share(&value.topic),
            key: value.key,
            meta: value.meta,
            reference: PresenceRef::new(self.writer_in(value.born), put_seq),
            previous: value.previous.map(previous),
            node: self.node.clone(),
            owner: value.owner,
            verdict: Verdict::default(),
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
    pub(crate) entries: BTreeMap<u64, Kept>,
}

/// A state of which not all parts are here yet. Nobody sees it before the last one.
///
/// Its owner goes on meanwhile, and what it does then may be more than its log keeps. So the state moves on with each operation that
/// follows it: whoever has the last part is as far as the last operation before that, and not behind again. That takes no more room than the
/// entries themselves, and two numbers for each that ended before its part came.
#[derive(Debug)]
pub(crate) struct Assembly {
    /// What the parts are of.
    of: Position,
    /// What they have brought so far, and where operations have led from there.
    state: State,
    /// Of parts that are still to come: what has been deleted, and what has been held.
    deleted: BTreeSet<u64>,
    held: BTreeSet<u64>,
    /// When the last part came.
    pub(crate) fed: Duration,
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
            of: first.at,
            state: State {
                at: first.at,
                entries: BTreeMap::new(),
            },
            deleted: BTreeSet::new(),
            held: BTreeSet::new(),
            fed: Duration::ZERO,
            next: 0,
            parts: first.parts,
        }
    }

    /// Adds the next part.
    pub(crate) fn add(
        mut self,
        part: Part,
        replica: &Replica,
        names: &mut SharedNames<'_>,
    ) -> (Assembled, Option<Self>) {
        if (part.at, part.parts, part.part) != (self.of, self.parts, self.next) {
            return (Assembled::Broken, None);
        }
        for stored in part.entries {
            let held = self.held.remove(&stored.put_seq) || stored.held;
            if self.deleted.remove(&stored.put_seq) {
                continue;
            }
            let kept = Kept {
                entry: replica.entry(stored.put_seq, stored.value, names),
                held,
            };
            self.state.entries.insert(stored.put_seq, kept);
        }
        self.next += 1;
        if self.next == self.parts {
            (Assembled::Complete(self.state), None)
        } else {
            (Assembled::Waiting, Some(self))
        }
    }

    /// Whether it is of that state.
    pub(crate) fn is_of(&self, at: Position) -> bool {
        self.of == at
    }

    /// Whether that part is of the same state and has come before.
    pub(crate) fn has(&self, part: &Part) -> bool {
        (part.at, part.parts) == (self.of, self.parts) && part.part < self.next
    }

    /// The last part that has come; nothing before the first.
    pub(crate) fn taken(&self) -> Option<PartTaken> {
        let part = self.next.checked_sub(1)?;
        Some(PartTaken { at: self.of, part })
    }

    /// A part has come.
    pub(crate) fn fed_at(self, fed: Duration) -> Self {
        Self { fed, ..self }
    }

    /// How many entries of parts to come have been deleted, and held.
    #[cfg(test)]
    pub(crate) fn overtaken(&self) -> (usize, usize) {
        (self.deleted.len(), self.held.len())
    }

    /// Moves on by operations that follow without a gap. Whether they did.
    pub(crate) fn follow(
        &mut self,
        ops: Ops,
        replica: &Replica,
        names: &mut SharedNames<'_>,
    ) -> bool {
        let at = self.state.at;
        if ops.life != at.life || ops.from > at.seq {
            return false;
        }
        let known = usize::try_from(at.seq - ops.from).unwrap_or(usize::MAX);
        for op in ops.ops.into_iter().skip(known) {
            self.state.at.seq += 1;
            self.apply(op, replica, names);
        }
        true
    }

    fn apply(&mut self, op: Op, replica: &Replica, names: &mut SharedNames<'_>) {
        match (op.kind, op.value, op.gone) {
            (Op::PUT, Some(value), gone) => {
                if let Some(gone) = gone {
                    self.delete(gone);
                }
                let put_seq = self.state.at.seq;
                let entry = replica.entry(put_seq, value, names);
                let kept = Kept { entry, held: false };
                self.state.entries.insert(put_seq, kept);
            }
            (Op::DELETE, _, Some(gone)) => self.delete(gone),
            (Op::HOLD, _, Some(held)) => self.hold(held),
            // As in a copy.
            _ => {}
        }
    }

    fn delete(&mut self, put_seq: u64) {
        if self.state.entries.remove(&put_seq).is_none() && put_seq <= self.of.seq {
            self.deleted.insert(put_seq);
        }
    }

    fn hold(&mut self, put_seq: u64) {
        match self.state.entries.get_mut(&put_seq) {
            Some(kept) => kept.held = true,
            None if put_seq <= self.of.seq => drop(self.held.insert(put_seq)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
