//! Twenty nodes of one process that have nothing to say, against twenty bare endpoints with a connection between each two on which both
//! ends send the same heartbeat in the same interval.
//!
//! Targets: CPU at most 1.5x the bare mesh's; at most 1 kB a second on each link, both directions together.

use std::time::{Duration, Instant};

use bytes::Bytes;
use matryoshka_pubsub_quic::Secret;
use matryoshka_pubsub_quic::testing::{BareQuic, HEARTBEAT_EVERY, heartbeat};
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use super::ROUNDS;
use super::bare::endpoint;
use super::meter::{Bar, Meter, Values, load_average};
use super::nodes::{Node, mesh};

const NODES: usize = 20;
const LINKS: usize = NODES * (NODES - 1) / 2;
/// Until what the start brings with it (path discovery, first acknowledgements) is over.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Several heartbeats.
const SAMPLE: Duration = Duration::from_millis(3_500);

/// Prints both.
pub(crate) fn run() {
    println!(
        "\n{NODES} idle nodes, {LINKS} links, against bare connections with the same heartbeat"
    );
    let (mut ratios, mut baselines, mut subjects) =
        (Values::default(), Values::default(), Values::default());
    let (mut bare_bytes, mut bytes) = (Values::default(), Values::default());
    for _ in 0..ROUNDS {
        let baseline = super::runtime().block_on(bare());
        let subject = super::runtime().block_on(nodes());
        ratios.push(subject.cpu / baseline.cpu);
        baselines.push(baseline.cpu * 1e3);
        subjects.push(subject.cpu * 1e3);
        bare_bytes.push(baseline.bytes);
        bytes.push(subject.bytes);
    }
    println!("  CPU ms a second: bare {baselines}, mesh {subjects}");
    let verdict = Bar::AtMost(1.5).judge(ratios.median());
    println!("  ratio of CPU: {ratios}  {verdict}; {}", load_average());
    let verdict = Bar::AtMost(1_000.0).judge(bytes.median());
    println!("  UDP bytes a second and link: bare {bare_bytes}, mesh {bytes}  {verdict}");
}

/// Of a second.
struct Idle {
    /// Seconds of CPU.
    cpu: f64,
    /// Bytes of UDP payload on each link.
    bytes: f64,
}

/// Measures for a while; `sent` tells of all bytes that all ends have sent.
async fn measure(sent: impl Fn() -> u64) -> Idle {
    tokio::time::sleep(SETTLE).await;
    let (meter, before) = (Meter::start(), sent());
    tokio::time::sleep(SAMPLE).await;
    let (took, bytes) = (meter.stop(), sent() - before);
    let seconds = took.wall.as_secs_f64();
    Idle {
        cpu: took.cpu.as_secs_f64() / seconds,
        bytes: bytes as f64 / seconds / LINKS as f64,
    }
}

async fn nodes() -> Idle {
    let nodes = mesh(NODES, None, |builder| builder).await;
    measure(|| nodes.iter().map(Node::udp_bytes_sent).sum()).await
}

async fn bare() -> Idle {
    let secret = Secret::generate();
    let endpoints: Vec<Endpoint> = (0..NODES)
        .map(|n| endpoint(&secret, &format!("node-{n}")))
        .collect();
    let mut ends = Vec::new();
    for (n, listener) in endpoints.iter().enumerate() {
        for dialler in &endpoints[..n] {
            ends.extend(connect(dialler, listener).await);
        }
    }
    measure(|| ends.iter().map(|end| end.stats().udp_tx.bytes).sum()).await
}

/// A connection whose both ends send heartbeats on its first stream.
async fn connect(dialler: &Endpoint, listener: &Endpoint) -> [Connection; 2] {
    let to = listener.local_addr().expect("it is bound");
    let dial = async {
        let connecting = dialler.connect(to, BareQuic::SERVER_NAME);
        let connection = connecting.expect("a good address").await;
        let connection = connection.expect("both have the secret");
        let (send, receive) = connection.open_bi().await.expect("it is up");
        tokio::spawn(beat(send, receive));
        connection
    };
    let accept = async {
        let incoming = listener.accept().await.expect("it is open");
        let connection = incoming.await.expect("both have the secret");
        let accepted = connection.clone();
        tokio::spawn(async move {
            let (send, receive) = accepted.accept_bi().await.expect("it is up");
            beat(send, receive).await;
        });
        connection
    };
    tokio::join!(dial, accept).into()
}

/// Sends heartbeats and looks at those that come, as long as the connection lives.
async fn beat(mut send: SendStream, mut receive: RecvStream) {
    let beat: Bytes = heartbeat();
    let mut due = tokio::time::interval(HEARTBEAT_EVERY);
    let mut heard_at = Instant::now();
    loop {
        tokio::select! {
            _ = due.tick() => {
                if send.write_chunk(beat.clone()).await.is_err() {
                    return;
                }
            }
            chunk = receive.read_chunk(usize::MAX, true) => {
                let Ok(Some(_)) = chunk else { return };
                heard_at = Instant::now();
            }
        }
        std::hint::black_box(heard_at);
    }
}
