//! The simulated network: connections between nodes, and what is under way on them.
//!
//! Each side of a connection has its own opinion of whether it is up; it learns of changes in the same queue as of
//! messages, as an adapter has to hand them in.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::LinkId;

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
    Leaving,
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
    /// By receiver and sender.
    queues: BTreeMap<(Index, Index), VecDeque<Packet>>,
    /// Copies of messages that arrive when their link is long over.
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

    /// The life of `from` that `to` is connected to.
    pub(super) fn incarnation(&self, from: Index, to: Index) -> u64 {
        self.connection(from, to)
            .map_or(0, |connection| connection.incarnation(from, to))
    }

    pub(super) fn block(&mut self, a: Index, b: Index) {
        self.blocked.insert(pair(a, b));
    }

    pub(super) fn unblock(&mut self, a: Index, b: Index) {
        self.blocked.remove(&pair(a, b));
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
    pub(super) fn cut(&mut self, a: Index, b: Index, now: Duration, random: &mut Random) {
        let Some(connection) = self.connections.remove(&pair(a, b)) else {
            return;
        };
        for (from, to) in [(a, b), (b, a)] {
            let queue = self.queues.entry((to, from)).or_default();
            let kept = random.below(queue.len() + 1);
            // What is older than this connection was promised before.
            let mut place = 0;
            let mut late = None;
            queue.retain(|packet| {
                place += 1;
                let message = matches!(packet.what, What::Message(_));
                let keep = packet.link != connection.link || !message || place <= kept;
                if !keep {
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
            self.enqueue(
                from,
                to,
                Packet {
                    at: now + random.millis(2_500),
                    link: connection.link,
                    born: connection.born,
                    incarnation: connection.incarnation(from, to),
                    what: What::Down,
                },
            );
        }
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

    /// Tells all that a node is connected to something about it, in order with its messages.
    pub(super) fn tell_all(&mut self, from: Index, what: &What, now: Duration) {
        let tell: Vec<(Index, Connection)> = self
            .connections
            .iter()
            .filter_map(|((a, b), connection)| match (*a == from, *b == from) {
                (true, _) => Some((*b, *connection)),
                (_, true) => Some((*a, *connection)),
                _ => None,
            })
            .collect();
        for (to, connection) in tell {
            self.enqueue(
                from,
                to,
                Packet {
                    at: now,
                    link: connection.link,
                    born: connection.born,
                    incarnation: connection.incarnation(from, to),
                    what: what.clone(),
                },
            );
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

    /// Everything on its way to a node is lost.
    pub(super) fn lose_all_to(&mut self, to: Index) {
        for (_, queue) in self.queues.range_mut((to, 0)..(to + 1, 0)) {
            queue.clear();
        }
        self.ghosts.retain(|(_, receiver, _)| *receiver != to);
    }

    /// The next packet that has arrived for a node.
    pub(super) fn receive(&mut self, to: Index, now: Duration) -> Option<(Index, Packet)> {
        let due =
            |(_, receiver, packet): &(Index, Index, Packet)| *receiver == to && packet.at <= now;
        if let Some(place) = self.ghosts.iter().position(due) {
            let (from, _, packet) = self.ghosts.swap_remove(place);
            return Some((from, packet));
        }
        let queues = self.queues.range_mut((to, 0)..(to + 1, 0));
        let arrived = queues.filter(|(_, queue)| queue.front().is_some_and(|p| p.at <= now));
        let ((_, from), queue) = arrived.min_by_key(|(_, queue)| queue[0].at)?;
        let packet = queue.pop_front()?;
        Some((*from, packet))
    }

    /// When the next packet arrives anywhere.
    pub(super) fn next_arrival(&self) -> Option<Duration> {
        let queued = self.queues.values().filter_map(|queue| queue.front());
        let ghosts = self.ghosts.iter().map(|(_, _, packet)| packet);
        queued.chain(ghosts).map(|packet| packet.at).min()
    }
}

pub(super) fn pair(a: Index, b: Index) -> (Index, Index) {
    (a.min(b), a.max(b))
}
