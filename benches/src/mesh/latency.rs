//! How long a message of 64 bytes is under way, in one direction, alone and beside a saturated lane; against a bare stream, alone
//! and beside a saturated stream.
//!
//! Targets: the median within 2x of bare QUIC alone, within 1.5x beside the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use matryoshka_pubsub::{Publisher, TopicName};
use tokio::task::JoinHandle;

use super::ROUNDS;
use super::bare::{BarePair, BareSender};
use super::load::{Arrived, TOPIC, Window, payload};
use super::meter::{Bar, Values, load_average};
use super::nodes::{NodePair, Receiving};

const PING_TOPIC: &str = "room:ping!";
const PING_BYTES: usize = 64;
/// Pings per sample.
const PINGS: usize = 400;
/// Between a ping's arrival and the next.
const PAUSE: Duration = Duration::from_millis(1);
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
        let pairs = (BarePair::connect().await, NodePair::start().await);
        let mut bare = BarePing::open(&pairs.0).await;
        let mesh = MeshPing::new(&pairs.1);
        let loads = None;
        compare("alone", &mut bare, &mesh, loads, Bar::AtMost(2.0)).await;
        let loads = Some(&pairs);
        compare(
            "beside a full lane",
            &mut bare,
            &mesh,
            loads,
            Bar::AtMost(1.5),
        )
        .await;
    });
}

async fn compare(
    what: &str,
    bare: &mut BarePing,
    mesh: &MeshPing,
    loads: Option<&(BarePair, NodePair)>,
    bar: Bar,
) {
    let mut all = [(); 4].map(|()| Values::default());
    let mut ratios = Values::default();
    for _ in 0..ROUNDS {
        let load = match loads {
            Some((pair, _)) => Some(Load::on_bare(pair).await),
            None => None,
        };
        let baseline = bare.sample().await;
        stop(load).await;
        let load = loads.map(|(_, nodes)| Load::on_mesh(nodes));
        let subject = mesh.sample().await;
        stop(load).await;
        ratios.push(subject.median() / baseline.median());
        let values = [&baseline, &subject].map(|values| [values.median(), values.percentile(90)]);
        for (all, value) in all.iter_mut().zip(values.concat()) {
            all.push(value);
        }
    }
    let [bare_median, bare_p90, median, p90] = all.map(|values| values.median());
    println!(
        "{what:>20}  {bare_median:>7.0} us {bare_p90:>7.0} us {median:>7.0} us {p90:>7.0} us  {:>20}  {}; {}",
        ratios.to_string(),
        bar.judge(ratios.median()),
        load_average(),
    );
}

/// How long the message took that is under way.
struct Stopwatch {
    base: Instant,
    started_ns: AtomicU64,
    took_ns: AtomicU64,
    arrived: Arrived,
}

impl Stopwatch {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            base: Instant::now(),
            started_ns: AtomicU64::new(0),
            took_ns: AtomicU64::new(0),
            arrived: Arrived::default(),
        })
    }

    fn start(&self) {
        self.started_ns.store(self.now_ns(), Ordering::SeqCst);
    }

    fn stop(&self) {
        let took = self.now_ns() - self.started_ns.load(Ordering::SeqCst);
        self.took_ns.store(took, Ordering::SeqCst);
        self.arrived.add(1);
    }

    fn took_us(&self) -> f64 {
        self.took_ns.load(Ordering::SeqCst) as f64 / 1e3
    }

    fn now_ns(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }
}

/// Sends pings on a bare stream.
struct BarePing {
    sender: Option<BareSender>,
    watch: Arc<Stopwatch>,
}

impl BarePing {
    async fn open(pair: &BarePair) -> Self {
        let watch = Stopwatch::new();
        let stopped = Arc::clone(&watch);
        let arrived = move |_| stopped.stop();
        let sender = BareSender::open_to(pair, payload(PING_BYTES), arrived).await;
        watch.arrived.wait_for(1).await;
        let sender = Some(sender);
        Self { sender, watch }
    }

    async fn sample(&mut self) -> Values {
        let mut sender = self.sender.take().expect("it was put back");
        let watch = Arc::clone(&self.watch);
        let sampling = tokio::spawn(async move {
            let mut values = Values::default();
            for _ in 0..PINGS {
                let before = watch.arrived.count();
                watch.start();
                sender.send().await;
                sender.flush().await;
                watch.arrived.wait_for(before + 1).await;
                values.push(watch.took_us());
                tokio::time::sleep(PAUSE).await;
            }
            (sender, values)
        });
        let (sender, values) = sampling.await.expect("it does not panic");
        self.sender = Some(sender);
        values
    }
}

/// Publishes pings.
struct MeshPing {
    publisher: Arc<Publisher>,
    watch: Arc<Stopwatch>,
    _receiving: Receiving,
}

impl MeshPing {
    fn new(nodes: &NodePair) -> Self {
        let watch = Stopwatch::new();
        let stopped = Arc::clone(&watch);
        Self {
            _receiving: nodes.receive(PING_TOPIC, move |_| stopped.stop()),
            publisher: Arc::new(nodes.publisher.pubsub.publisher()),
            watch,
        }
    }

    async fn sample(&self) -> Values {
        let (publisher, watch) = (Arc::clone(&self.publisher), Arc::clone(&self.watch));
        let sampling = tokio::spawn(async move {
            let topic = TopicName::from(PING_TOPIC);
            let payload = payload(PING_BYTES);
            let mut values = Values::default();
            for _ in 0..PINGS {
                let before = watch.arrived.count();
                watch.start();
                let sent = publisher.broadcast(&topic, payload.clone());
                assert!(sent.is_ok_and(|sent| sent.peers == 1), "no queue is full");
                watch.arrived.wait_for(before + 1).await;
                values.push(watch.took_us());
                tokio::time::sleep(PAUSE).await;
            }
            values
        });
        sampling.await.expect("it does not panic")
    }
}

/// What fills another lane or stream, until it is stopped.
struct Load {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    async fn on_bare(pair: &BarePair) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&stopped);
        let (mut sender, arrived) = BareSender::open(pair, payload(LOAD_BYTES)).await;
        let task = tokio::spawn(async move {
            let mut sent = 1;
            while !stop.load(Ordering::Relaxed) {
                sender.send().await;
                sent += 1;
            }
            sender.flush().await;
            arrived.wait_for(sent).await;
        });
        Self { stopped, task }
    }

    fn on_mesh(nodes: &NodePair) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&stopped);
        let publisher = nodes.publisher.pubsub.publisher();
        let (arrived, receiving) = nodes.count();
        let task = tokio::spawn(async move {
            let (topic, payload) = (TopicName::from(TOPIC), payload(LOAD_BYTES));
            let (window, _receiving) = (Window::of(LOAD_BYTES), receiving);
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                window.room(&arrived, sent).await;
                let taken = publisher.broadcast(&topic, payload.clone());
                assert!(taken.is_ok_and(|sent| sent.peers == 1), "no queue is full");
                sent += 1;
            }
            arrived.wait_for(sent).await;
        });
        Self { stopped, task }
    }
}

async fn stop(load: Option<Load>) {
    if let Some(load) = load {
        load.stopped.store(true, Ordering::Relaxed);
        load.task.await.expect("it does not panic");
    }
}
