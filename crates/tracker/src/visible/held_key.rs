//! What is held under one topic and key, and which tracked entries stand beside it.
//!
//! A held entry waits for its user, who may have other places: entries that were there when it came to be held, and what
//! those become by updates, are not the user's return. What comes later is.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::mem;
use std::sync::Arc;

use matryoshka_pubsub::NodeName;

use super::{HeldBy, ShownHeld, WroteAs};
use crate::entry::Entry;
use crate::reference::PresenceRef;

/// What is held under one topic and key, if anything is, and all that is tracked there.
#[derive(Debug)]
pub(super) struct HeldKey {
    /// By reference, whatever node they are said to be of: a reference is listed once.
    held: BTreeMap<PresenceRef, Held>,
    /// All tracked entries that are visible here.
    beside: BTreeMap<PresenceRef, Arc<Entry>>,
    /// What was visible in a slot since something is held, and may be again, or what it was updated to meanwhile: of those whose link
    /// broke nobody says that they have ended.
    away: BTreeMap<Whose, PresenceRef>,
}

#[derive(Debug)]
struct Held {
    shown: ShownHeld,
    /// Beside these it stands as well, and not all that is held here does: nobody has listed them here yet.
    told: Box<[PresenceRef]>,
}

impl Held {
    fn is_of(&self, node: &NodeName) -> bool {
        self.shown.entry.node == *node
    }
}

/// Beside which tracked entries an entry comes to be held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside<'a> {
    /// Beside those that are visible: so is it.
    Visible,
    /// It is not visible: beside those alone that another node says it stands beside there, and their updates. Where others are visible,
    /// its user is back, for all that is known here.
    Told(&'a [PresenceRef]),
}

impl Beside<'_> {
    pub(crate) fn those_of(was_visible: bool) -> Self {
        match was_visible {
            true => Self::Visible,
            false => Self::Told(&[]),
        }
    }
}

impl HeldKey {
    /// Nothing yet, where these are tracked.
    pub(super) fn among<'a>(tracked: impl Iterator<Item = &'a Arc<Entry>>) -> Self {
        let beside = tracked.map(|entry| (entry.reference, Arc::clone(entry)));
        Self {
            held: BTreeMap::new(),
            beside: beside.collect(),
            away: BTreeMap::new(),
        }
    }

    /// Whether nothing is held, and what is tracked is few enough to be looked for anew when something is. Many are not: where they come
    /// and go all the time, each that is lost would cost a look at all of them.
    pub(super) fn is_idle(&self) -> bool {
        self.holds_nothing() && self.beside.len() <= FEW
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// If nothing is held after all changes of a step, nobody waits for what is away. Whether it is idle.
    pub(super) fn end_step(&mut self) -> bool {
        if self.holds_nothing() {
            self.away.clear();
        }
        self.is_idle()
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn held(&self) -> impl Iterator<Item = &ShownHeld> {
        self.held.values().map(|held| &held.shown)
    }

    /// The visible entries beside which these are held.
    pub(super) fn beside(&self) -> impl Iterator<Item = PresenceRef> {
        self.beside.keys().copied()
    }

    /// Adds a held entry, unless its user is back or it is there already. Whether it did.
    pub(super) fn hold(
        &mut self,
        entry: &Arc<Entry>,
        of: HeldBy,
        beside: Beside<'_>,
        wrote_as: WroteAs<'_>,
    ) -> bool {
        if let Beside::Told(told) = beside {
            let mut beside = self.beside.values();
            if !beside.all(|there| self.is_told(told, there, wrote_as)) {
                return false;
            }
        }
        let Slot::Vacant(vacant) = self.held.entry(entry.reference) else {
            return false;
        };
        let told = match beside {
            Beside::Visible => Box::default(),
            Beside::Told(told) => Box::from(told),
        };
        let shown = ShownHeld::new(entry, of);
        vacant.insert(Held { shown, told });
        true
    }

    /// What is held under the reference of that entry.
    pub(super) fn get(&self, entry: &Entry) -> Option<&ShownHeld> {
        self.held.get(&entry.reference).map(|held| &held.shown)
    }

    /// Somebody else has a held entry from now on, or a later value of it. Whether it is here.
    pub(super) fn hand_over(&mut self, before: &Entry, entry: &Arc<Entry>, to: HeldBy) -> bool {
        let Slot::Occupied(held) = self.held.entry(before.reference) else {
            return false;
        };
        if !held.get().is_of(&entry.node) {
            return false;
        }
        let shown = ShownHeld::new(entry, to);
        let held = Held {
            shown,
            ..held.remove()
        };
        self.held.insert(entry.reference, held);
        true
    }

    /// Whether an entry is one of these, or what one was updated to, however often. Nobody has listed those here, so whose they were is not
    /// known: an update that its node made of a later value than one that is not there is taken for that.
    fn is_told(&self, told: &[PresenceRef], entry: &Entry, wrote_as: WroteAs<'_>) -> bool {
        let became = |told: PresenceRef, was: PresenceRef| {
            let is_no_later = || is_no_later(told, (was, entry), wrote_as);
            told == was || (is_no_later() && !self.beside.contains_key(&told))
        };
        told.iter().any(|told| {
            *told == entry.reference || entry.previous.is_some_and(|was| became(*told, was))
        })
    }

    /// A tracked entry becomes visible. It is the return of the user of all that it does not stand beside: those are held no longer, and are
    /// given back.
    pub(super) fn admit(&mut self, entry: &Arc<Entry>, wrote_as: WroteAs<'_>) -> Vec<ShownHeld> {
        let mut displaced = Vec::new();
        if !self.was_here(entry, wrote_as) {
            let held = mem::take(&mut self.held);
            for (place, held) in held {
                if self.is_told(&held.told, entry, wrote_as) {
                    self.held.insert(place, held);
                } else {
                    displaced.push(held.shown);
                }
            }
        }
        self.beside.insert(entry.reference, Arc::clone(entry));
        displaced
    }

    /// Whether an entry was visible before, or what it was updated from was: perhaps several times while nobody saw it here.
    fn was_here(&self, entry: &Entry, wrote_as: WroteAs<'_>) -> bool {
        let Some(here) = self.away.get(&whose(entry)).copied() else {
            return self.beside.contains_key(&entry.reference);
        };
        let is_no_later = |was| is_no_later(here, (was, entry), wrote_as);
        here == entry.reference || entry.previous.is_some_and(is_no_later)
    }

    /// An entry is not visible any more. What it may be updated to is no return, though it was held.
    pub(super) fn remove(&mut self, entry: &Entry) {
        let was_held = self.held.remove(&entry.reference).is_some();
        if was_held || self.beside.remove(&entry.reference).is_some() {
            self.away.insert(whose(entry), entry.reference);
        }
    }
}

/// What tells the tracked entries of one topic and key apart, whatever their values: a node, and an owner there.
type Whose = (NodeName, u64);

fn whose(entry: &Entry) -> Whose {
    (entry.node.clone(), entry.owner)
}

/// Whether one tracker wrote both, the first one no later: the second one is what an entry was before. A tracker that has taken another
/// number goes on counting.
fn is_no_later(a: PresenceRef, (b, entry): (PresenceRef, &Entry), wrote_as: WroteAs<'_>) -> bool {
    let one_wrote = a.has_writer_of(b) || wrote_as(entry, a.writer());
    one_wrote && a.put_seq() <= b.put_seq()
}

/// So many entries at most are looked for each time that something is held beside them.
const FEW: usize = 16;
