//! How much may be under way on a link: CUBIC, but never less than what the path has just carried without a queue.
//!
//! CUBIC takes every lost datagram for congestion. Where 1 % is lost at random, eight messages in a round trip are all it leaves, and a
//! link that has little to send never recovers from a few losses, since an unused window does not grow: its messages then wait
//! for whole round trips although nothing is congested. As in TCP Westwood the path's own delivery rate sets a floor: of
//! what arrived in the last seconds, the best rate times the shortest round trip, which is what fits on the path with empty
//! queues, and a quarter more, so that it can grow. Where many share a bottleneck, each keeps to its share of it.
//!
//! And it is never less than what a new connection may send, which the same two nodes might open at any time: CUBIC goes down to two
//! packets when everything was lost for a tenth of a second, which a few heartbeats lost in the next outage fill.
//!
//! Pure: no clock, no I/O, no tasks.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// What may always be under way: the window that a connection starts with, ten full datagrams.
const LEAST_DATAGRAMS: u64 = 10;
/// What the path carried may be exceeded by so much: five quarters.
const GAIN: (u64, u64) = (5, 4);
/// The best rate counts for one to two of these.
const EPOCH: Duration = Duration::from_secs(5);
/// A rate is taken over a round trip, and over no less than this: acknowledgements come in clumps.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(2);

/// Makes the controller of each connection.
#[derive(Debug, Default)]
pub(crate) struct FlooredCubic(Arc<CubicConfig>);

impl ControllerFactory for FlooredCubic {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Floored {
            cubic: Arc::clone(&self.0).build(now, current_mtu),
            delivery: Delivery::new(now),
            mtu: current_mtu,
        })
    }
}

struct Floored {
    cubic: Box<dyn Controller>,
    delivery: Delivery,
    mtu: u16,
}

impl Controller for Floored {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.delivery.acknowledged(now, bytes, rtt.get(), rtt.min());
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.cubic
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            // Nothing at all came through: what the path could do says nothing any more.
            self.delivery = Delivery::new(now);
        }
        self.cubic
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let least = LEAST_DATAGRAMS * u64::from(self.mtu);
        let floor = self.delivery.in_flight() * GAIN.0 / GAIN.1;
        self.cubic.window().max(least).max(floor)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            cubic: self.cubic.clone_box(),
            delivery: self.delivery.clone(),
            mtu: self.mtu,
        })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What the path has carried lately.
#[derive(Debug, Clone)]
struct Delivery {
    sample_began: Instant,
    sample_bytes: u64,
    epoch_began: Instant,
    /// Bytes a second: the best sample of this epoch, and of the one before.
    best: [u64; 2],
    shortest_trip: Duration,
}

impl Delivery {
    fn new(now: Instant) -> Self {
        Self {
            sample_began: now,
            sample_bytes: 0,
            epoch_began: now,
            best: [0; 2],
            shortest_trip: Duration::ZERO,
        }
    }

    fn acknowledged(&mut self, now: Instant, bytes: u64, trip: Duration, shortest_trip: Duration) {
        self.shortest_trip = shortest_trip;
        self.sample_bytes += bytes;
        let took = now.saturating_duration_since(self.sample_began);
        if took < trip.max(SHORTEST_SAMPLE) {
            return;
        }
        if now.saturating_duration_since(self.epoch_began) >= EPOCH {
            self.epoch_began = now;
            self.best = [0, self.best[0]];
        }
        let rate = (self.sample_bytes as f64 / took.as_secs_f64()) as u64;
        self.best[0] = self.best[0].max(rate);
        self.sample_began = now;
        self.sample_bytes = 0;
    }

    /// What is on the path at the best rate, with empty queues.
    fn in_flight(&self) -> u64 {
        let best = self.best[0].max(self.best[1]);
        (best as f64 * self.shortest_trip.as_secs_f64()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1_452;
    const LEAST: u64 = 10 * MTU as u64;
    const TRIP: Duration = Duration::from_millis(10);

    fn floored(now: Instant) -> Floored {
        Floored {
            cubic: Arc::new(CubicConfig::default()).build(now, MTU),
            delivery: Delivery::new(now),
            mtu: MTU,
        }
    }

    /// A datagram each millisecond for so long.
    fn carry(delivery: &mut Delivery, from: Instant, bytes: u64, millis: u64) -> Instant {
        let at = |n| from + Duration::from_millis(n);
        (1..=millis).for_each(|n| delivery.acknowledged(at(n), bytes, TRIP, TRIP));
        at(millis)
    }

    fn lose(floored: &mut Floored, now: Instant, datagrams: u64) {
        for n in 1..=datagrams {
            let later = now + TRIP * n as u32 * 2;
            floored.on_congestion_event(later, later - TRIP / 2, false, u64::from(MTU));
        }
    }

    #[test]
    fn losses_on_a_link_that_has_little_to_send_leave_it_ten_datagrams() {
        let now = Instant::now();
        let mut floored = floored(now);
        lose(&mut floored, now, 100);
        assert!(floored.cubic.window() < LEAST, "else this shows nothing");
        assert_eq!(floored.window(), LEAST);
    }

    #[test]
    fn losses_leave_a_quarter_more_than_the_path_has_just_carried() {
        let start = Instant::now();
        let mut floored = floored(start);
        let now = carry(&mut floored.delivery, start, 4_000, 1_000);
        lose(&mut floored, now, 100);
        let on_the_path = 4_000 * TRIP.as_millis() as u64;
        let expected = on_the_path * 5 / 4;
        let window = floored.window();
        assert!(window.abs_diff(expected) < expected / 10, "{window}");
    }

    #[test]
    fn what_the_path_carried_long_ago_is_forgotten() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start);
        let now = carry(&mut delivery, start, 4_000, 1_000);
        let now = carry(&mut delivery, now, 100, EPOCH.as_millis() as u64);
        assert!(delivery.in_flight() > 30_000, "one epoch back it counts");
        carry(&mut delivery, now, 100, EPOCH.as_millis() as u64);
        assert!(delivery.in_flight() < 2_000);
    }

    #[test]
    fn acknowledgements_that_come_in_a_clump_are_no_rate() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start);
        for trip in 1..=100 {
            let now = start + TRIP * trip;
            (0..10).for_each(|_| delivery.acknowledged(now, 1_000, TRIP, TRIP));
        }
        assert!(delivery.in_flight().abs_diff(10_000) <= 1_000);
    }

    #[test]
    fn a_path_on_which_nothing_came_through_begins_anew() {
        let start = Instant::now();
        let mut floored = floored(start);
        let now = carry(&mut floored.delivery, start, 4_000, 1_000);
        floored.on_congestion_event(now + TRIP, now, true, 4_000);
        assert_eq!(floored.window(), LEAST);
    }
}
