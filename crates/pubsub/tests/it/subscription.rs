//! The receiving end: its bound, its end, its guard.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use matryoshka_pubsub::mailbox::{Bound, Overflow, ZeroBound, mailbox};
use matryoshka_pubsub::registry::OwnerDead;
use matryoshka_pubsub::{Lagged, Message, PubSub, SubscribeError};

use crate::held;

#[test]
fn a_slow_subscriber_costs_itself_and_is_told() {
    let pubsub = PubSub::local();
    let mut slow = pubsub.subscribe_bounded("a", Bound::messages(2)).unwrap();
    let newest = Bound::messages(2).with_overflow(Overflow::DropNewest);
    let mut picky = pubsub.subscribe_bounded("a", newest).unwrap();
    let mut quick = pubsub.subscribe("a").unwrap();
    let sent: Vec<usize> = (0..5)
        .map(|n| pubsub.broadcast("a", n.to_string()).unwrap().local)
        .collect();
    assert_eq!(sent, [3, 3, 2, 2, 2]);
    assert_eq!(held(&mut slow), ["(3)", "3", "4"]);
    assert_eq!(held(&mut picky), ["0", "1", "(3)"]);
    assert_eq!(held(&mut quick), ["0", "1", "2", "3", "4"]);
    let stats = pubsub.stats();
    assert_eq!((stats.dropped, stats.delivered), (6, 12));
}

#[test]
fn a_zero_bound_is_an_error() {
    let pubsub = PubSub::local();
    let zero = |bound| pubsub.subscribe_bounded("a", bound).unwrap_err();
    let no_messages = SubscribeError::ZeroBound(ZeroBound::Messages);
    assert_eq!(zero(Bound::messages(0)), no_messages);
    let no_bytes = SubscribeError::ZeroBound(ZeroBound::Bytes);
    assert_eq!(zero(Bound::DEFAULT.with_bytes(0)), no_bytes);
    let latest = Bound::messages(0).keep_latest_by(|_: &Message| 0);
    assert_eq!(
        pubsub.subscribe_bounded("a", latest).unwrap_err(),
        no_messages
    );
    assert_eq!(pubsub.stats().subscriptions, 0);
}

#[test]
fn a_publisher_that_was_ended_subscribes_no_more() {
    let pubsub = PubSub::local();
    let publisher = Arc::new(pubsub.publisher());
    let mut subscription = publisher.subscribe("a").unwrap();
    let ending = Arc::clone(&publisher);
    ending.owner().end();
    let refused = publisher.subscribe("a").unwrap_err();
    let owner = publisher.id();
    assert_eq!(refused, SubscribeError::OwnerDead(OwnerDead { owner }));
    assert_eq!(pubsub.stats().subscriptions, 0);
    assert_eq!(publisher.broadcast("a", "nobody").unwrap().local, 0);
    assert!(subscription.try_next().is_none());
}

#[test]
fn drops_are_told_in_order_and_counted_by_policy() {
    let pubsub = PubSub::local();
    let policies = [Overflow::DropNewest, Overflow::DropOldest, Overflow::Close];
    let mut subscriptions = policies.map(|overflow| {
        let bound = Bound::messages(3).with_overflow(overflow);
        pubsub.subscribe_bounded("a", bound).unwrap()
    });
    let latest = Bound::messages(3).keep_latest_by(|m: &Message| m.payload()[0]);
    let mut latest = pubsub.subscribe_bounded("a", latest).unwrap();
    for text in ["a1", "b1", "a2", "c1", "b2"] {
        pubsub.broadcast("a", text).unwrap();
    }
    let [newest, oldest, close] = &mut subscriptions;
    assert_eq!(held(newest), ["a1", "b1", "a2", "(2)"]);
    assert_eq!(held(oldest), ["(2)", "a2", "c1", "b2"]);
    assert_eq!(held(close), [""; 0]);
    assert!(close.overflowed());
    assert_eq!(held(&mut latest), ["(2)", "a2", "c1", "b2"]);
    let stats = pubsub.stats();
    assert_eq!((stats.dropped_newest, stats.dropped_oldest), (2, 2));
    assert_eq!((stats.dropped_stale, stats.dropped_by_close), (2, 4));
    assert_eq!(stats.dropped, 10);
}

#[test]
fn a_key_that_panics_costs_its_subscription_that_message() {
    let pubsub = PubSub::local();
    let key = |message: &Message| {
        assert_ne!(message.payload(), "bang", "a key that panics");
        0
    };
    let fragile = Bound::messages(5).keep_latest_by(key);
    let mut fragile = pubsub.subscribe_bounded("a", fragile).unwrap();
    let mut other = pubsub.subscribe("a").unwrap();
    let reached = ["1", "bang", "2"].map(|text| pubsub.broadcast("a", text).unwrap().local);
    assert_eq!(reached, [2, 1, 2]);
    assert_eq!(held(&mut fragile), ["1", "(1)", "2"]);
    assert_eq!(held(&mut other), ["1", "bang", "2"]);
    let stats = pubsub.stats();
    assert_eq!((stats.panics, stats.dropped), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_closed_subscription_ends() {
    let pubsub = PubSub::local();
    let bound = Bound::messages(1).with_overflow(Overflow::Close);
    let mut closing = pubsub.subscribe_bounded("a", bound).unwrap();
    pubsub.broadcast("a", "1").unwrap();
    pubsub.broadcast("a", "2").unwrap();
    assert_eq!(pubsub.broadcast("a", "3").unwrap().local, 0);
    assert!(closing.next().await.is_none() && closing.overflowed());
}

#[test]
fn large_messages_count_by_their_bytes() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub
        .subscribe_bounded("a", Bound::default().with_bytes(10))
        .unwrap();
    for text in ["12345678", "1234", "abc"] {
        pubsub.broadcast("a", text).unwrap();
    }
    assert_eq!(held(&mut subscription), ["(1)", "1234", "abc"]);
}

#[test]
fn by_default_it_holds_a_thousand_and_loses_the_oldest() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a").unwrap();
    for n in 0..1_030 {
        pubsub.broadcast("a", n.to_string()).unwrap();
    }
    let held = held(&mut subscription);
    assert_eq!((held.len(), &*held[0], &*held[1]), (1_025, "(6)", "6"));
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_next_message() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a").unwrap();
    {
        let mut next = pin!(subscription.next());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(next.as_mut().poll(&mut cx), Poll::Pending));
    }
    let task = tokio::spawn(async move { subscription.next().await });
    tokio::task::yield_now().await;
    pubsub.broadcast("a", "hello").unwrap();
    let message = task.await.unwrap().unwrap().unwrap();
    assert_eq!(
        (message.topic().as_str(), message.payload().as_ref()),
        ("a", &b"hello"[..])
    );
    assert!(message.origin().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_publisher_and_what_was_inside_is_read() {
    let pubsub = PubSub::local();
    let publisher = pubsub.publisher();
    let mut subscription = publisher.subscribe("a").unwrap();
    publisher.broadcast("a", "hello").unwrap();
    drop(publisher);
    assert_eq!(pubsub.broadcast("a", "late").unwrap().local, 0);
    assert!(subscription.next().await.unwrap().is_ok());
    assert!(subscription.next().await.is_none() && !subscription.overflowed());
}

#[test]
fn dropping_it_ends_it_and_no_other() {
    let pubsub = PubSub::local();
    let first = pubsub.subscribe("a").unwrap();
    let mut second = pubsub.subscribe("a").unwrap();
    drop(first);
    assert_eq!(pubsub.broadcast("a", "hello").unwrap().local, 1);
    assert_eq!(held(&mut second), ["hello"]);
    drop(second);
    assert_eq!(
        (pubsub.stats().topics, pubsub.stats().subscriptions),
        (0, 0)
    );
}

#[test]
fn it_keeps_its_pubsub_alive() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a").unwrap();
    let publisher = pubsub.publisher();
    drop(pubsub);
    publisher.broadcast("a", "hello").unwrap();
    assert_eq!(held(&mut subscription), ["hello"]);
}

#[test]
fn a_mailbox_is_a_sink() {
    let pubsub = PubSub::local();
    let (sender, mut receiver) = mailbox::<Message>(Bound::messages(1));
    let sink = Arc::new(sender);
    let guard = pubsub.subscribe_sink("a", sink).unwrap();
    assert_eq!(guard.topic(), &"a");
    pubsub.broadcast("a", "hello").unwrap();
    assert!(receiver.try_recv().is_some());
    drop(guard);
    assert!(
        receiver.is_closed(),
        "nobody holds the sending end any more"
    );
}

#[test]
fn the_error_says_what_to_do() {
    assert_eq!(
        Lagged(3).to_string(),
        "3 messages were lost: the subscriber is too slow"
    );
}
