//! What is too large for a pubsub.

use thiserror::Error;

use crate::{Payload, TopicName};

/// The largest names a pubsub takes. Each node has its own; what comes from other nodes is not measured by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    topic_bytes: usize,
}

impl Limits {
    /// The longest name of a topic where no other limit is set, in bytes.
    pub const TOPIC_BYTES: usize = 255;

    /// The same with another longest name of a topic, in bytes: 1 to [`TopicName::MAX_BYTES`].
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if it is neither.
    pub fn with_topic_bytes(self, topic_bytes: usize) -> Result<Self, InvalidLimit> {
        if (1..=TopicName::MAX_BYTES).contains(&topic_bytes) {
            Ok(Self { topic_bytes })
        } else {
            Err(InvalidLimit { asked: topic_bytes })
        }
    }

    /// The longest name of a topic, in bytes.
    pub fn topic_bytes(self) -> usize {
        self.topic_bytes
    }

    pub(crate) fn check(self, topic: &TopicName, payload: &Payload) -> Result<(), TooLarge> {
        let (bytes, max) = (topic.len(), self.topic_bytes);
        if bytes > max {
            return Err(TooLarge::Topic { bytes, max });
        }
        let bytes = payload.bytes.len();
        if bytes > Payload::MAX_BYTES {
            return Err(TooLarge::Payload { bytes });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            topic_bytes: Self::TOPIC_BYTES,
        }
    }
}

/// No pubsub can have that limit. Nothing changed: ask for 1 to [`TopicName::MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{asked} bytes cannot be the longest name of a topic: take 1 to {max}", max = TopicName::MAX_BYTES)]
pub struct InvalidLimit {
    /// What was asked for.
    pub asked: usize,
}

/// What is too large to be published or subscribed to.
pub(crate) enum TooLarge {
    Topic { bytes: usize, max: usize },
    Payload { bytes: usize },
}
