//! What is published, as fast as it arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use matryoshka_pubsub::{PubSub, Publisher, TopicName};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::meter::{Meter, Took};

/// The topic of what is measured.
pub(super) const TOPIC: &str = "room:lobby";

/// Bytes that may be under way to one node, so that no queue overflows.
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

pub(super) fn payload(bytes: usize) -> Bytes {
    vec![b'x'; bytes].into()
}

/// A publisher that keeps as much under way as the queues hold, and no more.
pub(super) struct Load {
    publisher: Publisher,
    topic: TopicName,
    payload: Bytes,
    arrived: Arc<Arrived>,
    /// Subscribers, which all add to `arrived`.
    copies: u64,
    window: u64,
    sent: u64,
}

impl Load {
    /// Of messages on [`TOPIC`]; `arrived` counts what `copies` subscribers get.
    pub(super) fn new(from: &PubSub, bytes: usize, arrived: &Arc<Arrived>, copies: u64) -> Self {
        Self {
            publisher: from.publisher(),
            topic: TOPIC.into(),
            payload: payload(bytes),
            arrived: Arc::clone(arrived),
            copies,
            window: (WINDOW_BYTES / (bytes as u64 + OVERHEAD_BYTES)).max(2),
            sent: arrived.count() / copies,
        }
    }

    /// Sends so many and waits until they have arrived, in a task of its own.
    pub(super) async fn send(mut self, messages: u64) -> Took {
        let meter = Meter::start();
        let sending = tokio::spawn(async move {
            for _ in 0..messages {
                self.send_one().await;
            }
            self.wait().await;
        });
        sending.await.expect("it does not panic");
        meter.stop()
    }

    /// Sends until it is stopped.
    pub(super) fn go_on(mut self) -> GoingOn {
        let stopped = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                self.send_one().await;
            }
            self.wait().await;
        });
        GoingOn { stopped, task }
    }

    async fn send_one(&mut self) {
        let arrived = self.arrived.count() / self.copies;
        if self.sent - arrived >= self.window {
            let half = self.sent - self.window / 2;
            self.arrived.wait_for(half * self.copies).await;
        }
        tokio::task::coop::consume_budget().await;
        let sent = self.publisher.broadcast(&self.topic, self.payload.clone());
        let dropped = sent.map(|sent| sent.dropped.len());
        assert!(
            dropped.is_ok_and(|dropped| dropped == 0),
            "no queue is full"
        );
        self.sent += 1;
    }

    async fn wait(&self) {
        self.arrived.wait_for(self.sent * self.copies).await;
    }
}

/// A task that sends until it is stopped.
pub(super) struct GoingOn {
    pub(super) stopped: Arc<AtomicBool>,
    pub(super) task: JoinHandle<()>,
}

impl GoingOn {
    /// Returns when all that was sent has arrived.
    pub(super) async fn stop(self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await.expect("it does not panic");
    }
}
