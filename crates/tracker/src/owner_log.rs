//! What this node itself tracks: its entries, numbered operations on them, and the last of those operations.
//!
//! Every entry has one writer for ever, the node where it was tracked. So one number orders all that a writer did:
//! the entries at `(life, seq)` are the same whoever computes them, and of two states of one writer the one with the
//! higher `(life, seq)` is the newer, whole. That is the whole of the merge.
//!
//! How it is laid out, since every entry of a node goes through here: one row for each entry, sorted by owner, topic and key, leads
//! to the entry, and the entry tells its number and its names. Nothing is found by number: a guard keeps the entry that
//! its `track` made, an operation in the log the one that it put. Only what is rare has a map of its own: graces of
//! connections, and what is held.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::NodeName;

use crate::entry::{Entry, Verdict};
use crate::life::Life;
use crate::message::{OP_OVERHEAD_BYTES, Op, Position, Stored, Value};
use crate::reference::{PresenceRef, Writer};
use crate::replica::Kept;
use crate::runs::Runs;
use crate::slot::{Slot, Ticket};

/// The entries that one node tracks in one shard, and their recent history.
#[derive(Debug)]
pub(crate) struct OwnerLog {
    node: NodeName,
    shard: u32,
    life: Life,
    writer: Writer,
    /// Lives that this log had before it was renumbered, as far as references still name them, by what these say.
    earlier: BTreeMap<Writer, Life>,
    /// The last lives before this one, whatever names them.
    formerly: VecDeque<Life>,
    seq: u64,
    pushed: u64,
    /// By slot. One sequence for all owners: most have one entry, and a map of its own would take more than the entry.
    entries: Runs<Owned>,
    /// For how long those entries are held whose connections ended, by the number of what was tracked first; none for most.
    drop_graces: BTreeMap<u64, Duration>,
    /// Entries whose user may come back, by their numbers: those whose connection ended, which are in no slot and nobody's any more,
    /// and those whose connection is about to be closed, which are still in theirs.
    held: BTreeMap<u64, Held>,
    /// When those of them are over that have an end of their own, the first first.
    ends: BTreeSet<(Duration, u64)>,
    /// Those of them that are gone since the time was looked at last.
    just_gone: Vec<u64>,
    /// The last operations: the newest has the number `seq`, and there is no gap between them.
    log: VecDeque<Logged>,
    log_bytes: usize,
    unpushed_bytes: usize,
    log_limit: usize,
}

impl OwnerLog {
    pub(crate) fn new(node: NodeName, shard: u32, life: Life, log_limit: usize) -> Self {
        let writer = Writer::new(node.as_str(), shard, life);
        Self {
            node,
            shard,
            life,
            writer,
            earlier: BTreeMap::new(),
            formerly: VecDeque::new(),
            seq: 0,
            pushed: 0,
            entries: Runs::default(),
            drop_graces: BTreeMap::new(),
            held: BTreeMap::new(),
            ends: BTreeSet::new(),
            just_gone: Vec::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            unpushed_bytes: 0,
            log_limit,
        }
    }

    pub(crate) fn node(&self) -> &NodeName {
        &self.node
    }

    pub(crate) fn at(&self) -> Position {
        Position {
            life: self.life,
            seq: self.seq,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is tracked, by owner, topic and key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().map(|owned| &owned.entry)
    }

    /// The entry in a slot.
    pub(crate) fn get(&self, slot: &Slot) -> Option<&Arc<Entry>> {
        self.owned(slot).map(|owned| &owned.entry)
    }

    /// The slots of an owner, so many at most.
    pub(crate) fn slots(&self, owner: u64, most: usize) -> Vec<Slot> {
        self.slots_after(owner, None, most)
    }

    /// The slots of an owner that come after one of them, so many at most.
    pub(crate) fn slots_after(&self, owner: u64, after: Option<&Slot>, most: usize) -> Vec<Slot> {
        let rows = self.entries.from(|owned| match after {
            Some(slot) => owned.order(slot) != Ordering::Greater,
            None => owned.owner < owner,
        });
        let rows = rows.take_while(|owned| owned.owner == owner).take(most);
        rows.map(|owned| Slot::of(&owned.entry)).collect()
    }

    #[cfg(test)]
    pub(crate) fn all_slots(&self) -> Vec<Slot> {
        self.iter().map(Slot::of).collect()
    }

    pub(crate) fn owner_has_entries(&self, owner: u64) -> bool {
        self.entries_of(owner).next().is_some()
    }

    fn entries_of(&self, owner: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let rows = self.entries.from(move |owned| owned.owner < owner);
        let rows = rows.take_while(move |owned| owned.owner == owner);
        rows.map(|owned| &owned.entry)
    }

    fn owned(&self, slot: &Slot) -> Option<&Owned> {
        self.entries.find(|owned| owned.order(slot))
    }

    /// The slot of a ticket, if what it names is still tracked.
    pub(crate) fn slot_of(&self, ticket: &Ticket) -> Option<Slot> {
        let slot = Slot::of(ticket.first());
        let owned = self.owned(&slot)?;
        (owned.ticket == ticket.number()).then_some(slot)
    }

    /// What names what is tracked in a slot, if that was not updated.
    #[cfg(test)]
    pub(crate) fn ticket(&self, slot: &Slot) -> Option<Ticket> {
        self.get(slot).map(Ticket::of)
    }

    /// Puts an entry into a free slot.
    ///
    /// # Errors
    ///
    /// The entry that is there already; nothing changed.
    pub(crate) fn put(
        &mut self,
        slot: &Slot,
        meta: Bytes,
    ) -> Result<(Ticket, Arc<Entry>), Arc<Entry>> {
        let vacancy = self.entries.vacancy(|owned| owned.order(slot));
        let vacancy = vacancy.map_err(|there| Arc::clone(&there.entry))?;
        let entry = self.write(slot, meta, None);
        let ticket = entry.reference.put_seq();
        let owned = Owned {
            owner: slot.owner,
            entry: Arc::clone(&entry),
            ticket,
        };
        self.entries.fill(vacancy, owned);
        Ok((Ticket::of(&entry), entry))
    }

    /// Replaces the entry in a slot. Gives the old and the new one, nothing if the slot is free. The new one is not held.
    pub(crate) fn update(&mut self, slot: &Slot, meta: Bytes) -> Option<(Arc<Entry>, Arc<Entry>)> {
        let there = Arc::clone(self.get(slot)?);
        let previous = there.reference;
        self.held.remove(&previous.put_seq());
        // With the names of the first value, not with equal ones: a ticket knows its entries by them.
        let new = self.write(&Slot::of(&there), meta, Some(previous));
        let owned = self.entries.find_mut(|owned| owned.order(slot))?;
        let old = std::mem::replace(&mut owned.entry, Arc::clone(&new));
        Some((old, new))
    }

    /// Takes the entry out of a slot.
    pub(crate) fn delete(&mut self, slot: &Slot) -> Option<Arc<Entry>> {
        let entry = self.vacate(slot)?;
        let put_seq = entry.reference.put_seq();
        self.held.remove(&put_seq);
        self.append(LogOp::Delete(put_seq), OP_OVERHEAD_BYTES);
        Some(entry)
    }

    /// How long the entry of a ticket is held when its connection ends.
    pub(crate) fn set_drop_grace(&mut self, ticket: &Ticket, grace: Duration) {
        if grace.is_zero() {
            self.drop_graces.remove(&ticket.number());
        } else if self.slot_of(ticket).is_some() {
            self.drop_graces.insert(ticket.number(), grace);
        }
    }

    /// How long the entry in a slot is held when its connection ends.
    pub(crate) fn drop_grace(&self, slot: &Slot) -> Duration {
        let owned = self.owned(slot);
        let grace = owned.and_then(|owned| self.drop_graces.get(&owned.ticket));
        grace.copied().unwrap_or_default()
    }

    /// Holds the entry in a slot, which is free then: until that time, or to the end of this log. Gives it, unless it was held
    /// ahead.
    pub(crate) fn hold(&mut self, slot: &Slot, until: Option<Duration>) -> Option<Arc<Entry>> {
        let entry = self.vacate(slot)?;
        self.keep(entry, until)
    }

    /// Holds the entry in a slot to the end of this log, and leaves it there: its owner can still update and delete it. Gives it,
    /// unless it was held already.
    pub(crate) fn hold_ahead(&mut self, slot: &Slot) -> Option<Arc<Entry>> {
        let entry = Arc::clone(self.get(slot)?);
        self.keep(entry, None)
    }

    fn keep(&mut self, entry: Arc<Entry>, until: Option<Duration>) -> Option<Arc<Entry>> {
        if self.is_held(&entry) {
            return None;
        }
        let put_seq = entry.reference.put_seq();
        let held = Held {
            entry: Arc::clone(&entry),
            until,
            gone: false,
        };
        self.held.insert(put_seq, held);
        self.ends.extend(until.map(|until| (until, put_seq)));
        self.append(LogOp::Hold(put_seq), OP_OVERHEAD_BYTES);
        Some(entry)
    }

    /// Whether an entry of this log is held, gone or not.
    pub(crate) fn is_held(&self, entry: &Entry) -> bool {
        self.held.contains_key(&entry.reference.put_seq())
    }

    /// Whether an entry of this log is held and gone.
    pub(crate) fn is_gone(&self, entry: &Entry) -> bool {
        let held = self.held.get(&entry.reference.put_seq());
        held.is_some_and(|held| held.gone)
    }

    /// Whether this log gave that reference, under its present number or an earlier one.
    pub(crate) fn wrote(&self, reference: PresenceRef) -> bool {
        let writer = reference.writer();
        writer == self.writer || self.earlier.contains_key(&writer)
    }

    /// What the references say that this log gave, as far as anything still has them.
    pub(crate) fn writers(&self) -> BTreeSet<Writer> {
        let earlier = self.earlier.keys().copied();
        earlier.chain([self.writer]).collect()
    }

    /// What is tracked and not held ahead.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.iter().filter(|entry| !self.is_held(entry))
    }

    /// Held entries that are not gone.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn held(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let held = self.held.values().filter(|held| !held.gone);
        held.map(|held| &held.entry)
    }

    /// A held entry is not shown any more: its user is back. The others find out by themselves, so that no deletion
    /// overtakes the new entry on its way to them. Who heard of the two the other way round, and took the new entry for another place of
    /// the user, is told a while later: then what has an end of its own is deleted.
    pub(crate) fn mark_gone(&mut self, put_seq: u64) {
        if let Some(held) = self.held.get_mut(&put_seq) {
            held.gone = true;
            self.just_gone.extend(held.until.map(|_| put_seq));
        }
    }

    /// Gives up entries, so many at most, as the end of the process does: without operations, so that nobody is told that they
    /// ended.
    pub(crate) fn clear(&mut self, most: usize) -> Vec<Arc<Entry>> {
        let mut given_up = Vec::new();
        for Owned { entry, ticket, .. } in self.entries.take_last(most) {
            self.drop_graces.remove(&ticket);
            self.held.remove(&entry.reference.put_seq());
            given_up.push(entry);
        }
        while given_up.len() < most
            && let Some((put_seq, held)) = self.held.pop_first()
        {
            if let Some(until) = held.until {
                self.ends.remove(&(until, put_seq));
            }
            given_up.push(held.entry);
        }
        given_up
    }

    /// When the next held entry is over; at once, if the time is to be looked at.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        if !self.just_gone.is_empty() {
            return Some(Duration::ZERO);
        }
        self.ends.first().map(|(until, _)| *until)
    }

    /// Deletes the held entries that are over. Gives those that were still shown.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<Arc<Entry>> {
        for put_seq in std::mem::take(&mut self.just_gone) {
            self.end_by(put_seq, now + ALL_HAVE_HEARD);
        }
        let mut shown = Vec::new();
        while let Some((until, put_seq)) = self.ends.first().copied()
            && until <= now
        {
            self.ends.pop_first();
            let over = self.held.remove(&put_seq);
            self.append(LogOp::Delete(put_seq), OP_OVERHEAD_BYTES);
            shown.extend(over.filter(|held| !held.gone).map(|held| held.entry));
        }
        shown
    }

    /// A held entry with an end of its own is over then, unless it is earlier.
    fn end_by(&mut self, put_seq: u64, at: Duration) {
        let held = self.held.get_mut(&put_seq);
        let Some(until) = held.and_then(|held| held.until.as_mut()) else {
            return;
        };
        if at < *until {
            self.ends.remove(&(*until, put_seq));
            self.ends.insert((at, put_seq));
            *until = at;
        }
    }

    fn vacate(&mut self, slot: &Slot) -> Option<Arc<Entry>> {
        let owned = self.entries.remove(|owned| owned.order(slot))?;
        self.drop_graces.remove(&owned.ticket);
        Some(owned.entry)
    }

    /// Makes the entry that comes next in a slot, and notes it in the log.
    fn write(&mut self, slot: &Slot, meta: Bytes, previous: Option<PresenceRef>) -> Arc<Entry> {
        let put_seq = self.seq + 1;
        let entry = Arc::new(Entry {
            topic: Arc::clone(&slot.topic),
            key: Arc::clone(&slot.key),
            meta,
            reference: PresenceRef::new(self.writer, put_seq),
            previous,
            node: self.node.clone(),
            owner: slot.owner,
            verdict: Verdict::default(),
        });
        let replaces = previous.map(PresenceRef::put_seq);
        let bytes = wire_size(&entry);
        let put = Arc::clone(&entry);
        self.append(LogOp::Put { put, replaces }, bytes);
        entry
    }

    fn append(&mut self, op: LogOp, bytes: usize) {
        self.seq += 1;
        self.log.push_back(Logged { op, bytes });
        self.log_bytes += bytes;
        self.unpushed_bytes += bytes;
        self.truncate();
    }

    /// Forgets the oldest operations over the limit, but none that still has to be pushed.
    fn truncate(&mut self) {
        while self.log_bytes > self.log_limit && self.first_logged() <= self.pushed {
            let Some(oldest) = self.log.pop_front() else {
                return;
            };
            self.log_bytes -= oldest.bytes;
        }
    }

    fn first_logged(&self) -> u64 {
        self.seq + 1 - self.log.len() as u64
    }

    /// Whether the log still has every operation after `seq`.
    pub(crate) fn covers(&self, seq: u64) -> bool {
        seq <= self.seq && seq + 1 >= self.first_logged()
    }

    /// The operations after `seq`, each with the bytes it needs at most; only if the log [`covers`](Self::covers) it.
    pub(crate) fn ops_after(&self, seq: u64) -> impl Iterator<Item = (Op, usize)> {
        let skip = seq + 1 - self.first_logged();
        self.log
            .iter()
            .skip(usize::try_from(skip).expect("the log covers it"))
            .map(|logged| (self.op(&logged.op), logged.bytes))
    }

    /// Everything tracked and held at this moment, frozen: later changes do not show in it.
    pub(crate) fn frozen(&self) -> Vec<Kept> {
        let kept = |entry: &Arc<Entry>, held| Kept {
            entry: Arc::clone(entry),
            held,
        };
        let live = self.live().map(|entry| kept(entry, false));
        let held = self.held.values().map(|held| kept(&held.entry, true));
        let mut all: Vec<Kept> = live.chain(held).collect();
        // In the order in which they were written: whoever copies them adds each at the end.
        all.sort_by_cached_key(|kept| kept.entry.reference.put_seq());
        all
    }

    /// An entry of this log as it is sent.
    pub(crate) fn stored(&self, kept: &Kept) -> Stored {
        Stored {
            put_seq: kept.entry.reference.put_seq(),
            value: self.value(&kept.entry),
            held: kept.held,
        }
    }

    fn op(&self, op: &LogOp) -> Op {
        match op {
            LogOp::Put { put, replaces } => Op {
                kind: Op::PUT,
                value: Some(self.value(put)),
                gone: *replaces,
            },
            LogOp::Delete(put_seq) => Op {
                kind: Op::DELETE,
                value: None,
                gone: Some(*put_seq),
            },
            LogOp::Hold(put_seq) => Op {
                kind: Op::HOLD,
                value: None,
                gone: Some(*put_seq),
            },
        }
    }

    fn value(&self, entry: &Entry) -> Value {
        Value {
            topic: Arc::clone(&entry.topic),
            key: Arc::clone(&entry.key),
            meta: entry.meta.clone(),
            owner: entry.owner,
            born: self.born(entry.reference),
            previous: entry.previous.map(PresenceRef::put_seq),
            previous_born: entry.previous.and_then(|previous| self.born(previous)),
        }
    }

    /// The life that made a reference, if it was not the present one.
    fn born(&self, reference: PresenceRef) -> Option<Life> {
        let writer = reference.writer();
        if writer == self.writer {
            return None;
        }
        self.earlier.get(&writer).copied()
    }

    /// The bytes of the operations after `seq`, as far as the log has them.
    pub(crate) fn bytes_after(&self, seq: u64) -> usize {
        let count = usize::try_from(self.seq.saturating_sub(seq)).unwrap_or(usize::MAX);
        self.log.iter().rev().take(count).map(|op| op.bytes).sum()
    }

    /// What has not been pushed yet, and in how many bytes it fits.
    pub(crate) fn unpushed(&self) -> (u64, usize) {
        (self.pushed, self.unpushed_bytes)
    }

    pub(crate) fn all_pushed(&mut self) {
        self.pushed = self.seq;
        self.unpushed_bytes = 0;
        self.truncate();
    }

    /// The last lives that this log had before it was renumbered.
    pub(crate) fn formerly(&self) -> Vec<Life> {
        self.formerly.iter().copied().collect()
    }

    /// Whether this log has that life, or had it not long ago: the numbers of both mean the same.
    pub(crate) fn was(&self, life: Life) -> bool {
        life == self.life || self.formerly.contains(&life)
    }

    /// Takes a higher life. Entries, their references, their numbers and their history stay what they are, so nobody
    /// who lists them on this node notices.
    pub(crate) fn renumber(&mut self, life: Life) {
        self.earlier.insert(self.writer, self.life);
        self.formerly.push_front(self.life);
        self.formerly.truncate(FORMER_LIVES);
        self.life = life;
        self.writer = Writer::new(self.node.as_str(), self.shard, life);
        let logged = self.log.iter().filter_map(|logged| match &logged.op {
            LogOp::Put { put, .. } => Some(put),
            LogOp::Delete(_) | LogOp::Hold(_) => None,
        });
        let held = self.held.values().map(|held| &held.entry);
        let named: BTreeSet<Writer> = self
            .iter()
            .chain(logged)
            .chain(held)
            .flat_map(|entry| [Some(entry.reference), entry.previous])
            .flatten()
            .map(PresenceRef::writer)
            .collect();
        self.earlier.retain(|writer, _| named.contains(writer));
    }

    /// Checks that all indexes speak of the same entries.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn assert_consistent(&self) {
        let slots: Vec<(u64, &str, &str)> = self
            .iter()
            .map(|entry| (entry.owner, &*entry.topic, &*entry.key))
            .collect();
        assert!(
            slots.is_sorted_by(|a, b| a < b),
            "I21: slots in order, none twice"
        );
        assert_eq!(slots.len(), self.len(), "I21: as many as are counted");
        let mut tickets = BTreeSet::new();
        for owned in self.entries.iter() {
            let put_seq = owned.entry.reference.put_seq();
            assert_eq!(owned.owner, owned.entry.owner, "I21: owner");
            assert!(
                owned.ticket <= put_seq && put_seq <= self.seq,
                "I21: number"
            );
            let held = self.held.get(&put_seq);
            assert!(
                held.is_none_or(|held| held.until.is_none()),
                "I21: what is held ahead has no end of its own"
            );
            assert!(tickets.insert(owned.ticket), "I21: a ticket of its own");
        }
        let ends = self.held.iter();
        let ends = ends.filter_map(|(put_seq, held)| Some((held.until?, *put_seq)));
        assert_eq!(
            ends.collect::<BTreeSet<_>>(),
            self.ends,
            "I21: each end is of something held"
        );
        assert!(
            self.drop_graces
                .keys()
                .all(|ticket| tickets.contains(ticket)),
            "I21: a grace is of something tracked"
        );
        assert!(
            self.log.len() as u64 <= self.seq,
            "I25: the log is a suffix of the history"
        );
        let bytes: usize = self.log.iter().map(|logged| logged.bytes).sum();
        assert_eq!(bytes, self.log_bytes, "I25: the log's size is what it says");
        assert!(
            self.log_bytes <= self.log_limit + self.unpushed_bytes,
            "I25: the log is bounded"
        );
    }
}

/// What is in a slot.
#[derive(Debug)]
struct Owned {
    /// As in the entry, beside it: so of others' entries none is looked at.
    owner: u64,
    entry: Arc<Entry>,
    /// The number of the first value that was tracked.
    ticket: u64,
}

impl Owned {
    fn order(&self, slot: &Slot) -> Ordering {
        let names = |topic: &Arc<str>, key: &Arc<str>| {
            self.entry
                .topic
                .cmp(topic)
                .then_with(|| self.entry.key.cmp(key))
        };
        self.owner
            .cmp(&slot.owner)
            .then_with(|| names(&slot.topic, &slot.key))
    }
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    until: Option<Duration>,
    /// Its user is back: it is not shown any more.
    gone: bool,
}

#[derive(Debug)]
struct Logged {
    op: LogOp,
    bytes: usize,
}

#[derive(Debug)]
enum LogOp {
    Put {
        put: Arc<Entry>,
        replaces: Option<u64>,
    },
    Delete(u64),
    Hold(u64),
}

/// The bytes that an entry needs on the wire at most.
pub(crate) fn wire_size(entry: &Entry) -> usize {
    entry.topic.len() + entry.key.len() + entry.meta.len() + OP_OVERHEAD_BYTES
}

/// So long after a new entry came here it is everywhere where it can be: a link may be silent for 2.5 s, and what was lost is asked for
/// again a second later.
pub(crate) const ALL_HAVE_HEARD: Duration = Duration::from_secs(4);

/// How many earlier lives are told. A peer that missed more renumberings than that gets everything anew.
pub(crate) const FORMER_LIVES: usize = 4;

#[cfg(test)]
mod tests;
