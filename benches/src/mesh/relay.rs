//! A UDP relay in front of nodes, in threads of its own, that delays, loses and cuts.
//!
//! A node advertises its relayed address. Each other node that sends there gets a socket of its own towards the node, which
//! takes that socket's address for the other's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Larger than any datagram of QUIC.
const DATAGRAM_BYTES: usize = 65_536;
/// Datagrams that may be under way in one direction of a link. Further ones are lost, as in any router.
const QUEUE: usize = 65_536;
/// What may wait for this relay, so that a machine with other work does not make it lose what it should not.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;
/// Of how many datagrams [`Faults::lose`] speaks.
const LOSS_OF: u64 = 10_000;

/// The relay's threads; all relayed addresses end with it.
pub(super) struct Relay {
    runtime: Runtime,
    pub(super) faults: Arc<Faults>,
}

/// What the relay does to all datagrams.
#[derive(Debug, Default)]
pub(super) struct Faults {
    delay_us: AtomicU64,
    loss: AtomicU64,
    cut: AtomicBool,
    drop_next_of: AtomicUsize,
    random: AtomicU64,
}

/// An address that leads to a node.
pub(super) struct Relayed {
    pub(super) address: SocketAddr,
    node: watch::Sender<Option<SocketAddr>>,
}

impl Relay {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self {
            runtime: runtime.expect("a thread can be started"),
            faults: Arc::default(),
        }
    }

    /// A new address, which leads nowhere until it is told where.
    pub(super) async fn address(&self) -> Relayed {
        let (node, leads_to) = watch::channel(None);
        let faults = Arc::clone(&self.faults);
        let bound = self.runtime.spawn(async move {
            let front = Arc::new(any_socket().await?);
            let address = front.local_addr()?;
            tokio::spawn(relay(front, leads_to, faults));
            io::Result::Ok(address)
        });
        let address = bound.await.expect("it does not panic");
        Relayed {
            address: address.expect("a free port"),
            node,
        }
    }

    pub(super) fn stop(self) {
        self.runtime.shutdown_background();
    }
}

impl Relayed {
    pub(super) fn leads_to(&self, node: SocketAddr) {
        self.node.send_replace(Some(node));
    }
}

impl Faults {
    /// Each datagram takes so much longer.
    pub(super) fn delay(&self, delay: Duration) {
        self.delay_us
            .store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// Loses so many of 10,000 datagrams.
    pub(super) fn lose(&self, of_ten_thousand: u64) {
        self.loss.store(of_ten_thousand, Ordering::Relaxed);
    }

    /// Loses everything, or no longer.
    pub(super) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// Loses the next datagram of at least so many bytes.
    pub(super) fn drop_next_of(&self, bytes: usize) {
        self.drop_next_of.store(bytes, Ordering::SeqCst);
    }

    /// Whether that one is still to come.
    pub(super) fn is_to_drop(&self) -> bool {
        self.drop_next_of.load(Ordering::SeqCst) > 0
    }

    fn passes(&self, bytes: usize) -> bool {
        if self.cut.load(Ordering::Relaxed) || self.is_the_one_to_drop(bytes) {
            return false;
        }
        let loss = self.loss.load(Ordering::Relaxed);
        if loss > 0 && self.random() % LOSS_OF < loss {
            return false;
        }
        true
    }

    fn is_the_one_to_drop(&self, bytes: usize) -> bool {
        let least = self.drop_next_of.load(Ordering::SeqCst);
        let none = Ordering::SeqCst;
        least > 0
            && bytes >= least
            && self
                .drop_next_of
                .compare_exchange(least, 0, none, none)
                .is_ok()
    }

    /// The same sequence in each run: a Weyl sequence, mixed.
    fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mixed = self.random.fetch_add(step, Ordering::Relaxed);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn due(&self) -> Instant {
        Instant::now() + Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
    }
}

/// A datagram and when it is to be sent on.
type Later = (Instant, Box<[u8]>);

async fn any_socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // Less, if the system allows no more.
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BYTES)?;
    Ok(socket)
}

/// Takes in what others send to a node.
async fn relay(
    front: Arc<UdpSocket>,
    mut leads_to: watch::Receiver<Option<SocketAddr>>,
    faults: Arc<Faults>,
) {
    let Ok(Some(node)) = leads_to.wait_for(Option::is_some).await.map(|node| *node) else {
        return;
    };
    let mut others: HashMap<SocketAddr, mpsc::Sender<Later>> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let Ok((bytes, from)) = front.recv_from(&mut buffer).await else {
            continue;
        };
        if !faults.passes(bytes) {
            continue;
        }
        if let Entry::Vacant(place) = others.entry(from) {
            let Ok(towards) = connect(&front, from, node, &faults).await else {
                continue;
            };
            place.insert(towards);
        }
        // Full: it is lost.
        let _ = others[&from].try_send((faults.due(), buffer[..bytes].into()));
    }
}

/// Makes the way between one other node and the node, in both directions.
async fn connect(
    front: &Arc<UdpSocket>,
    other: SocketAddr,
    node: SocketAddr,
    faults: &Arc<Faults>,
) -> io::Result<mpsc::Sender<Later>> {
    let back = Arc::new(any_socket().await?);
    back.connect(node).await?;
    let (towards_node, from_other) = mpsc::channel(QUEUE);
    let (towards_other, from_node) = mpsc::channel(QUEUE);
    tokio::spawn(pass_on(from_other, Arc::clone(&back), None));
    tokio::spawn(pass_on(from_node, Arc::clone(front), Some(other)));
    let faults = Arc::clone(faults);
    tokio::spawn(async move {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            // An error tells of a datagram that nobody took; the next may be taken.
            let Ok(bytes) = back.recv(&mut buffer).await else {
                continue;
            };
            if faults.passes(bytes) {
                // Full: it is lost.
                let _ = towards_other.try_send((faults.due(), buffer[..bytes].into()));
            }
        }
    });
    Ok(towards_node)
}

/// Sends each when it is due, in order.
async fn pass_on(mut queue: mpsc::Receiver<Later>, socket: Arc<UdpSocket>, to: Option<SocketAddr>) {
    while let Some((due, datagram)) = queue.recv().await {
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let sent = match to {
            Some(to) => socket.send_to(&datagram, to).await.map(drop),
            None => socket.send(&datagram).await.map(drop),
        };
        // A datagram that cannot be sent is a lost one.
        drop(sent);
    }
}
