//! Order, with several threads at work.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{PubSub, Subscription};

use crate::held;

const EACH: usize = 300;
const PUBLISHERS: usize = 3;

/// Each publisher's messages in order and complete, however they are mixed.
fn assert_in_order(subscription: &mut Subscription) {
    let mut next = HashMap::<String, usize>::new();
    for text in held(subscription) {
        let (from, n) = text.split_once(' ').unwrap();
        let expected = next.entry(from.to_owned()).or_default();
        assert_eq!(n, expected.to_string());
        *expected += 1;
    }
    assert_eq!(next.len(), PUBLISHERS);
    assert!(next.values().all(|&count| count == EACH));
}

#[test]
fn q1_q2_q3_publishers_in_threads_stay_in_order_on_all_nodes() {
    let mesh = MemoryMesh::new();
    let nodes = ["a", "b"].map(|name| PubSub::with(mesh.node(name)));
    let bound = Bound::messages(EACH * PUBLISHERS);
    let mut subscriptions = nodes
        .clone()
        .map(|node| node.subscribe_bounded("t", bound).unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|me| {
                let publisher = nodes[me % 2].publisher();
                scope.spawn(move || {
                    for n in 0..EACH {
                        publisher.broadcast("t", format!("{me} {n}")).unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let passing = nodes[0].subscribe("t").unwrap();
                drop((nodes[1].subscribe("t").unwrap(), passing));
            }
        });
        publishers
            .into_iter()
            .for_each(|publisher| publisher.join().unwrap());
        done.store(true, SeqCst);
    });
    subscriptions.iter_mut().for_each(assert_in_order);
    assert_eq!(nodes.map(|node| node.stats().subscriptions), [1, 1]);
}

#[test]
fn what_is_published_after_subscribe_returned_arrives() {
    let pubsub = PubSub::local();
    thread::scope(|scope| {
        for me in 0..PUBLISHERS {
            let pubsub = &pubsub;
            scope.spawn(move || {
                for n in 0..EACH {
                    let topic = format!("t:{}", n % 3);
                    let mut subscription = pubsub.subscribe(&topic).unwrap();
                    let mark = format!("{me} {n}");
                    assert!(pubsub.broadcast(&topic, mark.as_str()).unwrap().local >= 1);
                    assert!(held(&mut subscription).contains(&mark));
                }
            });
        }
    });
    assert_eq!(pubsub.stats().topics, 0);
}
