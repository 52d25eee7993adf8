//! The lanes of a link: ordered streams side by side, so that what is slow or lost on one holds up none of the others.
//!
//! Pure: no clock, no I/O, no tasks.

mod encoded;
mod queue;
mod reader;

use matryoshka_pubsub::TrafficClass;

pub(crate) use encoded::Encoded;
pub(crate) use queue::{LaneQueue, Pushed};
pub(crate) use reader::{LaneEvent, LaneReader, Received};

/// How many lanes carry user messages to one peer.
pub(crate) const USER_LANES: u16 = 8;
/// How many lanes there are to one peer: control, tracker, those of users, bulk.
pub(crate) const LANES: u16 = USER_LANES + 3;

const CONTROL: u16 = 0;
const TRACKER: u16 = 1;
const FIRST_USER: u16 = 2;
const BULK: u16 = LANES - 1;

/// Which lane a message takes: its class's, and of those for users always the same for the same `lane`.
pub(crate) fn lane_of(class: TrafficClass, lane: u64) -> u16 {
    match class {
        TrafficClass::Control => CONTROL,
        TrafficClass::Tracker => TRACKER,
        // Publishers count up and topics are hashed: the remainder spreads both.
        TrafficClass::User => FIRST_USER + (lane % u64::from(USER_LANES)) as u16,
        TrafficClass::Bulk => BULK,
    }
}

/// Whose lane that is.
pub(crate) fn class_of(lane: u16) -> TrafficClass {
    match lane {
        CONTROL => TrafficClass::Control,
        TRACKER => TrafficClass::Tracker,
        BULK => TrafficClass::Bulk,
        _ => TrafficClass::User,
    }
}

/// What must not be lost: when its queue is full the link ends.
pub(crate) fn must_not_lose(lane: u16) -> bool {
    matches!(
        class_of(lane),
        TrafficClass::Control | TrafficClass::Tracker
    )
}

#[cfg(test)]
mod tests {
    use TrafficClass::{Bulk, Control, Tracker, User};

    use super::*;

    #[test]
    fn every_class_has_lanes_of_its_own() {
        for lane in 0..100 {
            for class in [Control, Tracker, User, Bulk] {
                let taken = lane_of(class, lane);
                assert!(taken < LANES);
                assert_eq!(class_of(taken), class);
            }
        }
        let user: std::collections::BTreeSet<u16> = (0..100).map(|n| lane_of(User, n)).collect();
        assert_eq!(user.len(), usize::from(USER_LANES));
    }
}
