//! The promises about lives that end, for good or for long: I15, I18, I19 and I20.

use super::splits::Change;
use super::*;

#[test]
fn i15_no_entry_of_an_old_life_beside_the_new_ones() {
    let met = [
        "the old life is still listed elsewhere",
        "the new life is listed elsewhere",
        "it crashed",
        "its node left",
        "another tracker in the same process",
        "begun at an earlier time in the same process",
    ];
    let ends = prop_oneof![
        Just(End::Crash),
        Just(End::Leaving),
        Just(End::TrackerAlone)
    ];
    let given = (history(), 0..5usize, ends);
    holds(96, &met, given, |(history, which, end), tally| {
        let mut world = steady(history);
        let node = which % world.nodes.len();
        world.tracks_something(node);
        let old: BTreeSet<PresenceRef> = world.tracked(node).into_keys().collect();
        prop_assert!(!old.is_empty());
        let name = world.names[node].clone();
        let before = world.nodes[node].life;
        world.ends_and_begins(node, end);
        let below = world.nodes[node].life < before;
        tally.note(met[2], matches!(end, End::Crash));
        tally.note(met[3], matches!(end, End::Leaving));
        tally.note(met[4], matches!(end, End::TrackerAlone));
        tally.note(met[5], below);
        world.track(node);
        let mut over = vec![false; world.nodes.len()];
        world.watch(Duration::from_secs(8), |world| {
            for (viewer, over) in over.iter_mut().enumerate() {
                let list = world
                    .list(viewer)
                    .into_values()
                    .filter(|entry| entry.node == name);
                let (before, now): (Vec<_>, Vec<_>) =
                    list.partition(|entry| old.contains(&entry.reference));
                assert!(
                    before.is_empty() || now.is_empty(),
                    "two lives at once: {before:?} {now:?}"
                );
                assert!(before.is_empty() || !*over, "it came back: {before:?}");
                *over |= before.is_empty();
                tally.note(met[0], viewer != node && !before.is_empty());
                tally.note(met[1], viewer != node && !now.is_empty());
            }
        });
        prop_assert!(over.into_iter().all(|over| over));
        let anew = world.tracked(node);
        for viewer in world.alive() {
            let list = world.list(viewer);
            prop_assert!(anew.iter().all(|(r, entry)| list.get(r) == Some(entry)));
        }
        Ok(())
    });
}

/// How a life ends, and another begins.
#[derive(Clone, Copy, Debug)]
enum End {
    Crash,
    Leaving,
    Restart,
    TrackerAlone,
    /// Whoever comes next has a name that nobody had before.
    ForEver,
}

impl End {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            4 => Just(Self::Crash),
            1 => Just(Self::Leaving),
            2 => Just(Self::Restart),
            2 => Just(Self::TrackerAlone),
            2 => Just(Self::ForEver),
        ]
    }
}

/// Of so many lives of one name the ends are remembered one by one, whatever the number of restarts.
const REMEMBERED_ENDS: usize = 16;

impl World {
    /// A node of a new name.
    fn newcomer(&mut self) -> Index {
        let index = self.nodes.len();
        self.add_node(format!("newcomer{index}"));
        self.start(index);
        self.heal_all();
        self.pass(Duration::from_millis(400));
        self.tracks_something(index);
        index
    }

    /// The node's tracker ends, and another one begins there; or one of a name that is not there again does.
    fn ends_and_begins(&mut self, node: Index, end: End) {
        match end {
            End::Crash => self.crash(node),
            End::Leaving => {
                self.say_goodbye(node, Goodbye::Leaving);
                self.pass(Duration::from_millis(100));
                self.crash(node);
            }
            End::Restart => {
                let grace = self.random.millis(4_000);
                self.announce_restart_for(node, grace, true);
                self.pass(Duration::from_millis(100));
                self.restart_as_announced(node);
            }
            End::TrackerAlone => self.restart_tracker(node),
            End::ForEver => {
                let stranger = self.newcomer();
                self.crash(stranger);
            }
        }
        if self.nodes[node].running.is_none() {
            self.start(node);
        }
    }

    /// That, and the next one is heard and tracks something.
    fn goes_on_after(&mut self, node: Index, end: End) {
        self.ends_and_begins(node, end);
        if matches!(end, End::ForEver) {
            return;
        }
        self.heal_all();
        self.pass(Duration::from_millis(400));
        self.track(node);
    }

    /// The lives of a node that a shard names, in whatever field, beside the present one and those that this tells of itself.
    fn over_and_named(&self, viewer: Index, of: Index) -> usize {
        let present = self.nodes[of].running.is_some();
        let lives = self.running(viewer).shard.lives_named().into_iter();
        let over = lives.filter(|life| {
            let generation = self.generations.get(&(of, *life)).copied();
            generation.is_some_and(|one| !present || one != self.nodes[of].generation)
        });
        over.count()
    }
}

/// All that is over was restarted, went under a name that does not come back, or died: while it is remembered, that is bounded
/// however often it happened, and two permdown periods later nothing in any shard names such a life or name.
#[test]
fn i18_of_what_is_over_nothing_is_kept_however_often_it_happened() {
    let met = [
        "more restarts of one name than ends that are remembered",
        "a name that was there and is named no more",
        "a life that is over is named at first",
        "a held set",
        "dead in the end, and named no more",
    ];
    let given = (
        history(),
        prop::collection::vec(End::any(), 1..40),
        any::<bool>(),
    );
    holds(32, &met, given, |(history, ends, dies), tally| {
        let mut world = steady(history);
        let (first, of_first) = (world.names.len(), 0);
        let restarts = ends.iter().filter(|end| !matches!(end, End::ForEver));
        tally.note(met[0], restarts.count() > REMEMBERED_ENDS + 4);
        for end in ends {
            world.goes_on_after(of_first, end);
            for viewer in 1..first {
                let named = world.over_and_named(viewer, of_first);
                // And those that are on their way to be forgotten: the copy's, the floor's and the held sets', of which there are as
                // many as restarts within a grace of 4 s.
                prop_assert!(named <= REMEMBERED_ENDS + 8, "n{} names {}", viewer, named);
                tally.note(met[2], named > 0);
                let held = world.running(viewer).shard.stats().held_sets_now;
                tally.add(met[3], held as usize);
            }
        }
        if dies {
            world.crash(of_first);
        }
        let remembrances = (0..world.nodes.len()).map(|node| world.remembrance(node));
        let remembrance = remembrances.max().unwrap_or_default();
        world.pass(remembrance + world.settings.permdown_period);
        for viewer in world.alive() {
            let shard = &world.running(viewer).shard;
            prop_assert_eq!(shard.stats().held_sets_now, 0);
            for of in 0..world.names.len() {
                prop_assert_eq!(
                    world.over_and_named(viewer, of),
                    0,
                    "n{} of n{}",
                    viewer,
                    of
                );
                let there = world.nodes[of].running.is_some();
                prop_assert!(
                    there || !shard.names(&world.names[of]),
                    "n{} names {}",
                    viewer,
                    world.names[of]
                );
                tally.note(met[1], of >= first);
                tally.note(met[4], of == of_first && !there);
            }
        }
        Ok(())
    });
}

/// One is out of reach until the others have forgotten it and it them. On both sides entries change, before that and after. When it is
/// back, all list everything as it is by then, and what nobody touched has the reference that it had.
#[test]
fn i19_a_life_that_was_forgotten_comes_back_whole() {
    let met = [
        "changed where nobody else heard it",
        "changed among the others",
        "updated or untracked when it was forgotten",
        "untouched, and back with its reference",
    ];
    let given = (history(), 0..5usize, Change::some());
    holds(48, &met, given, |(history, which, changes), tally| {
        let mut world = steady(history);
        let (count, away) = (world.nodes.len(), which % world.nodes.len());
        world.tracks_something(away);
        let mut untouched = world.tracked_by(&world.alive());
        let others: Vec<Index> = (0..count).filter(|other| *other != away).collect();
        for other in &others {
            world.part(away, *other);
        }
        let mut forgotten = false;
        for changes in changes.chunks(changes.len().div_ceil(2)) {
            for (node, change) in changes {
                let before = world.change(node % count, *change);
                before.map(|before| untouched.remove(&before));
                tally.add(met[usize::from(node % count != away)], 1);
                tally.note(met[2], forgotten && before.is_some());
                world.pass(Duration::from_millis(40));
            }
            world.pass(world.settings.permdown_period + Duration::from_secs(4));
            for other in &others {
                let knows = |node: Index, of: Index| {
                    let have = world.running(node).shard.have(&world.names[of]);
                    have.is_some()
                };
                prop_assert!(
                    !knows(*other, away) && !knows(away, *other),
                    "I18: forgotten"
                );
            }
            forgotten = true;
        }
        world.heal_all();
        world.pass(SETTLING);
        let all = world.tracked_by(&world.alive());
        for node in 0..count {
            let list = world.list(node);
            prop_assert_eq!(&list, &all, "node {}", node);
            let kept = |(reference, entry)| list.get(reference) == Some(entry);
            prop_assert!(untouched.iter().all(kept), "node {}", node);
        }
        tally.add(met[3], untouched.len());
        Ok(())
    });
}

/// All that an earlier life said arrives over the link of the later one. What it said of itself is refused; what it said of others, or
/// answered to them, is answered by nothing and changes nothing. Before its end it asked who knows what it holds, and passed on what
/// it held of another node's restart.
#[test]
fn i20_an_older_life_is_not_heard() {
    let met = [
        "operations or a state",
        "a hello or a vector",
        "a question whether a hold is known",
        "what was confirmed to others",
        "a part of a held set",
        "its end",
        "a part taken of another's state",
    ];
    let given = (history(), 0..5usize);
    holds(48, &met, given, |(history, which), tally| {
        let mut world = steady((history.0, history.1.max(3), history.2));
        let count = world.nodes.len();
        let (node, restarts) = (which % count, (which + 1) % count);
        [node, restarts]
            .iter()
            .for_each(|node| world.tracks_something(*node));
        world.announce_restart_for(restarts, Duration::from_secs(4), false);
        world.hold(restarts, 1);
        world.pass(Duration::from_millis(300));
        // More than most logs keep, so that it takes a state of this.
        world.part(node, restarts);
        for number in 0..60 {
            let (owner, topic, key) = apart(100 + number);
            let at = (owner, topic, key + number as usize);
            world.track_at(restarts, at, Bytes::from(vec![0; 100]), Duration::ZERO);
        }
        world.pass(Duration::from_secs(3));
        world.heal_all();
        world.pass(Duration::from_secs(1));
        world.crash(restarts);
        world.pass(Duration::from_secs(3));
        world.start(restarts);
        world.pass(Duration::from_secs(1));
        world.announce_restart_for(node, Duration::from_millis(100), false);
        world.hold(node, 1);
        world.pass(Duration::from_millis(300));
        world.crash(node);
        let said: Vec<_> = world
            .said
            .iter()
            .filter(|(from, _, _)| *from == node)
            .cloned()
            .collect();
        world.start(node);
        world.heal_all();
        world.pass(SETTLING);
        let truth = world.lists();
        prop_assert!(!said.is_empty());
        for (from, to, bytes) in said {
            let shard = &world.running(to).shard;
            let name = world.names[from].clone();
            let (before, have) = (shard.stats(), shard.have(&name));
            let message = Message::decode(&bytes).unwrap().unwrap();
            let spoken = world.said.len();
            world.hear(to, from, &as_of_now(&bytes));
            let shard = &world.running(to).shard;
            prop_assert_eq!(&world.lists()[to], &truth[to]);
            prop_assert_eq!(shard.have(&name), have);
            let stats = shard.stats();
            prop_assert_eq!(stats.held_sets_now, before.held_sets_now);
            let (case, is_refused) = match message {
                Message::Ops(_) | Message::Part(_) => (met[0], true),
                Message::Vector(_) | Message::Hello(_) => (met[1], true),
                Message::Confirm(_) => (met[2], true),
                Message::Confirmed(_) => (met[3], false),
                Message::PartTaken(_) => (met[6], false),
                Message::Goodbye(_) => (met[5], false),
                // What is left of its grace is nothing: it may be asked for once more, to be dropped.
                Message::HeldPart(_) => {
                    tally.note(met[4], true);
                    continue;
                }
                // Questions, which anybody may ask.
                Message::Pull(_) | Message::HeldPull(_) => continue,
            };
            tally.note(case, true);
            let is = stats.refused_lives > before.refused_lives;
            prop_assert!(is || !is_refused, "{:?}", message);
            let answers = &world.said[spoken..];
            prop_assert!(is_refused || answers.is_empty(), "{:?}", message);
        }
        Ok(())
    });
}
