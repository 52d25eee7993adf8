//! A network on which one of two nodes is not heard any more, and hears everything itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use matryoshka_pubsub_quic::Secret;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::cluster::Node;

/// No datagram of theirs is larger.
const MAX_DATAGRAM_BYTES: usize = 2048;
/// Enough to fill every first window many times.
const MESSAGE_BYTES: usize = 64 * 1024;

/// What stands between a node and all who dial it there. Dropped, nothing passes any more.
struct Between {
    address: SocketAddr,
    /// Nothing of what the node says gets through.
    unheard: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Between {
    /// In front of the node at `node`; it serves one dialling node.
    async fn stand(node: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let unheard = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(carry(socket, node, unheard.clone())).abort_handle();
        Between {
            address,
            unheard,
            task,
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(socket: UdpSocket, node: SocketAddr, unheard: Arc<AtomicBool>) {
    let mut buffer = [0; MAX_DATAGRAM_BYTES];
    let mut dialling = None;
    loop {
        let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
        let to = if source == node {
            dialling.filter(|_| !unheard.load(Ordering::Relaxed))
        } else {
            dialling = Some(source);
            Some(node)
        };
        if let Some(to) = to {
            socket.send_to(&buffer[..length], to).await.unwrap();
        }
    }
}

/// The one that is not heard learns from the other's goodbye that it is not: it hears no silence, and the goodbye must
/// not wait behind what nobody acknowledges.
#[tokio::test]
async fn a_node_that_is_not_heard_any_more_is_told_so_within_three_seconds() {
    let secret = Secret::generate();
    let mut unheard = Node::start(Node::builder("unheard", &secret)).await;
    let between = Between::stand(unheard.adapter.local_addr()).await;
    let mut deaf = Node::start(Node::builder("deaf", &secret).join(between.address)).await;
    deaf.up("unheard").await;
    unheard.up("deaf").await;

    let cut = Instant::now();
    between.unheard.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        deaf.pubsub
            .broadcast("news", vec![0; MESSAGE_BYTES])
            .unwrap();
    }
    deaf.down("unheard").await;
    unheard.down("deaf").await;
    let noticed = cut.elapsed();
    assert!(
        noticed <= Duration::from_secs(3),
        "noticed by both after {noticed:?}"
    );
}
