//! A fan-out in parts: it gives way, completes whatever happens, and is not overtaken.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{
    Delivery, Dispatcher, Kind, Memo, Message, Payload, PubSub, Publisher, Sink, SinkSubscription,
    Subscribers,
};

use crate::held;

const KIND: Kind = Kind(300);

/// More subscribers than one part serves.
const MANY: usize = 2_000;

/// Counts what arrives anywhere.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn now(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Sink for Count {
    fn deliver(&self, _: &Message) -> Delivery {
        self.0.fetch_add(1, SeqCst);
        Delivery::Delivered
    }
}

fn crowd(pubsub: &PubSub) -> (Arc<Count>, Vec<SinkSubscription>) {
    let count = Arc::new(Count::default());
    let subscribe = |_| pubsub.subscribe_sink("t", count.clone()).unwrap();
    (count.clone(), (0..MANY).map(subscribe).collect())
}

/// Polls a yielding broadcast once, and lets go of it.
fn begin_and_drop(publisher: &mut Publisher, payload: impl Into<Payload>) {
    let mut broadcast = pin!(publisher.broadcast_yielding("t", payload));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(broadcast.as_mut().poll(&mut cx).is_pending());
}

#[test]
fn it_gives_way_between_parts_and_reaches_all() {
    let pubsub = PubSub::local();
    let (count, _crowd) = crowd(&pubsub);
    let mut publisher = pubsub.publisher();
    let mut broadcast = pin!(publisher.broadcast_yielding("t", "hello"));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut turns, mut before) = (0, 0);
    let sent = loop {
        let polled = broadcast.as_mut().poll(&mut cx);
        let served = count.now() - before;
        assert!(served <= 512, "{served} deliveries in one turn");
        (turns, before) = (turns + 1, count.now());
        if let Poll::Ready(sent) = polled {
            break sent.unwrap();
        }
    };
    assert_eq!((sent.local, count.now(), turns), (MANY, MANY, 4));
    assert_eq!(pubsub.stats().delivered, MANY as u64);
}

#[test]
fn one_that_was_not_begun_does_nothing() {
    let pubsub = PubSub::local();
    let (count, _crowd) = crowd(&pubsub);
    drop(pubsub.publisher().broadcast_yielding("t", "hello"));
    assert_eq!((count.now(), pubsub.stats().published), (0, 0));
}

#[test]
fn once_begun_it_completes_though_its_future_is_dropped() {
    let mesh = MemoryMesh::new();
    let (a, b) = (PubSub::with(mesh.node("a")), PubSub::with(mesh.node("b")));
    let (count, _crowd) = crowd(&a);
    let mut last = a.subscribe("t").unwrap();
    let mut there = b.subscribe("t").unwrap();
    begin_and_drop(&mut a.publisher(), "hello");
    assert_eq!(count.now(), MANY);
    assert_eq!(
        (held(&mut last), held(&mut there)),
        (vec!["hello".to_owned()], vec!["hello".to_owned()])
    );
}

#[test]
fn the_next_broadcast_does_not_overtake_it() {
    let pubsub = PubSub::local();
    let mut first = pubsub.subscribe("t").unwrap();
    let (_count, _crowd) = crowd(&pubsub);
    let mut last = pubsub.subscribe("t").unwrap();
    let mut publisher = pubsub.publisher();
    for round in 0..3 {
        begin_and_drop(&mut publisher, format!("yielding {round}"));
        publisher
            .broadcast("t", format!("at once {round}"))
            .unwrap();
    }
    let heard = held(&mut first);
    assert_eq!(heard.len(), 6);
    assert_eq!(heard[..2], ["yielding 0", "at once 0"]);
    assert_eq!(held(&mut last), heard);
}

#[test]
fn without_a_publisher_it_is_the_same_and_keeps_the_lane_of_its_topic() {
    let mesh = MemoryMesh::new();
    let (a, b) = (PubSub::with(mesh.node("a")), PubSub::with(mesh.node("b")));
    let (count, _crowd) = crowd(&a);
    let mut last = a.subscribe("t").unwrap();
    let mut there = b.subscribe("t").unwrap();
    for round in 0..3 {
        let mut broadcast = pin!(a.broadcast_yielding("t", format!("yielding {round}")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(broadcast.as_mut().poll(&mut cx).is_pending());
        assert_eq!(count.now(), 2 * MANY * round + 512);
        broadcast.set(a.broadcast_yielding("t", "never begun".to_owned()));
        a.broadcast("t", format!("at once {round}")).unwrap();
    }
    let heard = held(&mut last);
    assert_eq!(heard.len(), 6);
    assert_eq!(heard[..2], ["yielding 0", "at once 0"]);
    assert_eq!(held(&mut there), heard);
}

#[tokio::test(start_paused = true)]
async fn others_get_their_turn_meanwhile() {
    let pubsub = PubSub::local();
    let (count, _crowd) = crowd(&pubsub);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let other = tokio::spawn({
        let (seen, count) = (seen.clone(), count.clone());
        async move {
            while count.now() < MANY {
                seen.lock().unwrap().push(count.now());
                tokio::task::yield_now().await;
            }
        }
    });
    tokio::task::yield_now().await;
    pubsub
        .publisher()
        .broadcast_yielding("t", "hello")
        .await
        .unwrap();
    other.await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 512, 1_024, 1_536]);
}

#[tokio::test(start_paused = true)]
async fn who_subscribes_meanwhile_is_not_in_it_and_who_leaves_still_is() {
    let pubsub = PubSub::local();
    let (count, mut crowd) = crowd(&pubsub);
    let mut publisher = pubsub.publisher();
    let mut late = {
        let mut broadcast = pin!(publisher.broadcast_yielding("t", "hello"));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(broadcast.as_mut().poll(&mut cx).is_pending());
        crowd.clear();
        let late = pubsub.subscribe("t").unwrap();
        assert_eq!(broadcast.await.unwrap().local, MANY);
        late
    };
    assert_eq!((count.now(), held(&mut late)), (MANY, vec![]));
}

#[tokio::test(start_paused = true)]
async fn broadcast_from_skips_its_own_in_every_part() {
    let pubsub = PubSub::local();
    let mut publisher = pubsub.publisher();
    let mut own = publisher.subscribe("t").unwrap();
    let (count, _crowd) = crowd(&pubsub);
    let mut own_too = publisher.subscribe("t").unwrap();
    let sent = publisher
        .broadcast_from_yielding("t", "hello")
        .await
        .unwrap();
    assert_eq!((sent.local, count.now()), (MANY, MANY));
    assert_eq!((held(&mut own), held(&mut own_too)), (vec![], vec![]));
}

/// Encodes once for each broadcast; divides its work if told so.
#[derive(Default)]
struct Encoder {
    divides: bool,
    encoded: AtomicUsize,
    calls: AtomicUsize,
}

impl Encoder {
    fn encode(&self) -> String {
        self.encoded.fetch_add(1, SeqCst);
        "encoded".to_owned()
    }
}

impl Dispatcher for Encoder {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        self.calls.fetch_add(1, SeqCst);
        self.encode();
        subscribers.deliver(message)
    }

    fn dispatch_part(
        &self,
        part: Subscribers<'_>,
        message: &Message,
        memo: &mut Memo,
    ) -> Option<usize> {
        if !self.divides {
            return None;
        }
        self.calls.fetch_add(1, SeqCst);
        assert_eq!(memo.get_or_insert_with(|| self.encode()), "encoded");
        assert_ne!(message.payload(), "bang", "a dispatcher that panics");
        Some(part.deliver(message))
    }
}

#[tokio::test(start_paused = true)]
async fn q8_a_dispatcher_encodes_once_whether_it_divides_its_work_or_not() {
    for (divides, calls) in [(true, 4), (false, 1)] {
        let pubsub = PubSub::local();
        let (count, _crowd) = crowd(&pubsub);
        let encoder = Arc::new(Encoder {
            divides,
            ..Encoder::default()
        });
        pubsub.register(KIND, encoder.clone()).unwrap();
        let mut publisher = pubsub.publisher();
        let payload = Payload::new(KIND, "hello");
        let sent = publisher.broadcast_yielding("t", payload).await.unwrap();
        assert_eq!((sent.local, count.now()), (MANY, MANY));
        let numbers = [&encoder.encoded, &encoder.calls].map(|n| n.load(SeqCst));
        assert_eq!(numbers, [1, calls]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_panics_loses_that_message_only() {
    let pubsub = PubSub::local();
    let (count, _crowd) = crowd(&pubsub);
    let encoder = Arc::new(Encoder {
        divides: true,
        ..Encoder::default()
    });
    pubsub.register(KIND, encoder).unwrap();
    let mut publisher = pubsub.publisher();
    for (text, local) in [("bang", 0), ("fine", MANY)] {
        let payload = Payload::new(KIND, text);
        assert_eq!(
            publisher
                .broadcast_yielding("t", payload)
                .await
                .unwrap()
                .local,
            local
        );
    }
    assert_eq!(
        (count.now(), pubsub.stats().panics),
        (MANY, 4),
        "a panic for each part"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kind_is_counted_once() {
    let pubsub = PubSub::local();
    let (count, _crowd) = crowd(&pubsub);
    let payload = Payload::new(KIND, "odd");
    pubsub
        .publisher()
        .broadcast_yielding("t", payload)
        .await
        .unwrap();
    assert_eq!((count.now(), pubsub.stats().unknown_kind), (MANY, 1));
}
