//! Tokio for QUIC, with the one thing more that a shutdown needs: to know when the socket is closed.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::sync::mpsc;

/// A QUIC endpoint's runtime that can be waited for.
pub(crate) struct TrackedRuntime {
    alive: mpsc::Sender<()>,
}

/// Ends when the endpoint, its connections and all their tasks are gone, hence their socket too.
pub(crate) struct Gone(mpsc::Receiver<()>);

impl TrackedRuntime {
    /// A runtime and what tells of its end.
    pub(crate) fn new() -> (Self, Gone) {
        let (alive, gone) = mpsc::channel(1);
        (Self { alive }, Gone(gone))
    }
}

impl Gone {
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent: this ends with the last sender.
        while self.0.recv().await.is_some() {}
    }
}

impl Runtime for TrackedRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let alive = self.alive.clone();
        TokioRuntime.spawn(Box::pin(async move {
            future.await;
            drop(alive);
        }));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

impl fmt::Debug for TrackedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrackedRuntime")
    }
}
