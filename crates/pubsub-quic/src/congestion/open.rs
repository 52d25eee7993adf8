//! Congestion control that lets a goodbye out.
//!
//! A close is a single packet, which QUIC's congestion control does not concern. quinn-proto (0.11.19 still) counts
//! it in while other data waits to be sent, and once closed never looks again: over a window that is full the other side
//! is told nothing and waits for its own verdict of silence. That is exactly when links are closed: a peer that is too
//! slow, or from which nothing comes back. So the window is opened just before the close.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn::{Connection, VarInt};

/// Builds quinn's usual controller (CUBIC), which [`close`] can open.
#[derive(Debug, Default)]
pub(crate) struct Openable {
    cubic: Arc<CubicConfig>,
}

impl ControllerFactory for Openable {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Window {
            inner: self.cubic.clone().build(now, current_mtu),
            open: Arc::default(),
        })
    }
}

/// Closes the connection, and makes sure that the other side is told, however full the window is.
pub(crate) fn close(connection: &Connection, code: VarInt, reason: &[u8]) {
    // A copy of the controller, but the flag is shared.
    if let Ok(window) = connection
        .congestion_state()
        .into_any()
        .downcast::<Window>()
    {
        window.open.store(true, Ordering::Relaxed);
    }
    connection.close(code, reason);
}

/// One connection's window.
struct Window {
    inner: Box<dyn Controller>,
    /// Nothing but the close is to be sent any more.
    open: Arc<AtomicBool>,
}

impl Controller for Window {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &quinn_proto::RttEstimator,
    ) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.open.load(Ordering::Relaxed) {
            u64::MAX
        } else {
            self.inner.window()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Window {
            inner: self.inner.clone_box(),
            open: self.open.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
