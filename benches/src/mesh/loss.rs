//! Eight publishers, one for each user lane, to one peer over a relay that loses 1 % of the datagrams; and one datagram lost while
//! only one lane sends.
//!
//! Targets: the 90th percentile of each lane's delay at most twice that without loss; what another lane sends just after the
//! lost datagram is not late at all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use matryoshka_pubsub::{Message, Publisher};
use matryoshka_relay::{Faults, Relay};

use super::ROUNDS;
use super::meter::{Bar, Values, load_average};
use super::nodes::NodePair;
use super::receiving::Receiving;

const LANES: usize = 8;
/// One way, in both directions: a link of 10 ms round trip.
const DELAY: Duration = Duration::from_millis(5);
const WHOLE: Faults = Faults {
    delay: DELAY,
    ..Faults::NONE
};
const LOSSY: Faults = Faults {
    lost: 0.01,
    ..WHOLE
};
/// Of the relay's chances.
const SEED: u64 = 1;
/// Messages of each lane per sample, one every 5 ms.
const MESSAGES: usize = 400;
const PACE: Duration = Duration::from_millis(5);
/// So large that neither acknowledgements nor heartbeats are taken for one.
const MESSAGE_BYTES: usize = 1_000;
/// Datagrams that are lost one at a time.
const LOST: usize = 30;
/// How much later than without loss still counts as not late: the relay's timer and this machine's scheduler.
const TOLERANCE_MS: f64 = 4.0;

/// Prints both tables.
pub(crate) fn run() {
    let mut relay = Relay::start(SEED).expect("a thread can be started");
    relay.set_everywhere(WHOLE);
    super::runtime().block_on(async {
        let nodes = NodePair::start(Some(&mut relay)).await;
        let lanes = Lanes::new(&nodes);
        // Path discovery sends large datagrams of its own; they are through by then.
        lanes.sample().await;
        one_percent(&lanes, &relay).await;
        one_datagram(&lanes, &relay, &nodes).await;
    });
}

async fn one_percent(lanes: &Lanes, relay: &Relay) {
    println!(
        "\n{LANES} lanes of 200 messages of {MESSAGE_BYTES} bytes a second, one way {DELAY:?}, delays in ms"
    );
    println!(
        "{:>6}  {:>12} {:>12} {:>12} {:>12}  {:>20}",
        "lane", "p90", "with loss", "p99", "with loss", "ratio of p90"
    );
    let mut all = vec![[(); 4].map(|()| Values::default()); LANES];
    let mut ratios = vec![Values::default(); LANES];
    for _ in 0..ROUNDS {
        let without = lanes.sample().await;
        relay.set_everywhere(LOSSY);
        let with = lanes.sample().await;
        relay.set_everywhere(WHOLE);
        for (lane, (without, with)) in without.iter().zip(&with).enumerate() {
            ratios[lane].push(with.percentile(90) / without.percentile(90));
            let values =
                [without, with].map(|delays| [delays.percentile(90), delays.percentile(99)]);
            for (all, value) in all[lane].iter_mut().zip(values.concat()) {
                all.push(value);
            }
        }
    }
    for (lane, ([p90, p99, lossy_p90, lossy_p99], ratios)) in all.iter().zip(&ratios).enumerate() {
        println!(
            "{lane:>6}  {:>12.2} {:>12.2} {:>12.2} {:>12.2}  {:>20}  {}",
            p90.median(),
            lossy_p90.median(),
            p99.median(),
            lossy_p99.median(),
            ratios.to_string(),
            Bar::AtMost(2.0).judge(ratios.median()),
        );
    }
    println!("        {}", load_average());
}

/// The lost datagram is the first lane's: its own message is late by at least a round trip each time.
async fn one_datagram(lanes: &Lanes, relay: &Relay, nodes: &NodePair) {
    let [from, to] = nodes.places();
    let (mut whole, mut lost, mut other) =
        (Values::default(), Values::default(), Values::default());
    for n in 0..2 * LOST {
        let is_lost = n % 2 == 1;
        if is_lost {
            relay.drop_next(from, to, 1, MESSAGE_BYTES);
        }
        lanes.publish(0);
        while is_lost && relay.tally(from, to).dropped <= n as u64 / 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        lanes.publish(1);
        let [first, second] = lanes.delays_of_two().await;
        if is_lost {
            lost.push(first);
            other.push(second);
        } else {
            whole.push(second);
        }
    }
    println!("\none datagram of lane A lost, {LOST} times; B sends just after; delays in ms");
    println!("  lane A, whose datagram is lost: {lost}");
    println!("  lane B: {other}; when nothing is lost: {whole}");
    let late = other.max() - whole.max();
    println!(
        "  the latest of B is later by {late:.2}  {}; {}",
        Bar::AtMost(TOLERANCE_MS).judge(late),
        load_average(),
    );
    assert!(
        lost.percentile(0) > whole.median() + DELAY.as_secs_f64() * 1e3,
        "the datagrams that were lost were lane A's"
    );
}

/// A publisher for each lane, and what its messages took.
struct Lanes {
    publishers: Vec<Arc<Publisher>>,
    received: Arc<Received>,
    _receiving: Vec<Receiving>,
}

struct Received {
    base: Instant,
    delays: Vec<Mutex<Values>>,
    count: AtomicU64,
}

impl Lanes {
    fn new(nodes: &NodePair) -> Self {
        let received = Arc::new(Received {
            base: Instant::now(),
            delays: (0..LANES).map(|_| Mutex::default()).collect(),
            count: AtomicU64::new(0),
        });
        let receive = |lane| {
            let received = Arc::clone(&received);
            let to = &nodes.subscriber.pubsub;
            Receiving::start(to, &topic(lane), move |message| {
                received.take(lane, message)
            })
        };
        Self {
            _receiving: (0..LANES).map(receive).collect(),
            // Those made one after the other have different lanes.
            publishers: (0..LANES)
                .map(|_| Arc::new(nodes.publisher.pubsub.publisher()))
                .collect(),
            received,
        }
    }

    fn publish(&self, lane: usize) {
        publish(&self.publishers[lane], lane, &self.received);
    }

    /// The delays of each lane.
    async fn sample(&self) -> Vec<Values> {
        let publishing: Vec<_> = (0..LANES)
            .map(|lane| {
                let publisher = Arc::clone(&self.publishers[lane]);
                let received = Arc::clone(&self.received);
                tokio::spawn(async move {
                    // Each lane at a time of its own, so that they share no datagrams by chance of the clock.
                    tokio::time::sleep(PACE * lane as u32 / LANES as u32).await;
                    let mut pace = tokio::time::interval(PACE);
                    for _ in 0..MESSAGES {
                        pace.tick().await;
                        publish(&publisher, lane, &received);
                    }
                })
            })
            .collect();
        for publishing in publishing {
            publishing.await.expect("it does not panic");
        }
        self.wait_for(LANES * MESSAGES).await;
        self.received.take_delays()
    }

    async fn delays_of_two(&self) -> [f64; 2] {
        self.wait_for(2).await;
        let delays = self.received.take_delays();
        [delays[0].median(), delays[1].median()]
    }

    async fn wait_for(&self, messages: usize) {
        while self.received.count.load(Ordering::SeqCst) < messages as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Received {
    fn now_ns(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    fn take(&self, lane: usize, message: &Message) {
        let sent = message.payload().first_chunk().copied();
        let sent = u64::from_be_bytes(sent.expect("it begins with its time"));
        let delay_ms = (self.now_ns() - sent) as f64 / 1e6;
        self.delays[lane]
            .lock()
            .expect("nobody panics")
            .push(delay_ms);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn take_delays(&self) -> Vec<Values> {
        self.count.store(0, Ordering::SeqCst);
        let take =
            |delays: &Mutex<Values>| std::mem::take(&mut *delays.lock().expect("nobody panics"));
        self.delays.iter().map(take).collect()
    }
}

fn publish(publisher: &Publisher, lane: usize, received: &Received) {
    let mut payload = BytesMut::with_capacity(MESSAGE_BYTES);
    payload.put_u64(received.now_ns());
    payload.resize(MESSAGE_BYTES, b'x');
    let payload: Bytes = payload.freeze();
    let sent = publisher.broadcast(topic(lane), payload);
    assert!(sent.is_ok_and(|sent| sent.peers == 1), "no queue is full");
}

fn topic(lane: usize) -> String {
    format!("room:{lane}")
}
