//! What a user writes: one type per kind of conversation.

use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::pubsub::Lagged;
use crate::transport::{Payload, WhenSlow};
use crate::{Broadcast, Flow, Refused, Reply, Socket};

/// One client's conversation on one topic.
///
/// A value of the type is made by [`join`](Self::join) and lives, in a task of its own, until the conversation ends. Its
/// methods are called one at a time; whatever else happens meanwhile waits in a bounded inbox. `App` is what the
/// application hands to all its joins, such as a database pool; it is cloned once per route.
///
/// A panic in any method ends this channel only: the client gets `phx_error` (or, from `join`, the error reply
/// `join crashed`), and its socket and other channels live on.
///
/// # Cancel safety
/// While the connection is there each callback runs to its end, but for two cases in which the channel is dropped where it waits, without its
/// [`terminate`](Self::terminate): a newer join of its topic replaces it whose client had not left before, or it is in the way for
/// [`stall_timeout`](crate::SocketsConfig::stall_timeout). Once the connection has ended, the callback in progress and what waits in the inbox have
/// [`terminate_timeout`](crate::SocketsConfig::terminate_timeout), 5 seconds together; then the callback is dropped where it waits, the rest is not
/// begun, and `terminate` is called. What must not be left half done belongs into a task of its own.
///
/// ```
/// use matryoshka_channel::{Channel, Refused, Reply, Socket};
/// use serde::Deserialize;
///
/// struct Counter(u64);
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Event {
///     Add { n: u64 },
///     Reset,
/// }
///
/// impl Channel<()> for Counter {
///     type Params = ();
///     type Event = Event;
///
///     async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
///         Ok(Self(0))
///     }
///
///     async fn handle_in(&mut self, _: &mut Socket, event: Event) -> Reply {
///         self.0 = match event {
///             Event::Add { n } => self.0 + n,
///             Event::Reset => 0,
///         };
///         Reply::ok(&[("count", self.0)].into_iter().collect::<std::collections::BTreeMap<_, _>>())
///     }
/// }
/// ```
pub trait Channel<App>: Sized + Send + 'static {
    /// What a client sends along when it joins: any type that serde can read, or [`RawParams`](crate::RawParams).
    ///
    /// `()` takes anything. A payload that does not fit makes the join crash.
    type Params: DeserializeOwned + Send + 'static;

    /// The events that clients may send: an enum whose variants are the events' names and whose contents are their
    /// payloads, or [`RawEvent`](crate::RawEvent) for any name and bytes.
    ///
    /// A variant without content takes any payload. An event that does not fit makes the channel crash, with one line in
    /// the log that names the events there are.
    type Event: DeserializeOwned + Send + 'static;

    /// Names of the broadcasts on this channel's topic that go through [`handle_out`](Self::handle_out) instead of
    /// straight to the client.
    ///
    /// They wait in the channel's inbox. If there is no room for one, the channel ends once the callback in progress has returned
    /// ([`Terminated::Overrun`]) and its client joins again, unless [`when_slow`](Self::when_slow) lets that event give way.
    const INTERCEPT: &'static [&'static str] = &[];

    /// What becomes of an event on its way to a client that reads slowly, be it a push or a broadcast. As provided, all wait as
    /// long as there is room, and beyond that the connection is closed with 1008, so that its client comes back and misses nothing
    /// without knowing. Replies always do.
    ///
    /// A key of [`WhenSlow::Latest`] is one of the event's own: events of other names, topics and joins do not share it. What the
    /// payload says may be part of it, by [`WhenSlow::latest_of`].
    ///
    /// It is asked once for each push, and once for each broadcast, node and type of channel, in whatever thread sends it.
    ///
    /// ```
    /// use matryoshka_channel::transport::{Payload, WhenSlow};
    ///
    /// fn when_slow(event: &str, payload: &Payload) -> WhenSlow {
    ///     #[derive(serde::Deserialize)]
    ///     struct Moved { user: String }
    ///     match (event, payload) {
    ///         ("typing", _) => WhenSlow::Drop,
    ///         ("progress", _) => WhenSlow::Latest(0),
    ///         ("cursor", Payload::Json(json)) => match json.to() {
    ///             Ok(Moved { user }) => WhenSlow::latest_of(user),
    ///             Err(_) => WhenSlow::Drop,
    ///         },
    ///         _ => WhenSlow::Close,
    ///     }
    /// }
    /// # assert_eq!(when_slow("typing", &Payload::object()), WhenSlow::Drop);
    /// ```
    fn when_slow(event: &str, payload: &Payload) -> WhenSlow {
        let _ = (event, payload);
        WhenSlow::Close
    }

    /// A client wants to join. Its error is the client's answer, and then there is no channel.
    ///
    /// The channel is subscribed to its topic after this has returned and before the client gets its answer. What
    /// depends on being joined, such as a push, belongs into [`Socket::after_join`].
    ///
    /// # Cancel safety
    /// Once the connection has ended it has [`terminate_timeout`](crate::SocketsConfig::terminate_timeout), 5 seconds, and is dropped where it
    /// waits then: nobody is left to join.
    fn join(
        app: &App,
        socket: &mut Socket,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self, Refused>> + Send;

    /// The client sent an event.
    ///
    /// It begins when the client has read most of what it was sent before ([`Socket::room`]). If it waits for something itself, its reply
    /// waits for room once more, and the channel with it.
    ///
    /// # Cancel safety
    /// As the [trait](Self#cancel-safety) says, for all callbacks.
    fn handle_in(
        &mut self,
        socket: &mut Socket,
        event: Self::Event,
    ) -> impl Future<Output = Reply> + Send;

    /// A broadcast that is listed in [`INTERCEPT`](Self::INTERCEPT) came. As provided it is pushed on unchanged, unless
    /// the client's version of the wire cannot carry it.
    fn handle_out(
        &mut self,
        socket: &mut Socket,
        broadcast: Broadcast,
    ) -> impl Future<Output = Flow> + Send {
        let pushed = socket.push_on(&broadcast);
        async move { pushed.into() }
    }

    /// So many messages of topics that the channel has [subscribed](Socket::subscribe) are missing here: they found its inbox full. As
    /// provided it ends as by [`Flow::Fail`], so that its client joins again and misses nothing without knowing. Whoever can
    /// do without them, or read anew what they would have told, goes on.
    fn handle_lagged(
        &mut self,
        socket: &mut Socket,
        lagged: Lagged,
    ) -> impl Future<Output = Flow> + Send {
        let _ = socket;
        async move { Flow::Fail(format!("its inbox was full: {lagged}")) }
    }

    /// The channel ends, for this reason; what it tracked and subscribed ends right after.
    ///
    /// Not called when the join was refused or crashed (there is no channel then), when a newer join replaced this one without a leave
    /// before it, or when the runtime itself goes. After a leave or an orderly stop the client has been told before; after a
    /// crash it is told after.
    ///
    /// # Cancel safety
    /// It has [`terminate_timeout`](crate::SocketsConfig::terminate_timeout), 5 seconds, and is dropped where it waits then. What takes
    /// longer belongs into a task of its own.
    fn terminate(
        &mut self,
        socket: &mut Socket,
        reason: Terminated,
    ) -> impl Future<Output = ()> + Send {
        let _ = (socket, reason);
        async {}
    }
}

/// A channel that takes messages from other tasks, or from topics other than its own.
///
/// They come from a [`Mailbox`](crate::Mailbox) made by [`Socket::mailbox`], or from [`Socket::subscribe`] with
/// `M = `[`pubsub::Message`](crate::pubsub::Message). One channel may implement it for several types.
pub trait HandleInfo<M>: Send + 'static {
    /// A message came.
    fn handle_info(&mut self, socket: &mut Socket, message: M)
    -> impl Future<Output = Flow> + Send;
}

/// Why a channel ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Terminated {
    /// The client left the topic.
    Left,
    /// A callback said [`Flow::Stop`].
    Stopped,
    /// A callback said [`Flow::Fail`], with this reason.
    Failed(String),
    /// A callback panicked, or the client sent what the channel's types cannot hold.
    Crashed,
    /// There was no room in its inbox for a broadcast that it intercepts ([`Channel::INTERCEPT`]) and that its client is not to miss
    /// ([`Channel::when_slow`]).
    Overrun,
    /// Somebody closed it from outside: [`close_channel`](crate::close_channel).
    Kicked,
    /// The client closed the connection, or the network dropped it.
    Closed,
    /// The client was silent for too long.
    Idle,
    /// Somebody disconnected the socket by its id.
    Disconnected,
    /// The end that its connection was given has come: [`Connected::expires_at`](crate::Connected::expires_at).
    Expired,
    /// The server is going away, or has closed all connections.
    Draining,
    /// The server closed the connection for a fault of the client's: a malformed frame, reading too slowly.
    Faulted,
}

impl Terminated {
    /// Whether this is an end that somebody wanted: the client left, or the channel or somebody outside ended it. After any other
    /// the client mostly comes back by itself, if it can.
    pub fn is_on_purpose(&self) -> bool {
        matches!(
            self,
            Self::Left | Self::Stopped | Self::Kicked | Self::Disconnected
        )
    }
}

/// Who has to know, beside the channel itself, that it ended on purpose. Given by [`Socket::add_leave_hook`].
///
/// A join that replaces another of its topic is no such end, as the client is still there. A leave with a join right behind it is one: the join
/// waits until the hooks have been told, within [`REPLACED_CHANNEL_WAIT`](crate::REPLACED_CHANNEL_WAIT).
pub trait LeaveHook: Send + Sync + 'static {
    /// This channel has ended on purpose. What it tracked and subscribed ends right after.
    fn left<'a>(&'a self, socket: &'a Socket) -> BoxFuture<'a, ()>;
}
