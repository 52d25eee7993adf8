//! Who is believed, and what the other does.

use std::time::{Duration, Instant};

use super::{Acceptance, Alive, Refusal, Renumbering, Step, accept};
use crate::Incarnation;

const OLD: Incarnation = Incarnation(10);
const NEW: Incarnation = Incarnation(20);

#[test]
fn the_later_life_wins_and_the_same_life_may_come_back() {
    assert_eq!(accept(None, Alive::No, OLD), Acceptance::Accept);
    assert_eq!(accept(Some(OLD), Alive::Yes, NEW), Acceptance::Accept);
    assert_eq!(accept(Some(NEW), Alive::Yes, NEW), Acceptance::Accept);
    for alive in [Alive::Yes, Alive::No, Alive::Unsure] {
        let refusal = Acceptance::Refuse(Refusal { newest: NEW, alive });
        assert_eq!(accept(Some(NEW), alive, OLD), refusal);
    }
}

#[test]
fn a_clock_set_back_costs_nothing_once_the_other_is_down() {
    let mut node = Renumbering::new(OLD);
    let now = Instant::now();
    let dying = Refusal {
        newest: NEW,
        alive: Alive::Yes,
    };
    assert_eq!(node.handle_refusal(dying, now), Step::AskAgain);
    assert_eq!(
        node.handle_refusal(dying, now + Duration::from_secs(3)),
        Step::AskAgain
    );
    let dead = Refusal {
        newest: NEW,
        alive: Alive::No,
    };
    let step = node.handle_refusal(dead, now + Duration::from_secs(5));
    assert_eq!(step, Step::Renumber(NEW.next()));
    assert_eq!(node.own(), NEW.next());
    assert_eq!(accept(Some(NEW), Alive::No, node.own()), Acceptance::Accept);
    assert_eq!(
        node.handle_refusal(dead, now),
        Step::AskAgain,
        "an answer to the old number"
    );
}

#[test]
fn two_that_live_do_not_take_turns() {
    let mut node = Renumbering::new(OLD);
    let now = Instant::now();
    let alive = Refusal {
        newest: NEW,
        alive: Alive::Yes,
    };
    assert_eq!(node.handle_refusal(alive, now), Step::AskAgain);
    let between = now + Renumbering::PATIENCE / 2;
    assert_eq!(node.handle_refusal(alive, between), Step::AskAgain);
    let almost = now + Renumbering::PATIENCE - Duration::from_millis(1);
    assert_eq!(node.handle_refusal(alive, almost), Step::AskAgain);
    assert_eq!(
        node.handle_refusal(alive, now + Renumbering::PATIENCE),
        Step::Leave
    );
}

#[test]
fn whoever_may_be_back_at_once_is_waited_for() {
    let mut node = Renumbering::new(OLD);
    let now = Instant::now();
    let unsure = Refusal {
        newest: NEW,
        alive: Alive::Unsure,
    };
    for seconds in 0..20 {
        let step = node.handle_refusal(unsure, now + Duration::from_secs(seconds));
        assert_eq!(step, Step::AskAgain);
    }
}

#[test]
fn one_that_cannot_reach_the_other_is_not_believed_that_it_is_gone() {
    let mut node = Renumbering::new(OLD);
    let now = Instant::now();
    let refusal = |alive| Refusal { newest: NEW, alive };
    let mut at = now;
    while at < now + Renumbering::PATIENCE {
        assert_eq!(node.handle_refusal(refusal(Alive::Yes), at), Step::AskAgain);
        at += Duration::from_secs(1);
        assert_eq!(node.handle_refusal(refusal(Alive::No), at), Step::AskAgain);
    }
    assert_eq!(node.handle_refusal(refusal(Alive::Yes), at), Step::Leave);
}

#[test]
fn refusals_long_apart_are_told_by_two_quarrels() {
    let mut node = Renumbering::new(OLD);
    let now = Instant::now();
    let alive = Refusal {
        newest: NEW,
        alive: Alive::Yes,
    };
    node.handle_refusal(alive, now);
    let much_later = now + 3 * Renumbering::PATIENCE;
    assert_eq!(node.handle_refusal(alive, much_later), Step::AskAgain);
}
