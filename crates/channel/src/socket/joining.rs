//! What a channel's join answers, and what it puts off until its client knows.

use std::mem;
use std::sync::Arc;

use bytestring::ByteString;
use futures::future::BoxFuture;
use serde::Serialize;

use super::Socket;
use crate::fastlane::Lane;
use crate::inbox::Info;
use crate::mailbox::own;
use crate::transport::Payload;
use crate::{Flow, PayloadError, payload};

impl Socket {
    /// In `join`: the response of the join's `ok` reply, instead of `{}`. Any JSON value.
    ///
    /// A value that cannot be written as JSON makes the join crash.
    pub fn set_join_reply<T: Serialize + ?Sized>(&mut self, response: &T) {
        self.reply_to_join(payload::of_response(response));
    }

    /// As [`set_join_reply`](Self::set_join_reply), with a ready response: JSON or bytes.
    pub fn set_join_reply_payload(&mut self, response: impl Into<Payload>) {
        self.reply_to_join(Ok(response.into()));
    }

    fn reply_to_join(&mut self, response: Result<Payload, PayloadError>) {
        self.put_off_mut().get_or_insert_default().join_reply = Some(response);
    }

    /// In `join`: something to do once the client has been told that it joined, and before anything else. The channel is
    /// subscribed to its topic by then, so a snapshot that is pushed here misses nothing. Broadcasts that the channel does not
    /// intercept may come before it, unless they are [held](Self::hold_until_after_join).
    ///
    /// Several run in the order in which they were given. One given later than in `join` runs when the callback in
    /// progress has returned. Those of the join each wait until the client has read most of what it was sent before
    /// ([`room`](Self::room)), so that what many joins push at once closes no connection whose client reads it. That room may be taken by
    /// others while one of them waits for something itself: if what it pushes then is large, let it ask for room before.
    ///
    /// # Cancel safety
    /// Once the client has left, the connection has ended, or the channel is closed from outside ([`close_channel`](crate::close_channel)), it
    /// is dropped where it waits, and what was put off behind it is not begun.
    ///
    /// ```no_run
    /// # use matryoshka_channel::Socket;
    /// # fn join(socket: &mut Socket) {
    /// socket.after_join(|socket| Box::pin(async move { socket.push("welcome", &()).into() }));
    /// # }
    /// ```
    pub fn after_join<F>(&mut self, then: F)
    where
        F: for<'a> FnOnce(&'a mut Socket) -> BoxFuture<'a, Flow> + Send + 'static,
    {
        self.put_off_until_joined(Box::new(move |_, socket| then(socket)));
    }

    /// As [`after_join`](Self::after_join), with the channel that the join made. `C` is the channel itself.
    ///
    /// # Panics
    /// If `C` is not this socket's channel.
    ///
    /// ```no_run
    /// # use matryoshka_channel::{Channel, RawEvent, Refused, Reply, Socket};
    /// struct Room { name: String }
    /// # impl Channel<()> for Room {
    /// #     type Params = ();
    /// #     type Event = RawEvent;
    /// #     async fn join(_: &(), socket: &mut Socket, (): ()) -> Result<Self, Refused> {
    /// socket.after_join_with(|room: &mut Room, socket| {
    ///     Box::pin(async move { socket.push("welcome", &[("to", &room.name)]).into() })
    /// });
    /// #         Ok(Room { name: "here".to_owned() })
    /// #     }
    /// #     async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply { Reply::none() }
    /// # }
    /// ```
    pub fn after_join_with<C, F>(&mut self, then: F)
    where
        C: Send + 'static,
        F: for<'a> FnOnce(&'a mut C, &'a mut Socket) -> BoxFuture<'a, Flow> + Send + 'static,
    {
        self.expect_channel::<C>();
        self.put_off_until_joined(Box::new(move |channel, socket| then(own(channel), socket)));
    }

    fn put_off_until_joined(&mut self, then: Info) {
        let put_off = self.put_off_mut().get_or_insert_default();
        put_off.after_join.push(then);
    }

    /// In `join`: broadcasts of this event on the channel's topic reach this client only once everything that is put off with
    /// [`after_join`](Self::after_join) is done. So a snapshot that is pushed there comes before all changes that the event tells of; those
    /// made meanwhile follow it. Several events may be held.
    ///
    /// What is held keeps its order, and may be overtaken by other events. Once 1,024 frames wait, or 256 KiB as an
    /// [outbox](crate::transport::Limits::outbox_bytes) counts, the next one lets all of them through before it, in order, and from then on
    /// nothing of this join is held. If the channel ends before, or its client has left it by then, what is held ends with it.
    ///
    /// Later than in `join` it does nothing: what the client has been sent cannot be held any more. Tells whether it holds.
    ///
    /// ```no_run
    /// # use matryoshka_channel::Socket;
    /// # fn join(socket: &mut Socket) {
    /// socket.hold_until_after_join("changed");
    /// socket.after_join(|socket| Box::pin(async move { socket.push("all", &()).into() }));
    /// # }
    /// ```
    pub fn hold_until_after_join(&mut self, event: impl Into<ByteString>) -> bool {
        if !self.is_joined {
            let put_off = self.put_off_mut().get_or_insert_default();
            put_off.held_events.push(event.into());
        }
        !self.is_joined
    }

    /// The join was accepted: its response, and from now on pushes go out.
    pub(crate) fn joined(&mut self) -> Result<Payload, PayloadError> {
        self.is_joined = true;
        let put_off = self.put_off_mut().as_mut();
        let response = put_off.and_then(|put_off| put_off.join_reply.take());
        response.unwrap_or_else(|| Ok(Payload::object()))
    }

    /// The events whose broadcasts are to wait for what is put off.
    pub(crate) fn take_held_events(&mut self) -> Vec<ByteString> {
        let put_off = self.put_off_mut().as_mut();
        put_off.map_or_else(Vec::new, |put_off| mem::take(&mut put_off.held_events))
    }

    /// This lane holds them, and is to be opened when nothing is put off any more.
    pub(crate) fn open_after_join(&mut self, lane: Arc<Lane>) {
        self.put_off_mut().get_or_insert_default().holding = Some(lane);
    }

    /// What waits for all that is put off is not to go out at all.
    pub(crate) fn keep_holding(&mut self) {
        if let Some(put_off) = self.put_off_mut() {
            put_off.holding = None;
        }
    }

    /// Whether there may be something that was put off, or waits for it.
    pub(crate) fn has_put_off(&mut self) -> bool {
        self.put_off_mut().is_some()
    }

    /// What is to be done next of what was put off. If it is nothing, what waited for that goes out.
    pub(crate) fn take_after_join(&mut self) -> Vec<Info> {
        let put_off = self.put_off_mut();
        let Some(all) = put_off.as_mut() else {
            return Vec::new();
        };
        let after_join = mem::take(&mut all.after_join);
        if after_join.is_empty()
            && let Some(lane) = all.holding.take()
        {
            lane.open();
        }
        put_off.take_if(|put_off| put_off.is_done());
        after_join
    }
}
