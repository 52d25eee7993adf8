//! The drain: every socket is told to come back elsewhere, at a steady rate and within a time limit.

use std::num::NonZeroU32;
use std::time::Duration;

use matryoshka_presence::channel::pubsub::registry::OwnerId;
use matryoshka_presence::channel::transport::{Close, CloseCode, Connections};
use matryoshka_presence::tracker::Tracker;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the log says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How long the sockets that the limit found get to take their close.
const LAST_CLOSES: Duration = Duration::from_millis(500);

/// No pace at all: everybody's turn has come.
const AT_ONCE: NonZeroU32 = NonZeroU32::MAX;

/// How fast, and how long at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// Sockets told to close per second.
    pub(crate) per_second: NonZeroU32,
    /// How long it may take until the last one is gone.
    pub(crate) limit: Duration,
}

impl Drain {
    /// Closes all of them with 1012; whether all went in time. Those that did not are told at once.
    ///
    /// With a restart announced, all other nodes know before that what their users track is held: else a client that is back
    /// sooner than that news is listed twice for a moment.
    pub(crate) async fn run(self, connections: &Connections, tracker: &Tracker) -> bool {
        self.warn_if_too_slow_for(connections.count());
        let hold = async |owners: Vec<OwnerId>| {
            if !tracker.hold(&owners).await {
                tracing::debug!("not all nodes said in time that they know who is sent elsewhere");
            }
        };
        let all_gone = async {
            connections
                .drain_after(restart(), self.per_second, hold)
                .await;
            connections.closed().await;
        };
        let in_time = tokio::select! {
            gone = timeout(self.limit, all_gone) => gone.is_ok(),
            () = report(connections) => unreachable!("it goes on until it is dropped"),
        };
        if !in_time {
            let sockets = connections.count();
            let seconds = self.limit.as_secs();
            tracing::warn!(
                sockets,
                "the drain reached its limit of {seconds} s: the rest is closed at once"
            );
            connections.drain_after(restart(), AT_ONCE, hold).await;
            // Whoever is left then does not read.
            let _ = timeout(LAST_CLOSES, connections.closed()).await;
        }
        in_time
    }

    fn warn_if_too_slow_for(self, sockets: usize) {
        let seconds = sockets as f64 / f64::from(self.per_second.get());
        if seconds > self.limit.as_secs_f64() {
            tracing::warn!(
                sockets,
                "at {} a second the drain needs {seconds:.0} s and has {}: raise --drain-rate or --drain-limit",
                self.per_second,
                self.limit.as_secs()
            );
        }
    }
}

fn restart() -> Close {
    Close::new(CloseCode::RESTART)
}

async fn report(connections: &Connections) {
    let mut ticks = interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once, and would say nothing new.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        tracing::info!(sockets = connections.count(), "still draining");
    }
}
