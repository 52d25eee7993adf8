//! One connection: the tasks that write out what waits for the peer, read what comes in and hand it on.
//!
//! A slow peer stalls only its own queues. A lane's reader is a task of its own, so lanes do not wait for each
//! other; they all end before the link's task does, which is how nothing is handed on after `Down`.

mod read;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use matryoshka_pubsub::{Inbound, Origin};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::adapter::Shared;
use crate::congestion;
use crate::connect::explain;
use crate::driver::LOG_TARGET;
use crate::proto::close::Close;
use crate::proto::codec::Codec;
use crate::proto::frame::Frame;
use crate::proto::lane::{LANES, Pushed};
use crate::proto::mesh::Ended;
use crate::proto::outbox::{Bounds, Outbox};
use crate::proto::peer::{Certified, ConnectionId};
use crate::proto::terms::Terms;
use crate::stats::PeerCounters;
use crate::tls::Handshake;

/// The sending side of a connection, for whoever publishes and for the driver.
pub(crate) type Outgoing = Outbox<Signals>;

/// How the tasks of a connection are told.
#[derive(Debug)]
pub(crate) struct Signals {
    connection: Connection,
    control: Notify,
    lanes: [Notify; LANES as usize],
}

impl Outgoing {
    /// Of a new connection.
    pub(crate) fn of(connection: Connection, bounds: Bounds) -> Self {
        let signals = Signals {
            connection,
            control: Notify::new(),
            lanes: std::array::from_fn(|_| Notify::new()),
        };
        Self::new(bounds, signals)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.signals.connection
    }

    /// Queues a frame for the control stream.
    pub(crate) fn send(&self, codec: Codec, frame: &Frame) {
        match self.push_control(codec, frame) {
            Pushed::Queued { .. } => self.wake_control(),
            Pushed::Full => self.overflow(),
            Pushed::Closed => {}
        }
    }

    /// The control stream has something to write.
    pub(crate) fn wake_control(&self) {
        self.signals.control.notify_one();
    }

    /// That lane has something to write.
    pub(crate) fn wake_lane(&self, lane: u16) {
        self.signals.lanes[usize::from(lane)].notify_one();
    }

    /// What must not be lost did not fit.
    pub(crate) fn overflow(&self) {
        tracing::warn!(
            target: LOG_TARGET,
            peer = %self.connection().remote_address(),
            "the link is closed: what must not be lost did not fit into its queue, the peer is too slow"
        );
        self.close(&Close::Overflow);
    }

    /// Ends the connection now; what still waits is lost.
    pub(crate) fn close(&self, close: &Close) {
        let code = VarInt::from_u32(close.code());
        congestion::close(self.connection(), code, &close.reason());
        self.finish();
    }

    /// Takes nothing more; the connection ends once the peer has read everything.
    pub(crate) fn finish(&self) {
        self.end();
        self.wake_control();
        (0..LANES).for_each(|lane| self.wake_lane(lane));
    }
}

/// A connection on which both sides can talk.
pub(crate) struct Established {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
    /// What the certificates of both sides say.
    pub(crate) certified: Certified,
    /// How it came about, to explain its end if that belongs to it.
    pub(crate) handshake: Arc<Handshake>,
}

/// What makes the link's task hand on what it receives.
pub(crate) struct Raise {
    pub(crate) origin: Arc<Origin>,
    pub(crate) terms: Terms,
    pub(crate) inbound: Inbound,
    pub(crate) counters: Arc<PeerCounters>,
}

/// Nothing is handed on before there is something in it.
type Raised = watch::Receiver<Option<Arc<Raise>>>;

/// What a link's task works with.
pub(crate) struct LinkTask {
    pub(crate) id: ConnectionId,
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) shared: Arc<Shared>,
    /// Grows with everything that arrives.
    pub(crate) activity: Arc<AtomicU64>,
    pub(crate) frames: mpsc::Sender<(ConnectionId, Frame)>,
    pub(crate) raised: Raised,
    pub(crate) handshake: Arc<Handshake>,
}

/// Why a link's task stops.
enum Fault {
    /// The peer has said that it sends nothing more, and all it sent was read.
    Finished,
    /// The connection is gone; it knows why.
    Lost,
    /// The peer sent what it must not.
    Protocol(String),
}

impl LinkTask {
    /// Runs until the connection has ended and nothing of it is handed on any more.
    pub(crate) async fn run(self, send: SendStream, receive: RecvStream) -> Ended {
        let (finished, has_finished) = watch::channel(None);
        let mut readers = JoinSet::new();
        let fault = tokio::select! {
            fault = self.write_all(send) => fault,
            fault = self.read_control(receive, finished) => fault,
            fault = self.read_lanes(&mut readers, has_finished) => fault,
        };
        let ended = ended(self.outgoing.connection(), &fault, &self.handshake);
        self.outgoing.close(&match fault {
            Fault::Finished => Close::Leaving,
            Fault::Lost => Close::Silent,
            Fault::Protocol(text) => Close::Protocol { text },
        });
        readers.shutdown().await;
        ended
    }
}

/// How the connection ended. To be asked before closing it, which makes it forget.
fn ended(connection: &Connection, fault: &Fault, handshake: &Handshake) -> Ended {
    if let Fault::Protocol(text) = fault {
        let text = format!("it broke the protocol: {text}");
        return Ended::Broken { text };
    }
    match connection.close_reason() {
        None | Some(ConnectionError::LocallyClosed) => Ended::ClosedHere,
        Some(ConnectionError::ApplicationClosed(close)) => {
            Ended::ClosedByPeer(Close::read(close.error_code.into_inner(), &close.reason))
        }
        // The side that dialled is refused only after its own half of the handshake.
        Some(error) => Ended::Failed(explain(&error, handshake)),
    }
}

#[cfg(test)]
mod tests;
