//! The simulated network: connections between nodes, and what is under way on them.
//!
//! Each side of a connection has its own opinion of whether it is up; it learns of changes in the same queue as of
//! messages, as an adapter has to hand them in.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::{Goodbye, LinkId};

use super::clock::Rate;
use super::random::Random;

/// A node's place in the simulation.
pub(super) type Index = usize;

/// Something that arrives at a node.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) at: Duration,
    pub(super) link: LinkId,
    /// The step in which the link came to be.
    pub(super) born: u64,
    /// The sender's incarnation as the connection knows it.
    pub(super) incarnation: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Up,
    Down,
    /// How the sender goes.
    Goodbye(Goodbye),
    Gap,
    Message(Bytes),
}

impl Connection {
    /// The life that one end had when the connection came to be.
    fn incarnation(&self, from: Index, to: Index) -> u64 {
        let (first, second) = self.incarnations;
        if from < to { first } else { second }
    }
}

/// A connection that exists. Sides may not know yet, or not any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) link: LinkId,
    /// The step in which it came to be.
    pub(super) born: u64,
    incarnations: (u64, u64),
}

#[derive(Debug, Default)]
pub(super) struct Network {
    connections: BTreeMap<(Index, Index), Connection>,
    blocked: BTreeSet<(Index, Index)>,
    /// From whom to whom nothing comes, though it does the other way, and when the silence is long enough to give the link up.
    silent: BTreeMap<(Index, Index), Duration>,
    /// By receiver and sender.
    queues: BTreeMap<(Index, Index), VecDeque<Packet>>,
    /// What arrives out of order: copies of messages, perhaps when their link is long over, and goodbyes.
    ghosts: Vec<(Index, Index, Packet)>,
    links: u64,
}

/// How unkind the network is to single messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// In order and complete, as a link promises.
    Fair,
    /// Lost, doubled and swapped besides.
    Foul,
}

impl Network {
    pub(super) fn connection(&self, a: Index, b: Index) -> Option<Connection> {
        self.connections.get(&pair(a, b)).copied()
    }

    pub(super) fn block(&mut self, a: Index, b: Index) {
        self.blocked.insert(pair(a, b));
    }

    pub(super) fn unblock(&mut self, a: Index, b: Index) {
        self.blocked.remove(&pair(a, b));
        self.silent.remove(&(a, b));
        self.silent.remove(&(b, a));
    }

    /// From now on nothing comes from one to the other: what is under way waits, as long as there is hope. Nor does a new connection
    /// come up, which takes both ways. Whether there is a link that this can be seen on.
    pub(super) fn silence(&mut self, from: Index, to: Index, until: Duration) -> bool {
        let linked = self.connection(from, to).is_some() && !self.blocked.contains(&pair(from, to));
        if linked {
            self.block(from, to);
            self.silent.insert((from, to), until);
        }
        linked
    }

    /// Whether nothing comes from one to the other, on a link that is not given up.
    pub(super) fn is_silent(&self, from: Index, to: Index) -> bool {
        self.silent.contains_key(&(from, to))
    }

    /// How many messages wait for a way that is cut.
    pub(super) fn waiting(&self, from: Index, to: Index) -> usize {
        let queue = self.queues.get(&(to, from)).into_iter().flatten();
        queue
            .filter(|packet| self.is_stalled(from, to, packet))
            .count()
    }

    fn is_stalled(&self, from: Index, to: Index, packet: &Packet) -> bool {
        !self.silent.is_empty()
            && self.is_silent(from, to)
            && !matches!(packet.what, What::Up | What::Down)
            && self
                .connection(from, to)
                .is_some_and(|connection| connection.link == packet.link)
    }

    /// Whether one is still to learn that a link to the other came up.
    pub(super) fn introduces(&self, from: Index, to: Index) -> bool {
        let mut queue = self.queues.get(&(to, from)).into_iter().flatten();
        queue.any(|packet| matches!(packet.what, What::Up))
    }

    /// When somebody gives up a silent link next.
    pub(super) fn next_verdict(&self) -> Option<Duration> {
        self.silent.values().min().copied()
    }

    /// Who, from whom and to whom, has been silent for too long.
    pub(super) fn verdict(&self, now: Duration) -> Option<(Index, Index)> {
        let mut due = self.silent.iter().filter(|(_, until)| **until <= now);
        due.next().map(|(way, _)| *way)
    }

    /// The receiver of nothing closes the connection: it learns of the end at once, and the other one, whom everything reaches that
    /// was sent before, by the close.
    pub(super) fn give_up(
        &mut self,
        (from, to): (Index, Index),
        now: Duration,
        random: &mut Random,
    ) {
        self.silent.remove(&(from, to));
        let Some(connection) = self.connections.remove(&pair(from, to)) else {
            return;
        };
        self.lose((from, to), connection, 0, now, random);
        self.end((from, to), connection, now);
        self.end((to, from), connection, now + random.millis(80));
    }

    pub(super) fn can_connect(&self, a: Index, b: Index) -> bool {
        let pair = pair(a, b);
        a != b && !self.blocked.contains(&pair) && !self.connections.contains_key(&pair)
    }

    /// A new connection; each side learns of it after a while of its own.
    pub(super) fn connect(
        &mut self,
        (a, incarnation_a): (Index, u64),
        (b, incarnation_b): (Index, u64),
        (now, step): (Duration, u64),
        random: &mut Random,
    ) {
        self.links += 1;
        let link = LinkId(self.links);
        let incarnations = if a < b {
            (incarnation_a, incarnation_b)
        } else {
            (incarnation_b, incarnation_a)
        };
        let connection = Connection {
            link,
            born: step,
            incarnations,
        };
        self.connections.insert(pair(a, b), connection);
        for (from, to, incarnation) in [(a, b, incarnation_a), (b, a, incarnation_b)] {
            self.enqueue(
                from,
                to,
                Packet {
                    at: now + random.millis(80),
                    link,
                    born: step,
                    incarnation,
                    what: What::Up,
                },
            );
        }
    }

    /// Ends a connection: of what is under way each side gets a beginning, and each learns of the end on its own time.
    pub(super) fn cut(
        &mut self,
        [(a, rate_a), (b, rate_b)]: [(Index, Rate); 2],
        now: Duration,
        random: &mut Random,
    ) {
        let Some(connection) = self.connections.remove(&pair(a, b)) else {
            return;
        };
        for (from, to, rate) in [(a, b, rate_b), (b, a, rate_a)] {
            let queue = self.queues.entry((to, from)).or_default().len();
            let goodbyes = self
                .ghosts
                .iter()
                .filter(|ghost| is_goodbye((from, to), connection, ghost));
            let mut kept = random.below(queue + goodbyes.count() + 1);
            if self.silent.remove(&(from, to)).is_some() {
                kept = 0;
            }
            self.lose((from, to), connection, kept, now, random);
            let at = now + rate.takes(random.millis(2_500));
            self.end((from, to), connection, at);
        }
    }

    /// Of what is under way on a connection only the first so many arrive; one of the others may, when it is over.
    fn lose(
        &mut self,
        (from, to): (Index, Index),
        connection: Connection,
        kept: usize,
        now: Duration,
        random: &mut Random,
    ) {
        let queue = self.queues.entry((to, from)).or_default();
        if kept == 0 {
            self.ghosts
                .retain(|ghost| !is_goodbye((from, to), connection, ghost));
        }
        // What is older than this connection was promised before.
        let mut place = 0;
        let mut late = None;
        queue.retain(|packet| {
            place += 1;
            let message = matches!(packet.what, What::Message(_));
            let keep = packet.link != connection.link || !(message && place > kept);
            if !keep && message {
                late = Some(packet.clone());
            }
            keep
        });
        if let Some(mut late) = late
            && random.one_in(2)
        {
            late.at = now + random.millis(8_000);
            self.ghosts.push((from, to, late));
        }
    }

    /// One side learns that its connection is over.
    fn end(&mut self, (from, to): (Index, Index), connection: Connection, at: Duration) {
        self.enqueue(
            from,
            to,
            Packet {
                at,
                link: connection.link,
                born: connection.born,
                incarnation: connection.incarnation(from, to),
                what: What::Down,
            },
        );
    }

    /// A message on the link that its sender believes in. It goes nowhere if that link is over.
    pub(super) fn send(
        &mut self,
        (from, to, link): (Index, Index, LinkId),
        bytes: Bytes,
        (now, weather): (Duration, Weather),
        random: &mut Random,
    ) -> Option<&'static str> {
        let connection = self.connection(from, to)?;
        if connection.link != link {
            return None;
        }
        let packet = Packet {
            at: now + Duration::from_millis(1) + random.millis(60),
            link,
            born: connection.born,
            incarnation: connection.incarnation(from, to),
            what: What::Message(bytes),
        };
        let fate = if weather == Weather::Fair {
            99
        } else {
            random.below(40)
        };
        match fate {
            0 => {
                if random.one_in(2) {
                    self.enqueue(
                        from,
                        to,
                        Packet {
                            what: What::Gap,
                            ..packet
                        },
                    );
                }
                Some("message lost")
            }
            1 => {
                self.enqueue(from, to, packet.clone());
                let at = packet.at + random.millis(500);
                self.ghosts.push((from, to, Packet { at, ..packet }));
                Some("message doubled")
            }
            2 => {
                let at = packet.at + random.millis(500);
                self.ghosts.push((from, to, Packet { at, ..packet }));
                Some("message overtaken")
            }
            _ => {
                self.enqueue(from, to, packet);
                None
            }
        }
    }

    /// A node tells all that it is connected to how it goes: on a stream beside that of its messages, which it may overtake or follow,
    /// but not before a link is up or when it is over.
    pub(super) fn announce(
        &mut self,
        from: Index,
        goodbye: Goodbye,
        now: Duration,
        random: &mut Random,
    ) {
        let connections = self.connections.iter();
        let own = connections.filter(|((a, b), _)| *a == from || *b == from);
        for ((a, b), connection) in own {
            let to = if *a == from { *b } else { *a };
            let queue = self.queues.get(&(to, from)).into_iter().flatten();
            let is_up = |packet: &&Packet| {
                packet.link == connection.link && matches!(packet.what, What::Up)
            };
            let up = queue.filter(is_up).map(|packet| packet.at).max();
            let ready = up.map_or(now, |up| up.max(now));
            let packet = Packet {
                at: ready + Duration::from_millis(1) + random.millis(60),
                link: connection.link,
                born: connection.born,
                incarnation: connection.incarnation(from, to),
                what: What::Goodbye(goodbye),
            };
            self.ghosts.push((from, to, packet));
        }
    }

    fn enqueue(&mut self, from: Index, to: Index, mut packet: Packet) {
        let queue = self.queues.entry((to, from)).or_default();
        // In order: nothing arrives before what was sent earlier.
        if let Some(last) = queue.back() {
            packet.at = packet.at.max(last.at);
        }
        queue.push_back(packet);
    }

    /// Takes everything that is on its way to a node, in the order in which it would have arrived.
    pub(super) fn take_all_to(&mut self, to: Index) -> Vec<(Index, Packet)> {
        let mut taken = Vec::new();
        for ((_, from), queue) in self.queues.range_mut((to, 0)..(to + 1, 0)) {
            taken.extend(queue.drain(..).map(|packet| (*from, packet)));
        }
        let ghosts = self
            .ghosts
            .extract_if(.., |(_, receiver, _)| *receiver == to);
        taken.extend(ghosts.map(|(from, _, packet)| (from, packet)));
        taken.sort_by_key(|(_, packet)| packet.at);
        taken
    }

    /// The next packet that has arrived for a node.
    pub(super) fn receive(&mut self, to: Index, now: Duration) -> Option<(Index, Packet)> {
        let due = |(from, receiver, packet): &(Index, Index, Packet)| {
            *receiver == to && packet.at <= now && !self.is_stalled(*from, to, packet)
        };
        if let Some(place) = self.ghosts.iter().position(due) {
            let (from, _, packet) = self.ghosts.swap_remove(place);
            return Some((from, packet));
        }
        let queues = self.queues.range((to, 0)..(to + 1, 0));
        let arrived = queues.filter_map(|((_, from), queue)| {
            let first = queue.front()?;
            let here = first.at <= now && !self.is_stalled(*from, to, first);
            here.then_some((first.at, *from))
        });
        let (_, from) = arrived.min()?;
        let packet = self.queues.get_mut(&(to, from))?.pop_front()?;
        Some((from, packet))
    }

    /// When the next packet arrives anywhere.
    pub(super) fn next_arrival(&self) -> Option<Duration> {
        let queues = self.queues.iter();
        let queued = queues.filter_map(|((to, from), queue)| Some((*from, *to, queue.front()?)));
        let ghosts = self.ghosts.iter();
        let ghosts = ghosts.map(|(from, to, packet)| (*from, *to, packet));
        let ways = queued.chain(ghosts);
        let moving = ways.filter(|(from, to, packet)| !self.is_stalled(*from, *to, packet));
        moving.map(|(_, _, packet)| packet.at).min()
    }
}

/// Silence after which a node gives a link up, by its clock.
pub(super) const SILENCE: Duration = Duration::from_millis(2_500);

/// Whether that is what one end of a connection said of how it goes.
fn is_goodbye(
    way: (Index, Index),
    connection: Connection,
    (from, to, packet): &(Index, Index, Packet),
) -> bool {
    let goodbye = matches!(packet.what, What::Goodbye(_));
    goodbye && (*from, *to) == way && packet.link == connection.link
}

pub(super) fn pair(a: Index, b: Index) -> (Index, Index) {
    (a.min(b), a.max(b))
}
