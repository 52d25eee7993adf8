//! What a node tracked in a life that ended in a restart, held until its users are back or the grace is over.
//!
//! The owner of these entries is over, so they change no more: they can only be shown no longer, here because their users
//! are back (`gone`), everywhere when the deadline is there. So nodes may pass them on to each other, which they must
//! with nothing else; that a life is over, and that its sets are, is remembered, so that nobody gets them back.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::NodeName;

use crate::entry::{Entry, Verdict};
use crate::gone::Gone;
use crate::life::Life;
use crate::message::{HeldPart, HeldValue, Offer, Position, millis};
use crate::owner_log::{FORMER_LIVES, wire_size};
use crate::peer::{LONGEST_PATIENCE, RETRY_PERIOD};
use crate::reference::PresenceRef;
use crate::replica::Replica;
use crate::slot::Slot;
use crate::visible::{Beside, MOST_TOLD};

/// The held entries of one life of one node.
#[derive(Debug)]
pub(crate) struct HeldSet {
    /// How far the copy was that this came from, or the most complete of those that it was merged from.
    pub(crate) seq: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
    gone: Gone,
    pub(crate) deadline: Duration,
    /// Lives that the same tracker had before it took this number: what is held of them is a part of this.
    formerly: Vec<Life>,
    /// The owner itself said that this life is over: whatever of it still arrives is late.
    said_over: bool,
    /// Who says that this is of that life, if this node did not hear the owner itself in it, up to its end.
    told_by: Option<NodeName>,
    /// Until it is listed: what was told of what it stands beside.
    told: Told,
    /// How often it took another number since then.
    moves: (Duration, u32),
}

/// Beside which tracked entries another node lists those of a set that it passed on, by their numbers; of a set that nobody passed on,
/// nothing.
#[derive(Debug, Default)]
pub(crate) struct Told(Option<BTreeMap<u64, Vec<PresenceRef>>>);

impl Told {
    /// Another node lists all of them alone, as far as it has told.
    pub(crate) fn none() -> Self {
        Self(Some(BTreeMap::new()))
    }

    pub(crate) fn beside(&self, entry: &Entry) -> Beside<'_> {
        let Some(told) = &self.0 else {
            return Beside::Visible;
        };
        let beside = told.get(&entry.reference.put_seq());
        Beside::Told(beside.map_or(&[], Vec::as_slice))
    }

    fn note(&mut self, put_seq: u64, beside: &[PresenceRef]) {
        let most = beside.len().min(MOST_TOLD);
        if let Some(told) = &mut self.0
            && most > 0
        {
            told.insert(put_seq, beside[..most].to_vec());
        }
    }
}

impl HeldSet {
    /// All that a copy showed.
    pub(crate) fn of(replica: Replica, deadline: Duration) -> Self {
        let seq = replica.seq();
        let formerly = replica.formerly().to_vec();
        let (entries, gone) = replica.into_parts();
        Self {
            seq,
            entries,
            gone,
            deadline,
            formerly,
            said_over: false,
            told_by: None,
            told: Told::default(),
            moves: (Duration::ZERO, 0),
        }
    }

    /// What another node had, which offered it so.
    pub(crate) fn taken(
        offer: &Offer,
        entries: BTreeMap<u64, Arc<Entry>>,
        told: Told,
        deadline: Duration,
    ) -> Self {
        Self {
            seq: offer.at.seq,
            entries,
            gone: Gone::default(),
            deadline,
            formerly: offer.formerly.clone(),
            said_over: false,
            told_by: None,
            told,
            moves: (Duration::ZERO, 0),
        }
    }

    /// What was told of what it stands beside, which counts once.
    pub(crate) fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// It comes from a copy that was hidden: nobody told what its entries stand beside.
    pub(crate) fn unlisted(self) -> Self {
        let told = Told::none();
        Self { told, ..self }
    }

    /// Only another node says that it is of that life.
    pub(crate) fn heard_from(self, teller: &NodeName) -> Self {
        let told_by = Some(teller.clone());
        Self { told_by, ..self }
    }

    /// Who says that it is of that life; nothing, if that was heard here.
    pub(crate) fn told_by(&self) -> Option<&NodeName> {
        self.told_by.as_ref()
    }

    /// Another node says when it is over. If the owner said here that its life is over, this node knows better: the grace counts
    /// from then.
    pub(crate) fn shorten(&mut self, deadline: Duration) {
        if !self.said_over {
            self.deadline = self.deadline.min(deadline);
        }
    }

    /// Its owner said that it is over.
    pub(crate) fn confirm(&mut self) {
        self.said_over = true;
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.said_over
    }

    /// Whether it takes another number now: that is a look at all its entries, and whoever asks for it needs a few bytes.
    pub(crate) fn may_move(&mut self, now: Duration, period: Duration) -> bool {
        if now >= self.moves.0 + period {
            self.moves = (now, 0);
        }
        self.moves.1 += 1;
        self.moves.1 <= MOVES
    }

    pub(crate) fn formerly(&self) -> &[Life] {
        &self.formerly
    }

    /// Notes lives that its tracker had before.
    pub(crate) fn was(&mut self, formerly: &[Life]) {
        for life in formerly {
            if !self.formerly.contains(life) && self.formerly.len() < FORMER_LIVES {
                self.formerly.push(*life);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn gone(&self) -> &Gone {
        &self.gone
    }

    /// What is gone of it, for the copy that takes its place. Of a set that others told nothing: they may have made up what was.
    pub(crate) fn gone_for_good(&self) -> Option<&Gone> {
        self.told_by.is_none().then_some(&self.gone)
    }

    /// An entry is not shown any more, for good.
    pub(crate) fn mark_gone(&mut self, put_seq: u64) {
        if let Some(entry) = self.entries.remove(&put_seq) {
            self.gone.insert(&entry);
        }
    }

    /// Adds what a more complete set has besides. What this one does not have of the numbers that it covers was deleted, and what
    /// the other one lacks may be gone there because of an entry that is still on its way here.
    pub(crate) fn merge(&mut self, other: Self) -> Merged {
        if !self.said_over || other.said_over {
            self.deadline = self.deadline.min(other.deadline);
        }
        self.was(&other.formerly);
        self.said_over |= other.said_over;
        let mut merged = Merged::default();
        if other.seq <= self.seq {
            return merged;
        }
        let mut entries = other.entries;
        let later = entries.split_off(&(self.seq + 1));
        self.seq = other.seq;
        let slots = self.entries.iter();
        let slots: BTreeMap<Slot, u64> =
            slots.map(|(put_seq, e)| (Slot::of(e), *put_seq)).collect();
        for (put_seq, entry) in later {
            if self.gone.has(&entry) {
                self.gone.insert(&entry);
                continue;
            }
            // It was updated: nobody tracks two values in one slot.
            if let Some(before) = slots.get(&Slot::of(&entry)) {
                let before = self.entries.remove(before);
                if let Some(before) = &before {
                    self.gone.insert_replaced(before.reference.put_seq());
                }
                merged
                    .replaced
                    .extend(before.map(|before| (put_seq, before)));
            }
            self.entries.insert(put_seq, Arc::clone(&entry));
            merged.fresh.push(entry);
        }
        merged
    }

    /// Says that this node has it.
    pub(crate) fn offer(&self, node: &NodeName, life: Life, now: Duration) -> Offer {
        Offer {
            node: node.as_str().to_owned(),
            at: Position {
                life,
                seq: self.seq,
            },
            left: millis(self.deadline.saturating_sub(now)),
            formerly: self.formerly.clone(),
        }
    }

    /// The entries after a number, as many as fit into so many bytes, at least one if there is any; each with what it stands beside.
    pub(crate) fn part(
        &self,
        set: Offer,
        after: Option<u64>,
        bytes: usize,
        beside: impl Fn(&Entry) -> Vec<PresenceRef>,
    ) -> HeldPart {
        let after = after.unwrap_or(0);
        let mut room = bytes;
        let mut entries = Vec::new();
        let mut more = false;
        for entry in self
            .entries
            .range(after.saturating_add(1)..)
            .map(|(_, entry)| entry)
        {
            let value = value(entry, beside(entry));
            let size = wire_size(entry) + value.beside.len() * (PresenceRef::TEXT_LEN + 1);
            if size > room && !entries.is_empty() {
                more = true;
                break;
            }
            room = room.saturating_sub(size);
            entries.push(value);
        }
        HeldPart {
            set,
            after: Some(after),
            entries,
            more,
        }
    }
}

/// What another set added to one.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) fresh: Vec<Arc<Entry>>,
    /// Whose newer value is among the fresh ones, by the number of that.
    pub(crate) replaced: BTreeMap<u64, Arc<Entry>>,
}

fn value(entry: &Entry, beside: Vec<PresenceRef>) -> HeldValue {
    HeldValue {
        topic: Arc::clone(&entry.topic),
        key: Arc::clone(&entry.key),
        meta: entry.meta.clone(),
        owner: entry.owner,
        reference: entry.reference,
        previous: entry.previous,
        beside,
    }
}

/// A held set that is on its way here. Nobody sees it before its last part.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) node: NodeName,
    pub(crate) life: Life,
    asked: Duration,
    /// After so long without a part the question is taken for lost.
    patience: Duration,
    seq: Option<u64>,
    pub(crate) entries: BTreeMap<u64, Arc<Entry>>,
    pub(crate) told: Told,
}

/// What becomes of a set that is on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The entries after that number are to be asked for; nothing: all of them, since the set has changed.
    Ask(Option<u64>),
    /// Nothing: it is not the part that was asked for. One that came late, or twice.
    Old,
    /// That was the last part.
    Complete,
    /// The peer does not have it any more, or does not speak the truth.
    Dropped,
}

impl Taking {
    pub(crate) fn new(node: NodeName, life: Life, asked: Duration) -> Self {
        Self {
            node,
            life,
            asked,
            patience: RETRY_PERIOD,
            seq: None,
            entries: BTreeMap::new(),
            told: Told::none(),
        }
    }

    /// Whether it is that set.
    pub(crate) fn is_of(&self, node: &NodeName, life: Life) -> bool {
        (&self.node, self.life) == (node, life)
    }

    /// The last entry that is here: those after it are to be asked for. Nothing: all.
    pub(crate) fn last(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(last, _)| *last)
    }

    /// The next part is asked for.
    pub(crate) fn ask(&mut self, now: Duration) {
        self.asked = now;
    }

    /// Whether it is asked for again: the question is taken for lost, or the answer. It may only be slow, so what is here stays, and the next
    /// time it is given longer.
    pub(crate) fn ask_again(&mut self, now: Duration) -> bool {
        let is_lost = self.asked + self.patience <= now;
        if is_lost {
            self.asked = now;
            self.patience = (2 * self.patience).min(LONGEST_PATIENCE);
        }
        is_lost
    }

    /// Whether a part is the next one. An earlier version does not say what it answers: of what it sends nothing that is here is the next.
    fn is_next(&self, part: &HeldPart) -> bool {
        let first = part.entries.first().map(|value| value.reference.put_seq());
        match part.after {
            Some(after) => after == self.last().unwrap_or(0),
            None => first.is_none_or(|first| self.last().is_none_or(|last| first > last)),
        }
    }

    /// Adds a part.
    pub(crate) fn add(
        &mut self,
        part: &HeldPart,
        share: impl FnMut(&Arc<str>) -> Arc<str>,
    ) -> Taken {
        if !self.is_next(part) {
            return Taken::Old;
        }
        let set = &part.set;
        if set.left == 0 {
            return Taken::Dropped;
        }
        if *self.seq.get_or_insert(set.at.seq) != set.at.seq {
            self.entries.clear();
            self.told = Told::none();
            self.seq = None;
            return Taken::Ask(None);
        }
        if !self.put_all(&part.entries, share) {
            return Taken::Dropped;
        }
        match (part.more, part.entries.is_empty()) {
            (false, _) => Taken::Complete,
            (true, false) => Taken::Ask(self.last()),
            (true, true) => Taken::Dropped,
        }
    }

    /// Whether all numbers follow each other, and none is beyond what the set covers.
    fn put_all(
        &mut self,
        values: &[HeldValue],
        mut share: impl FnMut(&Arc<str>) -> Arc<str>,
    ) -> bool {
        for value in values {
            let put_seq = value.reference.put_seq();
            let follows = self.last().is_none_or(|last| put_seq > last);
            if !follows || self.seq.is_none_or(|seq| put_seq > seq) {
                return false;
            }
            let entry = Entry {
                topic: share(&value.topic),
                key: Arc::clone(&value.key),
                meta: value.meta.clone(),
                reference: value.reference,
                previous: value.previous,
                node: self.node.clone(),
                owner: value.owner,
                verdict: Verdict::default(),
            };
            self.entries.insert(put_seq, Arc::new(entry));
            self.told.note(put_seq, &value.beside);
        }
        true
    }
}

/// Which lives are over, for as long as anybody may still have their entries.
///
/// What a node's own word or its link ended here is kept apart from what others told of its end: the first counts against all that
/// comes later, its node's own word included; the second only against what others offer, and there is a bound to what each of them may
/// tell, whatever names and numbers they make up.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    lives: BTreeMap<NodeName, BTreeMap<Life, End>>,
    told: BTreeMap<(NodeName, Life), ToldEnd>,
    /// How many of these each has told.
    tellers: BTreeMap<NodeName, usize>,
}

/// The end of a life, as somebody told first.
#[derive(Debug)]
struct ToldEnd {
    end: End,
    by: NodeName,
}

/// The end of a life.
#[derive(Clone, Copy, Debug)]
struct End {
    since: Duration,
    /// It was held, and its grace has ended here: so it is over under every later number that its tracker took.
    held_to_the_end: bool,
}

impl Ended {
    pub(crate) fn insert(&mut self, node: &NodeName, life: Life, now: Duration) {
        let lives = self.lives.entry(node.clone()).or_default();
        let end = lives.entry(life).or_insert(End {
            since: now,
            held_to_the_end: false,
        });
        end.since = now;
        // All below the lowest one are taken for over then: see `contains`.
        while lives.len() > REMEMBERED_LIVES {
            lives.pop_first();
        }
    }

    /// Another one says that this life is over. It counts from the first time: whoever says so again and again does not keep it here.
    pub(crate) fn insert_told(
        &mut self,
        node: &NodeName,
        life: Life,
        teller: &NodeName,
        now: Duration,
    ) {
        let key = (node.clone(), life);
        if self.is_witnessed(node, life) || self.told.contains_key(&key) {
            return;
        }
        let told = self.tellers.entry(teller.clone()).or_default();
        if *told == TOLD_LIVES {
            return;
        }
        *told += 1;
        let end = End {
            since: now,
            held_to_the_end: false,
        };
        let by = teller.clone();
        self.told.insert(key, ToldEnd { end, by });
    }

    /// That life was held here as another one told, and its grace has ended.
    pub(crate) fn insert_told_held(
        &mut self,
        node: &NodeName,
        life: Life,
        teller: &NodeName,
        now: Duration,
    ) {
        self.insert_told(node, life, teller, now);
        self.note(node, life, true);
    }

    /// That life was held here, and its grace has ended.
    pub(crate) fn insert_held(&mut self, node: &NodeName, life: Life, now: Duration) {
        self.insert(node, life, now);
        self.note(node, life, true);
    }

    /// The tracker of that life is listed again, under a later number.
    pub(crate) fn went_on(&mut self, node: &NodeName, life: Life) {
        self.note(node, life, false);
    }

    fn note(&mut self, node: &NodeName, life: Life, held_to_the_end: bool) {
        let end = self
            .lives
            .get_mut(node)
            .and_then(|lives| lives.get_mut(&life));
        let told = self.told.get_mut(&(node.clone(), life));
        let told = told.map(|told| &mut told.end);
        for end in end.into_iter().chain(told) {
            end.held_to_the_end = held_to_the_end;
        }
    }

    /// Whether that life was held here until its grace ended.
    pub(crate) fn was_held(&self, node: &NodeName, life: Life) -> bool {
        let end = self.lives.get(node).and_then(|lives| lives.get(&life));
        let told = self.told.get(&(node.clone(), life));
        let told = told.map(|told| &told.end);
        end.into_iter().chain(told).any(|end| end.held_to_the_end)
    }

    /// Whether that life is over, as anybody says.
    pub(crate) fn contains(&self, node: &NodeName, life: Life) -> bool {
        self.is_witnessed(node, life) || self.told.contains_key(&(node.clone(), life))
    }

    /// Whether that life is over, as its own node or its link said.
    pub(crate) fn is_witnessed(&self, node: &NodeName, life: Life) -> bool {
        let Some(lives) = self.lives.get(node) else {
            return false;
        };
        let full = lives.len() == REMEMBERED_LIVES;
        let below = full
            && lives
                .first_key_value()
                .is_some_and(|(first, _)| life < *first);
        below || lives.contains_key(&life)
    }

    /// Whether what speaks under that life, over a link that is up, is over. Below those that are remembered one by one that is only what
    /// has the incarnation of one of them: another process speaks, whose clock was set back, and the link took it since its earlier ones
    /// are forgotten there.
    pub(crate) fn is_over_for_link(&self, node: &NodeName, life: Life) -> bool {
        let lives = self.lives.get(node);
        let mut lives = lives.into_iter().flat_map(BTreeMap::keys);
        let is_known = lives.any(|over| over.incarnation == life.incarnation);
        is_known && self.is_witnessed(node, life)
    }

    /// Forgets what ended so long ago.
    pub(crate) fn forget(&mut self, now: Duration, after: Duration) {
        self.lives.retain(|_, lives| {
            lives.retain(|_, end| now < end.since + after);
            !lives.is_empty()
        });
        self.told.retain(|_, told| {
            let stays = now < told.end.since + after;
            if !stays && let Some(count) = self.tellers.get_mut(&told.by) {
                *count -= 1;
            }
            stays
        });
        self.tellers.retain(|_, count| *count > 0);
    }

    /// How many lives are remembered.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn len(&self) -> usize {
        let witnessed: usize = self.lives.values().map(BTreeMap::len).sum();
        witnessed + self.told.len()
    }
}

/// How often a held set takes another number in a vector period. Its tracker takes one in that time, its link perhaps another.
const MOVES: u32 = 4;

/// Lives of one node that are remembered one by one.
const REMEMBERED_LIVES: usize = 16;

/// Lives of all nodes that are remembered to be over because one other node said so; more of them are not noted.
const TOLD_LIVES: usize = 256;

#[cfg(test)]
mod tests;
