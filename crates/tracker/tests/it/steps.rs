//! What is too much for one step of a shard is done in several, and nobody sees the order of things change by that.

use std::cell::Cell;
use std::time::Duration;

use futures::FutureExt;
use matryoshka_tracker::pubsub::PubSub;
use matryoshka_tracker::pubsub::registry::{Owner, OwnerId};
use matryoshka_tracker::{DiffEvent, Diffs, Tracked, Tracker, TrackerConfig};

use crate::support::{SOON, pass};

/// More than two steps' worth.
const MANY: usize = 10_000;

/// What one step ends at most.
const STEP: usize = 4_096;

struct Room {
    tracker: Tracker,
    owner: Owner,
    guards: Vec<Tracked>,
    diffs: Diffs,
}

impl Room {
    async fn with_many() -> Self {
        let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default());
        let tracker = tracker.expect("a tracker starts");
        let owner = Owner::new();
        let keys: Vec<String> = (0..MANY).map(|key| key.to_string()).collect();
        let tracks = keys
            .iter()
            .map(|key| tracker.track(&owner, "room", key, ""));
        let guards = futures::future::try_join_all(tracks).await;
        let guards = guards.expect("nothing is tracked there yet");
        let diffs = tracker.diffs();
        Self {
            tracker,
            owner,
            guards,
            diffs,
        }
    }

    /// How many left in each diff, the guards being gone.
    fn leaves(mut self) -> Vec<usize> {
        let mut leaves = Vec::new();
        while let Some(Some(DiffEvent::Diff(diff))) = self.diffs.next().now_or_never() {
            leaves.push(diff.leaves.len());
        }
        leaves
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_an_owner_is_untracked_in_pieces_and_counted_whole() {
    let room = Room::with_many().await;
    let untracked = room.tracker.untrack_owner(room.owner.id()).await;
    assert_eq!(untracked, Ok(MANY));
    assert_eq!(room.tracker.count("room"), 0);
    assert_eq!(room.leaves(), [STEP, STEP, MANY - 2 * STEP]);
}

#[tokio::test(start_paused = true)]
async fn all_of_a_dead_owner_ends_in_pieces() {
    let mut room = Room::with_many().await;
    room.owner = Owner::new();
    pass(SOON).await;
    assert_eq!(room.tracker.count("room"), 0);
    assert_eq!(room.leaves(), [STEP, STEP, MANY - 2 * STEP]);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_all_in_pieces() {
    let room = Room::with_many().await;
    room.tracker.close().await;
    assert_eq!(room.tracker.count("room"), 0);
    assert_eq!(room.leaves(), [STEP, STEP, MANY - 2 * STEP]);
}

#[tokio::test(start_paused = true)]
async fn i27_whoever_dropped_many_guards_tracks_anew_in_the_place_of_the_last_one() {
    let mut room = Room::with_many().await;
    let last = room.guards.last().unwrap().entry().key.clone();
    room.guards.clear();
    let again = room.tracker.track(&room.owner, "room", &last, "").await;
    assert_eq!(again.unwrap().entry().key, last);
    assert_eq!(room.leaves(), [STEP, STEP, MANY - 2 * STEP]);
}

/// A task that only takes turns gets some while many entries end.
#[tokio::test(start_paused = true)]
async fn others_get_their_turn_in_between() {
    let room = Room::with_many().await;
    let untrack = room.tracker.untrack_owner(room.owner.id());
    let watch = async {
        let mut seen = Vec::new();
        while seen.last() != Some(&0) {
            tokio::task::yield_now().await;
            seen.push(room.tracker.count("room"));
        }
        seen.dedup();
        seen
    };
    let (untracked, seen) = futures::join!(untrack, watch);
    assert_eq!(untracked, Ok(MANY));
    assert_eq!(seen, [MANY - STEP, MANY - 2 * STEP, 0]);
}

impl Room {
    /// So many turns another task gets while what that owner tracks is held.
    async fn turns_while_held(&self, owner: OwnerId) -> usize {
        let (is_held, mut turns) = (Cell::new(false), 0);
        let hold = async {
            assert!(self.tracker.hold(&[owner]).await);
            is_held.set(true);
        };
        let watch = async {
            while !is_held.get() {
                tokio::task::yield_now().await;
                turns += 1;
            }
        };
        futures::join!(hold, watch);
        turns
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_an_owner_is_held_in_pieces() {
    let room = Room::with_many().await;
    let other = Owner::new();
    let one = room.tracker.track(&other, "room", "one", "").await;
    room.tracker.restart(Duration::from_secs(10)).await;
    let one_step = room.turns_while_held(other.id()).await;
    let turns = room.turns_while_held(room.owner.id()).await;
    assert_eq!(turns, one_step + MANY / STEP);
    assert_eq!(room.tracker.count("room"), MANY + 1);
    drop(one);
}
