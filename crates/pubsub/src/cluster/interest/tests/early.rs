//! How early a message may come: what was published before `subscribe` and still arrives is no older than the time after
//! which a position is announced and half a round trip, as long as the peer answers at once.
//!
//! Here frames take their time, and whoever has something to write writes it in the same tick.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::setup::Setup;
use super::world::{Broken, Kept, World};
use crate::cluster::interest::variant::Variant;

/// The grain of time.
const TICK: Duration = Duration::from_millis(1);
/// Ticks of a history.
const TICKS: usize = 8_000;
/// Ticks between two heartbeats.
const HEARTBEAT: usize = 700;
/// So many that nobody wants most of them.
const TOPICS: usize = 400;
/// Histories for each round trip.
const HISTORIES: u64 = 24;

const ROUND_TRIPS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
];

/// When the frames of one stream arrive.
#[derive(Default)]
struct Stream(VecDeque<Instant>);

impl Stream {
    /// Those of `frames` that are new arrive then.
    fn stamp(&mut self, frames: usize, arrive: Instant) {
        self.0.resize(frames, arrive);
    }

    fn arrives(&mut self, now: Instant) -> bool {
        let due = self.0.front().is_some_and(|at| *at <= now);
        due && self.0.pop_front().is_some()
    }
}

/// Two nodes and a link that delays.
struct Clocked {
    world: World,
    one_way: Duration,
    /// By the side that sends: the control stream and the lane.
    streams: [[Stream; 2]; 2],
    /// How much earlier a message may be.
    bound: Duration,
    /// Who will subscribe to what, and when.
    late: Option<(Instant, usize, usize)>,
    published: Vec<Instant>,
    subscribed: Vec<Instant>,
}

impl Clocked {
    fn new(seed: u64, round_trip: Duration, variant: Variant) -> Self {
        let mut setup = Setup::plain();
        setup.control_room = usize::MAX;
        setup.topics = TOPICS;
        let mut world = World::with(setup, seed, variant);
        world.connect(0, 1);
        world.end_up(0, 0);
        world.end_up(0, 1);
        let one_way = round_trip / 2;
        Self {
            one_way,
            bound: world.setup.config.announce_after + one_way,
            late: None,
            world,
            streams: Default::default(),
            published: Vec::new(),
            subscribed: Vec::new(),
        }
    }

    fn play(&mut self) -> Kept {
        for tick in 1..=TICKS {
            self.world.pass(TICK);
            self.read()?;
            self.act();
            for node in 0..2 {
                if tick % HEARTBEAT == 0 {
                    self.world.heartbeat(node);
                }
                self.world.follow_hint(node);
            }
            self.write();
        }
        self.nothing_is_too_early()?;
        self.world.finish()
    }

    fn read(&mut self) -> Kept {
        for side in 0..2 {
            while self.streams[side][0].arrives(self.world.now) {
                self.world.read_control(0, side, false);
            }
            while self.streams[side][1].arrives(self.world.now) {
                self.world.read_lane(0, side, 0)?;
            }
            self.stamp();
        }
        Ok(())
    }

    /// Now and then somebody publishes, and after a while the other one subscribes to that topic.
    fn act(&mut self) {
        let random = &mut self.world.random;
        let (node, topic) = (random.below(2), random.below(TOPICS));
        let most = 2 * self.bound.as_millis() as usize;
        match (random.below(1_000), &self.late) {
            (0..10, _) => self.world.publish_to_all(node, topic),
            (10..20, None) => {
                let at = self.world.now + TICK * random.below(most) as u32;
                self.late = Some((at, 1 - node, topic));
                self.world.publish_to_all(node, topic);
            }
            (20..40, _) => self.world.unsubscribe(node, topic),
            _ => {}
        }
        if let Some((_, node, topic)) = self.late.take_if(|late| late.0 <= self.world.now) {
            self.world.subscribe(node, topic);
        }
        let now = self.world.now;
        self.published.resize(self.world.published.len(), now);
        self.subscribed.resize(self.world.subs.len(), now);
    }

    fn write(&mut self) {
        for side in 0..2 {
            let way = |world: &World| world.pipes[0].ways[side].control.len();
            let mut before = usize::MAX;
            while before != way(&self.world) {
                before = way(&self.world);
                self.world.write_control(0, side, false);
            }
        }
        self.stamp();
    }

    fn stamp(&mut self) {
        let arrive = self.world.now + self.one_way;
        for (way, [control, lane]) in self.world.pipes[0].ways.iter().zip(&mut self.streams) {
            control.stamp(way.control.len(), arrive);
            lane.stamp(way.lanes[0].len(), arrive);
        }
    }

    /// How long before `subscribe` the messages were published that came nevertheless.
    fn early(&self) -> impl Iterator<Item = Duration> {
        let subs = self.world.subs.iter().zip(&self.subscribed);
        subs.flat_map(|(sub, subscribed)| {
            let got = sub.got.iter().map(|(number, _)| *number);
            let early = got.filter(|number| *number < sub.since);
            early.map(|number| *subscribed - self.published[number])
        })
    }

    fn nothing_is_too_early(&self) -> Kept {
        let oldest = self.early().max().unwrap_or_default();
        if oldest <= self.bound {
            return Ok(());
        }
        let bound = self.bound;
        let how = format!("one came {oldest:?} before `subscribe`, more than {bound:?}");
        let property = EARLY;
        Err(Broken { property, how })
    }
}

const EARLY: &str = "early messages";

#[test]
fn early_messages_are_no_older_than_an_announcement_and_half_a_round_trip() {
    for round_trip in ROUND_TRIPS {
        let mut oldest = Duration::ZERO;
        let mut bound = Duration::ZERO;
        for seed in 0..HISTORIES {
            let mut clocked = Clocked::new(seed, round_trip, Variant::Right);
            if let Err(Broken { property, how }) = clocked.play() {
                panic!("seed {seed}, {round_trip:?}: \"{property}\" is broken: {how}");
            }
            oldest = clocked.early().max().unwrap_or_default().max(oldest);
            bound = clocked.bound;
        }
        println!("{round_trip:?}: {oldest:?} of {bound:?}");
        assert!(
            oldest >= bound * 8 / 10,
            "{round_trip:?}: only {oldest:?} were tried"
        );
    }
}

#[test]
fn a_position_told_late_or_answered_late_lets_older_ones_come() {
    for variant in [Variant::NoAnnounceTimer, Variant::AnswerWaits] {
        for round_trip in ROUND_TRIPS {
            let catches = |seed: &u64| {
                let broken = Clocked::new(*seed, round_trip, variant).play().err();
                broken.is_some_and(|broken| broken.property == EARLY)
            };
            let seed = (0..HISTORIES).find(catches);
            assert!(
                seed.is_some(),
                "{variant:?} is never caught at {round_trip:?}"
            );
        }
    }
}
