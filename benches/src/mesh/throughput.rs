//! One publisher to one subscriber on one peer, against one bare stream with the same frames.
//!
//! Targets: at least 70 % of it with messages of 1 KiB and 64 KiB; with 64 bytes at least 500,000 messages for each second of
//! CPU, of both ends.

use std::sync::Arc;

use bytes::Bytes;
use matryoshka_pubsub::TopicName;
use tokio::sync::Mutex;

use super::ROUNDS;
use super::bare::{BarePair, BareSender};
use super::load::{Arrived, TOPIC, Window, payload};
use super::meter::{Bar, Meter, Took, Values, load_average};
use super::nodes::NodePair;

/// Payload bytes and messages per sample.
const SIZES: [(usize, u64); 3] = [(64, 1_000_000), (1_024, 200_000), (65_536, 6_000)];

/// Prints the table.
pub(crate) fn run() {
    println!("\none publisher to one peer, against a bare QUIC stream with the same frames");
    println!(
        "{:>8}  {:>14} {:>14} {:>22}  {:>22}",
        "bytes", "bare msg/s", "mesh msg/s", "throughput ratio", "mesh msg/CPU s"
    );
    super::runtime().block_on(async {
        let (bare, nodes) = (BarePair::connect().await, NodePair::start().await);
        for (bytes, messages) in SIZES {
            compare(&bare, &nodes, bytes, messages).await;
        }
    });
}

async fn compare(bare: &BarePair, nodes: &NodePair, bytes: usize, messages: u64) {
    let payload = payload(bytes);
    let (sender, arrived) = BareSender::open(bare, payload.clone()).await;
    let sender = Arc::new(Mutex::new(sender));
    let (counted, _receiving) = nodes.count();
    let (mut bare_rates, mut rates, mut ratios) =
        (Values::default(), Values::default(), Values::default());
    let mut efficiency = Values::default();
    for _ in 0..ROUNDS {
        let baseline = send_bare(&sender, &arrived, messages).await;
        let subject = publish(nodes, &counted, &payload, messages).await;
        bare_rates.push(messages as f64 / baseline.wall.as_secs_f64());
        rates.push(messages as f64 / subject.wall.as_secs_f64());
        ratios.push(baseline.wall.as_secs_f64() / subject.wall.as_secs_f64());
        efficiency.push(messages as f64 / subject.cpu.as_secs_f64());
    }
    let verdict = if bytes == 64 {
        Bar::AtLeast(500_000.0).judge(efficiency.median())
    } else {
        Bar::AtLeast(0.7).judge(ratios.median())
    };
    println!(
        "{bytes:>8}  {:>14.0} {:>14.0} {:>22}  {:>22.0}  {verdict}; {}",
        bare_rates.median(),
        rates.median(),
        ratios.to_string(),
        efficiency.median(),
        load_average(),
    );
}

async fn send_bare(sender: &Arc<Mutex<BareSender>>, arrived: &Arc<Arrived>, messages: u64) -> Took {
    let mut sender = Arc::clone(sender).lock_owned().await;
    let arrived = Arc::clone(arrived);
    let before = arrived.count();
    let meter = Meter::start();
    let sending = tokio::spawn(async move {
        for _ in 0..messages {
            sender.send().await;
        }
        sender.flush().await;
        arrived.wait_for(before + messages).await;
    });
    sending.await.expect("it does not panic");
    meter.stop()
}

async fn publish(nodes: &NodePair, arrived: &Arc<Arrived>, payload: &Bytes, messages: u64) -> Took {
    let publisher = nodes.publisher.pubsub.publisher();
    let (topic, payload) = (TopicName::from(TOPIC), payload.clone());
    let arrived = Arc::clone(arrived);
    let window = Window::of(payload.len());
    let before = arrived.count();
    let meter = Meter::start();
    let publishing = tokio::spawn(async move {
        for n in 0..messages {
            window.room(&arrived, before + n).await;
            let sent = publisher.broadcast(&topic, payload.clone());
            assert!(sent.is_ok_and(|sent| sent.peers == 1), "no queue is full");
        }
        arrived.wait_for(before + messages).await;
    });
    publishing.await.expect("it does not panic");
    meter.stop()
}
