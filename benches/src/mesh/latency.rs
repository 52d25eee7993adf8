//! How long a message of 64 bytes is under way, in one direction, alone and beside a saturated lane; against a bare stream, alone
//! and beside a saturated stream of the same priority.
//!
//! Targets: the median within 2x of bare QUIC alone, within 1.5x beside the other.

use std::sync::Arc;

use super::ROUNDS;
use super::bare::{BarePair, BareSender};
use super::load::{Arrived, Load, TOPIC, payload};
use super::meter::{Bar, Values, load_average};
use super::nodes::NodePair;
use super::ping::{PAUSE, PING_BYTES, PINGS, Ping, Stopwatch};
use super::receiving::Receiving;

/// Messages of the lane that is saturated.
const LOAD_BYTES: usize = 1_024;

/// Prints the table.
pub(crate) fn run() {
    println!("\none way of a message of {PING_BYTES} bytes, against a bare QUIC stream");
    println!(
        "{:>20}  {:>10} {:>10} {:>10} {:>10}  {:>20}",
        "", "bare p50", "bare p90", "mesh p50", "mesh p90", "ratio of p50"
    );
    super::runtime().block_on(async {
        let mut both = Both::start().await;
        both.compare("alone", false, Bar::AtMost(2.0)).await;
        both.compare("beside a full lane", true, Bar::AtMost(1.5))
            .await;
    });
}

/// The baseline and the subject.
struct Both {
    bare: BarePair,
    bare_ping: Option<BarePing>,
    nodes: NodePair,
    ping: Ping,
    arrived: Arc<Arrived>,
    _receiving: Receiving,
}

impl Both {
    async fn start() -> Self {
        let (bare, nodes) = (BarePair::connect().await, NodePair::start(None).await);
        let arrived = Arc::<Arrived>::default();
        Self {
            bare_ping: Some(BarePing::open(&bare).await),
            bare,
            ping: Ping::new(&nodes.publisher.pubsub, &nodes.subscriber.pubsub),
            _receiving: Receiving::count(&nodes.subscriber.pubsub, TOPIC, &arrived),
            nodes,
            arrived,
        }
    }

    async fn compare(&mut self, what: &str, loaded: bool, bar: Bar) {
        let mut columns = [(); 5].map(|()| Values::default());
        for _ in 0..ROUNDS {
            let (baseline, subject) = (self.bare(loaded).await, self.mesh(loaded).await);
            let values = [
                baseline.median(),
                baseline.percentile(90),
                subject.median(),
                subject.percentile(90),
                subject.median() / baseline.median(),
            ];
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(value);
            }
        }
        let [bare_median, bare_p90, median, p90, ratio] = columns;
        println!(
            "{what:>20}  {:>7.0} us {:>7.0} us {:>7.0} us {:>7.0} us  {:>20}  {}; {}",
            bare_median.median(),
            bare_p90.median(),
            median.median(),
            p90.median(),
            ratio.to_string(),
            bar.judge(ratio.median()),
            load_average(),
        );
    }

    async fn bare(&mut self, loaded: bool) -> Values {
        let load = if loaded {
            let sender = BareSender::open_counting(&self.bare, payload(LOAD_BYTES));
            Some(sender.await.go_on())
        } else {
            None
        };
        let ping = self.bare_ping.take().expect("it was put back");
        let (ping, values) = ping.sample().await;
        self.bare_ping = Some(ping);
        if let Some(load) = load {
            load.stop().await;
        }
        values
    }

    async fn mesh(&self, loaded: bool) -> Values {
        let load = || Load::new(&self.nodes.publisher.pubsub, LOAD_BYTES, &self.arrived, 1);
        // A publisher that is made just after another has another lane.
        let load = loaded.then(|| load().go_on());
        let values = self.ping.sample().await;
        if let Some(load) = load {
            load.stop().await;
        }
        values
    }
}

/// Sends pings on a bare stream.
struct BarePing {
    sender: BareSender,
    watch: Arc<Stopwatch>,
}

impl BarePing {
    async fn open(pair: &BarePair) -> Self {
        let watch = Stopwatch::new();
        let stopped = Arc::clone(&watch);
        let arrived = move |_| stopped.stop();
        let sender = BareSender::open(pair, payload(PING_BYTES), arrived).await;
        watch.arrived.wait_for(1).await;
        Self { sender, watch }
    }

    /// Microseconds.
    async fn sample(mut self) -> (Self, Values) {
        let sampling = tokio::spawn(async move {
            let mut values = Values::default();
            for _ in 0..PINGS {
                let before = self.watch.arrived.count();
                self.watch.start();
                self.sender.send().await;
                self.sender.flush().await;
                self.watch.arrived.wait_for(before + 1).await;
                values.push(self.watch.took_us());
                tokio::time::sleep(PAUSE).await;
            }
            (self, values)
        });
        sampling.await.expect("it does not panic")
    }
}
