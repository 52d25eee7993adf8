//! The promise about clocks that jump: I29.
//!
//! A shard's own time is a monotonic one that its driver hands in. Wall clocks come in where something is started: as the number
//! of a tracker's life within its process, and of the process among those of its name.

use super::*;

/// What happens, to whom. Of two runs with the same wishes the clocks jump in one alone.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Track(u64),
    Update(u64),
    Untrack(u64),
    /// Its connection ends; of every other owner it is held for a while.
    Die(u64),
    /// The wall clock of that node is set forward or back, by microseconds.
    Jump(i64),
    RestartTracker,
    RestartNode,
    /// The node says goodbye, with a grace or without one, ends, and begins again.
    Leave(bool),
    Cut(usize),
    Heal,
}

impl Wish {
    fn any() -> impl Strategy<Value = Self> {
        const DAYS: i64 = 80 * 24 * 60 * 60 * 1_000_000;
        let jump = prop_oneof![-DAYS..DAYS, -5_000_000..5_000_000i64];
        prop_oneof![
            5 => (0..4u64).prop_map(Self::Track),
            2 => (0..4u64).prop_map(Self::Update),
            2 => (0..4u64).prop_map(Self::Untrack),
            2 => (0..4u64).prop_map(Self::Die),
            3 => jump.prop_map(Self::Jump),
            2 => Just(Self::RestartTracker),
            1 => Just(Self::RestartNode),
            1 => any::<bool>().prop_map(Self::Leave),
            1 => (0..5usize).prop_map(Self::Cut),
            1 => Just(Self::Heal),
        ]
    }
}

/// Who is listed where: of each viewer the writers with their owners.
type Seen = Vec<Vec<(NodeName, u64, Bytes)>>;

/// What joined and left: of each viewer, writer and owner the values in order.
type Told = BTreeMap<(usize, NodeName, u64), Vec<(&'static str, Bytes)>>;

/// So long what loses its connection is held, and what a node had that announced its restart.
const GRACE: Duration = Duration::from_millis(500);

/// A key of its own for each owner of each node: what is held gives way to nobody else's entry, and so to none that came a moment sooner.
fn place(node: usize, owner: u64) -> At {
    let (owner, topic, key) = apart(owner);
    (owner, topic, key + 10 * node + owner as usize)
}

/// A history in which the clocks do as they like, or not.
#[derive(Debug)]
struct Play {
    world: World,
    jumps: bool,
    /// In which order lives were begun by the clock, against the one before them.
    below: usize,
    above: usize,
    process_below: usize,
    left_below: usize,
}

impl Play {
    fn new(nodes: usize, jumps: bool) -> Self {
        let mut world = World::new(5, nodes);
        world.voice = Voice::Silent;
        world.weather = Weather::Fair;
        world.heal_all();
        world.pass(SETTLING);
        Self {
            world,
            jumps,
            below: 0,
            above: 0,
            process_below: 0,
            left_below: 0,
        }
    }

    fn wish(&mut self, (node, wish): (usize, Wish), number: usize) {
        let world = &mut self.world;
        world.step += 1;
        let before = world.nodes[node].life.started;
        match wish {
            Wish::Track(owner) => {
                let meta = Bytes::from(number.to_string());
                let grace = if owner % 2 == 0 {
                    Duration::ZERO
                } else {
                    GRACE
                };
                if !world.running(node).own.contains_key(&place(node, owner)) {
                    world.track_at(node, place(node, owner), meta, grace);
                }
            }
            Wish::Update(owner) => {
                let meta = Bytes::from(number.to_string());
                world.update_at(node, place(node, owner), meta);
            }
            Wish::Untrack(owner) => world.untrack_at(node, place(node, owner), false),
            Wish::Die(owner) => world.owner_ends(node, place(node, owner).0, true),
            Wish::Jump(by) if self.jumps => world.set_clock(node, by),
            Wish::Jump(_) => {}
            Wish::RestartTracker => {
                let old = world.stop(node).unwrap();
                let started = world.start_time(node);
                world.nodes[node].life.started = started;
                world.run(node, (old.members, old.links));
                world.introduce(node);
                self.below += usize::from(started < before);
                self.above += usize::from(started > before);
            }
            Wish::RestartNode => {
                world.crash(node);
                world.start(node);
                let started = world.nodes[node].life.started;
                self.process_below += usize::from(started < before);
            }
            Wish::Leave(returns) => {
                match returns {
                    true => world.announce_restart_for(node, GRACE, true),
                    false => world.say_goodbye(node, Goodbye::Leaving),
                }
                world.pass(Duration::from_millis(300));
                world.crash(node);
                world.start(node);
                let started = world.nodes[node].life.started;
                self.left_below += usize::from(returns && started < before);
            }
            Wish::Cut(other) => {
                let other = other % world.nodes.len();
                if other != node {
                    world.part(node, other);
                }
            }
            Wish::Heal => world.heal_all(),
        }
        // As long as the slowest of these takes: a link that is over is noticed within 2.5 s, a grace begins then, and a tracker that is told
        // that it began too low has another number two ways later.
        let time = match wish {
            Wish::Track(_) | Wish::Update(_) | Wish::Untrack(_) | Wish::Jump(_) => 130,
            Wish::Die(_) => 1_000,
            _ => 3_800,
        };
        world.pass(Duration::from_millis(time));
        if !matches!(wish, Wish::Cut(_)) {
            world.connect_all();
            world.pass(Duration::from_millis(400));
        }
    }

    fn seen(&self) -> Seen {
        let viewers = 0..self.world.nodes.len();
        let list = |viewer| {
            let list = self.world.list(viewer).into_values();
            let mut list: Vec<_> = list
                .map(|entry| (entry.node.clone(), entry.owner, entry.meta.clone()))
                .collect();
            list.sort();
            list
        };
        viewers.map(list).collect()
    }

    /// What was told since the last call.
    fn take_told(&mut self) -> Told {
        let mut told = Told::new();
        for (viewer, diff) in self.world.diffs.drain(..) {
            let changes = [("-", &diff.leaves), ("+", &diff.joins)];
            let changes = changes
                .iter()
                .flat_map(|(what, entries)| entries.iter().map(|entry| (*what, entry)));
            for (what, entry) in changes {
                let of = (viewer, entry.node.clone(), entry.owner);
                let values = told.entry(of).or_default();
                values.push((what, entry.meta.clone()));
            }
        }
        told
    }

    fn renumbered(&self) -> u64 {
        let shards = self.world.nodes.iter().flat_map(|node| &node.running);
        shards.map(|running| running.shard.stats().renumbered).sum()
    }
}

/// After each of them, all lists are what they are without the jumps, and each has told the same of the way there.
#[test]
fn i29_clocks_that_jump_change_nothing() {
    let met = [
        "a clock set forward",
        "a clock set back",
        "a tracker begun below the one before it",
        "a tracker begun above the one before it",
        "a node begun at an earlier time than before",
        "a number taken because of a jump",
        "another node's entry",
        "an entry hidden by a cut",
        "told as its number was taken",
        "held by a restart, while its next process began at an earlier time",
    ];
    let wishes = prop::collection::vec((0..5usize, Wish::any()), 5..50);
    holds(40, &met, (2..6usize, wishes), |(nodes, wishes), tally| {
        let (mut usual, mut jumping) = (Play::new(nodes, false), Play::new(nodes, true));
        for (number, (node, wish)) in wishes.into_iter().enumerate() {
            let wish = (node % nodes, wish);
            let before = jumping.renumbered();
            usual.wish(wish, number);
            jumping.wish(wish, number);
            let seen = usual.seen();
            prop_assert_eq!(&jumping.seen(), &seen, "after {:?}", wish);
            let told = usual.take_told();
            tally.note(met[8], !told.is_empty() && jumping.renumbered() > before);
            prop_assert_eq!(jumping.take_told(), told, "after {:?}", wish);
            let tracked = usual.world.tracked_by(&usual.world.alive()).len();
            let listed: usize = seen.iter().map(Vec::len).sum();
            tally.add(met[6], listed.saturating_sub(tracked));
            tally.add(met[7], (tracked * nodes).saturating_sub(listed));
        }
        let jumps = ["clock set forward", "clock set back"];
        for (what, case) in jumps.into_iter().zip(met) {
            let times = jumping.world.report.counts.get(what).copied();
            tally.add(case, times.unwrap_or_default() as usize);
        }
        tally.add(met[9], jumping.left_below);
        tally.add(met[2], jumping.below);
        tally.add(met[3], jumping.above);
        tally.add(met[4], jumping.process_below);
        prop_assert_eq!((usual.below, usual.renumbered()), (0, 0));
        tally.add(met[5], jumping.renumbered() as usize);
        usual.world.become_quiet();
        jumping.world.become_quiet();
        prop_assert_eq!(jumping.seen(), usual.seen());
        jumping.world.finish();
        Ok(())
    });
}
