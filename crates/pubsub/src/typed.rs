//! Topics of values: `serde` in, `serde` out.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::mailbox::Policy;
use crate::{
    BroadcastError, Kind, Lagged, Message, Payload, PubSub, Sent, SubscribeError, Subscription,
    TopicName,
};

/// A topic all of whose messages are `T`s. Values travel as MessagePack with field names, so that fields may be added.
pub struct Topic<T> {
    pubsub: PubSub,
    name: TopicName,
    values: PhantomData<fn(T) -> T>,
}

impl<T> Topic<T> {
    pub(crate) fn new(pubsub: &PubSub, name: TopicName) -> Self {
        Self {
            pubsub: pubsub.clone(),
            name,
            values: PhantomData,
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }
}

impl<T: DeserializeOwned> Topic<T> {
    /// As [`PubSub::subscribe`].
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long.
    pub fn subscribe(&self) -> Result<TypedSubscription<T>, SubscribeError> {
        Ok(self.pubsub.subscribe(&self.name)?.typed())
    }

    /// As [`PubSub::subscribe_bounded`]. A key of [`Bound::keep_latest_by`](crate::mailbox::Bound::keep_latest_by) is one of the values: each
    /// is then decoded once more for it, in the thread that publishes.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, or the bound zero.
    pub fn subscribe_bounded(
        &self,
        bound: impl Into<Policy<T>>,
    ) -> Result<TypedSubscription<T>, SubscribeError>
    where
        T: 'static,
    {
        let policy = bound.into().of(value_or_key);
        Ok(self.pubsub.subscribe_bounded(&self.name, policy)?.typed())
    }
}

impl<T: Serialize> Topic<T> {
    /// As [`PubSub::broadcast`].
    ///
    /// # Errors
    ///
    /// [`BroadcastError::Encode`] if the value's `Serialize` refuses, else as [`PubSub::broadcast`].
    pub fn broadcast(&self, value: &T) -> Result<Sent, BroadcastError> {
        self.pubsub.broadcast(&self.name, Payload::value(value)?)
    }

    /// As [`PubSub::local_broadcast`].
    ///
    /// # Errors
    ///
    /// [`BroadcastError::Encode`] if the value's `Serialize` refuses, else as [`PubSub::local_broadcast`].
    pub fn local_broadcast(&self, value: &T) -> Result<Sent, BroadcastError> {
        self.pubsub
            .local_broadcast(&self.name, Payload::value(value)?)
    }
}

/// What is no value counts as one key, whatever it is: the latest of such is kept.
fn value_or_key<T: DeserializeOwned>(message: &Message) -> Result<T, u128> {
    decode(Ok(message.clone())).map_err(|_| 0)
}

impl Payload {
    /// A value as a [`Topic`] publishes it, for all other ways to publish one: by a named publisher, to one node, in parts.
    ///
    /// ```
    /// use matryoshka_pubsub::{Payload, PubSub};
    ///
    /// let pubsub = PubSub::local();
    /// let publisher = pubsub.publisher();
    /// let mut own = publisher.subscribe("job:42")?.typed::<(u32, u32)>();
    /// let mut other = pubsub.topic::<(u32, u32)>("job:42").subscribe()?;
    /// publisher.broadcast_from("job:42", Payload::value(&(3, 10))?)?;
    /// assert!(own.try_next().is_none());
    /// assert_eq!(other.try_next().expect("it is there")?, (3, 10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BroadcastError::Encode`] if the value's `Serialize` refuses.
    pub fn value<T: Serialize>(value: &T) -> Result<Self, BroadcastError> {
        let bytes = rmp_serde::to_vec_named(value).map_err(BroadcastError::Encode)?;
        Ok(Self::new(Kind::TYPED, bytes))
    }
}

impl Subscription {
    /// This subscription as one to a [`Topic`] of `T`s; [`TypedSubscription::into_inner`] is the way back.
    pub fn typed<T>(self) -> TypedSubscription<T> {
        let (messages, values) = (self, PhantomData);
        TypedSubscription { messages, values }
    }
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self::new(&self.pubsub, self.name.clone())
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name).finish()
    }
}

/// Why a typed subscription has no value here. It goes on with the next one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TypedError {
    /// Messages were lost, because the subscriber is too slow.
    #[error(transparent)]
    Lagged(#[from] Lagged),
    /// Somebody published other bytes on the topic than a [`Topic`] does.
    #[error("a message of kind {0} on a typed topic")]
    NotTyped(Kind),
    /// The value published is no `T`.
    #[error("the value published is of another type")]
    Decode(#[source] rmp_serde::decode::Error),
}

/// A subscription to a [`Topic`]: a stream of its values, and the guard that ends it.
#[must_use = "dropping it ends the subscription"]
pub struct TypedSubscription<T> {
    messages: Subscription,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> TypedSubscription<T> {
    /// The next value, or why there is none; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`TypedError`], each for one place in the stream.
    ///
    /// # Cancel safety
    ///
    /// Safe: a value is taken out only when it is returned.
    pub async fn next(&mut self) -> Option<Result<T, TypedError>> {
        StreamExt::next(self).await
    }

    /// What is there now, if anything.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Option<Result<T, TypedError>> {
        self.messages.try_next().map(decode)
    }

    /// The untyped subscription within.
    pub fn into_inner(self) -> Subscription {
        self.messages
    }
}

fn decode<T: DeserializeOwned>(message: Result<Message, Lagged>) -> Result<T, TypedError> {
    let message = message?;
    if message.kind() != Kind::TYPED {
        return Err(TypedError::NotTyped(message.kind()));
    }
    rmp_serde::from_slice(message.payload()).map_err(TypedError::Decode)
}

impl<T: DeserializeOwned> Stream for TypedSubscription<T> {
    type Item = Result<T, TypedError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = self.messages.poll_next_unpin(cx);
        message.map(|message| message.map(decode))
    }
}

impl<T> fmt::Debug for TypedSubscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedSubscription")
            .field(self.messages.topic())
            .finish()
    }
}
