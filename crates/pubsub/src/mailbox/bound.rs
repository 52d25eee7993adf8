//! How much a mailbox holds, and what happens beyond.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use thiserror::Error;

/// How much a mailbox holds, and what happens beyond.
///
/// A mailbox is full when it holds `messages` items, or `bytes` bytes or more. The item that crosses the byte bound is still
/// taken, so a mailbox holds at most `bytes` and one item; any single item fits into an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// Most items; at least 1, and at most 2^32 - 1: more counts as that.
    pub messages: usize,
    /// Bytes from which on it is full, as told to `push`; at least 1.
    pub bytes: usize,
    /// What a push to a full mailbox does.
    pub overflow: Overflow,
}

impl Bound {
    /// The bound of a subscription that names none: 1,024 messages or 8 MiB; the oldest go.
    pub const DEFAULT: Bound = Bound {
        messages: 1_024,
        bytes: 8 * 1024 * 1024,
        overflow: Overflow::DropOldest,
    };

    /// The default with that many messages.
    pub fn messages(messages: usize) -> Self {
        Self {
            messages,
            ..Self::DEFAULT
        }
    }

    /// The same with another bound on bytes.
    #[must_use]
    pub fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// The same with another policy.
    #[must_use]
    pub fn with_overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }

    /// The same bound with the fourth policy: when it is full, what a later item of the same key has made stale goes first.
    ///
    /// As long as there is room every item waits, stale ones too. When there is none, the first of these that is there goes:
    /// the oldest item that has a later one of its key behind it; the item of the key of the new one; the oldest. So the
    /// latest item of each key stays unless more keys wait than the bound allows. The receiver is told of each loss in its place.
    ///
    /// `key` runs at every push, in the pushing thread, under no lock. Keys are told apart by a keyed 128 bit hash.
    ///
    /// ```
    /// use matryoshka_pubsub::{Lagged, Message, PubSub, mailbox::Bound};
    ///
    /// let pubsub = PubSub::local();
    /// let bound = Bound::messages(2).keep_latest_by(|price: &Message| price.payload().slice(..3));
    /// let mut prices = pubsub.subscribe_bounded("prices", bound)?;
    /// for price in ["EUR 1", "USD 1", "EUR 2", "EUR 3"] {
    ///     pubsub.broadcast("prices", price)?;
    /// }
    /// assert_eq!(prices.try_next().expect("the first was lost").unwrap_err(), Lagged(1));
    /// assert_eq!(prices.try_next().expect("some")?.payload(), "USD 1");
    /// assert_eq!(prices.try_next().expect("as above").unwrap_err(), Lagged(1));
    /// assert_eq!(prices.try_next().expect("some")?.payload(), "EUR 3");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_latest_by<T, K: Hash>(
        self,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Policy<T> {
        let halves = (RandomState::new(), RandomState::new());
        let hash = move |item: &T| {
            let key = key(item);
            u128::from(halves.0.hash_one(&key)) << 64 | u128::from(halves.1.hash_one(&key))
        };
        Policy {
            bound: self,
            key: Some(Arc::new(hash)),
        }
    }

    /// The same, if anything fits in.
    ///
    /// # Errors
    ///
    /// [`ZeroBound`] if it allows no message, or no byte.
    pub fn check(self) -> Result<Self, ZeroBound> {
        match self {
            Self { messages: 0, .. } => Err(ZeroBound::Messages),
            Self { bytes: 0, .. } => Err(ZeroBound::Bytes),
            bound => Ok(bound),
        }
    }
}

impl Default for Bound {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a push to a full mailbox does. The fourth policy needs a key: [`Bound::keep_latest_by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The new item is lost, and the receiver told so in its place.
    DropNewest,
    /// The oldest items go until there is room; the receiver is told so first.
    DropOldest,
    /// The mailbox is closed, and the new item and all that was inside are lost at once: the memory of a reader that is too
    /// slow is freed. The receiver gets the end.
    Close,
}

/// A bound through which nothing would ever get. Nothing changed: ask for at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZeroBound {
    /// [`Bound::messages`] is 0.
    #[error("a bound of 0 messages lets nothing through: take at least 1")]
    Messages,
    /// [`Bound::bytes`] is 0.
    #[error("a bound of 0 bytes lets nothing through: take at least 1")]
    Bytes,
}

/// A [`Bound`] with one of the four policies: what a mailbox of `T`s is made of. Any `Bound` becomes one by itself;
/// [`Bound::keep_latest_by`] makes the others.
pub struct Policy<T> {
    pub(super) bound: Bound,
    pub(super) key: Option<Arc<KeyOf<T>>>,
}

/// The hash of an item's key.
pub(super) type KeyOf<T> = dyn Fn(&T) -> u128 + Send + Sync;

impl<T> Policy<T> {
    /// How much is held.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// The same for items from which a `T` can be had. What yields none is a key of its own.
    pub(crate) fn of<U>(
        self,
        item: impl Fn(&U) -> Result<T, u128> + Send + Sync + 'static,
    ) -> Policy<U>
    where
        T: 'static,
    {
        let through = |key: Arc<KeyOf<T>>| -> Arc<KeyOf<U>> {
            Arc::new(move |outer: &U| item(outer).map_or_else(|other| other, |inner| key(&inner)))
        };
        Policy {
            bound: self.bound,
            key: self.key.map(through),
        }
    }
}

impl<T> From<Bound> for Policy<T> {
    fn from(bound: Bound) -> Self {
        Self { bound, key: None }
    }
}

impl<T> Clone for Policy<T> {
    fn clone(&self) -> Self {
        Self {
            bound: self.bound,
            key: self.key.clone(),
        }
    }
}

impl<T> fmt::Debug for Policy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("bound", &self.bound)
            .field("keeps_latest", &self.key.is_some())
            .finish()
    }
}
