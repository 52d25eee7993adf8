//! The simulated cluster: nodes, what they do, what befalls them.
//!
//! It has no clock and no chance but its own; all it does outside is to print the seed when a checker fails.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::{Member, MemberEvent, MemberState, MemberTable};
use matryoshka_pubsub::{Goodbye, Incarnation, LinkId, NodeName, Origin};

use super::action::{Action, Deed};
use super::checker::{Sight, Truth, Watcher};
use super::clock::Rate;
use super::eyes::{Eyes, LinkView, Seen};
use super::network::{Index, Network, Packet, Weather, What};
use super::random::Random;
use super::trace::Trace;
use super::{Report, Voice};
#[cfg(test)]
use crate::diff::Diff;
use crate::entry::Entry;
use crate::life::Life;
use crate::message::{Message, Position};
use crate::reference::PresenceRef;
use crate::shard::{Effect, Refusal, Settings, Shard};
use crate::slot::{Slot, Ticket};
use graces::Graces;
use members::Members;

#[derive(Debug)]
pub(super) struct World {
    seed: u64,
    random: Random,
    now: Duration,
    step: u64,
    weather: Weather,
    nodes: Vec<Node>,
    names: Vec<NodeName>,
    /// Which tracker of a node had which life; one that took a higher number had several.
    generations: BTreeMap<(Index, Life), u64>,
    /// When a tracker of a node ended.
    ended: BTreeMap<(Index, u64), Duration>,
    /// When a node was told last that its link to another one is over.
    unlinked: BTreeMap<(Index, Index), Duration>,
    network: Network,
    truth: Truth,
    report: Report,
    trace: Trace,
    settings: Settings,
    acts: u64,
    pub(super) voice: Voice,
    /// Somebody lies: what the checkers know is not all that is listed. Then only the property that had it so looks.
    lied_to: bool,
    /// Messages sent since the cluster is quiet, vectors not counted.
    noise: Vec<&'static str>,
    /// All that was ever sent: from whom, to whom.
    #[cfg(test)]
    said: Vec<(Index, Index, Bytes)>,
    /// Which tracker of its node sent each of those, and when.
    #[cfg(test)]
    said_by: Vec<(u64, Duration)>,
    /// All diffs: at whom, and what.
    #[cfg(test)]
    diffs: Vec<(Index, Diff)>,
}

#[derive(Debug)]
struct Node {
    name: NodeName,
    incarnation: u64,
    /// Counts the trackers that ran on this node.
    generation: u64,
    /// The first tracker of the process.
    first: u64,
    life: Life,
    /// The tracker said that it restarts, with that grace.
    draining: Option<Duration>,
    /// How the node told its links that it goes.
    goodbye: Option<Goodbye>,
    running: Option<Running>,
    paused_until: Duration,
    /// How fast the clocks of its machine run.
    rate: Rate,
    /// By how many microseconds its wall clock was set.
    clock: i64,
}

impl Node {
    /// One that has not started yet.
    fn new(name: NodeName, rate: Rate) -> Self {
        Self {
            name,
            incarnation: 0,
            generation: 0,
            first: 1,
            life: Life::first_of(0),
            draining: None,
            goodbye: None,
            running: None,
            paused_until: Duration::ZERO,
            rate,
            clock: 0,
        }
    }
}

/// A node whose process is alive.
#[derive(Debug)]
struct Running {
    shard: Shard,
    started: Duration,
    rate: Rate,
    watcher: Watcher,
    members: Members,
    /// The links that this node was told of.
    links: BTreeMap<Index, LinkView>,
    /// What it should track, kept apart from the shard.
    own: BTreeMap<At, Own>,
    /// What others are still to know to be held.
    holds: VecDeque<Vec<PresenceRef>>,
}

impl Running {
    /// What this node's clock shows at that time, since its tracker was started.
    fn clock(&self, now: Duration) -> Duration {
        self.rate.shows(now.saturating_sub(self.started))
    }
}

#[derive(Clone, Debug)]
struct Own {
    ticket: Ticket,
    entry: Arc<Entry>,
    /// For so long it is held when its connection ends.
    drop_grace: Duration,
    /// It is held before its connection ends.
    held_ahead: bool,
}

impl World {
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings {
            shard: 0,
            broadcast_period: Duration::from_millis(50),
            vector_period: Duration::from_secs(2),
            permdown_period: Duration::from_secs(30),
            // Small, so that short histories outgrow them.
            log_bytes: [1_500, 4_000, 100_000][random.below(3)],
            chunk_bytes: [400, 1_000, 100_000][random.below(3)],
        };
        let weather = [Weather::Fair, Weather::Foul][random.below(2)];
        let mut world = Self {
            seed,
            random,
            now: Duration::ZERO,
            step: 0,
            weather,
            names: Vec::new(),
            nodes: Vec::new(),
            generations: BTreeMap::new(),
            ended: BTreeMap::new(),
            unlinked: BTreeMap::new(),
            network: Network::default(),
            truth: Truth::default(),
            report: Report::default(),
            trace: Trace::default(),
            settings,
            acts: 0,
            voice: Voice::Fails,
            lied_to: false,
            noise: Vec::new(),
            #[cfg(test)]
            said: Vec::new(),
            #[cfg(test)]
            said_by: Vec::new(),
            #[cfg(test)]
            diffs: Vec::new(),
        };
        (0..nodes).for_each(|index| world.add_node(format!("n{index}")));
        (0..nodes).for_each(|node| world.start(node));
        world
    }

    /// Another node, which is still to be started.
    fn add_node(&mut self, name: String) {
        let rate = Rate::any(&mut self.random);
        match rate.cmp(&Rate::TRUE) {
            Ordering::Less => self.report.count("clock runs slow"),
            Ordering::Equal => {}
            Ordering::Greater => self.report.count("clock runs fast"),
        }
        self.truth.measured_by(rate);
        let name = NodeName::new(name).expect("a good name");
        self.names.push(name.clone());
        self.nodes.push(Node::new(name, rate));
    }

    /// One random step.
    #[cfg(test)]
    pub(super) fn step(&mut self, number: u64) {
        self.take(Action::of(number, self.nodes.len()));
    }

    /// One step; the action decides all of it.
    pub(super) fn take(&mut self, action: Action) {
        self.step += 1;
        self.random = Random::new(action.chance);
        let node = action.node;
        if action.deed.needs_a_process() && self.nodes[node].running.is_none() {
            return self.start(node);
        }
        match action.deed {
            Deed::Track => self.track(node),
            Deed::Update => self.update(node),
            Deed::Untrack => self.untrack(node),
            Deed::OwnerDies => self.owner_dies(node),
            Deed::Wait => {
                let time = self.random.millis(150);
                self.pass(time);
            }
            Deed::WaitLong => {
                let time = self.random.millis(4_000);
                self.pass(time);
            }
            Deed::WaitOut => self.long_time(),
            Deed::Part => self.partition(node),
            Deed::Deafen => self.deafen(node),
            Deed::PartBesideThird => self.part_beside_third(node),
            Deed::Heal => self.heal_all(),
            Deed::AnnounceRestart => self.announce_restart(node),
            Deed::RestartAsAnnounced => self.restart_as_announced(node),
            Deed::Crash => self.crash(node),
            Deed::CrashAndStart => {
                self.crash(node);
                self.start(node);
                self.report.count("restart at once");
            }
            Deed::Leave => self.leave(node),
            Deed::Pause => self.pause(node),
            Deed::Renumber => self.renumber(node),
            Deed::LoseNews => self.lose_news(node),
            Deed::RestartTracker => self.restart_tracker(node),
            Deed::BreakLink => self.break_link(node),
            Deed::JumpClock => self.jump_clock(node),
            Deed::CloseTracker => self.close_tracker(node),
        }
    }

    // What befalls nodes.

    fn start(&mut self, node: Index) {
        self.end_links(node);
        let clock = self.clock(node);
        let started = clock + self.random.below(1 << 20) as u64;
        let is_known = self.is_known(node);
        let at = &mut self.nodes[node];
        // The link sees to it that a later process of a name has a higher incarnation, whatever its clock says, as long as anybody's pubsub
        // knows the name.
        let above = if is_known { at.incarnation + 1 } else { clock };
        if above < at.incarnation {
            self.report
                .count("started with a lower incarnation than before");
        }
        at.incarnation = above.max(clock);
        if started < at.life.started {
            self.report.count("started at an earlier time than before");
        }
        at.life = Life {
            incarnation: at.incarnation,
            started,
        };
        at.paused_until = Duration::ZERO;
        at.goodbye = None;
        at.first = at.generation + 1;
        self.report.count("start");
        self.run(node, (Members::default(), BTreeMap::new()));
        self.connect_all();
    }

    /// Whether another node's pubsub knows that one, or is about to.
    fn is_known(&self, node: Index) -> bool {
        let name = &self.names[node];
        let mut others = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != node);
        others.any(|(other, at)| {
            let running = at.running.as_ref();
            running.is_some_and(|running| {
                running.members.knows(name) || self.network.introduces(node, other)
            })
        })
    }

    fn run(&mut self, node: Index, (members, links): (Members, BTreeMap<Index, LinkView>)) {
        self.truth.begins(node);
        let at = &mut self.nodes[node];
        at.generation += 1;
        at.draining = None;
        at.running = Some(Running {
            shard: Shard::new(at.name.clone(), at.life, self.settings),
            started: self.now,
            rate: at.rate,
            watcher: Watcher::default(),
            members,
            links,
            own: BTreeMap::new(),
            holds: VecDeque::new(),
        });
    }

    fn stop(&mut self, node: Index) -> Option<Running> {
        let of = (node, self.nodes[node].generation);
        self.truth.generation_ended(of, self.step, self.now);
        self.ended.insert(of, self.now);
        let running = self.nodes[node].running.take();
        if let Some(running) = &running {
            self.report.count_stats(&running.shard.stats());
        }
        running
    }

    fn crash(&mut self, node: Index) {
        self.report.count("crash");
        self.end_links(node);
        self.stop(node);
    }

    /// Its process is over, and all its links with it.
    fn end_links(&mut self, node: Index) {
        for other in 0..self.nodes.len() {
            self.cut(node, other);
        }
        self.network.take_all_to(node);
    }

    /// The node says goodbye for good, goes on for a moment, and ends.
    fn leave(&mut self, node: Index) {
        if self.nodes[node].draining.is_some() {
            return self.restart_as_announced(node);
        }
        self.report.count("node left");
        self.say_goodbye(node, Goodbye::Leaving);
        if self.random.one_in(2) {
            self.track(node);
            self.pass(Duration::from_millis(60));
        }
        self.crash(node);
    }

    fn announce_restart(&mut self, node: Index) {
        if self.nodes[node].draining.is_some() {
            return self.restart_as_announced(node);
        }
        self.report.count("restart announced");
        let mut grace = self.random.millis(4_000);
        // Not every program that restarts its trackers tells its pubsub.
        let tells = self.random.one_in(2);
        if self.random.one_in(5) {
            // So long that what is late of it shows.
            grace *= 5;
        }
        self.announce_restart_for(node, grace, tells);
        if tells && self.random.one_in(4) {
            // Its end comes before all have its tracker's word.
            let time = self.random.millis(40);
            self.pass(time);
            self.crash(node);
        }
    }

    fn announce_restart_for(&mut self, node: Index, grace: Duration, tells: bool) {
        let generation = self.nodes[node].generation;
        self.nodes[node].draining = Some(grace);
        self.truth.restart_announced(node, generation, grace);
        self.act(node, |_, running, _| running.shard.restart(grace));
        if tells {
            self.say_goodbye(node, Goodbye::Restarting { grace });
            // To whom no word of this tracker comes by the end of the link, that is the end of the one before it.
            for before in self.nodes[node].first..generation {
                self.truth
                    .taken_for_restarted((node, before), grace, self.now);
            }
        }
    }

    /// The drain is over: the process ends, and another begins soon.
    fn restart_as_announced(&mut self, node: Index) {
        if self.nodes[node].draining.is_none() {
            return self.announce_restart(node);
        }
        self.report.count("restarted as announced");
        if self.random.below(4) > 0 {
            self.act(node, |_, running, now| {
                running.own.clear();
                running.shard.leave(now);
            });
            let time = self.random.millis(200);
            self.pass(time);
        }
        self.crash(node);
        if self.random.below(3) > 0 {
            let time = self.random.millis(3_000);
            self.pass(time);
        }
        self.start(node);
    }

    /// The tracker is closed, or lost without a word, and another starts in the same process, perhaps with a clock that
    /// went back.
    fn restart_tracker(&mut self, node: Index) {
        if self.nodes[node].goodbye.is_some() {
            return self.restart_as_announced(node);
        }
        self.report.count("tracker restarted");
        if self.random.one_in(2) {
            self.leave_by_tracker(node);
        }
        let Some(old) = self.stop(node) else { return };
        if self.random.one_in(2) {
            self.jump_clock(node);
        }
        let started = self.start_time(node);
        if started < self.nodes[node].life.started {
            self.report.count("clock went back");
        }
        self.nodes[node].life.started = started;
        self.run(node, (old.members, old.links));
        self.introduce(node);
    }

    /// The tracker is closed for good, or lost without a word, and its process stays with its links: whether or not a goodbye comes,
    /// nobody answers there any more, until another process takes its place.
    fn close_tracker(&mut self, node: Index) {
        if self.nodes[node].goodbye.is_some() {
            return self.restart_as_announced(node);
        }
        self.report.count("tracker closed");
        if self.random.one_in(2) {
            self.leave_by_tracker(node);
        }
        self.stop(node);
    }

    /// The tracker says goodbye, whatever its node does.
    fn leave_by_tracker(&mut self, node: Index) {
        let draining = self.nodes[node].draining.is_some();
        self.act(node, |world, running, now| {
            for own in std::mem::take(&mut running.own).into_values() {
                if !draining {
                    world.truth.ended(own.entry.reference, world.step);
                }
            }
            running.shard.leave(now);
            world.report.count("tracker said goodbye");
        });
    }

    fn pause(&mut self, node: Index) {
        self.report.count("pause");
        let time = self.random.millis(5_000);
        self.nodes[node].paused_until = self.now + time;
        self.truth.delayed(self.now, self.now + time);
        if time > Duration::from_millis(2_500) {
            for other in 0..self.nodes.len() {
                self.cut(node, other);
            }
        }
    }

    fn renumber(&mut self, node: Index) {
        let at = &mut self.nodes[node];
        at.incarnation += 1;
        at.life.incarnation = at.incarnation;
        let event = MemberEvent::Renumbered(Incarnation(at.incarnation));
        self.act(node, |_, running, now| {
            running.shard.handle_member(&event, now)
        });
    }

    // Time.

    /// Long enough to forget who is absent.
    fn long_time(&mut self) {
        self.report.count("permdown period passed");
        self.pass(self.settings.permdown_period + Duration::from_secs(2));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.next_event().min(end);
            self.now = self.now.max(next);
            self.give_up();
            for node in 0..self.nodes.len() {
                if self.nodes[node].paused_until <= self.now {
                    self.receive_all(node);
                    self.forget_the_long_gone(node);
                    self.tick(node);
                }
            }
            if self.now >= end {
                break;
            }
        }
        if self.random.one_in(2) {
            self.connect_all();
        }
    }

    /// When something happens next; never now, so that time moves.
    fn next_event(&self) -> Duration {
        let timers = self.nodes.iter().filter_map(|node| {
            let running = node.running.as_ref()?;
            let forgotten = running.members.next_forgotten();
            let timer = running.started + node.rate.takes(running.shard.poll_timeout());
            let next = forgotten.map_or(timer, |forgotten| forgotten.min(timer));
            Some(next.max(node.paused_until))
        });
        let news = self.network.next_arrival().into_iter();
        let next = timers.chain(news).chain(self.network.next_verdict()).min();
        let soonest = self.now + Duration::from_millis(1);
        next.unwrap_or(Duration::MAX).max(soonest)
    }

    fn tick(&mut self, node: Index) {
        let due = self.nodes[node]
            .running
            .as_ref()
            .is_some_and(|running| running.shard.due(running.clock(self.now)));
        if due {
            self.act(node, |world, running, now| {
                world.handle_tick(running, now);
                assert!(!running.shard.due(now), "I22: a tick does all that is due");
            });
        }
    }

    fn receive_all(&mut self, node: Index) {
        while let Some((from, packet)) = self.network.receive(node, self.now) {
            self.receive(node, from, &packet);
        }
    }

    fn receive(&mut self, node: Index, from: Index, packet: &Packet) {
        let What::Message(bytes) = &packet.what else {
            return self.told(node, from, packet);
        };
        if self.network.is_silent(node, from) {
            self.report.count("heard by one that is not heard");
        }
        let message = Message::decode(bytes).expect("the encoder's own bytes");
        let message = message.expect("of a known kind");
        if matches!(&message, Message::HeldPart(part) if part.more) {
            self.report.count("held set in several parts");
        }
        let origin = Origin {
            node: self.names[from].clone(),
            incarnation: Incarnation(packet.incarnation),
            link: packet.link,
        };
        self.told_by(node, from, &message.clone(), |world| {
            world.act(node, |_, running, now| {
                running.shard.handle_message(&origin, message, now);
            });
        });
    }

    /// Gives a node one input, and looks at everything that it does because of it.
    fn act(&mut self, node: Index, input: impl FnOnce(&mut Self, &mut Running, Duration)) {
        let Some(mut running) = self.nodes[node].running.take() else {
            return;
        };
        let now = running.clock(self.now);
        self.truth.passes(self.now);
        let before = Seen::all(&self.names, &running.shard, &running.links);
        let graces = Graces::of(&running.shard);
        input(self, &mut running, now);
        let after = Seen::all(&self.names, &running.shard, &running.links);
        for name in graces.given_way(&running.shard) {
            self.report.count(name);
        }
        let life = running.shard.at().life;
        self.generations
            .insert((node, life), self.nodes[node].generation);
        self.note_who_is_lost(&before, &after);
        running.shard.settle();
        self.acts += 1;
        let mut look = self.acts.is_multiple_of(LOOK_EVERY);
        while let Some(effect) = running.shard.poll_effect() {
            look |= matches!(effect, Effect::Step(_));
            self.effect(node, &mut running, effect, (&before, &after));
        }
        if !self.lied_to {
            self.know((node, &running), &before, &after);
            if look {
                self.check(node, &running, &after);
            }
        }
        self.nodes[node].running = Some(running);
    }

    fn effect(
        &mut self,
        node: Index,
        running: &mut Running,
        effect: Effect,
        (before, after): (&[Seen], &[Seen]),
    ) {
        match effect {
            Effect::Broadcast(message) => {
                for (other, view) in running.links.clone() {
                    self.send((node, other, view.link), &message);
                }
            }
            Effect::SendTo(name, message) => {
                let other = self.nodes.iter().position(|node| node.name == name);
                let other = other.expect("a node of this cluster");
                if let Some(view) = running.links.get(&other).copied() {
                    self.send((node, other, view.link), &message);
                }
            }
            Effect::Held(confirmed) => {
                let held = running.holds.pop_front().expect("one for each hold");
                if confirmed {
                    self.report.count("hold confirmed");
                    // Who has never answered nor said a word is not waited for.
                    let heard = |other: &Index| running.shard.have(&self.names[*other]).is_some();
                    let linked = running.links.keys().copied().filter(heard);
                    let knows: BTreeSet<Index> = linked.chain([node]).collect();
                    for reference in held {
                        self.truth.hold_confirmed(reference, &knows);
                    }
                }
            }
            Effect::Refused(_) => self.report.count("link not taken"),
            Effect::Implausible(_) | Effect::Step(_) if self.lied_to => {}
            Effect::Implausible(peer) => panic!("{peer} asked for a number that nobody had"),
            Effect::Step(step) => {
                let sight = self.sight(node, running);
                self.tell(|| {
                    let names = |entries: &[Arc<Entry>]| -> Vec<String> {
                        let name =
                            |e: &Arc<Entry>| format!("{} {} of {}", e.key, e.reference, e.node);
                        entries.iter().map(name).collect()
                    };
                    let (joins, leaves) = (names(&step.diff.joins), names(&step.diff.leaves));
                    format!(
                        "n{node} lists in {}: +{joins:?} -{leaves:?}",
                        step.diff.topic
                    )
                });
                self.trace.diff(self.now, node, &step.diff);
                #[cfg(test)]
                self.diffs.push((node, step.diff.clone()));
                let knows = (&running.shard, &running.links);
                let view = self.eyes(node, knows, (before, after));
                running.watcher.diff(&step.diff, sight, &self.truth, &view);
                if self.truth.moves(&step.diff, node) {
                    self.report.count("place changed in one diff");
                }
            }
        }
    }

    fn send(&mut self, way: (Index, Index, LinkId), message: &Message) {
        let bytes = message.encode();
        self.trace.message(self.now, way, &bytes);
        let (from, to, link) = way;
        self.tell(|| format!("n{from} sends to n{to} on {link:?}: {message:?}"));
        if !matches!(message, Message::Vector(_)) {
            self.noise.push(name_of(message));
        }
        #[cfg(test)]
        {
            self.said.push((from, to, bytes.clone()));
            self.said_by.push((self.nodes[from].generation, self.now));
        }
        let when = (self.now, self.weather);
        if let Some(fate) = self.network.send(way, bytes, when, &mut self.random) {
            self.report.count(fate);
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.voice == Voice::Tells {
            let what = what();
            if !what.is_empty() {
                println!("{:?} {what}", self.now);
            }
        }
    }

    fn sight(&self, viewer: Index, running: &Running) -> Sight {
        Sight {
            viewer,
            step: self.step,
            now: self.now,
            leaves: running.shard.has_left(),
        }
    }

    fn eyes<'a>(
        &'a self,
        viewer: Index,
        (shard, links): (&'a Shard, &'a BTreeMap<Index, LinkView>),
        (before, after): (&'a [Seen], &'a [Seen]),
    ) -> Eyes<'a> {
        Eyes {
            viewer,
            network: &self.network,
            names: &self.names,
            generations: &self.generations,
            shard,
            links,
            before,
            after,
        }
    }

    fn check(&self, node: Index, running: &Running, seen: &[Seen]) {
        running.shard.assert_consistent();
        running.watcher.compare(running.shard.listed());
        let knows = (&running.shard, &running.links);
        let (sight, view) = (
            self.sight(node, running),
            self.eyes(node, knows, (seen, seen)),
        );
        running.watcher.lives(sight, &self.truth, &view);
        for (at, own) in &running.own {
            let (there, entry) = (running.shard.own_slot(&slot_at(*at)), &own.entry);
            assert_eq!(there, Some(entry), "I10: only its owner changes an entry");
            let listed = running.shard.entries(&entry.topic);
            // What is held may have given way to another entry, for good.
            let is_listed = listed.by_key(&entry.key).any(|e| e == entry);
            assert!(is_listed || own.held_ahead, "I28");
        }
    }
}

/// A failed checker says which seed to run again.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && self.voice != Voice::Silent {
            eprintln!(
                "simulation failed: seed {}, {} nodes, step {}, at {:?}",
                self.seed,
                self.nodes.len(),
                self.step,
                self.now
            );
        }
    }
}

/// Owner, topic and key.
type At = (u64, usize, usize);

/// A node whose list did not change is looked at once in so many inputs.
const LOOK_EVERY: u64 = 16;

fn slot_at((owner, topic, key): At) -> Slot {
    Slot {
        owner,
        topic: Arc::from(format!("topic{topic}")),
        key: Arc::from(format!("key{key}")),
    }
}

fn name_of(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Vector(_) => "vector",
        Message::Ops(_) => "ops",
        Message::Pull(_) => "pull",
        Message::Part(_) => "part",
        Message::PartTaken(_) => "part taken",
        Message::Goodbye(_) => "goodbye",
        Message::HeldPull(_) => "held pull",
        Message::HeldPart(_) => "held part",
        Message::Confirm(_) => "confirm",
        Message::Confirmed(_) => "confirmed",
    }
}

mod closing;
mod faults;
mod graces;
mod knowledge;
mod members;
#[cfg(test)]
mod promises;
mod quiet;
mod takings;
mod users;
