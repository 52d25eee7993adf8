//! Kinds, dispatchers and sinks: who delivers, and what a panic costs.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::registry::OwnerId;
use matryoshka_pubsub::{
    Delivery, Dispatcher, Kind, KindTaken, Message, Payload, PubSub, Sink, Subscriber, Subscribers,
};

use crate::held;

const KIND: Kind = Kind(300);

/// Notes what it gets.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Sink for Notes {
    fn deliver(&self, message: &Message) -> Delivery {
        let text = String::from_utf8(message.payload().to_vec()).unwrap();
        self.0.lock().unwrap().push(text);
        Delivery::Delivered
    }
}

/// Panics at what says so.
struct Fragile(Notes);

impl Sink for Fragile {
    fn deliver(&self, message: &Message) -> Delivery {
        assert_ne!(message.payload(), "bang", "a sink that panics");
        self.0.deliver(message)
    }
}

/// Writes a copy in capitals, made once, past the front door of [`Notes`]; everybody else gets the message as it is.
#[derive(Default)]
struct Shout {
    made: AtomicUsize,
    owners: Mutex<Vec<OwnerId>>,
}

impl Dispatcher for Shout {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        assert_ne!(message.payload(), "bang", "a dispatcher that panics");
        let mut loud = None;
        let mut delivered = 0;
        for subscriber in subscribers {
            self.owners.lock().unwrap().push(subscriber.owner());
            if let Some(notes) = subscriber.sink_as::<Notes>() {
                let loud = loud.get_or_insert_with(|| {
                    self.made.fetch_add(1, SeqCst);
                    String::from_utf8(message.payload().to_ascii_uppercase()).unwrap()
                });
                notes.0.lock().unwrap().push(loud.clone());
                delivered += 1;
            } else if subscriber.deliver(message) == Delivery::Delivered {
                delivered += 1;
            }
        }
        delivered
    }
}

fn of_kind(text: &'static str) -> Payload {
    Payload::new(KIND, text)
}

#[test]
fn b12_the_dispatcher_of_a_kind_sees_each_sink() {
    let pubsub = PubSub::local();
    let shout = Arc::new(Shout::default());
    pubsub.register(KIND, shout.clone()).unwrap();
    let (first, second) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let _guards = [
        pubsub.subscribe_sink("a", first.clone()).unwrap(),
        pubsub.subscribe_sink("a", second.clone()).unwrap(),
    ];
    let mut plain = pubsub.subscribe("a").unwrap();
    assert_eq!(pubsub.broadcast("a", of_kind("hi")).unwrap().local, 3);
    assert_eq!(pubsub.broadcast("a", "raw").unwrap().local, 3);
    assert_eq!([first.take(), second.take()], [["HI", "raw"]; 2]);
    assert_eq!(held(&mut plain), ["hi", "raw"]);
    assert_eq!(
        shout.made.load(SeqCst),
        1,
        "encoded once, whatever the number of receivers"
    );
}

/// Delivers to those whose metadata is the first letter of the message, and to those without metadata.
struct ByLetter;

impl Dispatcher for ByLetter {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        let first = char::from(message.payload()[0]);
        let chosen = subscribers
            .iter()
            .filter(|subscriber| subscriber.metadata::<char>().is_none_or(|&c| c == first));
        chosen
            .map(|subscriber| usize::from(subscriber.deliver(message) == Delivery::Delivered))
            .sum()
    }
}

#[test]
fn b12_the_dispatcher_sees_the_metadata_of_each_whatever_the_form() {
    let pubsub = PubSub::local();
    pubsub.register(KIND, Arc::new(ByLetter)).unwrap();
    let (anna, ben) = (pubsub.publisher(), pubsub.publisher());
    let (notes, bound) = (Arc::new(Notes::default()), Bound::default());
    let _sink = ben.subscribe_sink_with("t", notes.clone(), 'x').unwrap();
    let mut x = ben.subscribe_with("t", bound, 'x').unwrap();
    let mut y = ben.subscribe_with("t", bound, 'y').unwrap();
    let mut number = ben.subscribe_with("t", bound, 1).unwrap();
    let mut none = anna.subscribe("t").unwrap();
    assert_eq!(anna.broadcast("t", of_kind("x1")).unwrap().local, 4);
    assert_eq!(anna.broadcast_from("t", of_kind("x2")).unwrap().local, 3);
    assert_eq!(anna.local_broadcast("t", of_kind("y3")).unwrap().local, 3);
    assert_eq!(
        anna.local_broadcast_from("t", of_kind("y4")).unwrap().local,
        2
    );
    anna.direct_broadcast(&pubsub.node(), "t", of_kind("x5"))
        .unwrap();
    assert_eq!(notes.take(), ["x1", "x2", "x5"]);
    assert_eq!(held(&mut x), ["x1", "x2", "x5"]);
    assert_eq!(held(&mut y), ["y3", "y4"]);
    assert_eq!(held(&mut number), ["x1", "x2", "y3", "y4", "x5"]);
    assert_eq!(held(&mut none), ["x1", "y3", "x5"]);
}

#[test]
fn a_topics_subscribers_are_shown_without_a_message() {
    let pubsub = PubSub::local();
    assert_eq!(pubsub.visit("t", |_| ()), None);
    let notes = Arc::new(Notes::default());
    let _sink = pubsub.subscribe_sink_with("t", notes.clone(), 'x').unwrap();
    let plain = pubsub.subscribe("t").unwrap();
    let seen = pubsub.visit("t", |subscribers| {
        let shown = |subscriber: Subscriber<'_>| subscriber.metadata::<char>().copied();
        subscribers.iter().map(shown).collect::<Vec<_>>()
    });
    assert_eq!(seen.unwrap(), [Some('x'), None]);
    drop(plain);
    let notes = pubsub.visit("t", |subscribers| {
        subscribers
            .iter()
            .all(|subscriber| subscriber.sink_as::<Notes>().is_some())
    });
    assert_eq!(notes, Some(true));
}

#[test]
fn the_excluded_publisher_is_not_among_the_subscribers() {
    let pubsub = PubSub::local();
    let shout = Arc::new(Shout::default());
    pubsub.register(KIND, shout.clone()).unwrap();
    let (anna, ben) = (pubsub.publisher(), pubsub.publisher());
    let notes = Arc::new(Notes::default());
    let _hers = anna.subscribe_sink("a", notes.clone()).unwrap();
    let _his = ben.subscribe_sink("a", notes.clone()).unwrap();
    assert_eq!(anna.broadcast_from("a", of_kind("hi")).unwrap().local, 1);
    assert_eq!(*shout.owners.lock().unwrap(), [ben.id()]);
}

#[test]
fn a_kind_has_one_dispatcher_type() {
    struct Other;
    impl Dispatcher for Other {
        fn dispatch(&self, _: Subscribers<'_>, _: &Message) -> usize {
            0
        }
    }
    let pubsub = PubSub::local();
    pubsub.register(KIND, Arc::new(Shout::default())).unwrap();
    pubsub
        .register(KIND, Arc::new(Shout::default()))
        .expect("the same type is welcome");
    let taken = |kind| Err(KindTaken { kind });
    assert_eq!(pubsub.register(KIND, Arc::new(Other)), taken(KIND));
    assert_eq!(
        pubsub.register(Kind::RAW, Arc::new(Other)),
        taken(Kind::RAW)
    );
    assert_eq!(
        pubsub.register(Kind::TYPED, Arc::new(Other)),
        taken(Kind::TYPED)
    );
    assert_eq!(pubsub.register(Kind(301), Arc::new(Other)), Ok(()));
}

#[test]
fn a_panicking_sink_costs_itself() {
    let pubsub = PubSub::local();
    let fragile = Arc::new(Fragile(Notes::default()));
    let mut before = pubsub.subscribe("a").unwrap();
    let _guard = pubsub.subscribe_sink("a", fragile.clone()).unwrap();
    let mut after = pubsub.subscribe("a").unwrap();
    for text in ["one", "bang", "two"] {
        pubsub.broadcast("a", text).unwrap();
    }
    assert_eq!(held(&mut before), ["one", "bang", "two"]);
    assert_eq!(held(&mut after), ["one", "bang", "two"]);
    assert_eq!(
        fragile.0.take(),
        ["one", "two"],
        "it lost one message, not its subscription"
    );
    let stats = pubsub.stats();
    assert_eq!((stats.panics, stats.dropped, stats.delivered), (1, 1, 8));
}

#[test]
fn a_panicking_sink_costs_itself_under_a_dispatcher_too() {
    let pubsub = PubSub::local();
    pubsub.register(KIND, Arc::new(DeliverAll)).unwrap();
    let fragile = Arc::new(Fragile(Notes::default()));
    let _guard = pubsub.subscribe_sink("a", fragile).unwrap();
    let mut after = pubsub.subscribe("a").unwrap();
    assert_eq!(pubsub.broadcast("a", of_kind("bang")).unwrap().local, 1);
    assert_eq!(held(&mut after), ["bang"]);
}

struct DeliverAll;

impl Dispatcher for DeliverAll {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        let all = subscribers
            .iter()
            .map(|subscriber| subscriber.deliver(message));
        all.filter(|&delivery| delivery == Delivery::Delivered)
            .count()
    }
}

#[test]
fn a_panicking_dispatcher_costs_that_message() {
    let pubsub = PubSub::local();
    pubsub.register(KIND, Arc::new(Shout::default())).unwrap();
    let mut subscription = pubsub.subscribe("a").unwrap();
    assert_eq!(pubsub.broadcast("a", of_kind("bang")).unwrap().local, 0);
    assert_eq!(pubsub.broadcast("a", of_kind("fine")).unwrap().local, 1);
    assert_eq!(held(&mut subscription), ["fine"]);
    assert_eq!(pubsub.stats().panics, 1);
}

/// Publishes and subscribes in the midst of a delivery.
struct Busy(PubSub);

impl Sink for Busy {
    fn deliver(&self, message: &Message) -> Delivery {
        if message.payload() == "again" {
            return Delivery::Delivered;
        }
        let mut own = self.0.subscribe("a").unwrap();
        self.0.broadcast("a", "again").unwrap();
        assert_eq!(held(&mut own), ["again"]);
        Delivery::Delivered
    }
}

#[test]
fn a_sink_may_use_the_pubsub() {
    let pubsub = PubSub::local();
    let guard = pubsub
        .subscribe_sink("a", Arc::new(Busy(pubsub.clone())))
        .unwrap();
    pubsub.broadcast("a", "first").unwrap();
    assert_eq!((pubsub.stats().panics, pubsub.stats().published), (0, 2));
    drop(guard);
}

#[test]
fn a_sink_that_is_gone_is_no_delivery() {
    struct Gone;
    impl Sink for Gone {
        fn deliver(&self, _: &Message) -> Delivery {
            Delivery::Closed
        }
    }
    let pubsub = PubSub::local();
    let _guard = pubsub.subscribe_sink("a", Arc::new(Gone)).unwrap();
    assert_eq!(pubsub.broadcast("a", "hello").unwrap().local, 0);
    assert_eq!(pubsub.stats().dropped, 0);
}
