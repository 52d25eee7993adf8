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

use super::{HeldBy, ShownHeld};
use crate::entry::Entry;
use crate::reference::PresenceRef;

/// The held entries of one topic and key that are visible; at least one.
#[derive(Debug)]
pub(super) struct HeldKey {
    held: BTreeMap<HeldPlace, Held>,
    /// All tracked entries that are visible here, and some that were and may be again: of those whose link broke nobody says that they
    /// have ended. All that comes else ends what is held, so there are no more of them than there were at once.
    beside: BTreeMap<PresenceRef, Neighbour>,
}

#[derive(Debug)]
struct Held {
    shown: ShownHeld,
    /// Beside these it stands as well, and not all that is held here does: nobody has listed them here yet.
    told: Box<[PresenceRef]>,
}

impl Held {
    fn is_told(&self, reference: PresenceRef) -> bool {
        self.told.contains(&reference)
    }
}

/// A tracked entry beside which all is held.
#[derive(Debug)]
struct Neighbour {
    previous: Option<PresenceRef>,
    visible: bool,
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
        let beside = tracked.map(|entry| (entry.reference, Neighbour::of(entry)));
        Self {
            held: BTreeMap::new(),
            beside: beside.collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn held(&self) -> impl Iterator<Item = &ShownHeld> {
        self.held.values().map(|held| &held.shown)
    }

    /// The visible entries beside which these are held.
    pub(super) fn beside(&self) -> impl Iterator<Item = PresenceRef> {
        let visible = self.beside.iter().filter(|(_, beside)| beside.visible);
        visible.map(|(reference, _)| *reference)
    }

    /// Adds a held entry, unless its user is back or it is there already. Whether it did.
    pub(super) fn hold(&mut self, entry: &Arc<Entry>, of: HeldBy, beside: Beside<'_>) -> bool {
        if let Beside::Told(told) = beside
            && !self.all_of(told)
        {
            return false;
        }
        let Slot::Vacant(vacant) = self.held.entry(place(entry)) else {
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

    /// What is held in the place of that entry.
    pub(super) fn get(&self, entry: &Entry) -> Option<&ShownHeld> {
        self.held.get(&place(entry)).map(|held| &held.shown)
    }

    /// Somebody else has a held entry from now on. Whether it is here.
    pub(super) fn hand_over(&mut self, entry: &Arc<Entry>, to: HeldBy) -> bool {
        let held = self.held.get_mut(&place(entry));
        held.map(|held| held.shown = ShownHeld::new(entry, to))
            .is_some()
    }

    /// Whether all that is visible is one of these, or the update of one.
    fn all_of(&self, told: &[PresenceRef]) -> bool {
        let mut visible = self.beside.iter().filter(|(_, beside)| beside.visible);
        visible.all(|(reference, beside)| {
            told.contains(reference) || beside.previous.is_some_and(|was| told.contains(&was))
        })
    }

    /// A tracked entry becomes visible. It is the return of the user of all that it does not stand beside: those are held no longer, and are
    /// given back.
    pub(super) fn admit(&mut self, entry: &Entry) -> Vec<ShownHeld> {
        let known = self.beside.contains_key(&entry.reference);
        let was = entry.previous.and_then(|was| self.beside.remove(&was));
        let mut displaced = BTreeMap::new();
        if !known && was.is_none() {
            let is_told = |held: &Held| {
                held.is_told(entry.reference) || entry.previous.is_some_and(|was| held.is_told(was))
            };
            let held = mem::take(&mut self.held).into_iter();
            (self.held, displaced) = held.partition(|(_, held)| is_told(held));
        }
        self.beside.insert(entry.reference, Neighbour::of(entry));
        displaced.into_values().map(|held| held.shown).collect()
    }

    /// An entry is not visible any more. If it was held, what it may be updated to is no return.
    pub(super) fn remove(&mut self, entry: &Entry) {
        if self.held.remove(&place(entry)).is_some() {
            self.beside.insert(entry.reference, Neighbour::absent());
        } else if let Some(beside) = self.beside.get_mut(&entry.reference) {
            beside.visible = false;
        }
    }
}

impl Neighbour {
    fn of(entry: &Entry) -> Self {
        Self {
            previous: entry.previous,
            visible: true,
        }
    }

    fn absent() -> Self {
        Self {
            previous: None,
            visible: false,
        }
    }
}

/// What tells the held entries of one topic and key apart.
type HeldPlace = (PresenceRef, NodeName);

fn place(entry: &Entry) -> HeldPlace {
    (entry.reference, entry.node.clone())
}
