//! Three nodes, one publishes, two subscribe: the mesh, and an adapter over TCP and TLS that sends the same frames.
//!
//! No bar: a table, and where the mesh loses.

use std::sync::Arc;

use matryoshka_pubsub::PubSub;

use super::ROUNDS;
use super::load::{Arrived, Load, TOPIC};
use super::meter::{Took, Values, load_average};
use super::nodes;
use super::ping::Ping;
use super::receiving::Receiving;
use super::tcp;

const NODES: usize = 3;
/// Payload bytes and messages per sample.
const SIZES: [(usize, u64); 3] = [(64, 300_000), (1_024, 100_000), (65_536, 2_000)];
/// Of messages that fill another lane while pings are sent.
const LARGE_BYTES: [usize; 2] = [1_024, 1_024 * 1_024];

/// Prints the table.
pub(crate) fn run() {
    println!(
        "\n{NODES} nodes, one publishes to the others, against TCP and TLS with the same frames"
    );
    println!(
        "{:>34}  {:>12} {:>12}  {:>20}",
        "", "TCP", "mesh", "mesh / TCP"
    );
    super::runtime().block_on(async {
        let nodes = nodes::mesh(NODES, None, |builder| builder).await;
        let mesh = Trio::new(nodes.iter().map(|node| node.pubsub.clone()).collect());
        let tcp = Trio::new(tcp::mesh(NODES).await);
        for (bytes, messages) in SIZES {
            throughput(&tcp, &mesh, bytes, messages).await;
        }
        latency(&tcp, &mesh, None).await;
        for bytes in LARGE_BYTES {
            latency(&tcp, &mesh, Some(bytes)).await;
        }
    });
    println!("  {}", load_average());
}

/// The first publishes, the others subscribe.
struct Trio {
    pubsubs: Vec<PubSub>,
    arrived: Arc<Arrived>,
    ping: Ping,
    _receiving: Vec<Receiving>,
}

impl Trio {
    fn new(pubsubs: Vec<PubSub>) -> Self {
        let arrived = Arc::<Arrived>::default();
        let count = |pubsub| Receiving::count(pubsub, TOPIC, &arrived);
        Self {
            _receiving: pubsubs[1..].iter().map(count).collect(),
            ping: Ping::new(&pubsubs[0], &pubsubs[1]),
            arrived,
            pubsubs,
        }
    }

    fn load(&self, bytes: usize) -> Load {
        let copies = self.pubsubs.len() as u64 - 1;
        Load::new(&self.pubsubs[0], bytes, &self.arrived, copies)
    }

    async fn ping(&self, beside: Option<usize>) -> Values {
        let load = beside.map(|bytes| self.load(bytes).go_on());
        let values = self.ping.sample().await;
        if let Some(load) = load {
            load.stop().await;
        }
        values
    }
}

async fn throughput(tcp: &Trio, mesh: &Trio, bytes: usize, messages: u64) {
    let (mut rates, mut costs) = (Row::default(), Row::default());
    for _ in 0..ROUNDS {
        let rival = tcp.load(bytes).send(messages).await;
        let ours = mesh.load(bytes).send(messages).await;
        let rate = |took: Took| messages as f64 / took.wall.as_secs_f64();
        let cost = |took: Took| took.cpu.as_secs_f64() * 1e6 / messages as f64;
        rates.add(rate(rival), rate(ours));
        costs.add(cost(rival), cost(ours));
    }
    rates.print(&format!("{bytes} B: messages/s"));
    costs.print(&format!("{bytes} B: CPU us a message"));
}

async fn latency(tcp: &Trio, mesh: &Trio, beside: Option<usize>) {
    let (mut medians, mut tails) = (Row::default(), Row::default());
    for _ in 0..ROUNDS {
        let (rival, ours) = (tcp.ping(beside).await, mesh.ping(beside).await);
        medians.add(rival.median(), ours.median());
        tails.add(rival.percentile(90), ours.percentile(90));
    }
    let what = match beside {
        None => "alone".to_owned(),
        Some(bytes) => format!("beside {bytes} B"),
    };
    medians.print(&format!("one way {what}: p50 us"));
    tails.print("p90 us");
}

/// One thing measured of both.
#[derive(Default)]
struct Row {
    rival: Values,
    ours: Values,
    ratio: Values,
}

impl Row {
    fn add(&mut self, rival: f64, ours: f64) {
        self.rival.push(rival);
        self.ours.push(ours);
        self.ratio.push(ours / rival);
    }

    fn print(&self, what: &str) {
        let digits = if self.rival.median() < 100.0 { 1 } else { 0 };
        println!(
            "{what:>34}  {:>12.digits$} {:>12.digits$}  {:>20}",
            self.rival.median(),
            self.ours.median(),
            self.ratio.to_string()
        );
    }
}
