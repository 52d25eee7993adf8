//! What a channel's callbacks see of their connection.

mod broadcasting;
mod joining;
mod mailing;
mod pushing;
mod put_off;

use std::any::{TypeId, type_name};
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytestring::ByteString;
use tokio::time::Instant;

use crate::assigns::Assigns;
use crate::channel::LeaveHook;
use crate::inbox::InboxSender;
use crate::link::Link;
use crate::pubsub::registry::Owner;
use crate::pubsub::{PubSub, Publisher, SinkSubscription, TopicName};
use crate::pusher::Join;
use crate::transport::{Field, Frame, Payload};
use crate::{PushError, ReplyHandle, wire};
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

    fn lock_put_off(&self) -> MutexGuard<'_, Option<Box<PutOff>>> {
        // What is put off is whole whenever a panic could strike.
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_off_mut(&mut self) -> &mut Option<Box<PutOff>> {
        self.put_off
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
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
