//! Every rule broken, one at a time: each must be caught, by a property that says what went wrong.

use super::super::variant::Variant;
use super::setup::Setup;
use super::world::World;
use super::{Kept, play};

/// Histories in which a broken rule must show. Most do within the first thirty.
const HISTORIES: u64 = 6_000;

const ORDER: &str = "order";
const LOST: &str = "nothing lost";
const HOLES: &str = "no holes";
const TWICE: &str = "no duplicates";
const SETS: &str = "sets right";
const FLOODS: &str = "routes at rest";
const FOREIGN: &str = "foreign message";

/// Each variant with the properties that it breaks. Only those count as caught.
const MUTANTS: &[(Variant, &[&str])] = &[
    (Variant::FullRingSendsNewest, &[ORDER]),
    (Variant::FullRingEvictsNewest, &[ORDER]),
    (Variant::EvictionDrops, &[LOST]),
    (Variant::TooBigGoesAtOnce, &[ORDER]),
    (Variant::DirectBypassesRing, &[ORDER]),
    (Variant::LanesDropOlder, &[LOST]),
    (Variant::HeardOvertakes, &[LOST]),
    (Variant::HeardAfterEdges, &[LOST]),
    (Variant::HeardWithPending, &[LOST]),
    (Variant::EdgesLate, &[LOST]),
    (Variant::WrittenAsQueued, &[SETS]),
    (Variant::WrittenAsQueued, &[LOST]),
    (Variant::WrittenAsRegistrySays, &[SETS]),
    (Variant::WrittenAsRegistrySays, &[LOST]),
    (Variant::TrimmedOneTooFar, &[LOST, HOLES]),
    (Variant::PositionOneTooHigh, &[LOST, HOLES]),
    (Variant::SyncWithoutLingering, &[SETS]),
    (Variant::SyncWithoutLingering, &[LOST]),
    (Variant::SyncIntoNewSet, &[SETS]),
    (Variant::SyncIntoNewSet, &[LOST]),
    (Variant::SyncFromSnapshot, &[SETS]),
    (Variant::RouteFromBegin, &[LOST, HOLES]),
    (Variant::BeginDropsWaiting, &[LOST]),
    (Variant::LostFrameDropsWaiting, &[LOST]),
    (Variant::SeqNotChecked, &[LOST]),
    (Variant::SeqNotChecked, &[FLOODS]),
    (Variant::NoLast, &[FLOODS]),
    (Variant::RingOutlivesLink, &[FOREIGN]),
    (Variant::OlderLinkReplaces, &["at rest"]),
    (Variant::OverLimitIgnored, &[LOST]),
    (Variant::OldPeerWantsNothing, &[LOST]),
    (Variant::WantedWithoutReplay, &[LOST]),
    (Variant::ReplayBackwards, &[ORDER]),
    (Variant::KeptAfterReplay, &[TWICE]),
    (Variant::GapNotTold, &["gaps told"]),
    (Variant::WantedCarriesHeard, &[LOST]),
    (Variant::NotPurged, &[ORDER]),
];

#[test]
fn every_wrong_variant_is_caught() {
    for (variant, properties) in MUTANTS {
        let catches = |seed: &u64| {
            let broken = play(*seed, *variant).err();
            broken.is_some_and(|broken| properties.contains(&broken.property))
        };
        let seed = (0..HISTORIES).find(catches);
        println!("{variant:?}: {properties:?} in history {seed:?}");
        assert!(seed.is_some(), "{variant:?} never breaks {properties:?}");
    }
}

/// Random histories come by this a few times in thousands, so here is one: a node remembers what it heard of a peer's last life,
/// and says it to the next life while that publishes its first message.
fn peer_restarts(variant: Variant) -> Kept {
    let mut world = World::with(Setup::plain(), 1, variant);
    let connect = |world: &mut World| -> Kept {
        let link = world.pipes.len();
        world.connect(0, 1);
        world.end_up(link, 0);
        world.end_up(link, 1);
        world.settle()
    };
    connect(&mut world)?;
    world.publish_to_all(0, 0);
    world.settle()?;
    world.subscribe(1, 0);
    world.follow_hint(1);
    world.settle()?;
    world.publish_to_all(0, 0);
    world.settle()?;
    world.unsubscribe(1, 0);
    world.restart(0);
    world.end_down(0, 1);
    world.come_to_rest()?;
    connect(&mut world)?;
    // This frame is under way with what was heard, as the other topic is subscribed and the message published.
    world.subscribe(1, 1);
    world.follow_hint(1);
    world.write_control(1, 1, false);
    world.subscribe(1, 0);
    world.publish_to_all(0, 0);
    world.finish()
}

#[test]
fn what_was_heard_does_not_outlive_the_peer() {
    assert!(peer_restarts(Variant::Right).is_ok());
    let broken = peer_restarts(Variant::HeardKeptOverRestart).unwrap_err();
    assert_eq!(broken.property, LOST, "{}", broken.how);
}
