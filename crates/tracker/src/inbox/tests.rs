//! What happens when the queue into a shard is full.

use matryoshka_pubsub::Incarnation;
use matryoshka_pubsub::cluster::Member;

use super::*;
use crate::life::Life;
use crate::message::{Hello, Position, Pull};

const BOUND: usize = 8;
const RESERVE: usize = 2;

fn origin(node: &str) -> Arc<Origin> {
    Arc::new(Origin {
        node: NodeName::new(node).unwrap(),
        incarnation: Incarnation(1),
        link: LinkId(1),
    })
}

fn ordinary() -> Bytes {
    Message::Pull(Pull { have: None }).encode()
}

fn hello() -> Bytes {
    let at = Position {
        life: Life::first_of(1),
        seq: 0,
    };
    Message::Hello(Hello {
        at,
        have: None,
        least: None,
        formerly: Vec::new(),
        goodbye: None,
        held: Vec::new(),
        hears: Vec::new(),
    })
    .encode()
}

fn up(node: &str) -> MemberEvent {
    let node = NodeName::new(node).unwrap();
    MemberEvent::Up(Member::up(node, Incarnation(1), LinkId(1)))
}

/// What is waiting, in a letter each.
fn waiting(inbox: &Inbox) -> String {
    let letter = |news: &News| match news {
        News::Message(..) => 'm',
        News::Member(_) => 'e',
        News::Lost(..) => 'L',
        News::Reset => 'R',
    };
    inbox.take_news(usize::MAX).iter().map(letter).collect()
}

#[test]
fn news_come_out_in_the_order_they_went_in() {
    let inbox = Inbox::new(BOUND);
    inbox.member(&up("a"));
    assert_eq!(inbox.message(&origin("a"), &hello()), Delivery::Delivered);
    inbox.member(&up("b"));
    assert_eq!(inbox.take_news(1).len(), 1);
    assert_eq!(waiting(&inbox), "me");
    assert_eq!((waiting(&inbox).as_str(), inbox.dropped()), ("", 0));
}

#[test]
fn a_message_too_many_is_dropped_and_its_link_marked_once() {
    let inbox = Inbox::new(BOUND);
    for _ in 0..BOUND {
        inbox.message(&origin("a"), &ordinary());
    }
    for node in ["a", "a", "b", "a"] {
        assert_eq!(inbox.message(&origin(node), &ordinary()), Delivery::Dropped);
    }
    assert_eq!(inbox.dropped(), 4);
    assert_eq!(waiting(&inbox), format!("{}LL", "m".repeat(BOUND)));
    inbox.message(&origin("a"), &ordinary());
    assert_eq!(waiting(&inbox), "m", "there is room again");
}

#[test]
fn what_must_arrive_has_a_reserve_and_then_everything_starts_again() {
    let inbox = Inbox::new(BOUND);
    for _ in 0..BOUND {
        inbox.message(&origin("a"), &ordinary());
    }
    inbox.member(&up("b"));
    assert_eq!(inbox.message(&origin("a"), &hello()), Delivery::Delivered);
    assert_eq!(inbox.state().news.len(), BOUND + RESERVE);
    inbox.member(&up("c"));
    assert_eq!(inbox.message(&origin("a"), &hello()), Delivery::Dropped);
    assert_eq!(
        waiting(&inbox),
        format!("{}emR", "m".repeat(BOUND)),
        "one mark for both"
    );
    inbox.member(&up("c"));
    assert_eq!(waiting(&inbox), "e");
}

#[test]
fn own_messages_are_not_news() {
    use matryoshka_pubsub::PubSub;

    let pubsub = PubSub::local();
    let inbox = Arc::new(Inbox::new(BOUND));
    let _subscription = pubsub.subscribe_sink("t", Arc::clone(&inbox) as _).unwrap();
    pubsub.broadcast("t", "mine").unwrap();
    assert_eq!(waiting(&inbox), "");
}

#[test]
fn a_closed_inbox_takes_nothing_and_holds_nothing() {
    let inbox = Inbox::new(BOUND);
    inbox.member(&up("a"));
    inbox.died(1);
    inbox.close();
    assert_eq!(inbox.message(&origin("a"), &hello()), Delivery::Closed);
    inbox.member(&up("a"));
    inbox.died(2);
    assert_eq!(waiting(&inbox), "");
    assert!(inbox.take_endings().is_empty());
}
