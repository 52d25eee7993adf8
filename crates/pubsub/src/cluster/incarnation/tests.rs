//! Who is believed, and what the other does.

use std::time::{Duration, Instant};

use super::{Acceptance, Refusal, Renumbering, Step, accept};
use crate::Incarnation;

const OLD: Incarnation = Incarnation(10);
const NEW: Incarnation = Incarnation(20);

#[test]
fn the_later_life_wins_and_the_same_life_may_come_back() {
    assert_eq!(accept(None, false, OLD), Acceptance::Accept);
    assert_eq!(accept(Some(OLD), true, NEW), Acceptance::Accept);
    assert_eq!(accept(Some(NEW), true, NEW), Acceptance::Accept);
    let refusal = |up| Acceptance::Refuse(Refusal { newest: NEW, up });
    assert_eq!(accept(Some(NEW), true, OLD), refusal(true));
    assert_eq!(accept(Some(NEW), false, OLD), refusal(false));
}

#[test]
fn a_clock_set_back_costs_nothing_once_the_other_is_down() {
    let mut node = Renumbering::new(OLD);
    let now = Instant::now();
    let dying = Refusal {
        newest: NEW,
        up: true,
    };
    assert_eq!(node.handle_refusal(dying, now), Step::AskAgain);
    assert_eq!(
        node.handle_refusal(dying, now + Duration::from_secs(3)),
        Step::AskAgain
    );
    let dead = Refusal {
        newest: NEW,
        up: false,
    };
    let step = node.handle_refusal(dead, now + Duration::from_secs(4));
    assert_eq!(step, Step::Renumber(NEW.next()));
    assert_eq!(node.own(), NEW.next());
    assert_eq!(accept(Some(NEW), false, node.own()), Acceptance::Accept);
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
        up: true,
    };
    assert_eq!(node.handle_refusal(alive, now), Step::AskAgain);
    let almost = now + Renumbering::PATIENCE - Duration::from_millis(1);
    assert_eq!(node.handle_refusal(alive, almost), Step::AskAgain);
    assert_eq!(
        node.handle_refusal(alive, now + Renumbering::PATIENCE),
        Step::Leave
    );
}

#[test]
fn an_acceptance_in_between_starts_the_patience_anew() {
    let mut node = Renumbering::new(OLD);
    let now = Instant::now();
    let alive = Refusal {
        newest: NEW,
        up: true,
    };
    node.handle_refusal(alive, now);
    node.handle_accepted();
    assert_eq!(
        node.handle_refusal(alive, now + Renumbering::PATIENCE),
        Step::AskAgain
    );
}
