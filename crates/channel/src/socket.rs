//! What a channel's callbacks see of their connection.

mod put_off;

use std::any::{TypeId, type_name};
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytestring::ByteString;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::time::Instant;

use crate::assigns::Assigns;
use crate::channel::{HandleInfo, LeaveHook};
use crate::fastlane::Lane;
use crate::inbox::{InboxSender, Info};
use crate::link::Link;
use crate::mailbox::{InfoSink, info, own, shared_info};
use crate::pubsub::registry::Owner;
use crate::pubsub::{
    Message, Payload as Envelope, PubSub, Publisher, Sent, SinkSubscription, SubscribeError,
    TopicName,
};
use crate::pusher::Join;
use crate::timers::{Alarm, MIN_PERIOD, Timer, Timers, TooManyTimers};
use crate::transport::{Field, Frame, Payload};
use crate::{
    Broadcast, BroadcastError, Flow, Mailbox, PayloadError, PushError, Pusher, ReplyHandle,
    payload, wire,
};
use put_off::PutOff;

/// One channel's end of its connection, handed to every callback.
///
/// It stands for the channel wherever something wants an owner: what is subscribed, registered or tracked through it ends
/// with the channel, however that ends.
pub struct Socket {
    link: Arc<Link>,
    topic: TopicName,
    /// What pushes and replies carry.
    join_ref: Option<Field>,
    assigns: Assigns,
    publisher: Publisher,
    inbox: InboxSender,
    join: Join,
    is_joined: bool,
    handling: Handling,
    /// Locked only where there is no socket of one's own: to add a hook, or to look.
    put_off: Mutex<Option<Box<PutOff>>>,
    subscriptions: Vec<SinkSubscription>,
}

/// Whether a client message is being handled, and which.
enum Handling {
    Message { reference: Option<Field> },
    Other,
}

/// What a socket is made of.
pub(crate) struct Parts {
    pub(crate) link: Arc<Link>,
    pub(crate) topic: ByteString,
    pub(crate) join_ref: Option<Field>,
    pub(crate) assigns: Assigns,
    pub(crate) inbox: InboxSender,
    pub(crate) join: Join,
    pub(crate) earlier_join_ended: Option<Instant>,
}

impl Socket {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            link,
            topic,
            join_ref,
            assigns,
            inbox,
            join,
            earlier_join_ended,
        } = parts;
        let put_off = earlier_join_ended.map(|_| {
            Box::new(PutOff {
                earlier_join_ended,
                ..PutOff::default()
            })
        });
        let publisher = link.pubsub.publisher();
        link.outbox.add_owner(publisher.owner().id());
        Self {
            link,
            topic: topic.into(),
            join_ref,
            assigns,
            publisher,
            inbox,
            join,
            is_joined: false,
            handling: Handling::Other,
            put_off: Mutex::new(put_off),
            subscriptions: Vec::new(),
        }
    }

    /// The channel's topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The connection's id, if `on_connect` gave it one.
    pub fn id(&self) -> Option<&str> {
        self.link.id.as_deref()
    }

    /// If this connection had joined this topic before: when that join was told to end (its leave was read, or a newer join was) or ended by
    /// itself. Broadcasts carry no word of the join they are for, so a client that leaves and joins again without waiting takes what it was
    /// still being sent for part of its new join. Who keeps a list for it has to tell it what has ended since then.
    ///
    /// Until that moment at least, the earlier join heard broadcasts. Of several joins that ended no more than 60 seconds after each other it is the
    /// first one's end. It is remembered for 60 seconds after the last one's, and of as many topics as a connection may have joined
    /// ([`max_channels`](crate::SocketsConfig::max_channels)), the oldest forgotten first; a connection that has left nothing remembers nothing.
    pub fn earlier_join_ended(&self) -> Option<Instant> {
        let put_off = self.lock_put_off();
        put_off.as_ref()?.earlier_join_ended
    }

    /// The value of that type which the connection, the route or this channel assigned.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.assigns.get()
    }

    /// Assigns a value for this channel, in place of an older one of its type. The connection's other channels do not
    /// see it.
    pub fn assign<T: Send + Sync + 'static>(&mut self, value: T) {
        self.assigns.put(value);
    }

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

    /// Sends an event to everyone on this channel's topic, on every node, this client included.
    ///
    /// # Errors
    /// [`BroadcastError`] if nobody got it.
    ///
    /// # Panics
    /// In `join`: see [`after_join`](Self::after_join).
    pub fn broadcast<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        self.broadcast_payload(event, payload::of_event(value)?)
    }

    /// As [`broadcast`](Self::broadcast), with a ready payload: a JSON object or bytes. Clients whose version of the wire
    /// carries no bytes are passed over.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_payload(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload)?;
        Ok(self.publisher.broadcast(topic, envelope)?)
    }

    /// As [`broadcast`](Self::broadcast), but not to this channel's client. Other connections of the same user get it.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_from<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        self.broadcast_payload_from(event, payload::of_event(value)?)
    }

    /// As [`broadcast_from`](Self::broadcast_from), with a ready payload: a JSON object or bytes.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_payload_from(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload)?;
        Ok(self.publisher.broadcast_from(topic, envelope)?)
    }

    /// As [`broadcast`](Self::broadcast), for huge topics: after every few hundred subscribers the task gives way to others.
    /// When it is ready, all of this node have it.
    ///
    /// The socket is borrowed meanwhile, so that nothing it sends can overtake this.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Cancel safety
    /// Safe: it begins when first polled, and once begun it completes. Dropped meanwhile, the drop delivers what is left.
    pub async fn broadcast_yielding<T: Serialize + ?Sized>(
        &mut self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload::of_event(value)?)?;
        let sending = self.publisher.broadcast_yielding(topic, envelope);
        Ok(sending.await?)
    }

    /// As [`broadcast_from`](Self::broadcast_from), in the way of [`broadcast_yielding`](Self::broadcast_yielding).
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Cancel safety
    /// As [`broadcast_yielding`](Self::broadcast_yielding).
    pub async fn broadcast_from_yielding<T: Serialize + ?Sized>(
        &mut self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload::of_event(value)?)?;
        let sending = self.publisher.broadcast_from_yielding(topic, envelope);
        Ok(sending.await?)
    }

    /// A handle to answer the message being handled later, from any task. Return [`Reply::none`](crate::Reply::none) then.
    ///
    /// # Panics
    /// Outside `handle_in`: there is no message to answer.
    pub fn reply_later(&self) -> ReplyHandle {
        let Handling::Message { reference } = &self.handling else {
            panic!("reply_later outside handle_in: there is no message to answer");
        };
        ReplyHandle {
            link: Arc::clone(&self.link),
            topic: self.topic.as_byte_string().clone(),
            join_ref: self.join_ref.clone(),
            reference: reference.clone(),
        }
    }

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

    /// This hook is told if the channel ends on purpose ([`Terminated::is_on_purpose`]), after its `terminate`; not if a newer join takes its
    /// place, unless its client had left before. A hook that was given already is told once all the same. For what outlives a lost connection
    /// for a while, and a leave not.
    ///
    /// [`Terminated::is_on_purpose`]: crate::Terminated::is_on_purpose
    pub fn add_leave_hook(&self, hook: Arc<dyn LeaveHook>) {
        let mut put_off = self.lock_put_off();
        let hooks = &mut put_off.get_or_insert_default().leave_hooks;
        if !hooks.iter().any(|known| Arc::ptr_eq(known, &hook)) {
            hooks.reserve_exact(1);
            hooks.push(hook);
        }
    }

    pub(crate) fn take_leave_hooks(&mut self) -> Vec<Arc<dyn LeaveHook>> {
        let put_off = self.put_off_mut().as_mut();
        put_off.map_or_else(Vec::new, |put_off| mem::take(&mut put_off.leave_hooks))
    }

    /// A way to this channel's [`HandleInfo::handle_info`] for other tasks. `C` is the channel itself.
    ///
    /// # Panics
    /// If `C` is not this socket's channel.
    pub fn mailbox<C: HandleInfo<M>, M: Send + 'static>(&self) -> Mailbox<M> {
        self.expect_channel::<C>();
        Mailbox::new::<C>(self.inbox.clone())
    }

    /// Sends a message to this channel's [`HandleInfo::handle_info`], so much later. `C` is the channel itself. The timer ends with
    /// the channel; set in `join`, it runs from then on.
    ///
    /// Messages of timers do not wait in the inbox, and take turns with what does.
    ///
    /// # Errors
    /// [`TooManyTimers`] if the channel has [`MAX_TIMERS`](crate::MAX_TIMERS) already.
    ///
    /// # Panics
    /// If `C` is not this socket's channel.
    pub fn send_after<C, M>(&mut self, after: Duration, message: M) -> Result<Timer, TooManyTimers>
    where
        C: HandleInfo<M>,
        M: Send + 'static,
    {
        self.expect_channel::<C>();
        let alarm = Alarm::Once(info::<C, M>(message));
        self.timers_mut().set(after, alarm)
    }

    /// As [`send_after`](Self::send_after), and again and again after as long a time, at least
    /// [`MIN_PERIOD`](crate::MIN_PERIOD). What a channel is too busy for is left out.
    ///
    /// # Errors
    /// As [`send_after`](Self::send_after).
    ///
    /// # Panics
    /// As [`send_after`](Self::send_after).
    pub fn send_every<C, M>(&mut self, period: Duration, message: M) -> Result<Timer, TooManyTimers>
    where
        C: HandleInfo<M>,
        M: Clone + Send + Sync + 'static,
    {
        self.expect_channel::<C>();
        let period = period.max(MIN_PERIOD);
        let message = Arc::new(message);
        let again = move || shared_info::<C, M>(Arc::clone(&message));
        let alarm = Alarm::Every(period, Box::new(again));
        self.timers_mut().set(period, alarm)
    }

    /// Takes a timer back. Tells whether it was still to come.
    pub fn cancel(&mut self, timer: Timer) -> bool {
        let put_off = self.put_off_mut().as_mut();
        put_off.is_some_and(|put_off| put_off.timers.cancel(timer))
    }

    fn timers_mut(&mut self) -> &mut Timers {
        &mut self.put_off_mut().get_or_insert_default().timers
    }

    /// Subscribes this channel to a topic of any kind: its messages come to `handle_info`. `C` is the channel itself.
    ///
    /// The channel's own topic is subscribed already, for the client; subscribed once more, its broadcasts come to
    /// `handle_out` as well, and reach the client twice unless that swallows them.
    ///
    /// # Errors
    /// [`SubscribeError`] if the topic's name is too long.
    ///
    /// # Panics
    /// If `C` is not this socket's channel.
    pub fn subscribe<C: HandleInfo<Message>>(
        &mut self,
        topic: impl Into<TopicName>,
    ) -> Result<(), SubscribeError> {
        self.expect_channel::<C>();
        let topic = topic.into();
        let sink = InfoSink::new::<C>(self.inbox.clone(), topic == self.topic);
        self.subscriptions
            .push(self.publisher.subscribe_sink(topic, Arc::new(sink))?);
        Ok(())
    }

    /// Ends what [`subscribe`](Self::subscribe) began for that topic.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.subscriptions
            .retain(|subscription| subscription.topic() != topic);
    }

    /// Moves the end of this client's connection, earlier or later, for all of its channels; `None` takes it away. See
    /// [`Connected::expires_at`](crate::Connected::expires_at).
    ///
    /// A client that has a fresh token sends it in an event. Whoever handles that event verifies it, sees that it is the same user's as this
    /// connection, since any good token would do otherwise, and calls this: the connection and its channels live on.
    pub fn renew_until(&self, at: impl Into<Option<SystemTime>>) {
        self.link.expire_at(at.into());
    }

    /// This channel as owner of registrations and presences; they end with it.
    pub fn owner(&self) -> &Owner {
        self.publisher.owner()
    }

    /// This channel as publisher on any topic.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The topics of this node and its cluster.
    pub fn pubsub(&self) -> &PubSub {
        &self.link.pubsub
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

    /// The join was accepted: its response, and from now on pushes go out.
    pub(crate) fn joined(&mut self) -> Result<Payload, PayloadError> {
        self.is_joined = true;
        let put_off = self.put_off_mut().as_mut();
        let response = put_off.and_then(|put_off| put_off.join_reply.take());
        response.unwrap_or_else(|| Ok(Payload::object()))
    }

    /// A client message is being handled.
    pub(crate) fn begin(&mut self, reference: Option<Field>) {
        self.handling = Handling::Message { reference };
    }

    /// No client message is being handled any more; its reference is given back.
    pub(crate) fn finish(&mut self) -> Option<Field> {
        match mem::replace(&mut self.handling, Handling::Other) {
            Handling::Message { reference } => reference,
            Handling::Other => None,
        }
    }

    /// The answer to a client message.
    pub(crate) fn reply_frame(
        &self,
        reference: Option<Field>,
        status: ByteString,
        response: Payload,
    ) -> Result<Frame, PushError> {
        let topic = Field::Text(self.topic.as_byte_string().clone());
        let join_ref = self.join_ref.clone();
        let message = wire::reply(join_ref, reference, topic, status, response);
        Ok(self.link.serializer.encode(&message)?)
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

    /// The message of a timer that is due. Pending without any timer, too.
    pub(crate) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Info> {
        match self.put_off_mut() {
            Some(put_off) => put_off.timers.poll_due(cx),
            None => Poll::Pending,
        }
    }

    fn lock_put_off(&self) -> MutexGuard<'_, Option<Box<PutOff>>> {
        // What is put off is whole whenever a panic could strike.
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_off_mut(&mut self) -> &mut Option<Box<PutOff>> {
        self.put_off
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// An event for this channel's topic, ready for the publisher.
    fn envelope(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<(TopicName, Envelope), BroadcastError> {
        self.expect_joined("broadcast");
        let broadcast = Broadcast::with_payload(&self.topic, event, payload)?;
        Ok((self.topic.clone(), broadcast.to_envelope()))
    }

    fn expect_joined(&self, what: &str) {
        assert!(
            self.is_joined,
            "{what} in join: the client has not joined yet; use after_join"
        );
    }

    fn expect_channel<C: 'static>(&self) {
        let is_this = self.join.channel_type.id() == TypeId::of::<C>();
        assert!(
            is_this,
            "{} is not the channel of this socket",
            type_name::<C>()
        );
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.link.outbox.remove_owner(self.publisher.owner().id());
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("topic", &self.topic)
            .field("join_ref", &self.join_ref)
            .field("is_joined", &self.is_joined)
            .finish_non_exhaustive()
    }
}
