//! One small message at a time, and how long it is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use matryoshka_pubsub::{PubSub, Publisher, TopicName};

use super::load::{Arrived, payload};
use super::meter::Values;
use super::receiving::Receiving;

const PING_TOPIC: &str = "room:ping!";
pub(super) const PING_BYTES: usize = 64;
/// Pings per sample.
pub(super) const PINGS: usize = 200;
/// Between a ping's arrival and the next.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// How long the message took that is under way.
pub(super) struct Stopwatch {
    base: Instant,
    started_ns: AtomicU64,
    took_ns: AtomicU64,
    pub(super) arrived: Arrived,
}

impl Stopwatch {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            base: Instant::now(),
            started_ns: AtomicU64::new(0),
            took_ns: AtomicU64::new(0),
            arrived: Arrived::default(),
        })
    }

    pub(super) fn start(&self) {
        self.started_ns.store(self.now_ns(), Ordering::SeqCst);
    }

    pub(super) fn stop(&self) {
        let took = self.now_ns() - self.started_ns.load(Ordering::SeqCst);
        self.took_ns.store(took, Ordering::SeqCst);
        self.arrived.add(1);
    }

    pub(super) fn took_us(&self) -> f64 {
        self.took_ns.load(Ordering::SeqCst) as f64 / 1e3
    }

    fn now_ns(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }
}

/// Publishes pings.
pub(super) struct Ping {
    publisher: Arc<Publisher>,
    watch: Arc<Stopwatch>,
    _receiving: Receiving,
}

impl Ping {
    pub(super) fn new(from: &PubSub, to: &PubSub) -> Self {
        let watch = Stopwatch::new();
        let stopped = Arc::clone(&watch);
        Self {
            _receiving: Receiving::start(to, PING_TOPIC, move |_| stopped.stop()),
            publisher: Arc::new(from.publisher()),
            watch,
        }
    }

    /// Microseconds.
    pub(super) async fn sample(&self) -> Values {
        let (publisher, watch) = (Arc::clone(&self.publisher), Arc::clone(&self.watch));
        let sampling = tokio::spawn(async move {
            let topic = TopicName::from(PING_TOPIC);
            let payload = payload(PING_BYTES);
            let mut values = Values::default();
            for _ in 0..PINGS {
                let before = watch.arrived.count();
                watch.start();
                let sent = publisher.broadcast(&topic, payload.clone());
                assert!(
                    sent.is_ok_and(|sent| sent.dropped.is_empty()),
                    "no queue is full"
                );
                watch.arrived.wait_for(before + 1).await;
                values.push(watch.took_us());
                tokio::time::sleep(PAUSE).await;
            }
            values
        });
        sampling.await.expect("it does not panic")
    }
}
