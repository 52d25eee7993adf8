//! A tracker whose node is said to have had entries before.

use std::time::Duration;

use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{Kind, Payload, TrafficClass};

use super::*;
use crate::message::{HeldPart, HeldValue, Hello, Message, Offer, Position};
use crate::reference::Writer;

const KIND: Kind = Kind(3);

/// Lets the paused clock jump from timer to timer, up to that time. Nothing really waits.
async fn pass(time: Duration) {
    let never = std::future::pending::<()>();
    assert!(tokio::time::timeout(time, never).await.is_err());
}

/// Owners' numbers begin anew in each process, and what is held of an earlier one of this node may have any, and stand first in the list.
#[tokio::test(start_paused = true)]
async fn i10_what_is_held_of_an_earlier_process_is_of_no_owner_here() {
    let mesh = MemoryMesh::new();
    let (here, peer) = (PubSub::with(mesh.node("a")), PubSub::with(mesh.node("p")));
    let config = TrackerConfig::default();
    let topic = config.topic(0);
    let tracker = Tracker::new(&here, config).unwrap();
    let owner = Owner::new();
    let own = tracker.track(&owner, "room", "ann", "mine").await.unwrap();
    let own = own.entry();
    pass(Duration::from_millis(100)).await;

    let earlier = Life {
        incarnation: here.incarnation().0,
        started: 1,
    };
    let offer = Offer {
        node: "a".to_owned(),
        at: Position {
            life: earlier,
            seq: 9,
        },
        left: 60_000,
        formerly: Vec::new(),
    };
    let of = |writer, put_seq| HeldValue {
        topic: "room".into(),
        key: "ann".into(),
        meta: encode("theirs").unwrap(),
        owner: owner.id().get(),
        reference: PresenceRef::new(writer, put_seq),
        previous: None,
        beside: vec![own.reference],
    };
    // One by a writer that sorts before the own one, one by the own writer itself, as if both were older.
    let before = (1..).map(|started| {
        Writer::new(
            "a",
            0,
            Life {
                incarnation: 1,
                started,
            },
        )
    });
    let mut before = before.filter(|writer| *writer < own.reference.writer());
    let entries = vec![of(own.reference.writer(), 0), of(before.next().unwrap(), 1)];
    let hello = Hello {
        at: Position {
            life: Life::first_of(peer.incarnation().0),
            seq: 0,
        },
        have: None,
        least: None,
        formerly: Vec::new(),
        goodbye: None,
        held: vec![offer.clone()],
        hears: Vec::new(),
    };
    let part = HeldPart {
        set: offer,
        entries,
        more: false,
        after: None,
    };
    let publisher = peer.publisher();
    for message in [Message::Hello(hello), Message::HeldPart(part)] {
        let payload = Payload::new(KIND, message.encode()).with_class(TrafficClass::Tracker);
        publisher
            .direct_broadcast(&here.node(), &topic, payload)
            .unwrap();
        pass(Duration::from_millis(100)).await;
    }
    let listed: Vec<_> = tracker.entries("room").iter().cloned().collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[1], own);

    let found = tracker.own_entry(owner.id(), "room", "ann");
    assert_eq!(found, Some(own));
    let mut calls = 0;
    let updated = tracker.update(owner.id(), "room", "ann", |meta: &mut String| {
        calls += 1;
        assert!(calls < 10, "it goes on for ever");
        assert_eq!(meta, "mine");
        meta.push('!');
    });
    updated.await.unwrap();
    assert_eq!(calls, 1);
}
