//! What a history is played with: few topics and tight bounds, so that everything happens often.

use super::random::Random;
use crate::cluster::interest::{Config, HashKey};

pub(super) struct Setup {
    pub(super) nodes: usize,
    /// User lanes; behind them is one for the tracker's class.
    pub(super) lanes: usize,
    /// User topics; behind them is one of the tracker's class.
    pub(super) topics: usize,
    pub(super) config: Config,
    /// The bound of a lane.
    pub(super) lane_frames: usize,
    /// Control frames that a control stream takes before it has no room.
    pub(super) control_room: usize,
    /// Control frames lost, in percent.
    pub(super) loss: usize,
    /// Some nodes do not route by interest.
    pub(super) old_peers: bool,
    /// Links come and go often.
    pub(super) restless: bool,
}

impl Setup {
    /// Two nodes, one lane, and the default bounds.
    pub(super) fn plain() -> Self {
        Self {
            nodes: 2,
            lanes: 1,
            topics: 3,
            config: Config::new(HashKey([1; 16])),
            lane_frames: 1_000_000,
            control_room: 2,
            loss: 0,
            old_peers: false,
            restless: false,
        }
    }

    pub(super) fn random(random: &mut Random) -> Self {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.next().to_le_bytes());
        let mut config = Config::new(HashKey(key));
        config.ring_bytes = random.pick(&[300, 700, 1_500, 4_000, 100_000]);
        config.ring_entries = random.pick(&[3, 1_000, 1_000]);
        config.frame_bytes = random.pick(&[0, 46, 60, 1_000]);
        config.pending_topics = random.pick(&[1, 3, 1_000, 1_000]);
        config.peer_topics = random.pick(&[2, 1_000, 1_000, 1_000, 1_000, 1_000]);
        config.linger_messages = random.pick(&[1, 3, 16]);
        Self {
            nodes: 2 + random.below(4),
            lanes: 1 + random.below(3),
            topics: 2 + random.below(5),
            config,
            lane_frames: random.pick(&[4, 1_000_000, 1_000_000, 1_000_000, 1_000_000]),
            control_room: 2,
            loss: random.pick(&[0, 0, 10]),
            old_peers: random.chance(20),
            restless: random.chance(30),
        }
    }
}
