//! What stays as it is throughout a history: how many nodes, how far apart, with what room.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::cluster::interest::{Config, HashKey};
use rand::Rng;

use super::random::Random;
use crate::proto::codec::Codec;
use crate::proto::outbox::Bounds;
use crate::proto::terms::Offer;

/// So soon at the latest a driver comes to what it was told of by a hint.
pub(super) const HINT: Duration = Duration::from_millis(3);
const MIB: usize = 1024 * 1024;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Nodes at the beginning; twins and intruders come on top.
    pub(crate) nodes: usize,
    /// Steps of the plan.
    pub(crate) steps: usize,
    pub(super) topics: u8,
    /// How long a packet is under way at least and at most.
    pub(super) flight: (Duration, Duration),
    /// Of a thousand packets, so many are lost and sent again.
    pub(super) loss: u32,
    /// Whether anything breaks.
    pub(super) calm: bool,
    /// Whether nothing holds anything up: nothing is lost, nobody is slow, and there is room.
    pub(super) prompt: bool,
    /// Whether clocks jump and names are borne twice.
    pub(super) quarrels: bool,
    pub(super) ring_bytes: usize,
    pub(super) ring_entries: usize,
    pub(super) lane_bytes: usize,
    pub(super) tracker_bytes: usize,
    /// What may be under way on one stream.
    pub(super) window: usize,
    /// Of a hundred nodes, so many speak only the older version, or do not route.
    pub(super) old: u32,
    pub(super) no_interest: u32,
    /// Waits between steps are drawn from up to this.
    pub(super) pace: Duration,
}

impl Setup {
    /// Nodes that nothing happens to but what a test tells them.
    #[cfg(test)]
    pub(crate) fn plain(nodes: usize) -> Self {
        Self {
            nodes,
            steps: 0,
            topics: 4,
            flight: (Duration::from_micros(200), Duration::from_millis(20)),
            loss: 0,
            calm: true,
            prompt: true,
            quarrels: false,
            ring_bytes: 4 * MIB,
            ring_entries: 65_536,
            lane_bytes: 8 * MIB,
            tracker_bytes: 64 * 1024 * 1024,
            window: MIB,
            old: 0,
            no_interest: 0,
            pace: Duration::from_millis(100),
        }
    }

    /// One of its own for each seed.
    pub(super) fn random(rng: &mut Random, nodes: usize) -> Self {
        let ring = [600, 1_500, 4_000, 64 * 1024][rng.random_range(0..4)];
        let slowest = [2_000, 20_000, 100_000][rng.random_range(0..3)];
        let calm = rng.random_ratio(1, 8);
        let mut setup = Self {
            nodes,
            steps: 200,
            topics: rng.random_range(2..6),
            flight: (Duration::from_micros(200), Duration::from_micros(slowest)),
            loss: [0, 0, 10, 60][rng.random_range(0..4)],
            calm,
            prompt: false,
            quarrels: !calm && rng.random_ratio(1, 3),
            ring_bytes: ring,
            ring_entries: [3, 10, 65_536][rng.random_range(0..3)],
            lane_bytes: [2 * ring, 3_000, 64 * 1024][rng.random_range(0..3)],
            tracker_bytes: if calm { 64 * 1024 * 1024 } else { 20_000 },
            window: [600, 4_000, 64 * 1024][rng.random_range(0..3)],
            old: [0, 0, 30][rng.random_range(0..3)],
            no_interest: [0, 0, 30][rng.random_range(0..3)],
            pace: match nodes {
                0..10 => Duration::from_millis([25, 60, 120][rng.random_range(0..3)]),
                // They are costly, and enough of them happens at once.
                _ => Duration::from_millis(15),
            },
        };
        if setup.calm && setup.loss == 0 {
            setup.prompt = true;
            (setup.ring_bytes, setup.ring_entries) = (4 * MIB, 65_536);
            (setup.lane_bytes, setup.window) = (8 * MIB, MIB);
        }
        setup
    }

    /// How long before its subscription a message may have been published that comes to it, while nothing holds anything up: half
    /// a round trip, and so long as a publisher may wait with saying how far it has published. While what an `earlier` subscription
    /// of the same node asked for may be under way, a round trip more: whoever subscribes then gets it too.
    pub(super) fn early(&self, earlier: Option<Duration>) -> Option<Duration> {
        let (half, announce) = (self.flight.1, self.interest().announce_after);
        let joins = earlier.is_some_and(|since| since <= 2 * half + HINT);
        let bound = announce
            + half
            + if joins {
                2 * half + HINT
            } else {
                Duration::ZERO
            };
        self.prompt.then_some(bound)
    }

    pub(super) fn interest(&self) -> Config {
        let mut config = Config::new(HashKey([7; 16]));
        config.ring_bytes = self.ring_bytes;
        config.ring_entries = self.ring_entries;
        config
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            user_lane_bytes: self.lane_bytes,
            tracker_lane_bytes: self.tracker_bytes,
        }
    }

    /// What one more node is willing to do.
    pub(super) fn offer(&self, rng: &mut Random) -> Offer {
        let newest = match rng.random_ratio(self.old, 100) {
            true => Codec::V1,
            false => Codec::NEWEST,
        };
        Offer {
            newest,
            interest: !rng.random_ratio(self.no_interest, 100),
            max_message_bytes: match rng.random_ratio(1, 10) {
                // A node of version 1 cannot be told.
                true if !self.calm && self.old == 0 => 50_000,
                _ => Offer::default().max_message_bytes,
            },
        }
    }

    /// How long a packet is under way.
    pub(super) fn flight(&self, rng: &mut Random) -> Duration {
        rng.random_range(self.flight.0..self.flight.1)
    }
}
