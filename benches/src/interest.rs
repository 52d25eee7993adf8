//! Interest routing on simulated links: one node publishes 20,000 messages of 1 KiB a second over 1,000 topics to 20 members, each
//! of which wants 50 of them; 100 subscriptions a second change over all. Time is simulated, the routers are real.
//!
//! Targets: copies flooded, and copies that arrive where nobody subscribes, each at most 1 % of messages x members, at round
//! trips of 0.2 and 100 ms. CPU is the publisher's, queues and clock reads included, against a router whose peers get everything.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::interest::{
    Config, ControlFrame, Counters, HashKey, LaneFrame, Lanes, Router, To,
};
use matryoshka_pubsub::{Edge, Envelope, Kind, LinkId, TopicName, TrafficClass};

use crate::bar::Bar;

const MEMBERS: usize = 20;
const TOPICS: usize = 1_000;
const WANTED: usize = 50;
const PAYLOAD_BYTES: usize = 1_024;
/// Between two messages: 20,000 a second.
const TICK: Duration = Duration::from_micros(50);
/// Messages between two changes of a subscription: 100 changes a second.
const CHANGE_EVERY: usize = 200;
/// Messages between two heartbeats: 700 ms.
const HEARTBEAT_EVERY: usize = 14_000;
/// Messages before the count begins, 3 s: links are up, and what lingers is as it will be.
const WARM_UP: usize = 60_000;
/// Messages counted: 20 s.
const MESSAGES: usize = 400_000;

/// Prints the table.
pub(crate) fn run() {
    println!(
        "\ninterest routing: 20,000 x 1 KiB a second, 1,000 topics, 20 members wanting 5 % each"
    );
    println!(
        "{:>10}  {:>9} {:>9} {:>9} {:>9} {:>10} {:>12} {:>12} {:>7}",
        "round trip",
        "sent",
        "flooded",
        "replayed",
        "nobody",
        "ring max",
        "CPU/message",
        "flooding",
        "ratio"
    );
    for round_trip in [Duration::from_micros(200), Duration::from_millis(100)] {
        let routed = Simulation::new(round_trip, true).run();
        let flooding = Simulation::new(round_trip, false).run();
        routed.print(round_trip, &flooding);
    }
}

struct Outcome {
    counters: Counters,
    for_nobody: u64,
    ring_bytes: usize,
    per_message: Duration,
}

impl Outcome {
    fn print(&self, round_trip: Duration, flooding: &Self) {
        let percent = |copies: u64| 100.0 * copies as f64 / (MESSAGES * MEMBERS) as f64;
        let share = |copies: u64| format!("{:.3} %", percent(copies));
        let counters = &self.counters;
        println!(
            "{:>10?}  {:>9} {:>9} {:>9} {:>9} {:>8} kB {:>12?} {:>12?} {:>6.2}x  flooded {}, nobody {}",
            round_trip,
            share(counters.sent),
            share(counters.flooded()),
            share(counters.replayed),
            share(self.for_nobody),
            self.ring_bytes / 1_000,
            self.per_message,
            flooding.per_message,
            self.per_message.as_secs_f64() / flooding.per_message.as_secs_f64(),
            Bar::AtMost(1.0).judge(percent(counters.flooded())),
            Bar::AtMost(1.0).judge(percent(self.for_nobody)),
        );
    }
}

/// A frame and when it arrives.
struct Later<T> {
    at: Instant,
    what: T,
}

/// One direction of a stream with a fixed delay.
type Stream<T> = VecDeque<Later<T>>;

fn arrived<T>(stream: &mut Stream<T>, now: Instant) -> Option<T> {
    let due = stream.front().is_some_and(|next| next.at <= now);
    if due {
        stream.pop_front().map(|later| later.what)
    } else {
        None
    }
}

/// The publisher's lanes, one to each member.
struct Wires {
    lanes: Vec<Stream<LaneFrame>>,
    arrive_at: Instant,
}

impl Lanes for Wires {
    fn push(&mut self, link: LinkId, _: u16, frames: &[LaneFrame]) -> bool {
        let at = self.arrive_at;
        let later = frames.iter().map(|frame| Later {
            at,
            what: frame.clone(),
        });
        self.lanes[link.0 as usize].extend(later);
        true
    }
}

/// A member's lanes: it publishes nothing.
struct NoLanes;

impl Lanes for NoLanes {
    fn push(&mut self, _: LinkId, _: u16, _: &[LaneFrame]) -> bool {
        false
    }
}

struct Member {
    router: Router,
    subscribed: HashSet<TopicName>,
    edges: RefCell<BTreeSet<TopicName>>,
    control_in: Stream<ControlFrame>,
    control_out: Stream<ControlFrame>,
}

struct Simulation {
    publisher: Router,
    wires: Wires,
    members: Vec<Member>,
    topics: Vec<TopicName>,
    one_way: Duration,
    now: Instant,
    random: u64,
    spent: Duration,
}

const TO_PUBLISHER: LinkId = LinkId(0);

impl Simulation {
    fn new(round_trip: Duration, capable: bool) -> Self {
        let topic = |n| TopicName::from(format!("room:{n:019}"));
        let now = Instant::now();
        let mut simulation = Self {
            publisher: Router::new(Config::new(HashKey([1; 16]))),
            wires: Wires {
                lanes: (0..MEMBERS).map(|_| VecDeque::new()).collect(),
                arrive_at: now,
            },
            members: Vec::new(),
            topics: (0..TOPICS).map(topic).collect(),
            one_way: round_trip / 2,
            now,
            random: 1,
            spent: Duration::ZERO,
        };
        for n in 0..MEMBERS {
            simulation.publisher.handle_up(LinkId(n as u64), capable);
            let member = simulation.member(capable);
            simulation.members.push(member);
        }
        simulation
    }

    fn member(&mut self, capable: bool) -> Member {
        let mut member = Member {
            router: Router::new(Config::new(HashKey([2; 16]))),
            subscribed: HashSet::new(),
            edges: RefCell::default(),
            control_in: VecDeque::new(),
            control_out: VecDeque::new(),
        };
        while member.count() < WANTED {
            let topic = self.random_topic();
            member.change(topic, true, self.now);
        }
        member.router.handle_up(TO_PUBLISHER, capable);
        member
    }

    fn run(mut self) -> Outcome {
        (0..WARM_UP).for_each(|n| self.step(n));
        let (before, nobody_before) = (self.publisher.counters(), self.for_nobody());
        self.spent = Duration::ZERO;
        let mut ring_bytes = 0;
        for n in 0..MESSAGES {
            self.step(n);
            ring_bytes = ring_bytes.max(self.publisher.ring().1);
        }
        let mut counters = self.publisher.counters();
        counters.sent -= before.sent;
        counters.replayed -= before.replayed;
        counters.flooded_start -= before.flooded_start;
        counters.flooded_full -= before.flooded_full;
        counters.flooded_old_peer -= before.flooded_old_peer;
        Outcome {
            counters,
            for_nobody: self.for_nobody() - nobody_before,
            ring_bytes,
            per_message: self.spent / MESSAGES as u32,
        }
    }

    fn for_nobody(&self) -> u64 {
        let counters = self.members.iter().map(|member| member.router.counters());
        counters.map(|counters| counters.arrived_for_nobody).sum()
    }

    fn step(&mut self, n: usize) {
        self.now += TICK;
        self.wires.arrive_at = self.now + self.one_way;
        self.publish(n.is_multiple_of(HEARTBEAT_EVERY));
        if n.is_multiple_of(CHANGE_EVERY) {
            self.change_a_subscription();
        }
        for index in 0..MEMBERS {
            let member = &mut self.members[index];
            member.receive(&mut self.wires.lanes[index], self.now);
            if n.is_multiple_of(HEARTBEAT_EVERY) {
                member.router.handle_heartbeat(TO_PUBLISHER, &mut NoLanes);
            }
            member.send(self.now, self.one_way);
        }
    }

    /// All that costs the publisher.
    fn publish(&mut self, heartbeat: bool) {
        let envelope = Arc::new(Envelope {
            topic: self.random_topic(),
            kind: Kind::RAW,
            class: TrafficClass::User,
            lane: 0,
            payload: vec![0; PAYLOAD_BYTES].into(),
        });
        let start = Instant::now();
        self.publisher
            .publish(To::All, 0, envelope, self.now, &mut self.wires);
        for (n, member) in self.members.iter_mut().enumerate() {
            let link = LinkId(n as u64);
            while let Some(frame) = arrived(&mut member.control_out, self.now) {
                self.publisher.handle_control(link, frame, &mut self.wires);
            }
            if heartbeat {
                self.publisher.handle_heartbeat(link, &mut self.wires);
            }
        }
        if self
            .publisher
            .poll_timeout()
            .is_some_and(|at| at <= self.now)
        {
            self.publisher.handle_timeout(self.now);
        }
        while let Some(link) = self.publisher.poll_ready() {
            while let Some(what) = self.publisher.poll_control(link, &mut Vec::new, self.now) {
                let at = self.wires.arrive_at;
                self.members[link.0 as usize]
                    .control_in
                    .push_back(Later { at, what });
            }
        }
        self.spent += start.elapsed();
    }

    fn change_a_subscription(&mut self) {
        let index = self.below(MEMBERS);
        let over = self.members[index].count() >= WANTED;
        loop {
            let topic = self.random_topic();
            let member = &mut self.members[index];
            if member.wants(&topic) == over {
                return member.change(topic, !over, self.now);
            }
        }
    }

    fn random_topic(&mut self) -> TopicName {
        let index = self.below(TOPICS);
        self.topics[index].clone()
    }

    /// SplitMix64: the same in every run.
    fn below(&mut self, count: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count as u64) as usize
    }
}

impl Member {
    fn count(&self) -> usize {
        self.subscribed.len()
    }

    fn wants(&self, topic: &TopicName) -> bool {
        self.subscribed.contains(topic)
    }

    fn change(&mut self, topic: TopicName, wanted: bool, now: Instant) {
        if wanted {
            self.subscribed.insert(topic.clone());
        } else {
            self.subscribed.remove(&topic);
        }
        self.edges.borrow_mut().insert(topic);
        self.router
            .handle_edges(take_edges(&self.edges, &self.subscribed), now);
    }

    fn receive(&mut self, lane: &mut Stream<LaneFrame>, now: Instant) {
        while let Some(frame) = arrived(lane, now) {
            if let LaneFrame::Message { pos, envelope } = frame {
                let delivered = usize::from(self.wants(&envelope.topic));
                self.router
                    .handle_message(TO_PUBLISHER, pos, &envelope.topic, delivered);
            }
        }
        while let Some(frame) = arrived(&mut self.control_in, now) {
            self.router
                .handle_control(TO_PUBLISHER, frame, &mut NoLanes);
        }
        if self.router.poll_timeout().is_some_and(|at| at <= now) {
            self.router.handle_timeout(now);
        }
    }

    fn send(&mut self, now: Instant, one_way: Duration) {
        if self.router.poll_ready().is_none() {
            return;
        }
        let mut take = || take_edges(&self.edges, &self.subscribed);
        while let Some(what) = self.router.poll_control(TO_PUBLISHER, &mut take, now) {
            let at = now + one_way;
            self.control_out.push_back(Later { at, what });
        }
    }
}

fn take_edges(edges: &RefCell<BTreeSet<TopicName>>, subscribed: &HashSet<TopicName>) -> Vec<Edge> {
    let topics = edges.take().into_iter();
    let edge = |topic: TopicName| Edge {
        interested: subscribed.contains(&topic),
        topic,
    };
    topics.map(edge).collect()
}
