//! What is sent, and how the receiving end says that it has it.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// The topic of what is measured.
pub(super) const TOPIC: &str = "room:lobby";

/// Bytes that may be under way, so that no queue overflows.
const WINDOW_BYTES: u64 = 2 * 1024 * 1024;
/// What a message costs a queue beside its payload, at most.
const OVERHEAD_BYTES: u64 = 256;

/// Messages that have arrived.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    count: AtomicU64,
    wanted: AtomicU64,
    reached: Notify,
}

impl Arrived {
    pub(super) fn add(&self, messages: u64) {
        let count = self.count.fetch_add(messages, Ordering::SeqCst) + messages;
        let wanted = self.wanted.load(Ordering::SeqCst);
        if count >= wanted && count - messages < wanted {
            self.reached.notify_one();
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits for so many since the beginning. One waits at a time.
    pub(super) async fn wait_for(&self, messages: u64) {
        self.wanted.store(messages, Ordering::SeqCst);
        while self.count() < messages {
            self.reached.notified().await;
        }
    }
}

/// Keeps a publisher, which never waits by itself, from filling the queues.
pub(super) struct Window {
    messages: u64,
}

impl Window {
    pub(super) fn of(payload_bytes: usize) -> Self {
        let messages = WINDOW_BYTES / (payload_bytes as u64 + OVERHEAD_BYTES);
        Self { messages }
    }

    /// Waits while too many of `sent` are under way, and gives way to other tasks from time to time.
    pub(super) async fn room(&self, arrived: &Arrived, sent: u64) {
        if sent.saturating_sub(arrived.count()) >= self.messages {
            arrived.wait_for(sent - self.messages / 2).await;
        }
        tokio::task::coop::consume_budget().await;
    }
}

pub(super) fn payload(bytes: usize) -> Bytes {
    vec![b'x'; bytes].into()
}
