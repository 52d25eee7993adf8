//! What the connections of a service have done, as numbers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// A snapshot of the counters of [`Connections`](crate::Connections): those open now, and the rest since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now, closing ones included.
    pub open: usize,
    /// Connections that were let in.
    pub opened: u64,
    /// Refused by the handler.
    pub refused: u64,
    /// Refused since the service is closing.
    pub refused_closing: u64,
    /// Refused at [`max_connections`](crate::ConnectionLimits::max_connections).
    pub refused_full: u64,
    /// Refused at [`max_per_address`](crate::ConnectionLimits::max_per_address).
    pub refused_address: u64,
    /// Refused at [`max_per_user`](crate::ConnectionLimits::max_per_user).
    pub refused_user: u64,
    /// Given up after [`handshake_timeout`](crate::Limits::handshake_timeout).
    pub handshake_timeouts: u64,
    /// Handlers and sessions that panicked.
    pub crashes: u64,
    /// Closed after [`idle_timeout`](crate::Limits::idle_timeout).
    pub closed_idle: u64,
    /// Closed since the client read too slowly for its outbox.
    pub closed_slow: u64,
    /// Closed for more messages than [`inbound`](crate::Limits::inbound) allows.
    pub closed_inbound: u64,
    /// Times that a client began to be read more slowly, having sent more than [`inbound_bytes`](crate::Limits::inbound_bytes) allows.
    pub slowed_inbound: u64,
    /// Times that a client began not to be read, since its session kept much and all together more than
    /// [`max_unhandled_bytes`](crate::ConnectionLimits::max_unhandled_bytes).
    pub paused_unhandled: u64,
    /// Closed for a message over the limit.
    pub closed_too_big: u64,
    /// Closed for a frame larger than could be written to the client: [`MAX_OUTGOING_BYTES`](crate::MAX_OUTGOING_BYTES), or
    /// [`max_frame_bytes`](crate::LongPollConfig::max_frame_bytes) of long polling.
    pub closed_unwritable: u64,
    /// Closed for a large message that took longer than [`message_timeout`](crate::Limits::message_timeout), or that gave way to others
    /// at [`max_unfinished_bytes`](crate::ConnectionLimits::max_unfinished_bytes).
    pub closed_unfinished: u64,
    /// Closed since its client had much to read, and gave way to others at
    /// [`max_unread_bytes`](crate::ConnectionLimits::max_unread_bytes).
    pub closed_unread: u64,
    /// Closed for text that is not UTF-8, or a breach of the carrier's protocol.
    pub closed_malformed: u64,
    /// Frames that were dropped since their reader was slow ([`WhenSlow::Drop`](crate::WhenSlow::Drop)), or that a later one took along
    /// which had no room in their place ([`WhenSlow::Latest`](crate::WhenSlow::Latest)).
    pub frames_dropped: u64,
    /// Frames that a later one of their key replaced ([`WhenSlow::Latest`](crate::WhenSlow::Latest)).
    pub frames_replaced: u64,
    /// Broadcasts that passed a connection over, since they were larger than its carrier can write
    /// ([`Outbox::shared_frame`](crate::Outbox::shared_frame)).
    pub frames_unwritable: u64,
    /// Connections that cannot write now what they have, since their clients read too slowly.
    pub blocked: usize,
    /// Frames that the carriers were given to write.
    pub frames_written: u64,
    /// What was in these, in bytes, without what a carrier writes around it.
    pub bytes_written: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) opened: Counter,
    pub(crate) refused: Counter,
    pub(crate) refused_closing: Counter,
    pub(crate) refused_full: Counter,
    pub(crate) refused_address: Counter,
    pub(crate) refused_user: Counter,
    pub(crate) handshake_timeouts: Counter,
    pub(crate) crashes: Counter,
    pub(crate) closed_idle: Counter,
    pub(crate) closed_slow: Counter,
    pub(crate) closed_inbound: Counter,
    pub(crate) slowed_inbound: Counter,
    pub(crate) paused_unhandled: Counter,
    pub(crate) closed_too_big: Counter,
    pub(crate) closed_unwritable: Counter,
    pub(crate) closed_unfinished: Counter,
    pub(crate) closed_unread: Counter,
    pub(crate) closed_malformed: Counter,
    pub(crate) frames_dropped: Counter,
    pub(crate) frames_replaced: Counter,
    pub(crate) frames_unwritable: Counter,
    pub(crate) blocked: Counter,
    pub(crate) unblocked: Counter,
    /// The bytes of broadcasts that wait for clients which took nothing when they came, each once.
    pub(crate) broadcast_bytes: Arc<Gauge>,
    // Each turn that writes touches these, which is why they stand together.
    pub(crate) frames_written: Counter,
    pub(crate) bytes_written: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self, open: usize) -> Stats {
        // In this order: who goes on in between has stopped before.
        let unblocked = self.unblocked.get();
        let blocked = self.blocked.get().saturating_sub(unblocked);
        Stats {
            open,
            opened: self.opened.get(),
            refused: self.refused.get(),
            refused_closing: self.refused_closing.get(),
            refused_full: self.refused_full.get(),
            refused_address: self.refused_address.get(),
            refused_user: self.refused_user.get(),
            handshake_timeouts: self.handshake_timeouts.get(),
            crashes: self.crashes.get(),
            closed_idle: self.closed_idle.get(),
            closed_slow: self.closed_slow.get(),
            closed_inbound: self.closed_inbound.get(),
            slowed_inbound: self.slowed_inbound.get(),
            paused_unhandled: self.paused_unhandled.get(),
            closed_too_big: self.closed_too_big.get(),
            closed_unwritable: self.closed_unwritable.get(),
            closed_unfinished: self.closed_unfinished.get(),
            closed_unread: self.closed_unread.get(),
            closed_malformed: self.closed_malformed.get(),
            frames_dropped: self.frames_dropped.get(),
            frames_replaced: self.frames_replaced.get(),
            frames_unwritable: self.frames_unwritable.get(),
            blocked: usize::try_from(blocked).unwrap_or(usize::MAX),
            frames_written: self.frames_written.get(),
            bytes_written: self.bytes_written.get(),
        }
    }
}

/// A number that only grows, for counters of your own. It orders nothing else between threads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that also gets less. It orders nothing else between threads.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
