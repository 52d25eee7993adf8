//! Congestion control that holds neither heartbeats nor a goodbye back.
//!
//! **A trickle.** Over a full window nothing goes out but probes, and the time between those doubles: after an outage of
//! 1.2 s the next may be as far away again, on both sides. Nor is anything acknowledged meanwhile, since quinn-proto
//! (0.11.19) keeps even acknowledgements back while data waits. That is how a live node comes to be taken for dead. So
//! when nothing has come or gone for [`STUCK_AFTER`], one packet may go over the window: enough to find out that
//! the outage is over, too little to make a congestion worse.
//!
//! **A goodbye.** A close is a single packet, which QUIC's congestion control does not concern. quinn-proto counts it in
//! while data waits, and once closed never looks again: over a full window the other side is told nothing and waits for its
//! own verdict of silence. That is exactly when links are closed: a peer that is too slow, or from which nothing comes
//! back. So the window is opened just before the close.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn::{Connection, VarInt};

use super::floor::FlooredCubic;

/// Nothing acknowledged and nothing sent for so long: one more packet may go, whatever is in flight.
const STUCK_AFTER: Duration = Duration::from_millis(300);

/// Builds a controller that never gets stuck for long, and that [`close`] can open.
#[derive(Debug, Default)]
pub(crate) struct Openable {
    inner: Arc<FlooredCubic>,
}

impl ControllerFactory for Openable {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Window {
            inner: self.inner.clone().build(now, current_mtu),
            in_flight: 0,
            mtu: current_mtu.into(),
            moved: now,
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

/// One path's window.
struct Window {
    inner: Box<dyn Controller>,
    /// At least the bytes that are in flight.
    in_flight: u64,
    mtu: u64,
    /// When something was last sent or acknowledged.
    moved: Instant,
    /// Nothing but the close is to be sent any more.
    open: Arc<AtomicBool>,
}

impl Controller for Window {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.in_flight += bytes;
        self.moved = now;
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
        self.in_flight = in_flight;
        self.moved = now;
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
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.open.load(Ordering::Relaxed) {
            return u64::MAX;
        }
        let usual = self.inner.window();
        if self.moved.elapsed() < STUCK_AFTER {
            return usual;
        }
        // A packet goes if less than the window would be in flight with it: this lets one go, and not a second.
        usual.max(self.in_flight + 2 * self.mtu)
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Window {
            inner: self.inner.clone_box(),
            open: self.open.clone(),
            ..*self
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use quinn::congestion::CubicConfig;

    use super::*;

    const MTU: u16 = 1200;
    const SECOND: Duration = Duration::from_secs(1);

    /// What `controller` allows after everything was lost for a while.
    fn after_an_outage(mut controller: Box<dyn Controller>, now: Instant) -> u64 {
        controller.on_congestion_event(now + 2 * SECOND, now + SECOND, true, 10_000);
        controller.window()
    }

    #[test]
    fn after_an_outage_a_link_may_send_what_a_new_one_may() {
        let now = Instant::now();
        let openable = Arc::new(Openable::default());
        let new = openable.clone().build(now, MTU).window();
        let bare = Arc::new(CubicConfig::default()).build(now, MTU);
        assert!(after_an_outage(bare, now) < new);
        assert_eq!(after_an_outage(openable.build(now, MTU), now), new);
    }

    #[test]
    fn a_link_that_is_stuck_may_send_one_packet_and_then_has_to_wait_again() {
        let now = Instant::now();
        let before = now.checked_sub(2 * STUCK_AFTER).unwrap_or(now);
        let mut window = Arc::new(Openable::default()).build(before, MTU);
        let usual = window.initial_window();
        let full = 3 * usual;
        window.on_sent(before, full, 1);
        assert_eq!(window.window(), full + 2 * u64::from(MTU));
        window.on_sent(now, MTU.into(), 2);
        assert_eq!(window.window(), usual);
    }

    #[test]
    fn a_link_that_is_not_stuck_keeps_to_its_window() {
        let now = Instant::now();
        let before = now.checked_sub(2 * STUCK_AFTER).unwrap_or(now);
        let mut window = Arc::new(Openable::default()).build(before, MTU);
        let usual = window.initial_window();
        window.on_sent(before, 3 * usual, 1);
        window.on_end_acks(now, 2 * usual, false, Some(1));
        assert_eq!(window.window(), usual);
    }

    #[test]
    fn a_window_that_is_opened_by_a_copy_is_open() {
        let window = Arc::new(Openable::default()).build(Instant::now(), MTU);
        let copy = window.clone_box().into_any().downcast::<Window>();
        let copy = copy.unwrap_or_else(|_| panic!("a copy is another kind of controller"));
        copy.open.store(true, Ordering::Relaxed);
        assert_eq!(window.window(), u64::MAX);
    }
}
