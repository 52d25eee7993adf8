//! What really happened, and whether the nodes' lists and diffs agree with it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::clock::Rate;
use super::network::{Index, SILENCE};
use crate::diff::Diff;
use crate::entry::Entry;
use crate::reference::PresenceRef;

/// The history of every value that was ever tracked.
#[derive(Debug, Default)]
pub(super) struct Truth {
    values: BTreeMap<PresenceRef, Fate>,
    /// How many places were ever tracked: what came by an update is the same place.
    places: u64,
    /// What each value was updated to.
    updates: BTreeMap<PresenceRef, PresenceRef>,
    restarts: BTreeMap<(Index, u64), Restart>,
    /// From when until when a node stood still, or a way was cut while its link was up.
    delays: Vec<(Duration, Duration)>,
    /// What time it is.
    now: Duration,
    /// The rate of the slowest clock, and of the fastest.
    slowest: Option<Rate>,
    fastest: Option<Rate>,
}

#[derive(Debug)]
struct Fate {
    entry: Arc<Entry>,
    writer: Index,
    generation: u64,
    /// Which place it is of, in the order in which they were tracked.
    place: u64,
    ended: Option<u64>,
    /// Its connection ended or is about to be closed, or its tracker ended after announcing a restart: it may be listed for a while.
    held: bool,
    /// When it ended or came to be held, whichever was first.
    live_until: Option<Duration>,
    /// Its connection ended, and it is held until then by its own node's clock.
    dropped: Option<Duration>,
    /// Who knew that it is held before its connection was closed, and which places there were by then.
    known_to: BTreeMap<Index, u64>,
}

/// A tracker that announced a restart.
#[derive(Clone, Copy, Debug)]
struct Restart {
    grace: Duration,
    /// When it ended, if it has.
    ended: Option<Duration>,
    /// When the last of those lost sight of it who had heard it, if anybody has. There a grace begins.
    lost: Option<Duration>,
    /// When the first of those did.
    first_lost: Option<Duration>,
}

/// Who looks, and what it knows of links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) viewer: Index,
    pub(super) step: u64,
    pub(super) now: Duration,
    /// Its own tracker has said goodbye.
    pub(super) leaves: bool,
}

/// What a node knows of others.
pub(super) trait View {
    /// In which step the link to a node came to be, if there is one.
    fn link_born(&self, node: Index) -> Option<u64>;

    /// Whether the same life of a node is seen, over the same link, as before the input.
    fn steady(&self, node: Index) -> bool;

    /// Whether a tracker is heard directly, and its copy shown.
    fn shows(&self, node: Index, generation: u64) -> bool;

    /// Whether what a node says comes through, whatever is thought of the link.
    fn is_reached_by(&self, node: Index) -> bool;

    /// Whether there is a copy of a tracker that is not shown.
    fn hides(&self, node: Index, generation: u64) -> bool;

    /// Whether what that tracker had is held, because it said itself that it is over.
    fn said_over(&self, node: Index, generation: u64) -> bool;
}

impl Truth {
    /// Some node has a clock of that rate.
    pub(super) fn measured_by(&mut self, rate: Rate) {
        self.slowest = Some(self.slowest.map_or(rate, |slowest| slowest.min(rate)));
        self.fastest = Some(self.fastest.map_or(rate, |fastest| fastest.max(rate)));
    }

    /// How long what takes so long by a clock may take at most.
    fn at_most(&self, shown: Duration) -> Duration {
        self.slowest.unwrap_or(Rate::TRUE).takes(shown)
    }

    pub(super) fn written(&mut self, entry: &Arc<Entry>, writer: Index, generation: u64) {
        let before = entry.previous.and_then(|before| self.values.get(&before));
        self.places += u64::from(before.is_none());
        let fate = Fate {
            entry: Arc::clone(entry),
            writer,
            generation,
            place: before.map_or(self.places, |before| before.place),
            ended: None,
            held: false,
            live_until: None,
            dropped: None,
            known_to: BTreeMap::new(),
        };
        let before = self.values.insert(entry.reference, fate);
        assert!(before.is_none(), "{} was given twice", entry.reference);
        self.updates
            .extend(entry.previous.map(|before| (before, entry.reference)));
    }

    /// Time goes on: what is told next happens then.
    pub(super) fn passes(&mut self, now: Duration) {
        self.now = now;
    }

    pub(super) fn ended(&mut self, reference: PresenceRef, step: u64) {
        if let Some(fate) = self.values.get_mut(&reference) {
            fate.ended.get_or_insert(step);
            fate.live_until.get_or_insert(self.now);
        }
    }

    pub(super) fn held(&mut self, reference: PresenceRef) {
        if let Some(fate) = self.values.get_mut(&reference) {
            fate.held = true;
            fate.live_until.get_or_insert(self.now);
        }
    }

    /// Its connection has ended, and it has a grace of its own.
    pub(super) fn dropped(&mut self, reference: PresenceRef, until: Duration) {
        if let Some(fate) = self.values.get_mut(&reference) {
            fate.dropped = Some(until);
        }
    }

    /// Its node was told that those know that it is held.
    pub(super) fn hold_confirmed(&mut self, reference: PresenceRef, by: &BTreeSet<Index>) {
        if let Some(fate) = self.values.get_mut(&reference) {
            fate.known_to.extend(by.iter().map(|by| (*by, self.places)));
        }
    }

    /// Another tracker begins on a node: what it knows of places that are held it has from others, who may not have been asked.
    pub(super) fn begins(&mut self, node: Index) {
        for fate in self.values.values_mut() {
            fate.known_to.remove(&node);
        }
    }

    /// Whether somebody came back in a diff, and the old place left in it that this node knew to be held.
    pub(super) fn moves(&self, diff: &Diff, viewer: Index) -> bool {
        let came = |new: &Arc<Entry>, old: &Arc<Entry>| {
            new.key == old.key && self.is_return(new.reference, old.reference, viewer)
        };
        let mut left = diff.leaves.iter();
        left.any(|old| diff.joins.iter().any(|new| came(new, old)))
    }

    /// Whether a place was tracked after that node knew another one to be held.
    fn is_return(&self, new: PresenceRef, old: PresenceRef, viewer: Index) -> bool {
        let known = self.fate(old).known_to.get(&viewer);
        known.is_some_and(|places| self.fate(new).place > *places)
    }

    pub(super) fn restart_announced(&mut self, writer: Index, generation: u64, grace: Duration) {
        let restart = Restart {
            grace,
            ended: None,
            lost: None,
            first_lost: None,
        };
        self.restarts.insert((writer, generation), restart);
    }

    /// A process announced its restart that had an earlier tracker: of that, too, it may count.
    pub(super) fn taken_for_restarted(&mut self, of: (Index, u64), grace: Duration, now: Duration) {
        self.restarts.entry(of).or_insert(Restart {
            grace,
            ended: Some(now),
            lost: Some(now),
            first_lost: Some(now),
        });
    }

    /// Until when an entry is held that has lost its connection, if the viewer's own tracker holds it: of one that restarted others say how
    /// long it is held.
    fn dropped_here(&self, fate: &Fate, sight: Sight) -> Option<Duration> {
        let here = fate.writer == sight.viewer && self.restarted(fate) != Some(true);
        fate.dropped.filter(|_| here)
    }

    /// Whether another node had something under that key that has ended: it may have come and gone in what one message told.
    fn was_back(&self, entry: &Entry) -> bool {
        let mut others = self.values.values().filter(|fate| {
            let ended = fate.ended.is_some() || fate.held;
            ended && fate.entry.node != entry.node
        });
        others.any(|fate| (&fate.entry.topic, &fate.entry.key) == (&entry.topic, &entry.key))
    }

    /// A node that heard a tracker does so no more: the link is over, or another tracker speaks.
    pub(super) fn lost_sight(&mut self, of: (Index, u64), now: Duration) {
        if let Some(restart) = self.restarts.get_mut(&of) {
            restart.lost = Some(now);
            restart.first_lost.get_or_insert(now);
        }
    }

    /// A node ends the grace of what that tracker had: it began where somebody lost sight of it first, and was told on from there.
    pub(super) fn grace_ends(&self, of: (Index, u64), now: Duration) {
        let Some(restart) = self.restarts.get(&of) else {
            return;
        };
        let first = restart.first_lost.expect("I26: somebody lost sight of it");
        let least = self.fastest.unwrap_or(Rate::TRUE).takes(restart.grace);
        assert!(
            now + CUT_SHORT >= first + least,
            "I26: {of:?} was lost at {first:?}, and held for {:?} at {now:?}",
            restart.grace
        );
    }

    /// A node stands still, or nothing gets through from one to another until the link is given up: what is under way comes so much later.
    pub(super) fn delayed(&mut self, from: Duration, until: Duration) {
        self.delays.push((from, until));
    }

    /// For how long messages were kept back since then, by all of these together.
    fn delays_since(&self, since: Duration) -> Duration {
        let delays = self.delays.iter();
        delays
            .map(|(from, until)| until.saturating_sub(since.max(*from)))
            .sum()
    }

    /// A node's tracker is over, and all it tracked: at once, or as announced.
    pub(super) fn generation_ended(&mut self, of: (Index, u64), step: u64, now: Duration) {
        let restart = self.restarts.get_mut(&of);
        let held = restart.is_some();
        if let Some(restart) = restart {
            restart.ended = Some(now);
        }
        for fate in self.values.values_mut() {
            if (fate.writer, fate.generation) == of {
                fate.live_until.get_or_insert(now);
                fate.held |= held;
                if !held {
                    fate.ended.get_or_insert(step);
                }
            }
        }
    }

    /// Everything tracked on live nodes.
    pub(super) fn now(&self) -> BTreeMap<PresenceRef, Arc<Entry>> {
        let values = self.values.iter();
        let live = values.filter(|(_, fate)| fate.ended.is_none() && !fate.held);
        live.map(|(reference, fate)| (*reference, Arc::clone(&fate.entry)))
            .collect()
    }

    /// Whether the tracker has ended that announced a restart; nothing if it did not announce one.
    fn restarted(&self, fate: &Fate) -> Option<bool> {
        let restart = self.restarts.get(&(fate.writer, fate.generation))?;
        Some(restart.ended.is_some())
    }

    /// Whether entries of that tracker may be listed though it is not heard: for the grace, by whatever clock, which begins when a node
    /// loses sight of it.
    /// Whoever is told of it by another one hears how much is left, so what the telling takes comes on top. A node that stands still
    /// hears and ends nothing meanwhile, and tells the others late what it heard before; what waits for a way that is cut is late as well.
    fn may_be_held(&self, fate: &Fate, now: Duration) -> bool {
        let restart = self.restarts.get(&(fate.writer, fate.generation));
        restart.is_some_and(|restart| {
            let counted = self.at_most(restart.grace + SILENCE) + ON_ITS_WAY;
            let over = restart
                .lost
                .map(|lost| lost + counted + self.delays_since(lost));
            over.is_none_or(|over| now <= over)
        })
    }

    /// Whether nothing that is held has to be listed any longer by then, as the fastest clock counts: where an entry has a grace of its
    /// own, or from where somebody lost sight of its tracker first.
    fn grace_is_over(&self, fate: &Fate, now: Duration) -> bool {
        let restart = self.restarts.get(&(fate.writer, fate.generation));
        let least = |restart: &Restart| {
            let grace = self.fastest.unwrap_or(Rate::TRUE).takes(restart.grace);
            Some(restart.first_lost? + grace)
        };
        let ends = fate.dropped.into_iter().chain(restart.and_then(least));
        ends.min().is_some_and(|end| now + CUT_SHORT >= end)
    }

    /// Why something held may have given way to what is not listed here: it is tracked by a node that is not heard here, or has ended
    /// since, and may have come and gone elsewhere in what one message told.
    fn gave_way_elsewhere(&self, held: &Fate, heard: impl Fn(&Fate) -> bool) -> bool {
        let place = |fate: &Fate| (Arc::clone(&fate.entry.topic), Arc::clone(&fate.entry.key));
        let others = self.values.values().filter(|fate| fate.place != held.place);
        let mut others = others.filter(|fate| place(fate) == place(held));
        others.any(|fate| match (fate.live_until, held.live_until) {
            (Some(until), Some(since)) => until + NOTICED >= since,
            _ => !heard(fate),
        })
    }

    /// The values that one came of by updates, the last first.
    fn before(&self, entry: &Entry) -> impl Iterator<Item = PresenceRef> {
        let earlier = |before: &PresenceRef| self.fate(*before).entry.previous;
        std::iter::successors(entry.previous, earlier)
    }

    /// The values that one was updated to, in order.
    fn after(&self, entry: &Entry) -> impl Iterator<Item = PresenceRef> {
        let later = |before: &PresenceRef| self.updates.get(before).copied();
        std::iter::successors(later(&entry.reference), later)
    }

    fn fate(&self, reference: PresenceRef) -> &Fate {
        let fate = self.values.get(&reference);
        fate.expect("I10: nobody lists what nobody tracked")
    }
}

/// Replays one node's diffs, as a consumer does that knows nothing else.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// By reference: nobody gives one twice, as [`Truth::written`] sees to.
    list: BTreeMap<PresenceRef, Arc<Entry>>,
    /// What left over a link when it was over at its writer: it must never come back.
    over: BTreeSet<PresenceRef>,
    /// What left because its user was back elsewhere or its grace had ended, while its node was out of reach. Only that node's
    /// own word, of the very life that was taken for over, brings it back: as after a partition.
    presumed: BTreeSet<PresenceRef>,
    /// Places that were listed as held when they were listed first: their nodes were not heard here.
    came_held: BTreeSet<u64>,
    /// The latest generation seen of each node.
    generations: BTreeMap<Index, u64>,
}

impl Watcher {
    /// Applies a diff that must be exact.
    pub(super) fn diff(&mut self, diff: &Diff, sight: Sight, truth: &Truth, view: &impl View) {
        assert!(
            !(diff.joins.is_empty() && diff.leaves.is_empty()),
            "I14: an empty diff"
        );
        for entry in &diff.leaves {
            assert_eq!(entry.topic, diff.topic, "I14: a diff has one topic");
            let left = self.list.remove(&entry.reference);
            assert_eq!(left.as_ref(), Some(entry), "I14: left what was not there");
            self.left(entry, sight, truth, view);
        }
        for entry in &diff.joins {
            assert_eq!(entry.topic, diff.topic, "I14: a diff has one topic");
            let was = self.list.insert(entry.reference, Arc::clone(entry));
            assert_eq!(was, None, "I14: joined what was there");
            self.joined(entry, sight, truth, view);
        }
        self.graces(diff, sight, truth);
        self.never_absent(diff, sight, truth, view);
        self.updates(diff, sight, truth, view);
        self.places(diff, sight, truth, view);
    }

    /// On its own node what has lost its connection is listed to the end of its grace, unless something new comes under its key, or the
    /// tracker is over.
    fn graces(&self, diff: &Diff, sight: Sight, truth: &Truth) {
        for entry in &diff.leaves {
            let fate = truth.fate(entry.reference);
            let Some(until) = truth.dropped_here(fate, sight) else {
                continue;
            };
            let over = sight.leaves || sight.now + CUT_SHORT >= until;
            let is_back = diff.joins.iter().any(|new| new.key == entry.key);
            assert!(
                over || is_back || truth.was_back(entry),
                "I26: {entry:?} left at {:?}, and is held until {until:?}",
                sight.now
            );
        }
    }

    /// Whoever's entry it is: what is held leaves alone only when its grace is over or its node is out of sight. While both its node and
    /// that of its user's new place are heard, the key is never absent.
    fn never_absent(&self, diff: &Diff, sight: Sight, truth: &Truth, view: &impl View) {
        for entry in &diff.leaves {
            let fate = truth.fate(entry.reference);
            let untracked = !fate.held || fate.ended.is_some();
            let in_sight = view.steady(fate.writer) && !view.hides(fate.writer, fate.generation);
            if untracked || sight.leaves || !in_sight || truth.grace_is_over(fate, sight.now) {
                continue;
            }
            let mut there = self.list.values().filter(|other| {
                (&other.topic, &other.key) == (&entry.topic, &entry.key)
                    && !truth.fate(other.reference).held
            });
            let heard = |other: &Fate| {
                let shown = view.shows(other.writer, other.generation);
                other.writer == sight.viewer || (shown && view.is_reached_by(other.writer))
            };
            assert!(
                there.next().is_some() || truth.gave_way_elsewhere(fate, heard),
                "I14: {entry:?} is held, and left alone at {:?}",
                sight.now
            );
        }
    }

    /// Whose connection is closed once all know that its entry is held is nowhere listed there and where its user is back. Of two held
    /// entries none gives way to the other, and none to a place that was there before, as held though it may have been.
    fn places(&self, diff: &Diff, sight: Sight, truth: &Truth, view: &impl View) {
        for entry in &diff.joins {
            let fate = truth.fate(entry.reference);
            let own = fate.writer == sight.viewer;
            let heard = own || view.shows(fate.writer, fate.generation);
            if !heard || fate.held || fate.ended.is_some() || self.came_held.contains(&fate.place) {
                continue;
            }
            let place = |entry: &Entry| (Arc::clone(&entry.topic), Arc::clone(&entry.key));
            let mut beside = self.list.values().filter(|old| place(old) == place(entry));
            let old =
                beside.find(|old| truth.is_return(entry.reference, old.reference, sight.viewer));
            assert_eq!(
                old, None,
                "I14: it is known to be held, and did not leave in the diff with {entry:?}"
            );
        }
    }

    fn left(&mut self, entry: &Arc<Entry>, sight: Sight, truth: &Truth, view: &impl View) {
        let fate = truth.fate(entry.reference);
        let steady = view.steady(fate.writer);
        let own = fate.writer == sight.viewer;
        // Without link, or with another life, it was only hidden: then `joined` knows better what may come back. But what was
        // held and is not hidden by the end of a link is over: its user is back, or its grace has ended.
        let linked = view.link_born(fate.writer).is_some() && steady;
        let last = truth.restarted(fate).unwrap_or(linked);
        if !(own || linked || (steady && last && fate.held)) {
            return;
        }
        let certain = own
            || view.shows(fate.writer, fate.generation)
            || view.said_over(fate.writer, fate.generation);
        if fate.ended.is_some() || (fate.held && last) {
            let over = if certain {
                &mut self.over
            } else {
                &mut self.presumed
            };
            over.insert(entry.reference);
        }
    }

    fn joined(&mut self, entry: &Arc<Entry>, sight: Sight, truth: &Truth, view: &impl View) {
        let fate = truth.fate(entry.reference);
        assert_eq!(
            *fate.entry, **entry,
            "I10: an entry differs from what was written"
        );
        let back = self.over.contains(&entry.reference)
            || (self.presumed.remove(&entry.reference)
                && !view.shows(fate.writer, fate.generation));
        assert!(
            !back,
            "I8: {entry:?} came back after it was over and had left"
        );
        // Of whom is heard and shown nothing is held, though it announced its restart.
        let shown = view.shows(fate.writer, fate.generation);
        if !shown && fate.writer != sight.viewer {
            self.came_held.insert(fate.place);
        }
        if !shown && truth.may_be_held(fate, sight.now) {
            return;
        }
        let latest = self
            .generations
            .entry(fate.writer)
            .or_insert(fate.generation);
        assert!(
            fate.generation >= *latest,
            "I20: an entry of an older life joined"
        );
        *latest = fate.generation;
        if fate.writer == sight.viewer {
            return;
        }
        let born = view.link_born(fate.writer);
        let born = born.expect("I17: no link, so nothing of that node joins");
        if let Some(ended) = fate.ended {
            assert!(
                ended >= born,
                "I8: {entry:?} joined at step {}, but was over in step {ended}, before the link of step {born}",
                sight.step
            );
        }
    }

    /// An update is one leave and one join in one diff, for whoever listed the value before, and however many updates come at once: of
    /// what one `track` made no two values are listed, and as long as it is tracked and its node is heard, one is.
    fn updates(&self, diff: &Diff, sight: Sight, truth: &Truth, view: &impl View) {
        for entry in &diff.joins {
            let mut before = truth.before(entry);
            assert!(
                !before.any(|before| self.list.contains_key(&before)),
                "I16: {entry:?} and a value that it replaced are both listed"
            );
        }
        for entry in &diff.leaves {
            let fate = truth.fate(entry.reference);
            let last = truth.after(entry).last().map(|last| truth.fate(last));
            let tracked = last.is_some_and(|last| last.live_until.is_none());
            let own = fate.writer == sight.viewer;
            let heard = view.steady(fate.writer) && view.shows(fate.writer, fate.generation);
            if !tracked || sight.leaves || !(own || heard) {
                continue;
            }
            let mut after = truth.after(entry);
            assert!(
                after.any(|after| diff.joins.iter().any(|new| new.reference == after)),
                "I16: {entry:?} was updated, and left without a later value in the diff"
            );
        }
    }

    /// The diffs so far, replayed, are the list.
    pub(super) fn compare<'a>(&self, listed: impl Iterator<Item = &'a Arc<Entry>>) {
        let mut count = 0;
        for entry in listed {
            count += 1;
            assert_eq!(
                self.list.get(&entry.reference),
                Some(entry),
                "I14: the diffs replayed are not the list"
            );
        }
        assert_eq!(count, self.list.len(), "I14: the diffs replayed list more");
    }

    /// At any time, all entries of a node are of one of its lives, and only of nodes that there is a link to; but for what is held.
    pub(super) fn lives(&self, sight: Sight, truth: &Truth, view: &impl View) {
        let mut lives = BTreeMap::new();
        for entry in self.list.values() {
            let fate = truth.fate(entry.reference);
            if let Some(until) = truth.dropped_here(fate, sight) {
                let late = truth.delays_since(until) + CUT_SHORT;
                assert!(sight.now <= until + late, "I26: {entry:?} is held for ever");
            }
            let shown = view.shows(fate.writer, fate.generation);
            if !shown && truth.may_be_held(fate, sight.now) {
                continue;
            }
            let life = lives.entry(fate.writer).or_insert(fate.generation);
            assert_eq!(*life, fate.generation, "I15: two lives of one node at once");
            assert!(
                fate.writer == sight.viewer || view.link_born(fate.writer).is_some(),
                "I17: an entry of a node without link is listed"
            );
        }
    }

    /// Whether something of that tracker was over here, or taken for that.
    #[cfg(test)]
    pub(super) fn saw_over(&self, of: (Index, u64), truth: &Truth) -> bool {
        let mut over = self.over.union(&self.presumed);
        over.any(|reference| {
            let fate = truth.fate(*reference);
            (fate.writer, fate.generation) == of
        })
    }

    /// What left here as over, or taken for that.
    #[cfg(test)]
    pub(super) fn seen_to_leave(&self) -> BTreeSet<PresenceRef> {
        self.over.union(&self.presumed).copied().collect()
    }

    pub(super) fn by_reference(&self) -> &BTreeMap<PresenceRef, Arc<Entry>> {
        &self.list
    }
}

/// What is told of the time that is left is told in whole milliseconds, from one to the next, and time moves by as much here.
const CUT_SHORT: Duration = Duration::from_millis(8);

/// So long after the end of an entry the last node may have noticed it that was linked to its own: until a link is given up, or what
/// stood still goes on.
const NOTICED: Duration = Duration::from_secs(6);

/// So long a message may take in the simulated network that tells how much is left of a grace: 61 ms on its way, 500 ms more if it is
/// overtaken, besides waiting behind the news that the link before is over, which come up to a silence late. Of several tellers the
/// earliest end counts, so one such way is allowed and not one for each of them.
const ON_ITS_WAY: Duration = Duration::from_millis(61 + 500);
