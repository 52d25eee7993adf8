//! The seam, seen from an adapter.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::registry::OwnerId;
use matryoshka_pubsub::{
    Adapter, AdapterError, BroadcastError, DirectError, Edge, Envelope, Goodbye, Inbound,
    Incarnation, Kind, LinkId, NodeName, Origin, Payload, PubSub, Reached, TopicName, TrafficClass,
};

use crate::held;

/// An adapter that notes what it is asked for.
#[derive(Clone, Default)]
struct Probe(Arc<State>);

#[derive(Default)]
struct State {
    inbound: Mutex<Option<Inbound>>,
    sent: Mutex<Vec<Envelope>>,
    goodbyes: Mutex<Vec<Goodbye>>,
    hints: AtomicUsize,
    broken: AtomicBool,
}

impl Probe {
    fn inbound(&self) -> Inbound {
        self.0.inbound.lock().unwrap().clone().unwrap()
    }

    fn sent(&self) -> Vec<Envelope> {
        std::mem::take(&mut self.0.sent.lock().unwrap())
    }

    /// The hints since the last call.
    fn hints(&self) -> usize {
        self.0.hints.swap(0, SeqCst)
    }

    fn edges(&self) -> Vec<(String, bool)> {
        let edges = self.inbound().take_edges().into_iter();
        let mut edges: Vec<_> = edges
            .map(|Edge { topic, interested }| (topic.to_string(), interested))
            .collect();
        edges.sort();
        edges
    }
}

impl Adapter for Probe {
    fn node(&self) -> NodeName {
        NodeName::new("probe").unwrap()
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(7)
    }

    fn attach(&self, inbound: Inbound) {
        assert!(
            self.0.inbound.lock().unwrap().replace(inbound).is_none(),
            "attached once"
        );
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        if self.0.broken.load(SeqCst) {
            return Err(AdapterError::new("no network"));
        }
        self.0.sent.lock().unwrap().push(envelope.clone());
        Ok(Reached {
            peers: 2,
            dropped: vec![NodeName::new("slow").unwrap()],
        })
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        self.0.sent.lock().unwrap().push(envelope.clone());
        Err(DirectError::QueueFull(to.clone()))
    }

    fn routes_by_interest(&self) -> bool {
        true
    }

    fn interest_changed(&self) {
        self.0.hints.fetch_add(1, SeqCst);
    }

    fn leave(&self, goodbye: Goodbye) {
        self.0.goodbyes.lock().unwrap().push(goodbye);
    }
}

fn probe() -> (Probe, PubSub) {
    let probe = Probe::default();
    let pubsub = PubSub::with(probe.clone());
    (probe, pubsub)
}

fn origin() -> Arc<Origin> {
    Arc::new(Origin {
        node: NodeName::new("peer").unwrap(),
        incarnation: Incarnation(3),
        link: LinkId(1),
    })
}

#[test]
fn a_broadcast_says_how_far_it_got() {
    let (probe, pubsub) = probe();
    let _subscription = pubsub.subscribe("a").unwrap();
    let payload = Payload::new(Kind(300), "hi").with_class(TrafficClass::Bulk);
    let sent = pubsub.broadcast("a", payload).unwrap();
    assert_eq!(
        (sent.local, sent.peers, sent.dropped),
        (1, 2, vec!["slow".parse().unwrap()])
    );
    let envelopes = probe.sent();
    let [envelope] = &envelopes[..] else {
        panic!("one envelope, whatever the number of peers");
    };
    assert_eq!((envelope.topic.as_str(), envelope.kind), ("a", Kind(300)));
    assert_eq!(
        (envelope.class, &envelope.payload[..]),
        (TrafficClass::Bulk, &b"hi"[..])
    );
    assert_eq!(pubsub.stats().dropped_for_peers, 1);
    assert_eq!(
        (pubsub.node(), pubsub.incarnation()),
        (probe.node(), Incarnation(7))
    );
}

#[test]
fn an_adapter_that_refuses_keeps_it_from_this_node_too() {
    let (probe, pubsub) = probe();
    let mut subscription = pubsub.subscribe("a").unwrap();
    probe.0.broken.store(true, SeqCst);
    let refused = pubsub.broadcast("a", "lost").unwrap_err();
    assert!(matches!(&refused, BroadcastError::Adapter(why) if why.to_string() == "no network"));
    assert_eq!(pubsub.local_broadcast("a", "here").unwrap().peers, 0);
    assert_eq!(held(&mut subscription), ["here"]);
    assert!(probe.sent().is_empty());
}

#[test]
fn a_publisher_has_one_lane_and_so_has_a_topic_without_publisher() {
    let (probe, pubsub) = probe();
    let publisher = pubsub.publisher();
    let lane = |id: OwnerId| id.get();
    publisher.broadcast("a", "1").unwrap();
    publisher.broadcast_from("b", "2").unwrap();
    let peer: NodeName = "peer".parse().unwrap();
    let full = publisher.direct_broadcast(&peer, "c", "3").unwrap_err();
    assert!(matches!(full, DirectError::QueueFull(to) if to == peer));
    let lanes: Vec<u64> = probe.sent().iter().map(|envelope| envelope.lane).collect();
    assert_eq!(lanes, [lane(publisher.id()); 3]);
    pubsub.broadcast("a", "1").unwrap();
    pubsub.clone().broadcast("a", "2").unwrap();
    drop(pubsub.direct_broadcast(&peer, "a", "3"));
    pubsub.broadcast("b", "4").unwrap();
    let lanes: Vec<u64> = probe.sent().iter().map(|envelope| envelope.lane).collect();
    assert_eq!(lanes[..3], [lanes[0]; 3]);
    assert_ne!(lanes[0], lanes[3]);
}

#[test]
fn what_is_handed_in_is_delivered_to_all_with_its_origin() {
    let (probe, pubsub) = probe();
    let publisher = pubsub.publisher();
    let mut own = publisher.subscribe("a").unwrap();
    let topic = TopicName::from("a");
    let delivered = probe
        .inbound()
        .deliver(&origin(), topic, Kind::RAW, Bytes::from_static(b"hi"));
    assert_eq!(delivered, 1);
    let message = own.try_next().unwrap().unwrap();
    assert_eq!(
        (message.origin(), &message.payload()[..]),
        (Some(&origin()), &b"hi"[..])
    );
    let stats = pubsub.stats();
    assert_eq!(
        (stats.received, stats.published, stats.delivered),
        (1, 0, 1)
    );
    assert!(
        probe.sent().is_empty(),
        "what came from elsewhere is not sent on"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_in_can_be_delivered_in_parts() {
    let (probe, pubsub) = probe();
    let mut crowd: Vec<_> = (0..1_500).map(|_| pubsub.subscribe("a").unwrap()).collect();
    let (inbound, origin) = (probe.inbound(), origin());
    for text in ["1", "2"] {
        let payload = Bytes::from_static(text.as_bytes());
        let delivery = inbound.deliver_yielding(&origin, "a".into(), Kind::RAW, payload);
        assert_eq!(delivery.await, 1_500);
    }
    assert!(
        crowd
            .iter_mut()
            .all(|subscription| held(subscription) == ["1", "2"])
    );
    assert_eq!(pubsub.stats().received, 2);
}

#[test]
fn edges_are_told_when_the_first_comes_and_the_last_goes() {
    let (probe, pubsub) = probe();
    assert_eq!((probe.hints(), probe.edges()), (0, vec![]));
    let first = pubsub.subscribe("a").unwrap();
    let second = pubsub.subscribe("a").unwrap();
    assert_eq!(probe.hints(), 1, "before subscribe returned");
    assert_eq!(probe.edges(), [("a".into(), true)]);
    drop(first);
    assert_eq!((probe.hints(), probe.edges()), (0, vec![]));
    drop(second);
    assert_eq!(
        (probe.hints(), probe.edges()),
        (1, vec![("a".into(), false)])
    );
}

#[test]
fn edges_that_wait_are_told_once_and_as_they_are_when_taken() {
    let (probe, pubsub) = probe();
    let publisher = pubsub.publisher();
    let _subscriptions = ["a", "b", "c"].map(|topic| publisher.subscribe(topic).unwrap());
    drop(publisher);
    let _again = pubsub.subscribe("b").unwrap();
    assert_eq!(probe.hints(), 1);
    let expected = [("a", false), ("b", true), ("c", false)].map(|(topic, is)| (topic.into(), is));
    assert_eq!(probe.edges(), expected);
    assert_eq!(probe.edges(), []);
}

#[test]
fn goodbyes_go_to_the_adapter() {
    let (probe, pubsub) = probe();
    pubsub.leave();
    let restarting = Goodbye::Restarting {
        grace: Duration::from_secs(30),
    };
    pubsub.leave_with(restarting);
    assert_eq!(
        *probe.0.goodbyes.lock().unwrap(),
        [Goodbye::Leaving, restarting]
    );
}

#[test]
fn the_way_in_does_not_keep_the_pubsub_alive() {
    let (probe, pubsub) = probe();
    let subscription = pubsub.subscribe("a").unwrap();
    drop(pubsub);
    assert_eq!(Arc::strong_count(&probe.0), 2, "a subscription keeps it");
    drop(subscription);
    assert_eq!(
        Arc::strong_count(&probe.0),
        1,
        "the adapter goes with the last handle"
    );
    let inbound = probe.inbound();
    assert_eq!(
        inbound.deliver(&origin(), "a".into(), Kind::RAW, Bytes::new()),
        0
    );
    assert_eq!(inbound.take_edges(), []);
}
