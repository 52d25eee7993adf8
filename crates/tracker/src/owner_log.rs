//! What this node itself tracks: its entries, numbered operations on them, and the last of those operations.
//!
//! Every entry has one writer for ever, the node where it was tracked. So one number orders all that a writer did:
//! the entries at `(life, seq)` are the same whoever computes them, and of two states of one writer the one with the
//! higher `(life, seq)` is the newer, whole. That is the whole of the merge.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::NodeName;

use crate::entry::Entry;
use crate::life::Life;
use crate::message::{OP_OVERHEAD_BYTES, Op, Position, Stored, Value};
use crate::reference::{PresenceRef, Writer};
use crate::replica::Kept;

/// The entries that one node tracks in one shard, and their recent history.
#[derive(Debug)]
pub(crate) struct OwnerLog {
    node: NodeName,
    shard: u32,
    life: Life,
    writer: Writer,
    /// Lives that this log had before it was renumbered, as far as references still name them.
    earlier: Vec<Life>,
    /// The last lives before this one, whatever names them.
    formerly: VecDeque<Life>,
    seq: u64,
    pushed: u64,
    /// By the number of the operation that put them.
    entries: BTreeMap<u64, Owned>,
    /// Entries whose connection ended and whose user may come back. They are in no slot, and nobody's any more.
    held: BTreeMap<u64, Held>,
    /// One map for all owners: most have one entry, and a map of its own would take more than the entry.
    places: BTreeMap<Place, u64>,
    /// Before every name: where an owner's places begin.
    empty: Arc<str>,
    tickets: BTreeMap<Ticket, u64>,
    /// The last operations: the newest has the number `seq`, and there is no gap between them.
    log: VecDeque<Logged>,
    log_bytes: usize,
    unpushed_bytes: usize,
    log_limit: usize,
}

/// Where an entry is tracked: by whom, in which topic, under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) owner: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) key: Arc<str>,
}

/// Names what one `track` made, through all its updates: an entry tracked anew in the same slot has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl OwnerLog {
    pub(crate) fn new(node: NodeName, shard: u32, life: Life, log_limit: usize) -> Self {
        let writer = Writer::new(node.as_str(), shard, life);
        Self {
            node,
            shard,
            life,
            writer,
            earlier: Vec::new(),
            formerly: VecDeque::new(),
            seq: 0,
            pushed: 0,
            entries: BTreeMap::new(),
            held: BTreeMap::new(),
            places: BTreeMap::new(),
            empty: Arc::from(""),
            tickets: BTreeMap::new(),
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values().map(|owned| &owned.entry)
    }

    /// The entry in a slot.
    pub(crate) fn get(&self, slot: &Slot) -> Option<&Arc<Entry>> {
        let put_seq = self.put_seq(slot)?;
        self.entries.get(&put_seq).map(|owned| &owned.entry)
    }

    /// The slots of an owner.
    pub(crate) fn slots(&self, owner: u64) -> Vec<Slot> {
        self.places_of(owner).map(Slot::at).collect()
    }

    pub(crate) fn all_slots(&self) -> Vec<Slot> {
        self.places.keys().map(Slot::at).collect()
    }

    pub(crate) fn owner_has_entries(&self, owner: u64) -> bool {
        self.places_of(owner).next().is_some()
    }

    fn places_of(&self, owner: u64) -> impl Iterator<Item = &Place> {
        let first = (owner, Arc::clone(&self.empty), Arc::clone(&self.empty));
        let places = self.places.range(first..).map(|(place, _)| place);
        places.take_while(move |(of, _, _)| *of == owner)
    }

    /// The slot of a ticket, if what it names is still tracked.
    pub(crate) fn slot_of(&self, ticket: Ticket) -> Option<Slot> {
        let put_seq = self.tickets.get(&ticket)?;
        let entry = &self.entries.get(put_seq)?.entry;
        Some(Slot {
            owner: entry.owner,
            topic: Arc::clone(&entry.topic),
            key: Arc::clone(&entry.key),
        })
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
        if let Some(there) = self.get(slot) {
            return Err(Arc::clone(there));
        }
        let ticket = Ticket(self.seq + 1);
        let entry = self.write(slot, meta, (ticket, Duration::ZERO), None);
        Ok((ticket, entry))
    }

    /// Replaces the entry in a slot. Gives the old and the new one, nothing if the slot is free.
    pub(crate) fn update(&mut self, slot: &Slot, meta: Bytes) -> Option<(Arc<Entry>, Arc<Entry>)> {
        let put_seq = self.put_seq(slot)?;
        let old = self.entries.remove(&put_seq)?;
        let stays = (old.ticket, old.drop_grace);
        let new = self.write(slot, meta, stays, Some(old.entry.reference));
        Some((old.entry, new))
    }

    /// Takes the entry out of a slot.
    pub(crate) fn delete(&mut self, slot: &Slot) -> Option<Arc<Entry>> {
        let put_seq = self.put_seq(slot)?;
        let owned = self.vacate(slot, put_seq)?;
        self.append(LogOp::Delete(put_seq), OP_OVERHEAD_BYTES);
        Some(owned.entry)
    }

    /// How long the entry of a ticket is held when its connection ends.
    pub(crate) fn set_drop_grace(&mut self, ticket: Ticket, grace: Duration) {
        let owned = self
            .tickets
            .get(&ticket)
            .and_then(|put_seq| self.entries.get_mut(put_seq));
        if let Some(owned) = owned {
            owned.drop_grace = grace;
        }
    }

    /// How long the entry in a slot is held when its connection ends.
    pub(crate) fn drop_grace(&self, slot: &Slot) -> Duration {
        let owned = self
            .put_seq(slot)
            .and_then(|put_seq| self.entries.get(&put_seq));
        owned.map_or(Duration::ZERO, |owned| owned.drop_grace)
    }

    /// Holds the entry in a slot, which is free then: until that time, or to the end of this log.
    pub(crate) fn hold(&mut self, slot: &Slot, until: Option<Duration>) -> Option<Arc<Entry>> {
        let put_seq = self.put_seq(slot)?;
        let owned = self.vacate(slot, put_seq)?;
        let held = Held {
            entry: Arc::clone(&owned.entry),
            until,
            gone: false,
        };
        self.held.insert(put_seq, held);
        self.append(LogOp::Hold(put_seq), OP_OVERHEAD_BYTES);
        Some(owned.entry)
    }

    /// Held entries that are not gone.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn held(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let held = self.held.values().filter(|held| !held.gone);
        held.map(|held| &held.entry)
    }

    /// A held entry is not shown any more: its user is back. The others find out by themselves, so that no deletion
    /// overtakes the new entry on its way to them.
    pub(crate) fn mark_gone(&mut self, put_seq: u64) {
        if let Some(held) = self.held.get_mut(&put_seq) {
            held.gone = true;
        }
    }

    /// Gives up all entries, as the end of the process does: without operations, so that nobody is told that they ended.
    pub(crate) fn clear(&mut self) -> Vec<Arc<Entry>> {
        self.tickets.clear();
        self.places.clear();
        let live = std::mem::take(&mut self.entries).into_values();
        let held = std::mem::take(&mut self.held).into_values();
        live.map(|owned| owned.entry)
            .chain(held.map(|held| held.entry))
            .collect()
    }

    /// When the next held entry is over.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.held.values().filter_map(|held| held.until).min()
    }

    /// Deletes the held entries that are over.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<Arc<Entry>> {
        let over = |held: &Held| held.until.is_some_and(|until| until <= now);
        let over: Vec<u64> = self
            .held
            .iter()
            .filter(|(_, held)| over(held))
            .map(|(put_seq, _)| *put_seq)
            .collect();
        let mut entries = Vec::new();
        for put_seq in over {
            entries.extend(self.held.remove(&put_seq).map(|held| held.entry));
            self.append(LogOp::Delete(put_seq), OP_OVERHEAD_BYTES);
        }
        entries
    }

    fn vacate(&mut self, slot: &Slot, put_seq: u64) -> Option<Owned> {
        let owned = self.entries.remove(&put_seq)?;
        self.tickets.remove(&owned.ticket);
        self.places.remove(&slot.place());
        Some(owned)
    }

    fn write(
        &mut self,
        slot: &Slot,
        meta: Bytes,
        (ticket, drop_grace): (Ticket, Duration),
        previous: Option<PresenceRef>,
    ) -> Arc<Entry> {
        let put_seq = self.seq + 1;
        let entry = Arc::new(Entry {
            topic: Arc::clone(&slot.topic),
            key: Arc::clone(&slot.key),
            meta,
            reference: PresenceRef::new(self.writer, put_seq),
            previous,
            node: self.node.clone(),
            owner: slot.owner,
        });
        let owned = Owned {
            entry: Arc::clone(&entry),
            ticket,
            drop_grace,
        };
        self.entries.insert(put_seq, owned);
        self.tickets.insert(ticket, put_seq);
        self.places.insert(slot.place(), put_seq);
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

    fn put_seq(&self, slot: &Slot) -> Option<u64> {
        self.places.get(&slot.place()).copied()
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
        let live = self.iter().map(|entry| kept(entry, false));
        let held = self.held.values().map(|held| kept(&held.entry, true));
        live.chain(held).collect()
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
        let born = |life: &&Life| Writer::new(self.node.as_str(), self.shard, **life) == writer;
        self.earlier.iter().find(born).copied()
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
        self.earlier.push(self.life);
        self.formerly.push_front(self.life);
        self.formerly.truncate(FORMER_LIVES);
        self.life = life;
        self.writer = Writer::new(self.node.as_str(), self.shard, life);
        let (node, shard) = (&self.node, self.shard);
        let logged = self.log.iter().filter_map(|logged| match &logged.op {
            LogOp::Put { put, .. } => Some(put),
            LogOp::Delete(_) | LogOp::Hold(_) => None,
        });
        let held = self.held.values().map(|held| &held.entry);
        let named: Vec<Writer> = self
            .entries
            .values()
            .map(|owned| &owned.entry)
            .chain(logged)
            .chain(held)
            .flat_map(|entry| [Some(entry.reference), entry.previous])
            .flatten()
            .map(PresenceRef::writer)
            .fold(Vec::new(), |mut writers, writer| {
                if !writers.contains(&writer) {
                    writers.push(writer);
                }
                writers
            });
        self.earlier
            .retain(|life| named.contains(&Writer::new(node.as_str(), shard, *life)));
    }

    /// Checks that all indexes speak of the same entries.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn assert_consistent(&self) {
        for (put_seq, owned) in &self.entries {
            let entry = &owned.entry;
            assert_eq!(entry.reference.put_seq(), *put_seq);
            assert_eq!(
                self.tickets.get(&owned.ticket),
                Some(put_seq),
                "I21: ticket"
            );
            let slot = Slot {
                owner: entry.owner,
                topic: Arc::clone(&entry.topic),
                key: Arc::clone(&entry.key),
            };
            assert_eq!(self.put_seq(&slot), Some(*put_seq), "I21: slot");
        }
        assert_eq!(
            self.places.len(),
            self.entries.len(),
            "I21: as many slots as entries"
        );
        assert_eq!(
            self.tickets.len(),
            self.entries.len(),
            "I21: as many tickets as entries"
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

impl Slot {
    fn at((owner, topic, key): &Place) -> Self {
        Self {
            owner: *owner,
            topic: Arc::clone(topic),
            key: Arc::clone(key),
        }
    }

    fn place(&self) -> Place {
        (self.owner, Arc::clone(&self.topic), Arc::clone(&self.key))
    }
}

/// Owner, topic and key of a [`Slot`], in this order.
type Place = (u64, Arc<str>, Arc<str>);

#[derive(Debug)]
struct Owned {
    entry: Arc<Entry>,
    ticket: Ticket,
    /// How long it is held when its connection ends.
    drop_grace: Duration,
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

/// How many earlier lives are told. A peer that missed more renumberings than that gets everything anew.
pub(crate) const FORMER_LIVES: usize = 4;

#[cfg(test)]
mod tests;
