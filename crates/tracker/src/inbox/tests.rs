//! What happens when the queue into a shard is full.

use matryoshka_pubsub::Incarnation;
use matryoshka_pubsub::cluster::Member;

use super::*;
use crate::life::Life;
use crate::message::{Hello, Position, Pull};

const BOUND: usize = 8;
const RESERVE: usize = 2;

const ROOM: Room = Room {
    messages: BOUND,
    bytes: 4_000,
};

fn origin(node: &str) -> Arc<Origin> {
    Arc::new(Origin {
        node: NodeName::new(node).unwrap(),
        incarnation: Incarnation(1),
        link: LinkId(1),
    })
}

fn ordinary() -> Bytes {
    Message::Pull(Pull {
        have: None,
        taken: None,
    })
    .encode()
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
    inbox
        .take_news(usize::MAX, usize::MAX)
        .iter()
        .map(letter)
        .collect()
}

/// Two links with half of the room each.
fn fill(inbox: &Inbox) {
    for node in ["a", "b"].repeat(BOUND / 2) {
        inbox.message(&origin(node), &ordinary());
    }
}

/// Whatever one link sends: the others lose nothing, not even what they have sent a part of.
#[test]
fn who_floods_a_node_loses_what_it_sends_itself() {
    for flood in [ordinary(), hello(), of_bytes(1_000), of_bytes(3_000)] {
        let inbox = Inbox::new(Room {
            messages: 2 * BOUND,
            ..ROOM
        });
        for _ in 0..100 {
            inbox.message(&origin("a"), &flood);
        }
        inbox.member(&up("b"));
        assert_eq!(inbox.message(&origin("b"), &hello()), Delivery::Delivered);
        assert_eq!(
            inbox.message(&origin("b"), &ordinary()),
            Delivery::Delivered
        );
        let lost: Vec<_> = inbox
            .take_news(usize::MAX, usize::MAX)
            .into_iter()
            .filter_map(|news| match news {
                News::Lost(node, _) => Some(node.as_str().to_owned()),
                News::Reset => Some("all".to_owned()),
                News::Message(..) | News::Member(_) => None,
            })
            .collect();
        assert_eq!(lost, ["a"]);
        assert!(inbox.state().links.is_empty());
        assert_eq!(inbox.message(&origin("a"), &flood), Delivery::Delivered);
    }
}

#[test]
fn news_come_out_in_the_order_they_went_in() {
    let inbox = Inbox::new(ROOM);
    inbox.member(&up("a"));
    assert_eq!(inbox.message(&origin("a"), &hello()), Delivery::Delivered);
    inbox.member(&up("b"));
    assert_eq!(inbox.take_news(1, usize::MAX).len(), 1);
    assert_eq!(waiting(&inbox), "me");
    assert_eq!((waiting(&inbox).as_str(), inbox.dropped()), ("", 0));
}

#[test]
fn a_message_too_many_is_dropped_and_its_link_marked_once() {
    let inbox = Inbox::new(ROOM);
    fill(&inbox);
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
    let inbox = Inbox::new(ROOM);
    fill(&inbox);
    inbox.member(&up("b"));
    assert_eq!(inbox.message(&origin("a"), &hello()), Delivery::Delivered);
    assert_eq!(inbox.state().news.len(), BOUND + RESERVE);
    inbox.member(&up("c"));
    assert_eq!(inbox.message(&origin("b"), &hello()), Delivery::Dropped);
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
    let inbox = Arc::new(Inbox::new(ROOM));
    let _subscription = pubsub.subscribe_sink("t", Arc::clone(&inbox) as _).unwrap();
    pubsub.broadcast("t", "mine").unwrap();
    assert_eq!(waiting(&inbox), "");
}

#[test]
fn a_closed_inbox_takes_nothing_and_holds_nothing() {
    let inbox = Inbox::new(ROOM);
    inbox.member(&up("a"));
    inbox.died(1);
    inbox.close();
    assert_eq!(inbox.message(&origin("a"), &hello()), Delivery::Closed);
    inbox.member(&up("a"));
    inbox.died(2);
    assert_eq!(waiting(&inbox), "");
    assert!(inbox.take_endings().is_empty());
}

fn of_bytes(bytes: usize) -> Bytes {
    Bytes::from(vec![0; bytes])
}

#[test]
fn messages_are_bounded_in_bytes_as_well_and_what_was_taken_makes_room() {
    let inbox = Inbox::new(ROOM);
    let put = |from, bytes| inbox.message(&origin(from), &of_bytes(bytes));
    assert_eq!(put("a", 3_000), Delivery::Delivered);
    assert_eq!(put("b", 1_001), Delivery::Dropped);
    assert_eq!(put("b", 1_000), Delivery::Delivered);
    assert_eq!(waiting(&inbox), "mLm");
    assert_eq!(put("a", 4_000), Delivery::Delivered);
    assert_eq!((waiting(&inbox).as_str(), inbox.dropped()), ("m", 1));
}

#[test]
fn an_empty_queue_takes_a_message_of_any_size_and_then_no_other() {
    let inbox = Inbox::new(ROOM);
    let put = |from, bytes| inbox.message(&origin(from), &of_bytes(bytes));
    assert_eq!(put("a", 1_000_000), Delivery::Delivered);
    assert_eq!(put("b", 1), Delivery::Dropped);
    inbox.member(&up("b"));
    assert_eq!(waiting(&inbox), "mLe", "news of nodes take no bytes");
}

#[test]
fn what_must_arrive_has_a_reserve_of_bytes_as_well() {
    let inbox = Inbox::new(ROOM);
    let put = |from, message| inbox.message(&origin(from), &message);
    assert_eq!(put("a", of_bytes(4_000)), Delivery::Delivered);
    assert_eq!(put("b", ordinary()), Delivery::Dropped);
    assert_eq!(put("b", hello()), Delivery::Delivered);
    assert_eq!(waiting(&inbox), "mLm");
}

#[test]
fn a_step_takes_so_many_bytes_and_at_least_one_message() {
    let inbox = Inbox::new(ROOM);
    let from = origin("a");
    for bytes in [900, 600, 400, 1] {
        assert_eq!(inbox.message(&from, &of_bytes(bytes)), Delivery::Delivered);
    }
    let taken = |bytes| inbox.take_news(usize::MAX, bytes).len();
    assert_eq!([taken(10), taken(1_000), taken(1_000)], [1, 2, 1]);
}
