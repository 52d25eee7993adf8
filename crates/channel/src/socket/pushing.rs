//! What a channel sends to its own client.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytestring::ByteString;
use serde::Serialize;

use super::Socket;
use crate::transport::Payload;
use crate::{Broadcast, PushError, Pusher, payload};

impl Socket {
    /// Sends an event to this client only: `value` as a JSON object, where a value without content, such as `()`, is
    /// `{}`. To a connection that has ended it goes nowhere.
    ///
    /// It never waits. A client that reads so slowly that its outbox is full is closed for it with 1008, unless the event may be lost
    /// ([`Channel::when_slow`](crate::Channel::when_slow)); what can wait goes by [`push_when_room`](Self::push_when_room).
    ///
    /// # Errors
    /// [`PushError`] if the value is no object. Nothing was sent.
    ///
    /// # Panics
    /// In `join`, as the client does not know the channel yet: see [`after_join`](Self::after_join).
    pub fn push<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<(), PushError> {
        self.push_payload(event, payload::of_event(value)?)
    }

    /// As [`push`](Self::push), with a ready payload: a JSON object or bytes.
    ///
    /// # Errors
    /// [`PushError`] if it is JSON but no object, or bytes for a client whose version of the wire carries none. Nothing
    /// was sent.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_payload(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<(), PushError> {
        self.expect_joined("push");
        let (topic, join_ref) = (self.topic.as_byte_string(), self.join_ref.clone());
        self.link
            .push(topic, join_ref, self.join, event.into(), payload.into())
    }

    /// As [`push`](Self::push), once there is [room](Self::room) for it: for what is large and can wait, so that a client which keeps reading,
    /// however slowly, is not closed for it. Of channels of one client that wait for the same each looks and puts in one step, where
    /// [`room`](Self::room) and then [`push`](Self::push) would let several through at once.
    ///
    /// Where the connection ends meanwhile, or the channel is closed from outside ([`close_channel`](crate::close_channel)), it goes nowhere.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Panics
    /// As [`push`](Self::push).
    ///
    /// # Cancel safety
    /// Safe: if the future is dropped before it is ready, nothing was sent.
    pub async fn push_when_room<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<(), PushError> {
        let payload = payload::of_event(value)?;
        self.push_payload_when_room(event, payload).await
    }

    /// As [`push_when_room`](Self::push_when_room), with a ready payload: a JSON object or bytes.
    ///
    /// # Errors
    /// As [`push_payload`](Self::push_payload).
    ///
    /// # Panics
    /// As [`push`](Self::push).
    ///
    /// # Cancel safety
    /// As [`push_when_room`](Self::push_when_room).
    pub async fn push_payload_when_room(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<(), PushError> {
        self.expect_joined("push");
        let (event, payload) = (event.into(), payload::checked(payload.into())?);
        loop {
            self.room().await;
            if self.inbox.is_kicked() {
                return Ok(());
            }
            let (topic, join_ref) = (self.topic.as_byte_string(), self.join_ref.clone());
            let (event, payload) = (event.clone(), payload.clone());
            // It is made only now: a frame is a copy of what it carries, and whoever waits would have its own.
            if self
                .link
                .push_if_room(topic, join_ref, self.join, event, payload)?
            {
                return Ok(());
            }
        }
    }

    /// Waits until at most half of the outbox is taken, or the connection has ended. Nothing is reserved: who has something to push uses
    /// [`push_when_room`](Self::push_when_room). Meanwhile the channel does nothing else. A client that does not read cannot
    /// put off its removal by that: it waits no longer once the channel is closed from outside ([`close_channel`](crate::close_channel)).
    ///
    /// # Cancel safety
    /// Safe: nothing is reserved.
    pub async fn room(&self) {
        poll_fn(|cx| match self.link.outbox.poll_room(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.inbox.poll_kicked(cx),
        })
        .await;
    }

    /// The way to push to this client from other tasks, as long as the channel lives.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn pusher(&self) -> Pusher {
        self.expect_joined("pusher");
        Pusher {
            link: Arc::clone(&self.link),
            topic: self.topic.as_byte_string().clone(),
            join_ref: self.join_ref.clone(),
            join: self.join,
            inbox: self.inbox.clone(),
        }
    }

    /// Pushes a broadcast on unchanged; one that this client's version of the wire cannot carry is counted.
    pub(crate) fn push_on(&self, broadcast: &Broadcast) -> Result<(), PushError> {
        match self.push_payload(broadcast.event_text().clone(), broadcast.payload().clone()) {
            Err(PushError::Encode(_)) => {
                self.link.counters.unencodable.add_one();
                Ok(())
            }
            pushed => pushed,
        }
    }
}
