//! One publisher to one subscriber on one peer, against one bare stream with the same frames.
//!
//! Targets: at least 70 % of it with messages of 1 KiB and 64 KiB; with 64 bytes at least 500,000 messages for each second of
//! CPU, of both ends.

use std::sync::Arc;

use super::ROUNDS;
use super::bare::{BarePair, BareSender};
use super::load::{Arrived, Load, TOPIC, payload};
use super::meter::{Bar, Values, load_average};
use super::nodes::NodePair;
use super::receiving::Receiving;

/// Payload bytes and messages per sample.
const SIZES: [(usize, u64); 3] = [(64, 1_000_000), (1_024, 200_000), (65_536, 6_000)];

/// Prints the table.
pub(crate) fn run() {
    println!("\none publisher to one peer, against a bare QUIC stream with the same frames");
    println!(
        "{:>8}  {:>12} {:>12} {:>21}  {:>12} {:>12}",
        "bytes", "bare msg/s", "mesh msg/s", "throughput ratio", "bare /CPU s", "mesh /CPU s"
    );
    super::runtime().block_on(async {
        let (bare, nodes) = (BarePair::connect().await, NodePair::start(None).await);
        for (bytes, messages) in SIZES {
            compare(&bare, &nodes, bytes, messages).await;
        }
    });
}

async fn compare(bare: &BarePair, nodes: &NodePair, bytes: usize, messages: u64) {
    let mut sender = BareSender::open_counting(bare, payload(bytes)).await;
    let arrived = Arc::<Arrived>::default();
    let _receiving = Receiving::count(&nodes.subscriber.pubsub, TOPIC, &arrived);
    let mut columns = [(); 5].map(|()| Values::default());
    for _ in 0..ROUNDS {
        let (back, baseline) = sender.send_all(messages).await;
        sender = back;
        let load = Load::new(&nodes.publisher.pubsub, bytes, &arrived, 1);
        let subject = load.send(messages).await;
        let sent = messages as f64;
        let values = [
            sent / baseline.wall.as_secs_f64(),
            sent / subject.wall.as_secs_f64(),
            baseline.wall.as_secs_f64() / subject.wall.as_secs_f64(),
            sent / baseline.cpu.as_secs_f64(),
            sent / subject.cpu.as_secs_f64(),
        ];
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    let [bare_rate, rate, ratio, bare_efficiency, efficiency] = columns;
    let verdict = if bytes == 64 {
        Bar::AtLeast(500_000.0).judge(efficiency.median())
    } else {
        Bar::AtLeast(0.7).judge(ratio.median())
    };
    println!(
        "{bytes:>8}  {:>12.0} {:>12.0} {:>21}  {:>12.0} {:>12.0}  {verdict}; {}",
        bare_rate.median(),
        rate.median(),
        ratio.to_string(),
        bare_efficiency.median(),
        efficiency.median(),
        load_average(),
    );
}
